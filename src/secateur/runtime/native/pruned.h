// Weights without their zeros.
#pragma once

#include "kernels.h"
#include "unset.h"

namespace secateur {

// Row o is entries starts[o] to starts[o + 1] of `columns`, which rise, and of `values`.
struct Rows {
  const int32_t *starts, *columns;
  const float* values;
  int64_t count;
};

class Pruned {
 public:
  // `weights` of `rows` rows of `depth` each. Where too many are not 0, they are only counted, unless `keep`.
  Pruned(const Kernels& kernels, const float* weights, int32_t rows, int64_t depth, bool keep);
  // How many are not 0; -1 if one of them is infinite or no number.
  int64_t count() const { return count_; }
  bool kept() const { return kept_; }
  // As long as this lives; only if they are kept.
  Rows rows() const;
  int32_t row_count() const { return static_cast<int32_t>(starts_.size()) - 1; }
  int64_t depth() const { return depth_; }

 private:
  void grow(size_t size);
  void add(const Kernels& kernels, const float* row);

  int64_t depth_, count_ = 0;
  bool kept_ = true;
  std::vector<int32_t> starts_{0};
  Unset<int32_t> columns_;
  Unset<float> values_;
};

}  // namespace secateur
