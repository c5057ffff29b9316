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

// The third column of three is the first one, moved by a pixel.
template <>
struct Columns<3, 2> {
  Lanes inside[3];
  int64_t at;
  Columns() = default;
  Columns(int64_t x, const Depthwise& t) {
    at = 2 * x - t.window.pad_left;
    for (int i = 0; i < 2; i++) inside[i] = lanes(-at - i * kLanes, t.width - at - i * kLanes);
    const bool more = at + 2 * kLanes < t.width && at + 2 * kLanes >= 0;
    inside[2] = lanes(0, more);
  }
  SECATEUR_INLINE void read(const float* row, vf (&out)[3]) const {
    const vf a = load(row, at, inside[0]), b = load(row, at + kLanes, inside[1]);
    out[0] = even(a, b);
    out[1] = odd(a, b);
    out[2] = shifted(out[0], load(row, at + 2 * kLanes, inside[2]));
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

// The rows under the window stay in registers: each is read once. They change places by name, not by
// copies, so the loop is written out until each is where it began. The next channel is fetched meanwhile.
template <int S>
static void depthwise_3(const Depthwise& t) {
  const Bounds bounds(*t.finish);
  const int64_t height = t.height, width = t.width, out_width = t.out_width;
  const int64_t top = t.window.pad_top;
  in_blocks<3, S>(t, [&](const Plane& p, const Columns<3, S>& shared, const Lanes& shared_inside,
                         int64_t x, int64_t begin, int64_t end) SECATEUR_LAMBDA_INLINE {
    // Copies of its own, which the compiler knows that no store changes.
    const Columns<3, S> columns = shared;
    const Lanes inside = shared_inside;
    const Bounds limits = bounds;
    vf w[9], a[3], b[3], c[3];
    SECATEUR_UNROLL
    for (int i = 0; i < 9; i++) w[i] = splat(p.weights[i]);
    const vf bias = splat(p.bias);
    int64_t row = begin * S - top, line = row * width;
    float* out = p.out + begin * out_width + x;
    const auto read = [&](vf(&to)[3]) SECATEUR_LAMBDA_INLINE {
      if ((uint64_t)row < (uint64_t)height) {
        const float* in = p.in + line;
        columns.read(in, to);
        SECATEUR_UNROLL
        for (int i = 0; i < S; i++) __builtin_prefetch(in + S * x + i * kLanes + t.in_pitch);
      } else {
        to[0] = to[1] = to[2] = vf{};
      }
      row++;
      line += width;
    };
    const auto write = [&](const vf(&r0)[3], const vf(&r1)[3], const vf(&r2)[3]) SECATEUR_LAMBDA_INLINE {
      vf s0 = bias + r0[0] * w[0], s1 = r1[0] * w[3], s2 = r2[0] * w[6];
      SECATEUR_UNROLL
      for (int k = 1; k < 3; k++) {
        s0 += r0[k] * w[k];
        s1 += r1[k] * w[3 + k];
        s2 += r2[k] * w[6 + k];
      }
      limits.store_to(out, s0 + (s1 + s2), inside);
      out += out_width;
    };
    int64_t left = end - begin;
    read(a);
    if (S == 1) {
      read(b);
      for (;;) {
        read(c);
        write(a, b, c);
        if (--left == 0) break;
        read(a);
        write(b, c, a);
        if (--left == 0) break;
        read(b);
        write(c, a, b);
        if (--left == 0) break;
      }
    } else {
      for (;;) {
        read(b);
        read(c);
        write(a, b, c);
        if (--left == 0) break;
        read(b);
        read(a);
        write(c, b, a);
        if (--left == 0) break;
      }
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
