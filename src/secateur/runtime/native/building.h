// Adds units to a program.
#pragma once

#include <vector>

#include "constants.h"
#include "lowered.h"
#include "program.h"

namespace secateur {

class Building {
 public:
  Building(Program& program, Constants& constants, const Columns& columns);
  // Adds an input. `inner` says whether its layout is to be changed.
  void add_input(int32_t tensor, const Shape& shape, bool inner);
  void add_output(int32_t tensor, const Shape& shape);
  void add(Lowered& native);
  bool has(int32_t tensor) const { return values_[static_cast<size_t>(tensor)] >= 0; }
  // The value that holds a tensor.
  int32_t operator[](int32_t tensor) const;

  Program& program;
  Constants& constants;
  const Columns& columns;
  // The tensor that each operation of the program writes, -1 where it only changes a layout; the inputs in their order,
  // and height, width and channels of these and of the outputs.
  std::vector<int32_t> written, order, shapes;

 private:
  std::vector<int32_t> values_;  // of tensors, or -1
};

}  // namespace secateur
