#include "pruned.h"

#include <algorithm>

namespace secateur {

Pruned::Pruned(const Kernels& kernels, const float* weights, int32_t rows, int64_t depth, bool keep)
    : kernels_(kernels), weights_(weights), row_count_(rows), depth_(depth), keep_(keep) {}

void Pruned::work() {
  count_ = 0;  // should memory have run out before
  kept_ = true;
  room_ = 0;
  memory_ = Unset<char>(pages_.get());
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
  if (!kept_) memory_ = {};
}

void Pruned::add(const float* row, int64_t seen) {
  const int64_t needed = count_ + depth_ + kernels_.lanes;  // also if none is 0
  if (room_ < needed) grow(needed, seen);
  const int64_t n = kernels_.compress(row, depth_, columns() + count_, values() + count_);
  const bool finite = kernels_.count_nonzero(values() + count_, n) >= 0;
  count_ = finite ? count_ + n : -1;
  starts_.push_back(static_cast<int32_t>(count_));
}

// To as many as there will be if the rest is like what was seen, and an eighth more.
void Pruned::grow(int64_t needed, int64_t seen) {
  const int64_t all = row_count_ * depth_;
  const double share = seen ? static_cast<double>(count_) / static_cast<double>(seen) : 0.0;
  const auto foreseen = static_cast<int64_t>(1.125 * share * static_cast<double>(all));
  const int64_t room = std::min(std::max(foreseen, 2 * needed), all + kernels_.lanes);
  Unset<char> larger(pages_.get());
  larger.resize(static_cast<size_t>(room) * (sizeof(int32_t) + sizeof(float)));
  const int32_t* const old_columns = columns();
  const float* const old_values = values();
  memory_.swap(larger);
  room_ = room;
  std::copy_n(old_columns, count_, columns());
  std::copy_n(old_values, count_, values());
}

Rows Pruned::rows() const {
  return {starts_.data(), columns(), values(), count_};
}

}  // namespace secateur
