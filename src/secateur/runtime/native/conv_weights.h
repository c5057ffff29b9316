// Weights of convolutions, packed for the kernels.
#pragma once

#include "operations.h"
#include "pruned.h"

namespace secateur {

// `count` numbers, zeros for none.
std::vector<float> checked_bias(const Array& bias, int32_t count);

// Calls f(tap, first channel, how many) for all columns of a matrix, in the order in which a dense one reads them: of
// a cache line's worth of channels all taps, which share most of what they read of the image.
template <class F>
void each_run(int64_t taps, int64_t channels, const F& f) {
  for (int64_t c = 0; c < channels; c += kAlign)
    for (int64_t tap = 0; tap < taps; tap++) f(tap, c, std::min<int64_t>(kAlign, channels - c));
}

// `some` rows at a time side by side, column by column; zeros for the rows that the last ones lack.
class Interleaving {
 public:
  // Weights are [rows][taps][channels].
  Interleaving(const Array& weights, int64_t rows, int64_t taps, int64_t channels, int64_t some)
      : weights_(weights.data),
        mapped_(weights.mapped),
        rows_(rows),
        taps_(taps),
        channels_(channels),
        some_(some),
        groups_((rows + some - 1) / some) {}
  int64_t depth() const { return taps_ * channels_; }
  int64_t size() const { return groups_ * some_ * depth(); }
  // Into how many pieces the work is divided that threads may share.
  int pieces() const { return static_cast<int>(std::min<int64_t>(groups_, 1 + size() / 65536)); }
  const float* weights() const { return weights_; }
  // To `to`, which has room for all of them.
  void piece(int number, float* to) const noexcept;

 private:
  const float* weights_;
  bool mapped_;
  int64_t rows_, taps_, channels_, some_, groups_;
};

// Where the input of each tap of the kernel begins, of its first channel, and from one channel to the next.
// Column i is channel i % channels of tap i / channels.
struct Offsets {
  std::vector<int64_t> taps;
  int64_t channel;
  int32_t of(size_t tap, int64_t c) const { return static_cast<int32_t>(taps[tap] + c * channel); }
};

// Rows that are computed aside before they are copied to where they belong.
constexpr int32_t kAsideRows = 48;

// A tile of pixels of one thread's work.
struct Tile {
  const float* in;
  float* out;
  const float* residual;
  int64_t pitch, residual_pitch;
  int32_t vectors;
  int32_t begin, end;  // units
  // Rows of `out` are counted from the first one of `begin`, and there are at most kAsideRows.
  bool from_begin;
  const Finish* finish;
  const float* gated;  // weights that Matrix::gate made; null: those of the matrix
  float* copy;         // room for Matrix::copy_size() numbers
};

// A packed matrix, once its task is finished; its work is cut into units of some output channels each.
class Matrix : public Task {
 public:
  virtual void multiply(const Kernels& kernels, const Tile& tile) const = 0;
  virtual int64_t bytes() const = 0;
  // Of what it copies before it multiplies.
  virtual int64_t copy_size() const { return 0; }
  // The planes it reads lie `pitch` apart from now on.
  virtual void set_pitch(int64_t before, int64_t pitch) = 0;
  // Weights that stand for a product of the input with one number for each channel: `gates` are `step` apart.
  // For matrices of 1x1 convolutions, of which `keep_channels` was called; `to` has room for gated_size().
  virtual void keep_channels() {}
  virtual int64_t gated_size() const = 0;
  virtual void gate(const float* gates, int64_t step, float* to) const = 0;
  // How many vectors a tile has, at most `widest`, if there are so many: tiles are of nearly the same size.
  int32_t tile(int64_t vectors) const {
    const int64_t tiles = (vectors + widest - 1) / widest;
    return static_cast<int32_t>((vectors + tiles - 1) / tiles);
  }
  int32_t rows = 0, units = 0, rows_a_unit = 1;
  int32_t widest = 1;
  // In how many parts the units are best done, each for all tiles before the next one's turn.
  int32_t parts = 1;
};

// For `pixels` pixels. What is packed lies in the pages.
std::shared_ptr<Matrix> make_sparse(const Kernels&, std::shared_ptr<Pruned>, int64_t channels,
                                    int64_t pixels, int32_t rows_a_unit, Offsets, std::vector<float> bias);
// The weights stay until the task is finished.
std::shared_ptr<Matrix> make_dense(const Kernels&, std::shared_ptr<Pages>, const Array& weights, int32_t rows, int64_t channels,
                                   const Offsets&, std::vector<float> bias);

}  // namespace secateur
