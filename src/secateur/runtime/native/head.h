// What a .tflite file says besides its subgraph and buffers.
#pragma once

#include <vector>

#include "flatbuffer.h"

namespace secateur {

struct Head {
  // Refuses a file that is damaged, and one with something rare: several subgraphs, operators of its own, values
  // outside of the flatbuffer.
  explicit Head(Flatbuffer& file);

  int64_t graph;               // where its subgraph is,
  int64_t buffers;             // and the vector of its buffers
  std::vector<int32_t> kinds;  // of its operator codes, numbers of the schema
  // What signatures and metadata refer to; whether it is there is not looked at.
  std::vector<int32_t> tensors, metadata;
};

}  // namespace secateur
