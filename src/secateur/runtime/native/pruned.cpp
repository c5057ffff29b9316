#include "pruned.h"

#include <algorithm>

namespace secateur {

// So many weights tell what the others are like.
static constexpr int64_t kSome = 4096;

Pruned::Pruned(const Kernels& kernels, const float* weights, int32_t rows, int64_t depth, bool keep)
    : kernels_(kernels), weights_(weights), row_count_(rows), depth_(depth), keep_(keep) {}

Pruned::Pruned(const Kernels& kernels, std::shared_ptr<const Packed> packed, bool keep)
    : kernels_(kernels),
      packed_(std::move(packed)),
      row_count_(static_cast<int32_t>(packed_->rows)),
      depth_(packed_->depth),
      keep_(keep) {}

void Pruned::work() {
  count_ = 0;  // should memory have run out before
  kept_ = true;
  room_ = 0;
  memory_ = Unset<char>(pages_);
  starts_.assign(1, 0);
  starts_.reserve(static_cast<size_t>(row_count_) + 1);
  seen_ = 0;
  if (packed_) {
    unpack();
  } else {
    for (int32_t row = 0; row < row_count_ && kept_; row++) add(weights_ + seen_);
  }
  if (!kept_) memory_ = {};
  if (kept_ && mapped_) give_back_pages(weights_, static_cast<size_t>(row_count_ * depth_) * sizeof(float));
}

// Row by row, so that all of them are there nowhere; what is not kept is counted here as well.
void Pruned::unpack() {
  const Unpacking from(packed_);
  std::vector<float> row(static_cast<size_t>(depth_));
  for (int32_t number = 0; number < row_count_ && count_ >= 0; number++) {
    from.row(number, row.data());
    if (kept_) {
      add(row.data());
    } else {
      const int64_t found = kernels_.count_nonzero(row.data(), depth_);
      count_ = found < 0 ? -1 : count_ + found;
      seen_ += depth_;
    }
  }
}

// More than three in four: zeros are left out nowhere.
bool Pruned::too_many(double share) const { return !keep_ && share > 0.75; }

int Pruned::pieces() const {
  const int64_t rest = row_count_ * depth_ - seen_;
  return count_ < 0 || !rest ? 0 : static_cast<int>(1 + rest / 65536);
}

void Pruned::piece(int number) noexcept {
  const int64_t rest = row_count_ * depth_ - seen_, count = pieces();
  const int64_t begin = rest * number / count, end = rest * (number + 1) / count;
  const int64_t found = kernels_.count_nonzero(weights_ + seen_ + begin, end - begin);
  if (found < 0)
    strange_ = true;
  else
    rest_ += found;
}

void Pruned::add(const float* row) {
  const int64_t needed = count_ + depth_ + kernels_.lanes;  // also if none is 0
  if (room_ < needed) grow(needed, row);
  const int64_t n = kernels_.compress(row, depth_, columns() + count_, values() + count_);
  const bool finite = kernels_.count_nonzero(values() + count_, n) >= 0;
  count_ = finite ? count_ + n : -1;
  starts_.push_back(static_cast<int32_t>(count_));
  seen_ += depth_;
  kept_ = count_ >= 0 && (seen_ < kSome || !too_many(share(row)));
}

// Of weights that are not 0 among those that were seen; at first among those that lie behind `row`.
double Pruned::share(const float* row) const {
  if (seen_) return static_cast<double>(count_) / static_cast<double>(seen_);
  if (packed_ && packed_->sparsity) return static_cast<double>(packed_->stored) / static_cast<double>(packed_->size());
  const int64_t some = packed_ ? depth_ : std::min(row_count_ * depth_, kSome);
  const int64_t count = std::max<int64_t>(0, kernels_.count_nonzero(row, some));
  return some ? static_cast<double>(count) / static_cast<double>(some) : 0.0;
}

// To as many as there will be if the rest is like what was seen, and an eighth more; the last row's zeros need room as
// well.
void Pruned::grow(int64_t needed, const float* row) {
  const int64_t all = row_count_ * depth_;
  const double found = share(row);
  const auto likely = too_many(found) ? 0 : static_cast<int64_t>(found * static_cast<double>(all));
  const int64_t foreseen = likely + likely / 8 + depth_ + kernels_.lanes;
  const int64_t room = std::min(std::max(foreseen, seen_ ? 2 * needed : needed), all + kernels_.lanes);
  Unset<char> larger(pages_);
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
