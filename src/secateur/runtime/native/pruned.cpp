#include "pruned.h"

#include <algorithm>

namespace secateur {

Pruned::Pruned(const Kernels& kernels, const float* weights, int32_t rows, int64_t depth, bool keep)
    : depth_(depth) {
  starts_.reserve(static_cast<size_t>(rows) + 1);
  grow(static_cast<size_t>(rows * depth / 8));
  for (int32_t row = 0; row < rows; row++) {
    if (kept_) {
      add(kernels, weights + row * depth);
      // More than three in four: they are left out nowhere. Some rows tell.
      const int64_t seen = (row + 1) * depth;
      kept_ = count_ >= 0 && (keep || seen < 4096 || count_ <= seen / 4 * 3);
    } else {
      const int64_t found = kernels.count_nonzero(weights + row * depth, depth);
      count_ = found < 0 ? found : count_ + found;
    }
    if (count_ < 0) break;
  }
  if (!kept_) {
    columns_ = {};
    values_ = {};
  }
}

void Pruned::grow(size_t size) {
  columns_.resize(size);
  values_.resize(size);
}

void Pruned::add(const Kernels& kernels, const float* row) {
  const auto needed = static_cast<size_t>(count_ + depth_ + kernels.lanes);  // also if none is 0
  if (values_.size() < needed) grow(std::max(needed, 2 * values_.size()));
  const int64_t n = kernels.compress(row, depth_, columns_.data() + count_, values_.data() + count_);
  const bool finite = kernels.count_nonzero(values_.data() + count_, n) >= 0;
  count_ = finite ? count_ + n : -1;
  starts_.push_back(static_cast<int32_t>(count_));
}

Rows Pruned::rows() const {
  return {starts_.data(), columns_.data(), values_.data(), count_};
}

}  // namespace secateur
