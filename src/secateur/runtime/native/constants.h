// Constants of float32 in a file, as they are used.
#pragma once

#include "columns.h"
#include "operations.h"
#include "unset.h"

namespace secateur {

class Constants {
 public:
  explicit Constants(const Columns& columns) : columns_(columns) {}
  // The values of one. What a file packs stays until another one is asked for, the rest as long as the file. Their
  // address is null where there are none, or more than can be used are packed.
  Array values(int32_t tensor, int64_t most = kMostWeights);

 private:
  const Columns& columns_;
  Unset<float> unpacked_;
};

}  // namespace secateur
