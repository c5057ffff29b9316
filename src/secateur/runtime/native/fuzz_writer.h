// Writes random files of a few operators.
#pragma once

#include <cstdint>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

// Writes a flatbuffer from its beginning to its end: tables before what they lead to.
class Writer {
 public:
  std::vector<uint8_t> bytes = std::vector<uint8_t>(8);

  void align(size_t width) {
    while (bytes.size() % width) bytes.push_back(0);
  }
  void word(int32_t value) {
    align(4);
    bytes.resize(bytes.size() + 4);
    std::memcpy(bytes.data() + bytes.size() - 4, &value, 4);
  }
  int32_t here() const { return static_cast<int32_t>(bytes.size()); }
  // Of fields of the given widths, 0 for those that are left out. Returns where the table is; places_ has where
  // the fields are.
  int32_t table(const std::vector<int>& widths) {
    align(4);
    std::vector<uint16_t> vtable = {static_cast<uint16_t>(4 + 2 * widths.size()), 0};
    uint16_t size = 4;
    for (int width : widths) {
      while (width && size % width) size++;
      vtable.push_back(width ? size : 0);
      size = static_cast<uint16_t>(size + width);
    }
    vtable[1] = size;
    const int32_t layout = here();
    bytes.resize(bytes.size() + vtable.size() * 2);
    std::memcpy(bytes.data() + layout, vtable.data(), vtable.size() * 2);
    align(8);
    const int32_t at = here();
    word(at - layout);
    bytes.resize(bytes.size() + size - 4);
    places_.clear();
    for (size_t i = 2; i < vtable.size(); i++) places_.push_back(vtable[i] ? at + vtable[i] : 0);
    return at;
  }
  std::vector<int32_t> places() const { return places_; }
  void lead_table(int32_t place, const std::vector<int>& widths) {
    const int32_t at = table(widths);
    set(place, at - place);
  }
  void set(int32_t place, int32_t value, size_t width = 4) {
    if (place) std::memcpy(bytes.data() + place, &value, width);
  }
  // The next thing is what a field leads to.
  void lead(int32_t place) {
    align(4);
    set(place, here() - place);
  }
  void words(int32_t place, const std::vector<int32_t>& values) {
    lead(place);
    word(static_cast<int32_t>(values.size()));
    for (int32_t value : values) word(value);
  }
  // A vector of so many tables that follow; returns where they are to be led to from.
  std::vector<int32_t> tables(int32_t place, size_t count) {
    lead(place);
    word(static_cast<int32_t>(count));
    std::vector<int32_t> found;
    for (size_t i = 0; i < count; i++) {
      found.push_back(here());
      word(0);
    }
    return found;
  }

 private:
  std::vector<int32_t> places_;
};

struct Tensor {
  std::vector<int32_t> shape;
  int type;                   // in the schema
  std::vector<int32_t> data;  // its values, as words
};
struct Step {
  int code, options;                // in the schema
  std::vector<int> widths, values;  // of the options
  std::vector<int32_t> reads, writes;
};

class File {
 public:
  explicit File(std::mt19937& random) : random_(random) {
    shape_ = {1, range(1, 9), range(1, 9), range(1, 6)};
    inputs = {add({shape_, 0, {}})};
    current_ = inputs[0];
    for (int i = range(1, 8); i > 0; i--) step();
  }

  int range(int first, int last) { return std::uniform_int_distribution<int>(first, last)(random_); }
  bool chance(int percent) { return range(0, 99) < percent; }

  std::vector<Tensor> tensors;
  std::vector<Step> steps;
  std::vector<int32_t> inputs, codes;

  // The bytes, and where the subgraph and the buffers are.
  std::vector<uint8_t> write(int64_t* graph, int64_t* buffers) {
    Writer w;
    *graph = w.table({4, 4, 4, 4});
    const std::vector<int32_t> fields = w.places();
    w.words(fields[1], inputs);
    w.words(fields[2], {current_});
    const std::vector<int32_t> all = w.tables(fields[0], tensors.size());
    for (size_t i = 0; i < tensors.size(); i++) {
      const bool quantized = chance(20);
      w.lead_table(all[i], {4, 1, 4, chance(80) ? 4 : 0, quantized ? 4 : 0, chance(3) ? 1 : 0});
      const std::vector<int32_t> f = w.places();
      w.set(f[1], tensors[i].type, 1);
      w.set(f[2], static_cast<int32_t>(i));
      w.words(f[0], tensors[i].shape);
      if (f[3]) w.words(f[3], {});
      if (quantized) {
        w.lead_table(f[4], {0, 0, 4, 4, 0, 0, 4});
        const std::vector<int32_t> q = w.places();
        w.words(q[2], {0x3f800000});
        w.words(q[3], {});
      }
    }
    const std::vector<int32_t> operators = w.tables(fields[3], steps.size());
    for (size_t i = 0; i < steps.size(); i++) {
      const Step& s = steps[i];
      w.lead_table(operators[i], {4, 4, 4, s.options ? 1 : 0, s.options ? 4 : 0});
      const std::vector<int32_t> f = w.places();
      w.set(f[0], static_cast<int32_t>(i));
      w.words(f[1], s.reads);
      w.words(f[2], s.writes);
      if (!s.options) continue;
      w.set(f[3], s.options, 1);
      w.lead_table(f[4], s.widths);
      const std::vector<int32_t> o = w.places();
      for (size_t j = 0; j < o.size(); j++) w.set(o[j], s.values[j], static_cast<size_t>(s.widths[j]));
    }
    w.align(4);
    *buffers = w.here();
    const std::vector<int32_t> stored = w.tables(0, tensors.size());
    for (size_t i = 0; i < tensors.size(); i++) {
      w.lead_table(stored[i], {4});
      const int32_t data = w.places()[0];
      w.lead(data);
      w.word(static_cast<int32_t>(tensors[i].data.size() * 4));
      for (int32_t word : tensors[i].data) w.word(word);
    }
    return w.bytes;
  }

 private:
  int32_t add(Tensor tensor) {
    tensors.push_back(std::move(tensor));
    return static_cast<int32_t>(tensors.size()) - 1;
  }
  int32_t numbers(const std::vector<int32_t>& values) {
    return add({{static_cast<int32_t>(values.size())}, 2, values});
  }
  // Floats of the given shape, some of them 0.
  int32_t kernel(const std::vector<int32_t>& shape) {
    int32_t count = 1;
    for (int32_t length : shape) count *= length;
    if (chance(20)) {  // float16, unpacked by an operator
      const int32_t packed = add({shape, 1, std::vector<int32_t>(static_cast<size_t>(count + 1) / 2)});
      const int32_t whole = add({shape, 0, {}});
      codes.push_back(6);
      steps.push_back({6, 0, {}, {}, {packed}, {whole}});
      return whole;
    }
    std::vector<int32_t> data;
    for (int32_t i = 0; i < count; i++) data.push_back(chance(70) ? 0 : 0x3f800000 + range(0, 1000));
    return add({shape, 0, data});
  }

  // A random operator that mostly fits; the file says of its output whatever it likes.
  void step() {
    const int32_t x = current_;
    const std::vector<int32_t>& s = shape_;
    const bool image = s.size() == 4;
    Step next{0, 0, {}, {}, {x}, {}};
    const int kind = image ? range(0, 15) : range(4, 15);
    if (kind == 0) {
      next = {3, 1, {1, 4, 4, 1}, {range(0, 1), range(1, 2), range(1, 2), 0}, {x}, {}};
      next.reads.push_back(kernel({range(1, 8), range(1, 3), range(1, 3), s[3]}));
      if (chance(50)) next.reads.push_back(kernel({tensors.back().shape[0]}));
    } else if (kind == 1) {
      next = {4, 2, {1, 4, 4, 4, 1}, {0, range(1, 2), range(1, 2), 1, 0}, {x, kernel({1, 3, 3, s[3]})}, {}};
    } else if (kind == 2) {
      next = {17, 5, {1, 4, 4, 4, 4}, {range(0, 1), 1, 2, range(1, 3), range(1, 3)}, {x}, {}};
    } else if (kind == 3) {
      next = {23, 0, {}, {}, {x, numbers({range(1, 9), range(1, 9)})}, {}};
    } else if (kind == 4) {
      next = {9, 8, {1, 1, 1}, {0, 0, 1}, {x, kernel({range(1, 5), s.back()})}, {}};
    } else if (kind == 5) {
      next = {0, 0, {}, {}, {x, chance(50) ? x : kernel({s.back()})}, {}};
    } else if (kind == 6) {
      next = {40, 27, {1}, {range(0, 1)}, {x, numbers({range(-1, static_cast<int>(s.size()) - 1)})}, {}};
    } else if (kind == 7) {
      next = {2, 10, {4, 1}, {-1, 0}, {x, x}, {}};
    } else if (kind == 8) {
      std::vector<int32_t> pads;
      for (size_t i = 0; i < 2 * s.size(); i++) pads.push_back(range(0, 2));
      next = {34, 0, {}, {}, {x, numbers(pads)}, {}};
    } else if (kind == 9) {
      next = {22, 0, {}, {}, {x, numbers({range(-1, 1), -1})}, {}};
    } else if (kind == 10) {
      next = {70, 0, {}, {}, {x, numbers({range(-1, 1)})}, {}};
    } else if (kind == 11) {
      next = {range(0, 1) ? 19 : 43, chance(50) ? 30 : 0, {}, {}, {x}, {}};
    } else if (kind == 12) {
      static const int functions[] = {14, 20, 21, 28, 75, 101, 117};
      next = {functions[range(0, 6)], 0, {}, {}, {x}, {}};
    } else if (kind == 13) {
      next = {25, 9, {4}, {0x3f800000}, {x}, {}};
    } else if (kind == 14) {  // what was there before, mostly of another shape, or x * sigmoid(x)
      const int32_t other = steps.empty() || chance(30) ? x : steps.back().reads[0];
      next = {chance(50) ? 0 : 18, 0, {1}, {range(0, 4)}, {chance(50) ? x : other, other}, {}};
      next.options = next.code ? 21 : 11;
    } else {
      std::vector<int32_t> from(s.size(), 0);
      next = {65, 0, {}, {}, {x, numbers(from), numbers(s)}, {}};
    }
    // What comes next is made for what a rule would make of it, as far as it is known here.
    if (kind == 0) shape_ = {1, s[1], s[2], tensors[static_cast<size_t>(next.reads[1])].shape[0]};
    if (kind == 4) shape_.back() = tensors[static_cast<size_t>(next.reads[1])].shape[0];
    if (kind == 7) shape_.back() *= 2;
    if (kind == 9) shape_ = {1, 1};
    current_ = add({shape_, 0, {}});
    next.writes = {current_};
    codes.push_back(next.code);
    steps.push_back(std::move(next));
  }

  std::mt19937& random_;
  std::vector<int32_t> shape_;
  int32_t current_;
};
