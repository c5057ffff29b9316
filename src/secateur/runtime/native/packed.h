// Constants that a file holds in fewer bits than float32 has, or without their zeros.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "sparsity.h"

namespace secateur {

// Float32, float16 or int8, of which int8 stands for (value - zero) * scale.
struct Packed {
  int64_t size() const { return rows * depth; }

  const uint8_t* data;  // in the file
  int32_t type;         // in the schema
  int64_t stored;       // how many values
  int64_t rows, depth;  // the first axis, and all others
  std::optional<Sparsity> sparsity;
  std::vector<float> scales, zeros;      // of int8: of each channel, or of all; `zeros` may be empty
  int64_t channels = 1, each_channel = 1;  // value i is of channel i / each_channel % channels
};

// The values of one as float32, row by row. Refuses one whose file has been written meanwhile.
class Unpacking {
 public:
  explicit Unpacking(std::shared_ptr<const Packed> packed);
  // `to` has room for `depth` values.
  void row(int64_t number, float* to) const;
  void all(float* to) const;

 private:
  void sort();
  void scale(int64_t first, int64_t count, float* values) const;

  std::shared_ptr<const Packed> packed_;
  // Of a sparse one: where the stored values of each row begin, the place in the row of each, and, where they are not
  // stored row by row, which those are.
  std::vector<int32_t> starts_, columns_, order_;
};

}  // namespace secateur
