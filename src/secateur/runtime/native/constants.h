// Constants of float32 in a file, as they are used.
#pragma once

#include <map>
#include <vector>

#include "columns.h"
#include "operations.h"

namespace secateur {

class Constants {
 public:
  // `unpack` gives those that the file does not hold as they are; it may be null where there are none.
  Constants(const Columns& columns, secateur_unpack unpack) : columns_(columns), unpack_(unpack) {}
  // The values of one; those that are unpacked stay until another one is asked for, the others as long as this and
  // the file. Their address is null where there are none.
  Array values(int32_t tensor);

 private:
  const Columns& columns_;
  secateur_unpack unpack_;
  std::map<int32_t, std::vector<float>> copies_;  // of what lies at no multiple of its size
};

}  // namespace secateur
