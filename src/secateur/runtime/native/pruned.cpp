#include "pruned.h"

#include <algorithm>

namespace secateur {

Pruned::Pruned(const Kernels& kernels, const float* weights, int32_t rows, int64_t depth, bool keep)
    : kernels_(kernels), weights_(weights), row_count_(rows), depth_(depth), keep_(keep) {}

void Pruned::work() {
  count_ = 0;  // should memory have run out before
  kept_ = true;
  columns_ = Unset<int32_t>(pages_.get());
  values_ = Unset<float>(pages_.get());
  starts_.assign(1, 0);
  starts_.reserve(static_cast<size_t>(row_count_) + 1);
  for (int32_t row = 0; row < row_count_ && count_ >= 0; row++) {
    if (kept_) {
      add(weights_ + row * depth_, row * depth_);
      // More than three in four: they are left out nowhere. Some rows tell.
      const int64_t seen = (row + 1) * depth_;
      kept_ = count_ >= 0 && (keep_ || seen < 4096 || count_ <= seen / 4 * 3);
    } else {
      const int64_t found = kernels_.count_nonzero(weights_ + row * depth_, depth_);
      count_ = found < 0 ? found : count_ + found;
    }
  }
  if (!kept_) {
    columns_ = {};
    values_ = {};
  }
}

void Pruned::add(const float* row, int64_t seen) {
  const int64_t needed = count_ + depth_ + kernels_.lanes;  // also if none is 0
  if (static_cast<int64_t>(values_.size()) < needed) {
    // As many as there will be if the rest is like what was seen, and an eighth more.
    const int64_t all = row_count_ * depth_;
    const double share = seen ? static_cast<double>(count_) / static_cast<double>(seen) : 0.0;
    const auto foreseen = static_cast<int64_t>(1.125 * share * static_cast<double>(all));
    const auto size = static_cast<size_t>(std::min(std::max(foreseen, 2 * needed), all + kernels_.lanes));
    columns_.reserve(size);
    values_.reserve(size);
    columns_.resize(size);
    values_.resize(size);
  }
  const int64_t n = kernels_.compress(row, depth_, columns_.data() + count_, values_.data() + count_);
  const bool finite = kernels_.count_nonzero(values_.data() + count_, n) >= 0;
  count_ = finite ? count_ + n : -1;
  starts_.push_back(static_cast<int32_t>(count_));
}

Rows Pruned::rows() const {
  return {starts_.data(), columns_.data(), values_.data(), count_};
}

}  // namespace secateur
