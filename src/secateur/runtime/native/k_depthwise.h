// Depthwise convolution. Columns of one vector's width are swept from top to bottom; lanes outside of the
// image are masked, so that nothing is copied and nothing outside is read.
#pragma once

#include "k_matrix.h"

namespace secateur {
namespace SECATEUR_ISA {

// What the kernel's columns need of one image row, for one vector of outputs.
template <int K, int S>
struct Columns;

// Planes are computed in blocks of so many rows and vectors: what a block reads is in the first-level cache
// when the next vector's turn comes.
constexpr int kBlockRows = 28;
constexpr int kBlockVectors = 8;

template <int K>
struct Columns<K, 1> {
  Lanes inside[K];
  int64_t at[K];
  Columns() = default;
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
  Columns() = default;
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

// What can be done in registers is; other functions, and residuals, follow in a pass of their own.
struct Bounds {
  vf low, high;
  explicit Bounds(const Finish& f)
      : low(splat(f.clamps ? f.low1 : -__builtin_inff())),
        high(splat(f.clamps ? f.high1 : __builtin_inff())) {}
  SECATEUR_INLINE void store_to(float* p, vf x, const Lanes& l) const {
    store(p, clamp(x, low, high), l);
  }
};

// The planes of one channel.
struct Plane {
  const float* in;
  float* out;
  const float* weights;
  float bias;
  Plane(const Depthwise& t, int64_t c)
      : in(t.in + (t.multiplier == 1 ? c : c / t.multiplier) * t.in_pitch),
        out(t.out + c * t.out_pitch),
        weights(t.weights + c * t.window.kernel_height * t.window.kernel_width),
        bias(t.bias[c]) {}
};

// Calls block(plane, columns, lanes, x, first row, last row) for all of them.
template <int K, int S, class F>
static SECATEUR_INLINE void in_blocks(const Depthwise& t, const F& block) {
  for (int64_t left = 0; left < t.out_width; left += kBlockVectors * kLanes) {
    const int64_t right = left + kBlockVectors * kLanes < t.out_width ? left + kBlockVectors * kLanes
                                                                       : t.out_width;
    Columns<K, S> columns[kBlockVectors];
    for (int64_t x = left; x < right; x += kLanes)
      columns[(x - left) / kLanes] = Columns<K, S>(x, t);
    const Lanes last = lanes(0, (right - left - 1) % kLanes + 1);
    const Lanes full = lanes(0, kLanes);
    for (int64_t c = 0; c < t.channels; c++) {
      const Plane plane(t, c);
      for (int64_t y = t.begin; y < t.end; y += kBlockRows)
        for (int64_t x = left; x < right; x += kLanes)
          block(plane, columns[(x - left) / kLanes], x + kLanes < right ? full : last, x, y,
                y + kBlockRows < t.end ? y + kBlockRows : (int64_t)t.end);
    }
  }
}

// The rows under the window stay in registers: each is read once.
template <int S>
static void depthwise_3(const Depthwise& t) {
  const Bounds bounds(*t.finish);
  const int64_t height = t.height, width = t.width, out_width = t.out_width;
  const int64_t top = t.window.pad_top;
  in_blocks<3, S>(t, [&](const Plane& p, const Columns<3, S>& columns, const Lanes& inside, int64_t x,
                         int64_t begin, int64_t end) SECATEUR_LAMBDA_INLINE {
    vf w[9], rows[3][3];
    SECATEUR_UNROLL
    for (int i = 0; i < 9; i++) w[i] = splat(p.weights[i]);
    const vf bias = splat(p.bias);
    int64_t row = begin * S - top;
    float* out = p.out + begin * out_width + x;
    const auto read = [&](vf(&to)[3]) SECATEUR_LAMBDA_INLINE {
      if (row >= 0 && row < height) {
        columns.read(p.in + row * width, to);
      } else {
        to[0] = to[1] = to[2] = vf{};
      }
      row++;
    };
    SECATEUR_UNROLL
    for (int i = 0; i < 3 - S; i++) read(rows[i]);
    for (int64_t y = begin; y < end; y++, out += out_width) {
      SECATEUR_UNROLL
      for (int i = 3 - S; i < 3; i++) read(rows[i]);
      vf sums[3] = {bias, vf{}, vf{}};
      SECATEUR_UNROLL
      for (int i = 0; i < 9; i++) sums[i / 3] += rows[i / 3][i % 3] * w[i];
      bounds.store_to(out, sums[0] + (sums[1] + sums[2]), inside);
      SECATEUR_UNROLL
      for (int i = 0; i < 3 - S; i++)
        SECATEUR_UNROLL
        for (int k = 0; k < 3; k++) rows[i][k] = rows[i + S][k];
    }
  });
}

// Larger windows do not fit the registers; sums of the output rows under way do: each image row is read
// once and added to all of them.
template <int K, int S>
static void depthwise_k(const Depthwise& t) {
  constexpr int kSums = (K + S - 1) / S;
  const Bounds bounds(*t.finish);
  const int64_t height = t.height, width = t.width, out_width = t.out_width;
  const int64_t top = t.window.pad_top;
  in_blocks<K, S>(t, [&](const Plane& p, const Columns<K, S>& columns, const Lanes& inside, int64_t x,
                         int64_t begin, int64_t end) SECATEUR_LAMBDA_INLINE {
    const vf bias = splat(p.bias);
    vf sums[kSums];
    SECATEUR_UNROLL
    for (int i = 0; i < kSums; i++) sums[i] = bias;
    // sums[i] is of output row y + i; image rows come S at a time.
    int64_t row = begin * S - top;
    for (int64_t y = begin - kSums + 1; y < end; y++) {
      SECATEUR_UNROLL
      for (int s = 0; s < S; s++, row++) {
        if (row < 0 || row >= height) continue;
        vf in[K];
        columns.read(p.in + row * width, in);
        SECATEUR_UNROLL
        for (int i = 0; i < kSums; i++) {
          const int ky = (kSums - 1 - i) * S + s;
          if (ky >= K) continue;
          vf sum = in[0] * p.weights[ky * K];
          SECATEUR_UNROLL
          for (int kx = 1; kx < K; kx++) sum += in[kx] * p.weights[ky * K + kx];
          sums[i] += sum;
        }
      }
      if (y >= begin) bounds.store_to(p.out + y * out_width + x, sums[0], inside);
      SECATEUR_UNROLL
      for (int i = 0; i + 1 < kSums; i++) sums[i] = sums[i + 1];
      sums[kSums - 1] = bias;
    }
  });
}

// Any window, one tap after the other.
static void depthwise_any(const Depthwise& t) {
  const secateur_window& n = t.window;
  const Bounds bounds(*t.finish);
  for (int64_t c = 0; c < t.channels; c++) {
    const Plane p(t, c);
    for (int64_t y = t.begin; y < t.end; y++) {
      for (int64_t x0 = 0; x0 < t.out_width; x0 += kLanes) {
        const Lanes inside = lanes(0, t.out_width - x0);
        vf sum = splat(p.bias);
        for (int64_t ky = 0; ky < n.kernel_height; ky++) {
          const int64_t row = y * n.stride_height + ky * n.dilation_height - n.pad_top;
          if (row < 0 || row >= t.height) continue;
          const float* line = p.in + row * t.width;
          for (int64_t kx = 0; kx < n.kernel_width; kx++) {
            const int64_t at = x0 * n.stride_width + kx * n.dilation_width - n.pad_left;
            vf in = {};
            if (n.stride_width == 1) {
              in = load(line, at, lanes(-at, t.width - at));
            } else {
              for (int i = 0; i < inside.last; i++) {
                const int64_t x = at + i * (int64_t)n.stride_width;
                if (x >= 0 && x < t.width) in[i] = line[x];
              }
            }
            sum += in * p.weights[ky * n.kernel_width + kx];
          }
        }
        bounds.store_to(p.out + y * t.out_width + x0, sum, inside);
      }
    }
  }
}

static void depthwise_sums(const Depthwise& t) {
  const secateur_window& n = t.window;
  const int32_t k = n.kernel_height, s = n.stride_height;
  const bool square = n.kernel_width == k && n.stride_width == s;
  if (!square || n.dilation_height != 1 || n.dilation_width != 1) return depthwise_any(t);
  if (k == 3 && s == 1) return depthwise_3<1>(t);
  if (k == 3 && s == 2) return depthwise_3<2>(t);
  if (k == 5 && s == 1) return depthwise_k<5, 1>(t);
  if (k == 5 && s == 2) return depthwise_k<5, 2>(t);
  if (k == 7 && s == 1) return depthwise_k<7, 1>(t);
  depthwise_any(t);
}

static void depthwise(const Depthwise& t) {
  depthwise_sums(t);
  if (t.finish->clamps && !t.finish->residual) return;
  Finish rest = *t.finish;
  if (rest.clamps) {  // the first clamp is done
    rest.low1 = -__builtin_inff();
    rest.high1 = __builtin_inff();
  }
  const int64_t at = (int64_t)t.begin * t.out_width, count = (int64_t)(t.end - t.begin) * t.out_width;
  for (int64_t c = 0; c < t.channels; c++) {
    const int64_t plane = c * t.out_pitch + at;
    finish(rest, t.out + plane, t.residual ? t.residual + plane : nullptr, count);
  }
}

}  // namespace SECATEUR_ISA
}  // namespace secateur
