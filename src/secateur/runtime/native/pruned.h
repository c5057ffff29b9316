// Weights without their zeros.
#pragma once

#include <atomic>

#include "ahead.h"
#include "kernels.h"
#include "packed.h"
#include "unset.h"

namespace secateur {

// Of each weight that is not 0, its place in the row and its value. Row o is entries starts[o] to starts[o + 1] of
// `columns`, which rise, and of `values`.
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
  // The same of weights that a file packs, which must stay until then as well.
  Pruned(const Kernels& kernels, std::shared_ptr<const Packed> packed, bool keep);
  // Where what is kept shall lie, told before the task is finished.
  void set_pages(std::shared_ptr<Pages> pages) { pages_ = std::move(pages); }
  // Told before, too: the weights lie in a mapped file, whose pages may go once something else is kept. With their
  // thread the work of unmapping them has gone as well.
  void set_mapped() { mapped_ = true; }
  bool mapped() const { return mapped_; }
  // How many are not 0; -1 if one of them is infinite or no number.
  int64_t count() const { return count_ < 0 || strange_ ? -1 : count_ + rest_; }
  // Whether there are rows to be taken.
  bool kept() const { return kept_ && !taken_; }
  // Leaves them to one operation, which may write other things where they are.
  void take() { taken_ = true; }
  // As long as this lives.
  Rows rows() const;
  // Their memory, of 8 bytes for each of them at least.
  char* memory() { return memory_.data(); }
  // Null where a file packs them.
  const float* weights() const { return weights_; }
  int32_t row_count() const { return row_count_; }
  int64_t depth() const { return depth_; }

 private:
  void work() override;
  int pieces() const override;
  void piece(int number) noexcept override;
  void unpack();
  void add(const float* row);
  double share(const float* row) const;
  void grow(int64_t needed, const float* row);
  bool too_many(double share) const;
  int32_t* columns() const { return reinterpret_cast<int32_t*>(const_cast<char*>(memory_.data())); }
  float* values() const { return reinterpret_cast<float*>(columns() + room_); }

  const Kernels& kernels_;
  const float* weights_ = nullptr;
  std::shared_ptr<const Packed> packed_;
  int32_t row_count_;
  int64_t depth_;
  bool keep_, kept_ = true, taken_ = false, mapped_ = false;
  int64_t count_ = 0, room_ = 0;  // how many are there, and how many there could be
  // Of all weights those that `work` looked at; the rest is only counted, in pieces.
  int64_t seen_ = 0;
  std::atomic<int64_t> rest_{0};
  std::atomic<bool> strange_{false};
  std::shared_ptr<Pages> pages_;
  std::vector<int32_t> starts_;
  Unset<char> memory_;  // of all columns, and behind them of all values
};

// What is pruned, for who writes its packed form where it was.
class PrunedCopy {
 public:
  explicit PrunedCopy(const Pruned& pruned) : rows_(pruned.rows()) {
    columns_.assign(rows_.columns, rows_.columns + rows_.count);
    values_.assign(rows_.values, rows_.values + rows_.count);
  }
  Rows rows() const { return {rows_.starts, columns_.data(), values_.data(), rows_.count}; }

 private:
  Rows rows_;
  std::vector<int32_t> columns_;
  std::vector<float> values_;
};

}  // namespace secateur
