// Random files, sound and damaged ones, for the reader of columns and the rules of shapes.
#include "fuzz_files.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "secateur.h"

namespace {

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
    const int kind = image ? range(0, 11) : range(4, 11);
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
    } else {
      next = {range(0, 1) ? 19 : 43, chance(50) ? 30 : 0, {}, {}, {x}, {}};
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

void damage(std::vector<uint8_t>& bytes, File& file) {
  static const int32_t trouble[] = {0, 1, -1, 2, 255, 1 << 15, 1 << 16, 1 << 24, INT32_MAX, INT32_MIN};
  for (int i = file.range(1, 5); i > 0; i--) {
    const auto at = static_cast<size_t>(file.range(0, static_cast<int>(bytes.size()) - 4));
    if (file.chance(50))
      bytes[at] = static_cast<uint8_t>(bytes[at] ^ 1 << file.range(0, 7));
    else
      std::memcpy(bytes.data() + at / 4 * 4, trouble + file.range(0, 9), 4);
  }
  if (file.chance(10)) bytes.resize(static_cast<size_t>(file.range(1, static_cast<int>(bytes.size()))));
}

// Finds shapes for inputs as they are, or others, of all operators, or others.
bool infer(secateur_columns* columns, File& file, bool odd) {
  std::vector<int32_t> given = {4}, places;
  for (int32_t length : file.tensors[0].shape)
    given.push_back(odd && file.chance(20) ? file.range(-1, 1 << 20) : length);
  if (odd) given[0] = file.range(0, 5);
  for (size_t i = 0; i < file.steps.size(); i++)
    places.push_back(odd && file.chance(10) ? file.range(-1, 20) : static_cast<int32_t>(i));
  const std::vector<int32_t> targets = odd ? std::vector<int32_t>{3, file.range(0, 8), -1, file.range(-2, 4)}
                                           : std::vector<int32_t>{};
  return secateur_columns_infer(columns, given.data(), static_cast<int64_t>(given.size()), places.data(),
                                static_cast<int64_t>(places.size()), targets.data(),
                                static_cast<int64_t>(targets.size())) == SECATEUR_OK;
}

void prune(const secateur_columns* columns, File& file) {
  secateur_ahead* ahead = secateur_ahead_create();
  int64_t operators;
  secateur_columns_get(columns, SECATEUR_CODE, &operators);
  std::vector<int32_t> tensors(static_cast<size_t>(operators));
  std::vector<secateur_pruned*> pruned(tensors.size());
  const int32_t count = secateur_prune_columns(ahead, columns, 0, tensors.data(), pruned.data());
  for (int32_t i = 0; i < count; i++) {
    if (file.chance(50)) secateur_pruned_count(pruned[static_cast<size_t>(i)]);
    secateur_pruned_free(pruned[static_cast<size_t>(i)]);
  }
  secateur_ahead_free(ahead);
}

}  // namespace

FuzzedFile fuzz_file(uint32_t seed) {
  std::mt19937 random(seed);
  File file(random);
  int64_t graph, buffers;
  std::vector<uint8_t> written = file.write(&graph, &buffers);
  const bool damaged = file.chance(70);
  if (damaged) damage(written, file);
  // Exactly as large as it must be, and where numbers may lie at multiples of their size.
  const size_t bytes = written.size();
  uint8_t* const data = static_cast<uint8_t*>(std::malloc(bytes));
  std::memcpy(data, written.data(), bytes);
  std::vector<int32_t> rules, bits(20);
  for (int32_t code : file.codes)
    rules.push_back(code == 3 || code == 9 ? SECATEUR_WEIGHTED | SECATEUR_SAME_TYPE
                    : code == 4            ? SECATEUR_WEIGHTED | SECATEUR_LAST_AXIS | SECATEUR_SAME_TYPE
                                           : SECATEUR_SAME_TYPE);
  bits[0] = bits[2] = 32;
  const secateur_file given{data, static_cast<int64_t>(bytes), graph, buffers, file.codes.data(), rules.data(),
                            static_cast<int32_t>(rules.size()), bits.data(), static_cast<int32_t>(bits.size())};
  secateur_columns* columns = secateur_columns_read(&given);
  FuzzedFile found{columns != nullptr, false};
  if (!columns && !damaged) {
    std::fprintf(stderr, "file of seed %u is sound, but: %s\n", seed, secateur_error());
    std::abort();
  }
  if (columns) {
    found.inferred = infer(columns, file, false);
    infer(columns, file, true);
    for (int32_t i = -1; i <= SECATEUR_COLUMNS; i++) {
      int64_t length = 0;
      const int32_t* numbers = secateur_columns_get(columns, i, &length);
      for (int64_t j = 0; numbers && j < length; j++) random_sink += static_cast<uint32_t>(numbers[j]);
    }
    prune(columns, file);
  }
  secateur_columns_free(columns);
  std::free(data);
  return found;
}

uint32_t random_sink = 0;
