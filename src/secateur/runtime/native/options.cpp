#include "options.h"

#include <algorithm>
#include <iterator>

#include "refuse.h"

namespace secateur {
namespace tflite {
namespace {

// Those that are only checked.
const Options kOthers[] = {
    Options{4, TableKind({1}, {})},
    Options{6, TableKind({4, 1, 1}, {})},
    Options{7, TableKind({1, 1}, {})},
    Options{12, TableKind({1}, {})},
    Options{13, TableKind({4, 4, 4, 4}, {})},
    Options{14, TableKind({1, 4, 4, 1, 1}, {})},
    Options{16, TableKind({4}, {})},
    Options{18, TableKind({4, 4, 1}, {})},
    Options{19, TableKind({4}, {})},
    Options{20, TableKind({1}, {})},
    Options{23, TableKind({4, 4}, {})},
    Options{31, TableKind({1, 1, 1}, {})},
    Options{35, TableKind({4}, {})},
    Options{37, TableKind({1, 1}, {})},
    Options{40, TableKind({1}, {})},
    Options{49, TableKind({1, 4, 4, 1, 1}, {})},
    Options{50, TableKind({1}, {})},
    Options{57, TableKind({1}, {})},
    Options{58, TableKind({4, 4, 4, 1}, {})},
    Options{61, TableKind({4}, {})},
    Options{64, TableKind({4, 4}, {})},
    Options{69, TableKind({1, 4, 4, 1, 1, 1}, {})},
    Options{70, TableKind({1, 1, 1, 1}, {})},
    Options{71, TableKind({1, 4, 4, 1, 1, 1}, {})},
    Options{77, TableKind({1}, {})},
    Options{79, TableKind({4}, {})},
    Options{80, TableKind({1}, {})},
    Options{87, TableKind({4, 4}, {})},
    Options{92, TableKind({4, 4}, {})},
    Options{93, TableKind({4, 4}, {})},
    Options{94, TableKind({4}, {})},
    Options{101, TableKind({1, 1, 1}, {})},
    Options{102, TableKind({1, 1}, {})},
    Options{103, TableKind({4}, {})},
    Options{106, TableKind({1, 4, 4, 4, 1, 4, 4, 4}, {})},
    Options{107, TableKind({4, 1, 1}, {})},
    Options{114, TableKind({8, 8}, {})},
    Options{115, TableKind({4}, {}), 0}};
// All others up to this one have no fields, but for two of several vectors and of texts.
constexpr int32_t kMostOptions = 126, kConcatEmbeddings = 3, kVarHandle = 111;

const Options* find(int32_t number) {
  static const Options* const known[] = {
      &kConvOptions,      &kDepthwiseOptions, &kPoolOptions,    &kDenseOptions,        &kSoftmaxOptions,
      &kAddOptions,       &kBilinearOptions,  &kReshapeOptions, &kConcatenationOptions, &kMulOptions,
      &kMeanOptions,      &kSubOptions,       &kDivOptions,     &kStridedSliceOptions, &kSqueezeOptions,
      &kLeakyReluOptions, &kNearestOptions,   &kShapeOptions,   &kPackOptions,         &kGeluOptions};
  for (const Options* each : known)
    if (each->number == number) return each;
  const auto has_number = [&](const Options& each) { return each.number == number; };
  const Options* const other = std::find_if(std::begin(kOthers), std::end(kOthers), has_number);
  return other == std::end(kOthers) ? nullptr : other;
}

}  // namespace

void check_options(Flatbuffer& file, int32_t number, int64_t at) {
  static const TableKind none({}, {});
  if (number > kMostOptions || number == kConcatEmbeddings || number == kVarHandle)
    refuse("Options are rare", "kind", number);
  const Options* const options = find(number);
  const Table table(file, options ? options->kind : none, at);
  if (options && options->vector >= 0) table.vector(options->vector, options->width);
}

}  // namespace tflite
}  // namespace secateur
