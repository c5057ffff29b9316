// Numbers too small to be normal.
#pragma once

#include <cstdint>

namespace secateur {

// While one lives, numbers that are too small to be normal count as 0 in this thread, as in LiteRT: arithmetic
// with them takes a hundred times as long.
class NoDenormals {
 public:
  NoDenormals();
  ~NoDenormals();
  NoDenormals(const NoDenormals&) = delete;
  NoDenormals& operator=(const NoDenormals&) = delete;

 private:
  uint64_t before_ = 0;
};

}  // namespace secateur
