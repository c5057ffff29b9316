#include "conv_weights.h"

#include <algorithm>

#include "caches.h"
#include "refuse.h"
#include "unset.h"

namespace secateur {

std::vector<float> checked_bias(const Array& bias, int32_t count) {
  if (bias.count != (bias.data ? count : 0))
    refuse("A bias has one number for each output channel", "expected", count, "count", bias.count);
  if (!bias.data) return std::vector<float>(static_cast<size_t>(count));
  return std::vector<float>(bias.data, bias.data + count);
}

namespace {

// `count` columns of R rows, which are `depth` apart. A cache line of each row is read to its end before the next row's
// turn, as lines of all rows may fall on one place of the cache.
template <int R>
void interleave(const float* from, int64_t depth, int64_t count, float* to) {
  int64_t i = 0;
  for (; i + kAlign <= count; i += kAlign, from += kAlign, to += kAlign * R)
    for (int r = 0; r < R; r++)
      for (int k = 0; k < kAlign; k++) to[k * R + r] = from[r * depth + k];
  for (; i < count; i++, from++, to += R)
    for (int r = 0; r < R; r++) to[r] = from[r * depth];
}

// Of `some` rows only the first `there` are there.
void interleave(const float* from, int64_t depth, int64_t count, int64_t some, int64_t there, float* to) {
  if (there == some) {
    switch (some) {
      case 4: return interleave<4>(from, depth, count, to);
      case kDenseRows: return interleave<kDenseRows>(from, depth, count, to);
      case 8: return interleave<8>(from, depth, count, to);
      case 16: return interleave<16>(from, depth, count, to);
    }
  }
  for (int64_t i = 0; i < count; i++, to += some) {
    for (int64_t r = 0; r < there; r++) to[r] = from[r * depth + i];
    std::fill(to + there, to + some, 0.0f);
  }
}

}  // namespace

void Interleaving::piece(int number, float* to) const noexcept {
  const int64_t begin = groups_ * number / pieces(), end = groups_ * (number + 1) / pieces();
  to += begin * some_ * depth();
  get_pages(to, static_cast<size_t>((end - begin) * some_ * depth()) * sizeof(float));
  for (int64_t first = begin * some_; first < end * some_; first += some_) {
    const int64_t there = std::min(some_, rows_ - first);
    // What each_run calls for, in the order in which it is read: the group's place stays in a near cache.
    for (int64_t tap = 0; tap < taps_; tap++) {
      const float* const from = weights_ + first * depth() + tap * channels_;
      for (int64_t c = 0; c < channels_; c += kAlign) {
        const int64_t count = std::min<int64_t>(kAlign, channels_ - c);
        interleave(from + c, depth(), count, some_, there, to + (c * taps_ + tap * count) * some_);
      }
    }
    to += depth() * some_;
  }
  const int64_t first = begin * some_, last = std::min(rows_, end * some_);
  const auto bytes = static_cast<size_t>((last - first) * depth()) * sizeof(float);
  if (mapped_) give_back_pages(weights_ + first * depth(), bytes);
}

namespace {

class DenseMatrix : public Matrix {
 public:
  DenseMatrix(const Kernels& k, std::shared_ptr<Pages> pages, const Array& weights, int32_t row_count, int64_t channels,
              const Offsets& offsets, std::vector<float> bias)
      : unpacked_(weights, row_count, static_cast<int64_t>(offsets.taps.size()), channels, kDenseRows),
        depth_(static_cast<int32_t>(unpacked_.depth())),
        weights_(std::move(pages)),
        bias_(std::move(bias)) {
    rows = row_count;
    rows_a_unit = kDenseRows;
    units = static_cast<int32_t>(ceil_div(rows, kDenseRows));
    widest = k.max_dense_vectors;
    bias_.resize(static_cast<size_t>(units) * kDenseRows);
    offsets_.reserve(static_cast<size_t>(depth_));
    each_run(static_cast<int64_t>(offsets.taps.size()), channels, [&](int64_t tap, int64_t c, int64_t count) {
      for (int64_t i = c; i < c + count; i++) offsets_.push_back(offsets.of(static_cast<size_t>(tap), i));
    });
    // What does not fit the second-level cache is not read again for each tile.
    const int64_t bytes = unpacked_.size() * 4, cache = second_level_cache();
    if (bytes > cache / 2) parts = static_cast<int32_t>(std::min<int64_t>(units, ceil_div(bytes, cache / 4)));
  }

  void multiply(const Kernels& kernels, const Tile& tile) const override {
    DenseTile t{};
    t.in = tile.in;
    t.out = tile.out;
    t.residual = tile.residual;
    t.pitch = tile.pitch;
    t.residual_pitch = tile.residual_pitch;
    t.offsets = offsets_.data();
    t.weights = tile.gated ? tile.gated : weights_.data();
    t.bias = bias_.data();
    t.depth = depth_;
    t.first = tile.from_begin ? tile.begin : 0;
    t.begin = tile.begin;
    t.end = tile.end;
    t.rows = rows;
    t.vectors = tile.vectors;
    t.finish = tile.finish;
    kernels.dense(t);
  }

  void set_pitch(int64_t before, int64_t pitch) override {
    for (int32_t& o : offsets_) o = static_cast<int32_t>(o / before * pitch + o % before);
  }
  int64_t bytes() const override {
    return static_cast<int64_t>((weights_.size() + offsets_.size() + bias_.size()) * 4);
  }
  int64_t gated_size() const override { return static_cast<int64_t>(weights_.size()); }
  void gate(const float* gates, int64_t step, float* to) const override {
    for (size_t i = 0; i < weights_.size(); i++)
      to[i] = weights_[i] * gates[static_cast<int64_t>(i) / kDenseRows % depth_ * step];
  }

 private:
  void work() override { weights_.resize(static_cast<size_t>(unpacked_.size())); }
  int pieces() const override { return unpacked_.pieces(); }
  void piece(int number) noexcept override { unpacked_.piece(number, weights_.data()); }

  Interleaving unpacked_;
  int32_t depth_;
  std::vector<int32_t> offsets_;
  Unset<float> weights_;
  std::vector<float> bias_;
};

}  // namespace

std::shared_ptr<Matrix> make_dense(const Kernels& k, std::shared_ptr<Pages> pages, const Array& weights, int32_t rows,
                                   int64_t channels, const Offsets& offsets, std::vector<float> bias) {
  return std::make_shared<DenseMatrix>(k, std::move(pages), weights, rows, channels, offsets, std::move(bias));
}

}  // namespace secateur
