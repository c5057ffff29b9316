#include "options.h"

namespace secateur {
namespace tflite {

static const Options* find(int32_t number) {
  static const Options* const known[] = {
      &kConvOptions,      &kDepthwiseOptions, &kPoolOptions,    &kDenseOptions,        &kSoftmaxOptions,
      &kAddOptions,       &kBilinearOptions,  &kReshapeOptions, &kConcatenationOptions, &kMulOptions,
      &kMeanOptions,      &kSubOptions,       &kDivOptions,     &kStridedSliceOptions, &kSqueezeOptions,
      &kLeakyReluOptions, &kNearestOptions,   &kShapeOptions,   &kPackOptions,         &kGeluOptions};
  for (const Options* each : known)
    if (each->number == number) return each;
  return nullptr;
}

void check_options(Flatbuffer& file, int32_t number, int64_t at) {
  static const TableKind other({}, {});
  const Options* const options = find(number);
  const Table table(file, options ? options->kind : other, at);
  if (options && options->vector >= 0) table.vector(options->vector, options->width);
}

}  // namespace tflite
}  // namespace secateur
