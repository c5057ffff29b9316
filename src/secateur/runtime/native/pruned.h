// Weights without their zeros.
#pragma once

#include "ahead.h"
#include "kernels.h"
#include "unset.h"

namespace secateur {

// Row o is entries starts[o] to starts[o + 1] of `columns`, which rise, and of `values`.
struct Rows {
  const int32_t *starts, *columns;
  const float* values;
  int64_t count;
};

class Pruned : public Task {
 public:
  // `weights` of `rows` rows of `depth` each, which stay where they are until the task is finished: the rest may
  // be called only then. Where too many are not 0, they are only counted, unless `keep`.
  Pruned(const Kernels& kernels, const float* weights, int32_t rows, int64_t depth, bool keep);
  // Where what is kept shall lie, told before the task is finished.
  void set_pages(std::shared_ptr<Pages> pages) { pages_ = std::move(pages); }
  // How many are not 0; -1 if one of them is infinite or no number.
  int64_t count() const { return count_; }
  bool kept() const { return kept_; }
  // As long as this lives; only if they are kept.
  Rows rows() const;
  int32_t row_count() const { return row_count_; }
  int64_t depth() const { return depth_; }

 private:
  void work() override;
  void add(const float* row, int64_t seen);

  const Kernels& kernels_;
  const float* weights_;
  int32_t row_count_;
  int64_t depth_;
  bool keep_, kept_ = true;
  int64_t count_ = 0;
  std::shared_ptr<Pages> pages_;
  std::vector<int32_t> starts_;
  Unset<int32_t> columns_;
  Unset<float> values_;
};

}  // namespace secateur
