// The operators of a file as units: groups that run together, natively as one operation or in LiteRT.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "lowering.h"

namespace secateur {

struct Unit {
  std::vector<int32_t> places;           // of the operators, in their order
  std::vector<int32_t> inputs, outputs;  // tensors from and for elsewhere, constants left out
  std::unique_ptr<Lowered> native;       // null where it can only run in LiteRT,
  Reason reason = Reason::kNone;         // and why
  Convolution* convolution() const { return dynamic_cast<Convolution*>(native.get()); }
};

class Units {
 public:
  // What is given must live as long as this. The shapes behind the first `known` operators are known.
  Units(const Columns& file, Preparation* ahead, int64_t known);

  // What each costs on either side, in nanoseconds; leaves zeros out where that is faster.
  void price(const secateur_rates& native, const secateur_rates& litert, int32_t threads, double* natively,
             double* in_litert);
  // Adds some of them to a program, with inputs and outputs. `failed` is the one that it does not take, or -1.
  void build(Program& program, const Part& members, const Part& outputs, int32_t* failed);
  int32_t count() const { return static_cast<int32_t>(all_.size()); }
  const std::vector<int32_t>& column(secateur_unit_column name) const { return columns_[name]; }

 private:
  void find(int64_t place, bool known);
  bool find_swish(int64_t place, int64_t known);
  void append(Unit unit);
  void fuse(Unit& unit);
  void fuse_function(Unit& unit, const Function& function);
  void fuse_padding(Unit& unit, Convolution& convolution);
  void fuse_residual(Unit& unit, const Pair& total);
  Unit* writer(const Unit& unit, int32_t tensor);
  void take_over(Unit& unit, Unit& before);
  void absorb(Unit& unit, Unit& before);
  void count_weights();
  void describe();
  double native_cost(const Lowered& native, const secateur_rates& rates) const;
  double litert_cost(const Unit& unit, const secateur_rates& rates) const;
  template <class All>
  void take_inputs(Unit& unit, const All& tensors);

  const Columns& file_;
  Preparation* ahead_;
  Constants constants_;
  Lowering lower_;
  std::vector<Unit> all_;
  std::vector<std::vector<int32_t>> readers_;  // of tensors: operators, one that reads it twice counts twice
  std::vector<int32_t> units_;                 // of operators: the unit that ends there, or -1
  std::vector<int64_t> seen_;                  // of tensors: when they were last among the inputs of a unit
  int64_t now_ = 0;
  std::array<std::vector<int32_t>, SECATEUR_UNIT_COLUMNS> columns_;
};

}  // namespace secateur

struct secateur_units : secateur::Units {
  using Units::Units;
};
