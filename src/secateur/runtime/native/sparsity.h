// Where the stored values of a sparse tensor belong: SparsityParameters in tflite/converter/schema/schema.fbs of
// google-ai-edge/LiteRT; the format is that of TACO, https://doi.org/10.1145/3133901.
//
// A tensor is walked level by level, one level for each axis, in any order of them; behind those come levels within
// blocks. A dense level visits every place. A compressed one visits the places in its list of indices, in which each
// visitor has the part between two segments. `litert/sparse_encoding.py` writes such tensors and reads them, too.
#pragma once

#include <vector>

#include "flatbuffer.h"

namespace secateur {

class Sparsity {
 public:
  // The table at a place of the file. Refuses what contradicts itself, the lengths of the tensor's axes, or how many
  // values are stored.
  Sparsity(Flatbuffer& file, int64_t at, const std::vector<int64_t>& shape, int64_t stored);
  // The place of each stored value in the flattened tensor. The file must be there.
  std::vector<int32_t> places() const;

 private:
  // A vector of numbers without a sign, but for those of 4 bytes.
  struct Numbers {
    const uint8_t* data = nullptr;
    int64_t count = 0;
    int32_t width = 1;
  };
  struct Level {
    int64_t length = 0, stride = 0;
    bool dense = true;
    Numbers segments, indices;
  };
  static Numbers read_numbers(Flatbuffer& file, const Table& level, int field);
  static void check(const Level& level, int64_t visitors);

  std::vector<Level> levels_;
};

}  // namespace secateur
