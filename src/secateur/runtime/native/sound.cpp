// Whether what a file says of tensors and operators can be. `check_columns` in litert/_check.py and `check_sound` in
// runtime/_sound.py ask the same, and say what is wrong; where this refuses a file, they are asked.
#include <algorithm>

#include "columns.h"
#include "refuse.h"
#include "tflite.h"

namespace secateur {

using namespace tflite;

static constexpr int64_t kMostValues = int64_t{1} << 40;

// Operators that give numbers of the type that they take.
static bool keeps_type(int32_t kind) {
  switch (kind) {
    case kAdd: case kAveragePool: case kConcatenation: case kConv: case kDepthwiseConv: case kDepthToSpace:
    case kFloor: case kFullyConnected: case kL2Normalization: case kLogistic: case kMaxPool: case kMul: case kRelu:
    case kReluN1To1: case kRelu6: case kReshape: case kResizeBilinear: case kSoftmax: case kSpaceToDepth: case kTanh:
    case kPad: case kTranspose: case kMean: case kSub: case kDiv: case kSqueeze: case kStridedSlice: case kExp:
    case kLogSoftmax: case kPrelu: case kMaximum: case kMinimum: case kNeg: case kPadV2: case kSlice: case kSin:
    case kTransposeConv: case kTile: case kExpandDims: case kLog: case kSum: case kSqrt: case kRsqrt: case kPow:
    case kReduceMax: case kPack: case kUnpack: case kReduceMin: case kSquare: case kResizeNearest: case kLeakyRelu:
    case kSquaredDifference: case kMirrorPad: case kAbs: case kCeil: case kCos: case kElu: case kRound:
    case kHardSwish: case kBatchMatmul: case kBroadcastTo: case kGelu:
      return true;
    default: return false;
  }
}

// What signatures and metadata refer to.
void Columns::check_head() const {
  for (int32_t tensor : head_.tensors)
    if (tensor < 0 || tensor >= tensors()) refuse("There is no such tensor", "tensor", tensor);
  for (int32_t buffer : head_.metadata)
    if (buffer < 0 || buffer >= static_cast<int64_t>(buffers_.size())) refuse("There is no such buffer", "buffer", buffer);
}

void Columns::check_tensor(int64_t tensor) const {
  const Part lengths = shape(tensor), open = part(SECATEUR_SIGNATURE, tensor);
  if ((lengths.size() && lengths.least() < 0) || (open.size() && open.least() < -1))
    refuse("A length is negative", "tensor", tensor);
  if (open.size() && open.size() != lengths.size()) refuse("A tensor has two ranks", "tensor", tensor);
  const int64_t size = lengths.product(), bytes = at(SECATEUR_DATA_LENGTH, tensor);
  if (size > kMostValues) refuse("A tensor has too many values", "tensor", tensor);
  check_quantization(tensor);
  const int32_t bits = bits_of(at(SECATEUR_TYPE, tensor));
  const bool sparse = at(SECATEUR_FLAGS, tensor) & SECATEUR_SPARSE;
  if (bytes && bits && !sparse && bytes * 8 / bits < size) refuse("A tensor lacks values", "tensor", tensor);
}

void Columns::check_quantization(int64_t tensor) const {
  const auto found = quantizations_.find(static_cast<int32_t>(tensor));
  if (found == quantizations_.end()) return;
  const Quantization& q = found->second;
  const int64_t scales = q.scales.count, zeros = q.zeros.count;
  if (scales > 1 && (q.axis < 0 || q.axis >= shape(tensor).size() || shape(tensor)[q.axis] != scales))
    refuse("A quantized axis has another length", "tensor", tensor);
  if (zeros > 1 && zeros != scales) refuse("There are not as many zero points as scales", "tensor", tensor);
}

bool Columns::needs_no_writer(int64_t tensor) const {
  return at(SECATEUR_DATA_LENGTH, tensor) || at(SECATEUR_FLAGS, tensor) & SECATEUR_VARIABLE ||
         !shape(tensor).product();
}

// What is read is there, has been written by then or never is, and is written once.
void Columns::check_order() const {
  enum { kNever, kLater, kNow };
  std::vector<char> written(static_cast<size_t>(tensors()));
  const auto state = [&](int32_t tensor) -> char& { return written[static_cast<size_t>(tensor)]; };
  const auto check = [&](int32_t tensor, int32_t least) {
    if (tensor < least || tensor >= tensors()) refuse("There is no such tensor", "tensor", tensor);
  };
  for (int32_t tensor : column(SECATEUR_WRITE)) {
    check(tensor, -1);
    if (tensor < 0) continue;
    if (state(tensor) == kLater) refuse("Two operators write a tensor", "tensor", tensor);
    if (at(SECATEUR_DATA_LENGTH, tensor)) refuse("An operator writes a constant", "tensor", tensor);
    state(tensor) = kLater;
  }
  for (int32_t tensor : column(SECATEUR_INPUTS)) {
    check(tensor, 0);
    state(tensor) = kNow;
  }
  const auto read = [&](int32_t tensor) {
    if (state(tensor) == kLater) refuse("A tensor is read before it is written", "tensor", tensor);
    if (state(tensor) == kNever && !needs_no_writer(tensor)) refuse("Nothing writes a tensor", "tensor", tensor);
  };
  for (int64_t place = 0; place < operators(); place++) {
    for (int32_t tensor : part(SECATEUR_READ, place)) {
      check(tensor, -1);
      if (tensor >= 0) read(tensor);
    }
    for (int32_t tensor : part(SECATEUR_WRITE, place))
      if (tensor >= 0) state(tensor) = kNow;
  }
  for (int32_t tensor : column(SECATEUR_OUTPUTS)) {
    check(tensor, 0);
    read(tensor);
  }
}

void Columns::check_operator(int64_t place) const {
  const int32_t kind = this->kind(place);
  const Part reads = part(SECATEUR_READ, place), writes = part(SECATEUR_WRITE, place);
  if (keeps_type(kind)) check_types(reads, writes, kind == kTransposeConv ? 2 : 0);
  if (kind == kDensify || kind == kDequantize) check_unpacking(reads, writes, kind == kDensify);
  if (kind == kConv || kind == kFullyConnected) check_weights(reads, 0);
  if (kind == kDepthwiseConv) check_weights(reads, 3);
}

void Columns::check_types(const Part& reads, const Part& writes, int64_t data) const {
  if (reads.size() <= data || reads[data] < 0) refuse("An operator lacks an operand");
  const bool floats = at(SECATEUR_TYPE, reads[data]) == kFloat32;
  for (int32_t tensor : writes) {
    if (tensor < 0) continue;
    const int32_t type = at(SECATEUR_TYPE, tensor);
    if (floats != (type == kFloat32) || type == kResource || type == kVariant)
      refuse("An operator takes and gives other types", "tensor", tensor);
  }
}

void Columns::check_unpacking(const Part& reads, const Part& writes, bool dense) const {
  if (reads.size() != 1 || writes.size() != 1 || reads[0] < 0 || writes[0] < 0)
    refuse("An operator has another number of operands");
  const int32_t source = reads[0], target = writes[0];
  if (at(SECATEUR_DATA_LENGTH, source) && !(shape(source) == shape(target)))
    refuse("A constant is unpacked to another shape", "tensor", target);
  const int32_t type = dense ? at(SECATEUR_TYPE, source) : int32_t{kFloat32};
  if (at(SECATEUR_TYPE, target) != type) refuse("A constant is unpacked to another type", "tensor", target);
}

void Columns::check_weights(const Part& reads, int64_t axis) const {
  if (reads.size() < 2 || reads[1] < 0) refuse("An operator lacks its weights");
  const Part kernel = shape(reads[1]);
  if (kernel.size() <= axis || kernel.least() < 1) refuse("Weights have no such axis", "tensor", reads[1]);
  if (reads.size() > 2 && reads[2] >= 0 && shape(reads[2]).product() != kernel[axis])
    refuse("A bias has another length", "tensor", reads[2]);
}

}  // namespace secateur
