// The shapes that the operators of a file make of those of its inputs, by TFLite's rules.
#include <algorithm>
#include <cstring>
#include <optional>

#include "columns.h"
#include "options.h"
#include "refuse.h"
#include "tflite.h"

namespace secateur {
namespace {

using namespace tflite;

constexpr int64_t kMostValues = int64_t{1} << 40;

void need(bool so) {
  if (!so) refuse("There is no rule for what an operator makes of such shapes");
}

int64_t product(const Dims& dims) {
  int64_t product = 1;
  for (int64_t length : dims) {
    need(length >= 0 && (!length || product <= kMostValues / length));
    product *= length;
  }
  return product;
}

// Axes, which may be counted from behind, as a flag for each.
std::vector<bool> flags(const Dims& axes, int64_t rank) {
  std::vector<bool> found(static_cast<size_t>(rank));
  for (int64_t axis : axes) {
    need(-rank <= axis && axis < rank);
    found[static_cast<size_t>(axis < 0 ? axis + rank : axis)] = true;
  }
  return found;
}

// One operator.
class Rule {
 public:
  Rule(const Columns& columns, Flatbuffer& file, int64_t place, const std::vector<std::optional<Dims>>& shapes)
      : columns_(columns), file_(file), place_(place), target_(columns.target(place)), reads_(columns.part(SECATEUR_READ, place)) {
    for (int64_t i = 0; i < reads_.size(); i++) {
      // Only the last ones may be left out, as a bias is.
      need(reads_[i] >= 0 || i > 1);
      if (reads_[i] < 0 || (target_ && i == 1)) continue;
      const auto& shape = shapes[static_cast<size_t>(reads_[i])];
      need(shape.has_value());
      operands_.push_back(&*shape);
    }
    need(!operands_.empty());
  }

  // None for operators of which nothing is known here.
  std::optional<Dims> output() const {
    switch (columns_.kind(place_)) {
      case kConv: {
        const Dims& kernel = image(1);
        return windowed(options(kConvOptions), {1, 2, 4, 5}, kernel[1], kernel[2], kernel[0]);
      }
      case kDepthwiseConv: {
        const Dims& kernel = image(1);
        return windowed(options(kDepthwiseOptions), {1, 2, 5, 6}, kernel[1], kernel[2], kernel[3]);
      }
      case kMaxPool:
      case kAveragePool: {
        const Table pool = options(kPoolOptions);
        return windowed(pool, {1, 2, -1, -1}, pool.word(4), pool.word(3), image(0)[3]);
      }
      case kFullyConnected: return dense();
      case kAdd:
      case kSub:
      case kMul:
      case kDiv:
      case kMaximum:
      case kMinimum:
      case kSquaredDifference: return broadcast();
      case kMean: return mean();
      case kResizeBilinear:
      case kResizeNearest: {
        const Dims size = numbers(1), &from = image(0);
        need(size.size() == 2 && size[0] > 0 && size[1] > 0);
        return Dims{from[0], size[0], size[1], from[3]};
      }
      case kConcatenation: return concatenation();
      case kPad:
      case kPadV2: return pad();
      case kSlice: return slice();
      case kReshape: return reshape();
      case kSqueeze: return squeeze();
      case kExpandDims: return expand();
      case kLogistic:
      case kRelu:
      case kReluN1To1:
      case kRelu6:
      case kSoftmax:
      case kTanh:
      case kExp:
      case kNeg:
      case kSqrt:
      case kRsqrt:
      case kSquare:
      case kLeakyRelu:
      case kAbs:
      case kElu:
      case kHardSwish:
      case kGelu:
      case kDequantize:
      case kDensify: return operand(0);
      default: return std::nullopt;
    }
  }

 private:
  const Dims& operand(size_t i) const {
    need(i < operands_.size());
    return *operands_[i];
  }
  const Dims& image(size_t i) const {
    need(operand(i).size() == 4);
    return operand(i);
  }
  Table options(const Options& expected) const {
    const auto place = static_cast<size_t>(place_);
    const int32_t at = columns_.column(SECATEUR_OPTIONS)[place];
    need(at >= 0 && columns_.column(SECATEUR_OPTIONS_TYPE)[place] == expected.number);
    return Table(file_, expected.kind, at);
  }
  Dims words(const Table& table, int field) const {
    const Vector found = table.vector(field, 4);
    Dims numbers;
    for (int64_t i = 0; i < found.count; i++) numbers.push_back(file_.word(found.begin + 4 * i));
    return numbers;
  }
  // The values of an operand that is a constant of whole numbers.
  Dims numbers(int64_t i) const {
    if (target_ && i == 1) return *target_;
    need(i < reads_.size() && columns_.has_whole_numbers(reads_[i]));
    return columns_.whole_numbers(reads_[i]);
  }

  // Fields are those of the strides and dilations along the width and the height.
  Dims windowed(const Table& o, std::array<int, 4> fields, int64_t height, int64_t width, int64_t channels) const {
    const Dims& from = image(0);
    const int32_t padding = o.byte(0);
    const auto number = [&](int field, int32_t other) { return field < 0 || !o.has(field) ? other : o.word(field); };
    const auto length = [&](int64_t all, int64_t kernel, int64_t stride, int64_t dilation) {
      need(kernel > 0 && stride > 0 && dilation > 0 && (padding == kSame || padding == kValid));
      const int64_t span = padding == kValid ? (kernel - 1) * dilation + 1 : 1;
      need(all >= span);
      return (all + stride - span) / stride;
    };
    return {from[0], length(from[1], height, number(fields[1], 0), number(fields[3], 1)),
            length(from[2], width, number(fields[0], 0), number(fields[2], 1)), channels};
  }

  Dims dense() const {
    const Dims &from = operand(0), &kernel = operand(1);
    need(kernel.size() == 2 && kernel[1] > 0);
    if (options(kDenseOptions).byte(2)) {
      need(!from.empty() && from.back() == kernel[1]);
      Dims to = from;
      to.back() = kernel[0];
      return to;
    }
    need(product(from) % kernel[1] == 0);
    return {product(from) / kernel[1], kernel[0]};
  }

  Dims broadcast() const {
    need(operands_.size() == 2);
    const Dims &left = operand(0), &right = operand(1);
    Dims to = left.size() < right.size() ? right : left;
    const Dims& other = left.size() < right.size() ? left : right;
    for (size_t i = 1; i <= other.size(); i++) {
      int64_t& length = to[to.size() - i];
      const int64_t its = other[other.size() - i];
      need(length == its || length == 1 || its == 1);
      length = length == 1 ? its : length;
    }
    return to;
  }

  Dims mean() const {
    const Dims &from = operand(0), axes = numbers(1);
    const bool keep = options(kMeanOptions).byte(0);
    need(!axes.empty());
    const std::vector<bool> gone = flags(axes, static_cast<int64_t>(from.size()));
    Dims to;
    for (size_t i = 0; i < from.size(); i++)
      if (!gone[i] || keep) to.push_back(gone[i] ? 1 : from[i]);
    return to;
  }

  Dims concatenation() const {
    Dims to = operand(0);
    const auto rank = static_cast<int64_t>(to.size());
    int64_t axis = options(kConcatenationOptions).word(0);
    need(-rank <= axis && axis < rank);
    axis = axis < 0 ? axis + rank : axis;
    for (size_t i = 1; i < operands_.size(); i++) {
      const Dims& other = operand(i);
      need(other.size() == to.size());
      for (int64_t j = 0; j < rank; j++) {
        const auto at = static_cast<size_t>(j);
        if (j == axis)
          to[at] += other[at];
        else
          need(to[at] == other[at]);
      }
    }
    return to;
  }

  Dims pad() const {
    Dims to = operand(0);
    const Dims pads = numbers(1);
    need(pads.size() == 2 * to.size());
    for (size_t i = 0; i < pads.size(); i++) {
      need(pads[i] >= 0 && pads[i] <= INT32_MAX);
      to[i / 2] += pads[i];
    }
    return to;
  }

  // LiteRT keeps to the file where a size is "all the rest".
  Dims slice() const {
    const Dims &from = operand(0), begin = numbers(1), size = numbers(2);
    need(begin.size() == from.size() && size.size() == from.size());
    for (size_t i = 0; i < from.size(); i++) need(begin[i] >= 0 && size[i] > 0 && size[i] <= from[i] - begin[i]);
    return size;
  }

  Dims reshape() const {
    Dims to;
    if (reads_.size() == 2) {
      need(target_ || operand(1).size() == 1);
      to = numbers(1);
    } else {
      const Table found = options(kReshapeOptions);
      need(found.has(0));
      to = words(found, 0);
    }
    const int64_t count = product(operand(0));
    if (std::count(to.begin(), to.end(), -1) == 1) {
      int64_t& open = *std::find(to.begin(), to.end(), -1);
      open = 1;
      const int64_t rest = product(to);
      need(rest > 0 && count % rest == 0);
      open = count / rest;
    }
    need(product(to) == count);
    return to;
  }

  Dims squeeze() const {
    const Dims &from = operand(0), named = words(options(kSqueezeOptions), 0);
    const std::vector<bool> axes = flags(named, static_cast<int64_t>(from.size()));
    Dims to;
    for (size_t i = 0; i < from.size(); i++) {
      need(!axes[i] || from[i] == 1);
      if (named.empty() ? from[i] != 1 : !axes[i]) to.push_back(from[i]);
    }
    return to;
  }

  Dims expand() const {
    Dims to = operand(0);
    const Dims axis = numbers(1);
    const auto rank = static_cast<int64_t>(to.size()) + 1;
    need(axis.size() == 1 && -rank <= axis[0] && axis[0] < rank);
    to.insert(to.begin() + (axis[0] < 0 ? axis[0] + rank : axis[0]), 1);
    return to;
  }

  const Columns& columns_;
  Flatbuffer& file_;
  int64_t place_;
  const Dims* target_;
  Part reads_;
  std::vector<const Dims*> operands_;
};

}  // namespace

void Columns::infer(const Lists& given, const Part& believed, int64_t known) {
  std::vector<std::optional<Dims>> shapes(static_cast<size_t>(tensors()));
  for (int64_t i = 0; i < tensors(); i++)
    if (at(SECATEUR_DATA_LENGTH, i)) shapes[static_cast<size_t>(i)] = Dims(shape(i).begin(), shape(i).end());
  const std::vector<int32_t>& inputs = column(SECATEUR_INPUTS);
  need(given.size() == inputs.size());
  for (size_t i = 0; i < inputs.size(); i++) {
    need(!given[i].size() || given[i].least() >= 0);
    shapes[static_cast<size_t>(inputs[i])] = Dims(given[i].begin(), given[i].end());
  }
  Flatbuffer file(file_.data(), file_.bytes());
  // Whether a tensor has the shape that it has in the file, and no other.
  const auto is_as_stored = [&](int32_t tensor) {
    const auto& found = shapes[static_cast<size_t>(tensor)];
    const Part stored = shape(tensor);
    return found && std::equal(found->begin(), found->end(), stored.begin(), stored.end());
  };
  for (int32_t place : column(SECATEUR_NEEDED)) {
    if (place >= known) break;
    const Part writes = part(SECATEUR_WRITE, place);
    const bool one = writes.size() == 1 && writes[0] >= 0;
    std::optional<Dims> output = one ? Rule(*this, file, place, shapes).output() : std::nullopt;
    if (output) {
      for (int64_t length : *output) need(length <= INT32_MAX);
      shapes[static_cast<size_t>(writes[0])] = std::move(output);
      continue;
    }
    need(std::binary_search(believed.begin(), believed.end(), place));
    for (int32_t tensor : part(SECATEUR_READ, place)) need(tensor < 0 || is_as_stored(tensor));
    for (int32_t tensor : writes) {
      need(tensor >= 0 && (!shape(tensor).size() || shape(tensor).least() >= 0));
      shapes[static_cast<size_t>(tensor)] = Dims(shape(tensor).begin(), shape(tensor).end());
    }
  }
  std::vector<int32_t>&lengths = columns_[SECATEUR_INFERRED_LENGTH], &words = columns_[SECATEUR_INFERRED];
  lengths.clear();
  words.clear();
  for (const auto& found : shapes) {
    lengths.push_back(found ? static_cast<int32_t>(found->size()) : -1);
    if (!found) continue;
    for (int64_t length : *found) words.push_back(static_cast<int32_t>(length));
  }
}

}  // namespace secateur
