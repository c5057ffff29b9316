// Depthwise convolution of one plane. Columns of one vector's width are swept from top to bottom; lanes
// outside of the image are masked, so that nothing is copied and nothing outside is read.
#pragma once

#include "k_matrix.h"

namespace secateur {
namespace SECATEUR_ISA {

// What the kernel's columns need of one image row, for one vector of outputs.
template <int K, int S>
struct Columns;

template <int K>
struct Columns<K, 1> {
  Lanes inside[K];
  int64_t at[K];
  Columns(int64_t x, const Depthwise& t) {
    for (int k = 0; k < K; k++) {
      at[k] = x + k - t.window.pad_left;
      inside[k] = lanes(-at[k], t.width - at[k]);
    }
  }
  SECATEUR_INLINE void read(const float* row, vf (&out)[K]) const {
    SECATEUR_UNROLL
    for (int k = 0; k < K; k++) out[k] = load(row, at[k], inside[k]);
  }
};

// With stride 2, two neighbouring columns come from the same two vectors.
template <int K>
struct Columns<K, 2> {
  static constexpr int kPairs = (K + 1) / 2;
  Lanes inside[kPairs][2];
  int64_t at[kPairs];
  Columns(int64_t x, const Depthwise& t) {
    for (int k = 0; k < kPairs; k++) {
      at[k] = 2 * x + 2 * k - t.window.pad_left;
      inside[k][0] = lanes(-at[k], t.width - at[k]);
      inside[k][1] = lanes(-at[k] - kLanes, t.width - at[k] - kLanes);
    }
  }
  SECATEUR_INLINE void read(const float* row, vf (&out)[K]) const {
    SECATEUR_UNROLL
    for (int k = 0; k < kPairs; k++) {
      const vf a = load(row, at[k], inside[k][0]);
      const vf b = load(row, at[k] + kLanes, inside[k][1]);
      out[2 * k] = even(a, b);
      if (2 * k + 1 < K) out[2 * k + 1] = odd(a, b);
    }
  }
};

static SECATEUR_INLINE void finish_lanes(vf x, float* out, const float* residual, int64_t at,
                                         const Lanes& l, const Finish& f) {
  if (f.clamps) {
    x = clamp(x, splat(f.low1), splat(f.high1));
    if (f.residual) x = clamp(x + load(residual, at, l), splat(f.low2), splat(f.high2));
    return store(out + at, x, l);
  }
  store(out + at, x, l);
  finish(f, out + at, residual ? residual + at : nullptr, l.last);
}

template <int K, int S>
static void depthwise_window(const Depthwise& t) {
  vf w[K][K];
  for (int i = 0; i < K * K; i++) w[i / K][i % K] = splat(t.weights[i]);
  const int64_t top = t.window.pad_top;
  for (int64_t x0 = 0; x0 < t.out_width; x0 += kLanes) {
    const Columns<K, S> columns(x0, t);
    const Lanes inside = lanes(0, t.out_width - x0);
    for (int64_t y = 0; y < t.out_height; y++) {
      vf sums[K];
      SECATEUR_UNROLL
      for (int ky = 0; ky < K; ky++) {
        const int64_t row = y * S + ky - top;
        sums[ky] = vf{};
        if (row < 0 || row >= t.height) continue;
        vf in[K];
        columns.read(t.in + row * t.width, in);
        SECATEUR_UNROLL
        for (int kx = 0; kx < K; kx++) sums[ky] += in[kx] * w[ky][kx];
      }
      vf sum = splat(t.bias);
      SECATEUR_UNROLL
      for (int ky = 0; ky < K; ky++) sum += sums[ky];
      finish_lanes(sum, t.out, t.residual, y * t.out_width + x0, inside, *t.finish);
    }
  }
}

// Any window, one tap after the other.
static void depthwise_any(const Depthwise& t) {
  const secateur_window& n = t.window;
  for (int64_t y = 0; y < t.out_height; y++) {
    for (int64_t x0 = 0; x0 < t.out_width; x0 += kLanes) {
      const Lanes inside = lanes(0, t.out_width - x0);
      vf sum = splat(t.bias);
      for (int64_t ky = 0; ky < n.kernel_height; ky++) {
        const int64_t row = y * n.stride_height + ky * n.dilation_height - n.pad_top;
        if (row < 0 || row >= t.height) continue;
        for (int64_t kx = 0; kx < n.kernel_width; kx++) {
          const int64_t at = x0 * n.stride_width + kx * n.dilation_width - n.pad_left;
          const float* line = t.in + row * t.width;
          vf in = {};
          if (n.stride_width == 1) {
            in = load(line, at, lanes(-at, t.width - at));
          } else {
            for (int i = 0; i < inside.last; i++) {
              const int64_t x = at + i * (int64_t)n.stride_width;
              if (x >= 0 && x < t.width) in[i] = line[x];
            }
          }
          sum += in * t.weights[ky * n.kernel_width + kx];
        }
      }
      finish_lanes(sum, t.out, t.residual, y * t.out_width + x0, inside, *t.finish);
    }
  }
}

static void depthwise(const Depthwise& t) {
  const secateur_window& n = t.window;
  const int32_t k = n.kernel_height, s = n.stride_height;
  const bool square = n.kernel_width == k && n.stride_width == s;
  if (!square || n.dilation_height != 1 || n.dilation_width != 1) return depthwise_any(t);
  if (k == 3 && s == 1) return depthwise_window<3, 1>(t);
  if (k == 3 && s == 2) return depthwise_window<3, 2>(t);
  if (k == 5 && s == 1) return depthwise_window<5, 1>(t);
  if (k == 5 && s == 2) return depthwise_window<5, 2>(t);
  depthwise_any(t);
}

}  // namespace SECATEUR_ISA
}  // namespace secateur
