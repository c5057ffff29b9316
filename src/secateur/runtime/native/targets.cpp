// Reshapes of an open batch, whose shapes are computed while the model runs.
//
// The converter writes `reshape(x, [batch, 1000])` as four operators that read the batch size from a tensor: SHAPE,
// STRIDED_SLICE, PACK and RESHAPE. No shape behind them would be known before the model runs. But a reshape keeps the
// number of values, so that the batch follows from the other lengths.
#include <algorithm>

#include "columns.h"
#include "options.h"
#include "tflite.h"

namespace secateur {

using namespace tflite;

namespace {

class Finder {
 public:
  explicit Finder(const Columns& columns)
      : columns_(columns), file_(columns.file().data(), columns.file().bytes()) {}

  // The shape [-1, ...] that the operand of a reshape stands for; empty where it cannot be told.
  Dims operator()(int64_t reshape) {
    const Part operands = read(reshape);
    if (operands.size() != 2 || operands[0] < 0) return {};
    const int64_t packing = writer(operands[1], kPack);
    const Part packed = packing < 0 ? Part{nullptr, nullptr} : read(packing);
    const int32_t sized = packed.size() ? measured(packed[0]) : -1;
    if (sized < 0) return {};
    Dims target = {-1};
    for (int64_t i = 1; i < packed.size(); i++) {
      const Dims length = columns_.whole_numbers(packed[i]);
      if (length.empty() || length[0] > INT32_MAX || length[0] < -1) return {};
      target.push_back(length[0]);
    }
    const auto open = std::find(target.begin() + 1, target.end(), -1);
    if (open != target.end() && sized == operands[0] && !close(*open, target, operands[0])) return {};
    return target.size() > 1 && *std::min_element(target.begin() + 1, target.end()) > 0 ? target : Dims();
  }

 private:
  Part read(int64_t place) const { return columns_.part(SECATEUR_READ, place); }

  // The operator of this kind that writes a tensor, or -1.
  int64_t writer(int32_t tensor, int32_t kind) const {
    const int64_t place = tensor < 0 ? -1 : columns_.writer(tensor);
    return place >= 0 && columns_.kind(place) == kind ? place : -1;
  }

  // The tensor whose first length a scalar is, shape(x)[0]; -1 for none.
  int32_t measured(int32_t scalar) {
    const int64_t slice = writer(scalar, kStridedSlice);
    if (slice < 0 || columns_.at(SECATEUR_OPTIONS_TYPE, slice) != kStridedSliceOptions.number) return -1;
    const int32_t options = columns_.at(SECATEUR_OPTIONS, slice);
    const Part operands = read(slice);
    if (options < 0 || operands.size() != 4 || Table(file_, kStridedSliceOptions.kind, options).word(4) != 1) return -1;
    const auto numbers = [&](int64_t i) { return columns_.whole_numbers(operands[i]); };
    if (numbers(1) != Dims{0} || numbers(2).empty() || numbers(3) != Dims{1}) return -1;
    const int64_t shape = writer(operands[0], kShape);
    return shape >= 0 && read(shape).size() ? read(shape)[0] : -1;
  }

  // Finds the length that is left open where the batch stays what it is: from all others of the tensor.
  bool close(int64_t& open, const Dims& target, int32_t source) const {
    const Part signature = columns_.part(SECATEUR_SIGNATURE, source), shape = columns_.shape(source);
    const Part all = signature.size() ? signature : shape;
    if (all.size() < 2) return false;
    const Part known{all.begin() + 1, all.end()};
    const int64_t values = known.least() > 0 ? known.product() : 0;
    int64_t others = 1;
    for (size_t i = 1; i < target.size(); i++) {
      if (&target[i] == &open) continue;
      if (target[i] < 1 || others > INT32_MAX) return false;
      others *= target[i];
    }
    if (!values || values % others || values / others > INT32_MAX) return false;
    open = values / others;
    return true;
  }

  const Columns& columns_;
  Flatbuffer file_;
};

}  // namespace

void Columns::find_targets() {
  const std::vector<int32_t>& kinds = column(SECATEUR_KIND);
  if (std::find(kinds.begin(), kinds.end(), kPack) == kinds.end()) return;
  Finder find(*this);
  for (int64_t place = 0; place < operators(); place++) {
    if (kind(place) != kReshape) continue;
    Dims target = find(place);
    if (target.empty()) continue;
    add(SECATEUR_TARGETS, place);
    add(SECATEUR_TARGETS, static_cast<int64_t>(target.size()));
    for (int64_t length : target) add(SECATEUR_TARGETS, length);
    targets_[static_cast<int32_t>(place)] = std::move(target);
  }
}

const Dims* Columns::target(int64_t place) const {
  const auto found = targets_.find(static_cast<int32_t>(place));
  return found == targets_.end() ? nullptr : &found->second;
}

}  // namespace secateur
