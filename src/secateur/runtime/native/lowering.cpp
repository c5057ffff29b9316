#include "lowering.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

#include "refuse.h"

namespace secateur {

using namespace tflite;

// No image is larger: its values are counted in 32 bits.
static constexpr int64_t kMostValues = int64_t{1} << 29;

Lowering::Lowering(const Columns& columns, const Preparation* ahead, Constants& constants)
    : columns_(columns), ahead_(ahead), constants_(constants), file_(columns.file().data(), columns.file().bytes()) {
  const std::vector<int32_t>&lengths = columns.column(SECATEUR_INFERRED_LENGTH),
      &words = columns.column(SECATEUR_INFERRED);
  if (static_cast<int64_t>(lengths.size()) != columns.tensors()) refuse("Shapes are not known yet");
  const int32_t* at = words.data();
  for (int32_t length : lengths) {
    const int32_t count = std::max(length, 0);
    shapes_.push_back({at, at + count});
    known_.push_back(length >= 0);
    at += count;
  }
  const std::vector<int32_t>& inputs = columns.column(SECATEUR_INPUTS);
  const Part* const first = inputs.empty() ? nullptr : shape(inputs[0]);
  if (first && first->size()) batch_ = (*first)[0];
}

// Null where it is not known.
const Part* Lowering::shape(int32_t tensor) const {
  const auto i = static_cast<size_t>(tensor);
  return known_[i] ? &shapes_[i] : nullptr;
}

// 0 where its shape is not known, or it is not of float32.
int64_t Lowering::rank(int32_t tensor) const {
  const Part* const found = shape(tensor);
  return found && columns_.at(SECATEUR_TYPE, tensor) == kFloat32 ? found->size() : 0;
}

double Lowering::count(int32_t tensor) const {
  const Part* const found = shape(tensor);
  double count = 1;
  if (found)
    for (int32_t length : *found) count *= length;
  return count;
}

// A tensor as one image for each of the batch.
Shape Lowering::image(int32_t tensor) const {
  need(tensor >= 0, Reason::kKind);
  need(columns_.at(SECATEUR_TYPE, tensor) == kFloat32, Reason::kType);
  const Part* const found = shape(tensor);
  need(found, Reason::kUnknown);
  const Part& dims = *found;
  const int64_t rank = dims.size();
  need(2 <= rank && rank <= 4 && dims.least() > 0, Reason::kShape);
  need(dims[0] == batch_ && dims.product() <= kMostValues, Reason::kShape);
  return {dims[rank - 1], rank == 4 ? dims[1] : 1, rank > 2 ? dims[rank - 2] : 1};
}

// Of an operator of so many operands, of which the first are images.
Images Lowering::images(int64_t place, int64_t operands, int64_t data) const {
  const Part all = reads(place);
  need(all.size() == operands && data > 0 && data <= operands, Reason::kKind);
  Images found;
  for (int64_t i = 0; i < data; i++) need(all[i] >= 0 && !columns_.is_constant(all[i]), Reason::kKind);
  for (int64_t i = 0; i < data; i++) {
    found.inputs.push_back(all[i]);
    found.sources.push_back(image(all[i]));
  }
  found.output = output(place);
  found.target = image(found.output);
  return found;
}

Table Lowering::options(int64_t place, const Options& expected) {
  const int32_t at = columns_.at(SECATEUR_OPTIONS, place);
  need(at >= 0 && columns_.at(SECATEUR_OPTIONS_TYPE, place) == expected.number, Reason::kOptions);
  try {
    return Table(file_, expected.kind, at);
  } catch (const std::invalid_argument&) {  // damaged, or of a later version; LiteRT looks at it as well
    throw NotNative{Reason::kOptions};
  }
}

secateur_activation fused(int32_t number) {
  switch (number) {
    case 0: return kIdentity;
    case 1: return {SECATEUR_CLAMP, 0, INFINITY};
    case 2: return {SECATEUR_CLAMP, -1, 1};
    case 3: return {SECATEUR_CLAMP, 0, 6};
    case 4: return {SECATEUR_TANH, 0, 0};
    default: throw NotNative{Reason::kOptions};
  }
}

std::unique_ptr<Lowered> Lowering::operator()(int64_t place) {
  const int32_t kind = columns_.kind(place);
  const bool one = columns_.part(SECATEUR_WRITE, place).size() == 1;
  const auto lower = [&]() -> std::unique_ptr<Lowered> {
    switch (kind) {
      case kConv: return convolution(place, false);
      case kDepthwiseConv: return convolution(place, true);
      case kFullyConnected: return fully_connected(place);
      case kAdd: return pair(place, SECATEUR_ADD, &kAddOptions);
      case kSub: return pair(place, SECATEUR_SUB, &kSubOptions);
      case kMul: return pair(place, SECATEUR_MUL, &kMulOptions);
      case kDiv: return pair(place, SECATEUR_DIV, &kDivOptions);
      case kMaximum: return pair(place, SECATEUR_MAXIMUM, nullptr);
      case kMinimum: return pair(place, SECATEUR_MINIMUM, nullptr);
      case kSquaredDifference: return pair(place, SECATEUR_SQUARED_DIFFERENCE, nullptr);
      case kMaxPool:
      case kAveragePool: return pool(place);
      case kMean: return mean(place);
      case kResizeBilinear: return resize(place, true);
      case kResizeNearest: return resize(place, false);
      case kConcatenation: return concatenation(place);
      case kPad:
      case kPadV2: return pad(place);
      case kSlice: return slice(place);
      case kReshape:
      case kSqueeze:
      case kExpandDims: return reshape(place);
      case kSoftmax: return softmax(place);
      default: return function(place);
    }
  };
  need(one, Reason::kKind);
  return lower();
}

std::unique_ptr<Lowered> Lowering::function(int64_t place) {
  secateur_activation found{SECATEUR_IDENTITY, 0, 0};
  switch (columns_.kind(place)) {
    case kRelu: found = fused(1); break;
    case kReluN1To1: found = fused(2); break;
    case kRelu6: found = fused(3); break;
    case kLogistic: found.function = SECATEUR_SIGMOID; break;
    case kTanh: found.function = SECATEUR_TANH; break;
    case kHardSwish: found.function = SECATEUR_HARD_SWISH; break;
    case kElu: found.function = SECATEUR_ELU; break;
    case kAbs: found.function = SECATEUR_ABS; break;
    case kSquare: found.function = SECATEUR_SQUARE; break;
    case kExp: found.function = SECATEUR_EXP; break;
    case kSqrt: found.function = SECATEUR_SQRT; break;
    case kRsqrt: found.function = SECATEUR_RSQRT; break;
    case kNeg: found.function = SECATEUR_NEG; break;
    case kLeakyRelu:
      found = {SECATEUR_LEAKY_RELU, options(place, kLeakyReluOptions).number(0), 0};
      need(std::isfinite(found.a), Reason::kOptions);
      break;
    case kGelu:
      found.function = options(place, kGeluOptions).byte(0) ? SECATEUR_GELU_TANH : SECATEUR_GELU;
      break;
    default: throw NotNative{Reason::kKind};
  }
  Images all = images(place, 1);
  need(all.sources[0] == all.target, Reason::kShape);
  return std::make_unique<Function>(std::move(all), found);
}

std::unique_ptr<Lowered> Lowering::swish(int64_t sigmoid, int64_t product) {
  need(!options(product, kMulOptions).byte(0), Reason::kOptions);
  Images all = images(sigmoid, 1);
  const Shape between = all.target;
  all.output = output(product);
  all.target = image(all.output);
  need(all.sources[0] == between && between == all.target, Reason::kShape);
  return std::make_unique<Function>(std::move(all), secateur_activation{SECATEUR_SWISH, 0, 0});
}

std::unique_ptr<Lowered> Lowering::pair(int64_t place, int32_t function, const Options* expected) {
  const Part both = reads(place);
  need(both.size() == 2 && both.least() >= 0, Reason::kKind);
  const secateur_activation activation = expected ? fused(options(place, *expected).byte(0)) : kIdentity;
  Images all;
  all.output = output(place);
  all.target = image(all.output);
  const int64_t ranks = rank(all.output);
  std::unique_ptr<Pair::Constant> constants[2];
  for (int i = 0; i < 2; i++) {
    Shape shape;
    if (columns_.is_constant(both[i])) {
      constants[i] = constant(both[i], ranks);
      shape = constants[i]->shape;
    } else {
      need(rank(both[i]) == ranks, Reason::kShape);
      shape = image(both[i]);
      all.inputs.push_back(both[i]);
      all.sources.push_back(shape);
    }
    const bool pixels = (shape.height == all.target.height && shape.width == all.target.width) || shape.pixels() == 1;
    need(pixels && (shape.channels == all.target.channels || shape.channels == 1), Reason::kBroadcast);
  }
  // The library broadcasts one operand; of two that grow together each would need it.
  need(std::find(all.sources.begin(), all.sources.end(), all.target) != all.sources.end(), Reason::kBroadcast);
  return std::make_unique<Pair>(std::move(all), function, activation, std::move(constants[0]),
                                std::move(constants[1]));
}

// An operand as an image that is the same for each of the batch.
std::unique_ptr<Pair::Constant> Lowering::constant(int32_t tensor, int64_t rank) {
  const Array values = constants_.values(tensor);
  need(values.data, Reason::kType);
  const Part dims = columns_.shape(columns_.source(tensor));
  need(dims.size() <= rank && values.count > 0 && values.count == dims.product(), Reason::kBroadcast);
  std::vector<int32_t> full(static_cast<size_t>(rank - dims.size()), 1);
  full.insert(full.end(), dims.begin(), dims.end());
  need(rank >= 2 && full[0] == 1, Reason::kBroadcast);
  const Shape shape{full.back(), rank == 4 ? full[1] : 1, rank > 2 ? full[static_cast<size_t>(rank - 2)] : 1};
  return std::make_unique<Pair::Constant>(
      Pair::Constant{shape, std::vector<float>(values.data, values.data + values.count)});
}

std::unique_ptr<Lowered> Lowering::pool(int64_t place) {
  const Table o = options(place, kPoolOptions);
  Images all = images(place, 1);
  need(all.sources[0].channels == all.target.channels, Reason::kShape);
  const secateur_window asked{o.word(4), o.word(3), o.word(2), o.word(1), 1, 1, 0, 0, 0, 0};
  const secateur_window window = padded(asked, o.byte(0), all.sources[0], all.target);
  const int32_t function = columns_.kind(place) == kMaxPool ? SECATEUR_MAX_POOL : SECATEUR_AVERAGE_POOL;
  return std::make_unique<Pooling>(std::move(all), function, window, fused(o.byte(5)));
}

std::unique_ptr<Lowered> Lowering::mean(int64_t place) {
  Images all = images(place, 2);
  const int64_t ranks = rank(reads(place)[0]);
  Dims axes = columns_.whole_numbers(reads(place)[1]), pixels(static_cast<size_t>(ranks - 2));
  for (int64_t& axis : axes) axis = (axis % ranks + ranks) % ranks;
  std::sort(axes.begin(), axes.end());
  std::iota(pixels.begin(), pixels.end(), 1);
  need(axes == pixels && ranks > 2, Reason::kOptions);
  need(all.target == Shape{all.sources[0].channels, 1, 1}, Reason::kShape);
  return std::make_unique<Simple>(std::move(all), Simple::kMean);
}

std::unique_ptr<Lowered> Lowering::resize(int64_t place, bool bilinear) {
  const Table o = options(place, bilinear ? kBilinearOptions : kNearestOptions);
  const int field = bilinear ? 2 : 0;
  const bool corners = o.byte(field), centers = o.byte(field + 1);
  Images all = images(place, 2);
  need(rank(all.output) == 4 && all.sources[0].channels == all.target.channels, Reason::kShape);
  need(!(corners && centers), Reason::kOptions);
  return std::make_unique<Resizing>(std::move(all), bilinear ? SECATEUR_BILINEAR : SECATEUR_NEAREST, corners, centers);
}

std::unique_ptr<Lowered> Lowering::concatenation(int64_t place) {
  const Table o = options(place, kConcatenationOptions);
  Images all = images(place, reads(place).size(), reads(place).size());
  const int32_t axis = o.word(0);
  need((axis == -1 || axis == rank(all.output) - 1) && !o.byte(1), Reason::kOptions);
  int64_t channels = 0;
  for (const Shape& each : all.sources) {
    need(each.height == all.target.height && each.width == all.target.width, Reason::kShape);
    channels += each.channels;
  }
  need(channels == all.target.channels, Reason::kShape);
  return std::make_unique<Simple>(std::move(all), Simple::kConcatenation);
}

std::unique_ptr<Lowered> Lowering::pad(int64_t place) {
  Images all = images(place);
  const Part operands = reads(place);
  float fill = 0;
  if (columns_.kind(place) == kPadV2) {
    need(operands.size() == 3 && operands[2] >= 0, Reason::kOptions);
    const Array value = constants_.values(operands[2], 1);
    need(value.data && value.count == 1, Reason::kOptions);
    fill = value.data[0];
  }
  const int64_t ranks = rank(operands[0]);
  const Dims found = operands.size() > 1 ? columns_.whole_numbers(operands[1]) : Dims();
  need(static_cast<int64_t>(found.size()) == 2 * ranks, Reason::kOptions);
  for (int64_t each : found) need(0 <= each && each <= INT32_MAX, Reason::kOptions);
  need(!found[0] && !found[1], Reason::kOptions);
  // Before an axis that is counted from behind, and on both sides.
  const auto before = [&](int64_t axis) { return static_cast<int32_t>(found[static_cast<size_t>(2 * (ranks - axis))]); };
  const auto both = [&](int64_t axis) { return before(axis) + found[static_cast<size_t>(2 * (ranks - axis) + 1)]; };
  const Shape from = all.sources[0], first{before(1), ranks == 4 ? before(3) : 0, ranks > 2 ? before(2) : 0};
  need(from.channels + both(1) == all.target.channels, Reason::kShape);
  need(from.height + (ranks == 4 ? both(3) : 0) == all.target.height, Reason::kShape);
  need(from.width + (ranks > 2 ? both(2) : 0) == all.target.width, Reason::kShape);
  return std::make_unique<Padding>(std::move(all), first, fill);
}

std::unique_ptr<Lowered> Lowering::slice(int64_t place) {
  Images all = images(place, 3);
  const Dims found = columns_.whole_numbers(reads(place)[1]);
  const auto ranks = static_cast<size_t>(rank(all.output));
  need(found.size() == ranks && !found[0], Reason::kOptions);
  const auto begin = [&](int64_t number, int32_t length, int32_t whole) {
    need(0 <= number && number <= int64_t{whole} - length, Reason::kShape);
    return static_cast<int32_t>(number);
  };
  const Shape from = all.sources[0], to = all.target;
  const Shape first{begin(found[ranks - 1], to.channels, from.channels),
                    begin(ranks == 4 ? found[1] : 0, to.height, from.height),
                    begin(ranks > 2 ? found[ranks - 2] : 0, to.width, from.width)};
  return std::make_unique<Slice>(std::move(all), first);
}

std::unique_ptr<Lowered> Lowering::reshape(int64_t place) {
  Images all = images(place);
  need(all.sources[0].size() == all.target.size(), Reason::kShape);
  return std::make_unique<Simple>(std::move(all), Simple::kReshape);
}

std::unique_ptr<Lowered> Lowering::softmax(int64_t place) {
  Images all = images(place, 1);
  const float beta = options(place, kSoftmaxOptions).number(0);
  need(all.sources[0] == all.target && std::isfinite(beta), Reason::kShape);
  return std::make_unique<Softmax>(std::move(all), beta);
}

}  // namespace secateur
