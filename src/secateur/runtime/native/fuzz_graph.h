// Random files of a few operators.
#pragma once

#include <cstring>
#include <random>
#include <utility>
#include <vector>

#include "fuzz_writer.h"

// A level of a sparse tensor; without segments a dense one.
struct Level {
  int32_t length;
  std::vector<int32_t> segments, indices;
};
struct Tensor {
  std::vector<int32_t> shape;
  int type;                     // in the schema
  std::vector<int32_t> data;    // its values, as words
  int32_t bytes = -1;           // of them; all
  std::vector<Level> levels{};  // of a sparse one, with the axes' order, and that of blocks
  std::vector<int32_t> order{}, blocks{};
  int32_t scales = 0, axis = 0;
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

  std::vector<uint8_t> write() {
    Writer w;
    std::memcpy(w.bytes.data() + 4, "TFL3", 4);
    const bool signature = chance(30);
    const int32_t model = w.table({4, 4, 4, 0, 4, 0, 0, signature ? 4 : 0});
    std::memcpy(w.bytes.data(), &model, 4);
    const std::vector<int32_t> parts = w.places();
    w.set(parts[0], 3);
    const std::vector<int32_t> kinds = w.tables(parts[1], codes.size());
    for (size_t i = 0; i < codes.size(); i++) {
      w.lead_table(kinds[i], {1, 0, 4, 4});
      w.set(w.places()[0], codes[i], 1);
      w.set(w.places()[3], codes[i]);
    }
    if (signature) write_signature(w, parts[7]);
    write_graph(w, w.tables(parts[2], 1)[0]);
    const std::vector<int32_t> stored = w.tables(parts[4], tensors.size());
    for (size_t i = 0; i < tensors.size(); i++) {
      w.lead_table(stored[i], {4});
      const int32_t data = w.places()[0];
      w.lead(data);
      w.word(tensors[i].bytes < 0 ? static_cast<int32_t>(tensors[i].data.size() * 4) : tensors[i].bytes);
      for (int32_t word : tensors[i].data) w.word(word);
    }
    return w.bytes;
  }

 private:
  void write_signature(Writer& w, int32_t place) {
    w.lead_table(w.tables(place, 1)[0], {4, 4, 0, 0, 4});
    const std::vector<int32_t> f = w.places();
    for (int side = 0; side < 2; side++) {
      w.lead_table(w.tables(f[static_cast<size_t>(side)], 1)[0], {0, 4});
      w.set(w.places()[1], side ? current_ : inputs[0]);
    }
  }

  void write_graph(Writer& w, int32_t place) {
    w.lead_table(place, {4, 4, 4, 4});
    const std::vector<int32_t> fields = w.places();
    w.words(fields[1], inputs);
    w.words(fields[2], {current_});
    const std::vector<int32_t> all = w.tables(fields[0], tensors.size());
    for (size_t i = 0; i < tensors.size(); i++) {
      const Tensor& t = tensors[i];
      const bool quantized = t.scales || chance(20);
      w.lead_table(all[i], {4, 1, 4, chance(80) ? 4 : 0, quantized ? 4 : 0, chance(3) ? 1 : 0, t.levels.empty() ? 0 : 4});
      const std::vector<int32_t> f = w.places();
      w.set(f[1], t.type, 1);
      w.set(f[2], static_cast<int32_t>(i));
      w.words(f[0], t.shape);
      if (f[3]) w.words(f[3], {});
      if (quantized) {
        w.lead_table(f[4], {0, 0, 4, 4, 0, 0, 4});
        const std::vector<int32_t> q = w.places();
        w.words(q[2], std::vector<int32_t>(static_cast<size_t>(t.scales ? t.scales : 1), 0x3f800000));
        w.words(q[3], {});
        w.set(q[6], t.axis);
      }
      if (f[6]) write_sparsity(w, f[6], t);
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
  }

  void write_sparsity(Writer& w, int32_t place, const Tensor& t) {
    w.lead_table(place, {4, t.blocks.empty() ? 0 : 4, 4});
    const std::vector<int32_t> f = w.places();
    w.words(f[0], t.order);
    if (f[1]) w.words(f[1], t.blocks);
    const std::vector<int32_t> tables = w.tables(f[2], t.levels.size());
    for (size_t i = 0; i < tables.size(); i++) {
      const Level& level = t.levels[i];
      if (level.segments.empty()) {
        w.lead_table(tables[i], {1, 4});
        w.set(w.places()[1], level.length);
        continue;
      }
      w.lead_table(tables[i], {1, 0, 1, 4, 1, 4});
      const std::vector<int32_t> l = w.places();
      w.set(l[0], 1, 1);
      write_indices(w, l[2], l[3], level.segments);
      write_indices(w, l[4], l[5], level.indices);
    }
  }

  // As numbers of 4, 2 or 1 bytes, where they fit.
  void write_indices(Writer& w, int32_t type, int32_t place, const std::vector<int32_t>& numbers) {
    int32_t most = 0;
    for (int32_t number : numbers) most = number > most ? number : most;
    const int kind = range(1, most < 256 ? 3 : most < 65536 ? 2 : 1);
    const size_t width = kind == 1 ? 4 : kind == 2 ? 2 : 1;
    w.set(type, kind, 1);
    w.lead_table(place, {4});
    w.lead(w.places()[0]);
    w.word(static_cast<int32_t>(numbers.size()));
    const size_t at = w.bytes.size();
    w.bytes.resize(at + numbers.size() * width);
    for (size_t i = 0; i < numbers.size(); i++) std::memcpy(w.bytes.data() + at + i * width, &numbers[i], width);
  }

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
    if (chance(40)) return packed_kernel(shape, count);
    std::vector<int32_t> data;
    for (int32_t i = 0; i < count; i++) data.push_back(chance(70) ? 0 : 0x3f800000 + range(0, 1000));
    return add({shape, 0, data});
  }

  // Packed: in fewer bits, without zeros, or both; unpacked by operators.
  int32_t packed_kernel(const std::vector<int32_t>& shape, int32_t count) {
    static const int types[] = {0, 1, 9}, widths[] = {4, 2, 1};
    const bool sparse = chance(50);
    const int kind = range(sparse ? 0 : 1, 2), type = types[kind];
    Tensor packed{shape, type, {}};
    if (sparse) count = make_sparse(packed);
    if (!count) return kernel(shape);  // a constant of no bytes is none
    packed.bytes = count * widths[kind];
    for (int32_t i = 0; i < packed.bytes; i += 4) packed.data.push_back(type ? range(0, 1 << 30) : 0x3f800000);
    if (type == 9) {
      packed.axis = range(0, static_cast<int>(shape.size()) - 1);
      packed.scales = chance(50) ? 1 : shape[static_cast<size_t>(packed.axis)];
    }
    int32_t last = add(packed);
    const auto unpack = [&](int code, int to) {
      const int32_t next = add({shape, to, {}});
      codes.push_back(code);
      steps.push_back({code, 0, {}, {}, {last}, {next}});
      last = next;
    };
    if (sparse) unpack(124, type);
    if (type) unpack(6, 0);
    return last;
  }

  // Gives a tensor random levels; returns how many values are stored.
  int32_t make_sparse(Tensor& tensor) {
    std::vector<int32_t> lengths = tensor.shape;
    const auto rank = static_cast<int32_t>(lengths.size());
    for (int32_t axis = 0; axis < rank; axis++) {
      tensor.order.push_back(axis);
      std::swap(tensor.order.back(), tensor.order[static_cast<size_t>(range(0, axis))]);
    }
    for (int32_t axis = 0; axis < rank; axis++) {
      int32_t& length = lengths[static_cast<size_t>(axis)];
      if (length % 2 || !chance(30)) continue;
      tensor.blocks.push_back(axis);
      length /= 2;
    }
    int32_t visitors = 1;
    for (int32_t axis : tensor.order) {
      Level level{lengths[static_cast<size_t>(axis)], {}, {}};
      if (chance(50)) {
        level.segments.push_back(0);
        for (int32_t i = 0; i < visitors; i++) {
          for (int32_t index = 0; index < level.length; index++)
            if (chance(60)) level.indices.push_back(index);
          level.segments.push_back(static_cast<int32_t>(level.indices.size()));
        }
        visitors = static_cast<int32_t>(level.indices.size());
      } else {
        visitors *= level.length;
      }
      tensor.levels.push_back(level);
    }
    for (size_t i = 0; i < tensor.blocks.size(); i++) {
      tensor.order.push_back(rank + static_cast<int32_t>(i));
      tensor.levels.push_back({2, {}, {}});
      visitors *= 2;
    }
    return visitors;
  }

  // [shape(x)[0], length]
  int32_t read_batch(int32_t x, int32_t length) {
    const auto then = [&](Step step, const std::vector<int32_t>& shape) {
      codes.push_back(step.code);
      step.writes = {add({shape, 2, {}})};
      steps.push_back(std::move(step));
      return steps.back().writes[0];
    };
    const int32_t all = then({77, 55, {1}, {2}, {x}, {}}, {static_cast<int32_t>(shape_.size())});
    const std::vector<int32_t> ends = {all, numbers({0}), numbers({1}), numbers({1})};
    const int32_t batch = then({45, 32, {4, 4, 4, 4, 4}, {0, 0, 0, 0, 1}, ends, {}}, {});
    return then({83, 59, {4, 4}, {2, 0}, {batch, add({{}, 2, {length}})}, {}}, {2});
  }

  // A random operator that mostly fits; the file says of its output whatever it likes.
  void step() {
    const int32_t x = current_;
    const std::vector<int32_t>& s = shape_;
    const bool image = s.size() == 4;
    Step next{0, 0, {}, {}, {x}, {}};
    const int kind = image ? range(0, 16) : range(4, 16);
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
    } else if (kind == 15) {  // to the same batch, as it is read while the model runs
      int32_t values = 1;
      for (size_t i = 1; i < s.size(); i++) values *= s[i];
      next = {22, 0, {}, {}, {x, read_batch(x, chance(50) ? values : -1)}, {}};
      shape_ = {1, values};
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
