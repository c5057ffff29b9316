// Depthwise convolution. Columns of one vector's width are swept from top to bottom. Whole vectors are read,
// of which lanes outside of the image count as 0: nothing is copied, and what lies beside a value is not used.
#pragma once

#include "k_columns.h"
#include "k_matrix.h"

namespace secateur {
namespace SECATEUR_ISA {

// Planes are computed in blocks of so many rows and vectors: what a block reads is in the first-level cache
// when the next vector's turn comes.
constexpr int kBlockRows = 28;
constexpr int kBlockVectors = 8;

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

// As many weights as fit the registers stay there while a channel is computed.
template <int K>
struct Kernel {
  static constexpr bool kept = K == 3;
  vf kept_[kept ? K * K : 1];
  const float* weights;
  explicit SECATEUR_INLINE Kernel(const Plane& p) : weights(p.weights) {
    SECATEUR_UNROLL
    for (int i = 0; kept && i < K * K; i++) kept_[i] = splat(weights[i]);
  }
  SECATEUR_INLINE vf operator[](int i) const { return kept ? kept_[i] : splat(weights[i]); }
};

// Sums of the output rows under way stay in registers: each image row is read once and added to all of
// them. The next channel, and where it is written, is fetched meanwhile.
template <int K, int S, int V, bool Alone>
static SECATEUR_INLINE void sweep(const Depthwise& t, const Plane& p, const Kernel<K>& w,
                                  const Columns<K, S, V, Alone>& shared, const Bounds& bounds, int64_t x,
                                  int64_t begin, int64_t end) {
  constexpr int kSums = (K + S - 1) / S;
  const int64_t height = t.height, width = t.width, out_width = t.out_width, in_pitch = t.in_pitch;
  // Copies of its own, which the compiler knows that no store changes.
  const Columns<K, S, V, Alone> columns = shared;
  const Bounds limits = bounds;
  const Lanes full = lanes(0, kLanes), last_lanes = lanes(0, out_width - x - (V - 1) * kLanes);
  const vf bias = splat(p.bias);
  vf sums[kSums][V];
  SECATEUR_UNROLL
  for (int i = 0; i < kSums; i++) {
    SECATEUR_UNROLL
    for (int v = 0; v < V; v++) sums[i][v] = bias;
  }
  int64_t row = begin * S - t.window.pad_top;
  const float* from = p.in + row * width - (row >= t.turn ? t.back : 0);
  float* out = p.out + begin * out_width + x;
  // Rows before this one follow one another in memory.
  int64_t gap = row < t.turn && t.turn < height ? t.turn : height;
  // The next S image rows, added to sums [first, last); sums[i] needs them as its row ky and those after.
  const auto add = [&](int first, int last) SECATEUR_LAMBDA_INLINE {
    SECATEUR_UNROLL
    for (int s = 0; s < S; s++, row++, from += width) {
      if ((uint64_t)row >= (uint64_t)gap) {
        if (row < 0 || row >= height) continue;
        from -= t.back;
        gap = height;
      }
      if ((kSums - last) * S + s >= K) continue;
      vf in[V][K];
      columns.read(from, in);
      SECATEUR_UNROLL
      for (int i = 0; i < S * V; i++) __builtin_prefetch(from + S * x + i * kLanes + in_pitch);
      SECATEUR_UNROLL
      for (int k = 0; k < K; k++) {
        const int kx = (k + Columns<K, S, V, Alone>::C) % K;
        SECATEUR_UNROLL
        for (int i = 0; i < kSums; i++) {
          const int ky = (kSums - 1 - i) * S + s;
          if (i < first || i >= last || ky >= K) continue;
          const vf weight = w[ky * K + kx];
          SECATEUR_UNROLL
          for (int v = 0; v < V; v++)
            sums[i][v] = columns.add(sums[i][v], in[v][kx], weight, v, kx);
        }
      }
    }
  };
  const auto next = [&]() SECATEUR_LAMBDA_INLINE {
    SECATEUR_UNROLL
    for (int v = 0; v < V; v++) {
      SECATEUR_UNROLL
      for (int i = 0; i + 1 < kSums; i++) sums[i][v] = sums[i + 1][v];
      sums[kSums - 1][v] = bias;
    }
  };
  const auto complete = [&]() SECATEUR_LAMBDA_INLINE {
    SECATEUR_UNROLL
    for (int v = 0; v < V; v++)
      limits.store_to(out + v * kLanes, sums[0][v], v + 1 < V ? full : last_lanes);
    fetch_lines<V>(out + t.out_pitch);
    out += out_width;
  };
  // sums[0] is of the row that is stored next; before the first one is complete, it is not needed.
  SECATEUR_UNROLL
  for (int i = kSums - 1; i > 0; i--) {
    add(i, kSums);
    next();
  }
  for (int64_t y = begin; y + 1 < end; y++) {
    add(0, kSums);
    complete();
    next();
  }
  add(0, 1);
  complete();
}

// One strip is the whole width.
template <int K, int S, int V, bool Alone>
static void depthwise_strip(const Depthwise& t) {
  const Bounds bounds(*t.finish);
  const Columns<K, S, V, Alone> columns(0, t);
  for (int64_t c = 0; c < t.channels; c++) {
    const Plane plane(t, c);
    sweep<K, S>(t, plane, Kernel<K>(plane), columns, bounds, 0, t.begin, t.end);
  }
}

// Pairs of vectors, and the last one where their number is odd.
template <int K, int S>
static void depthwise_strips(const Depthwise& t) {
  const Bounds bounds(*t.finish);
  constexpr int64_t kPair = 2 * kLanes;
  for (int64_t left = 0; left < t.out_width; left += kBlockVectors * kLanes) {
    const int64_t right = left + kBlockVectors * kLanes < t.out_width ? left + kBlockVectors * kLanes
                                                                       : t.out_width;
    const int64_t pairs = (right - left + kLanes - 1) / kPair;
    Columns<K, S, 2, false> columns[kBlockVectors / 2];
    for (int64_t i = 0; i < pairs; i++) columns[i] = {left + i * kPair, t};
    const int64_t rest = left + pairs * kPair;
    const Columns<K, S, 1, false> last(rest, t);
    for (int64_t c = 0; c < t.channels; c++) {
      const Plane plane(t, c);
      const Kernel<K> kernel(plane);
      for (int64_t y = t.begin; y < t.end; y += kBlockRows) {
        const int64_t end = y + kBlockRows < t.end ? y + kBlockRows : (int64_t)t.end;
        for (int64_t i = 0; i < pairs; i++)
          sweep<K, S>(t, plane, kernel, columns[i], bounds, left + i * kPair, y, end);
        if (rest < right) sweep<K, S>(t, plane, kernel, last, bounds, rest, y, end);
      }
    }
  }
}

template <int K, int S>
static void depthwise_k(const Depthwise& t) {
  if (t.out_width <= kLanes) {
    if (Columns<K, S, 1, true>::alone(t)) return depthwise_strip<K, S, 1, true>(t);
    return depthwise_strip<K, S, 1, false>(t);
  }
  if (t.out_width <= 2 * kLanes) {
    if (Columns<K, S, 2, true>::alone(t)) return depthwise_strip<K, S, 2, true>(t);
    return depthwise_strip<K, S, 2, false>(t);
  }
  depthwise_strips<K, S>(t);
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
          const float* line = p.in + row * t.width - (row >= t.turn ? t.back : 0);
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
  if (k == 3 && s == 1 && Columns<3, 1, 1, false>::fits(t)) return depthwise_k<3, 1>(t);
  if (k == 3 && s == 2 && Columns<3, 2, 1, false>::fits(t)) return depthwise_k<3, 2>(t);
  if (k == 5 && s == 1 && Columns<5, 1, 1, false>::fits(t)) return depthwise_k<5, 1>(t);
  if (k == 5 && s == 2 && Columns<5, 2, 1, false>::fits(t)) return depthwise_k<5, 2>(t);
  if (k == 7 && s == 1 && Columns<7, 1, 1, false>::fits(t)) return depthwise_k<7, 1>(t);
  depthwise_any(t);
}

// Other functions than clamps follow when some channels are done, while these are in the first-level cache.
static void depthwise(const Depthwise& t) {
  if (t.finish->clamps && !t.finish->residual) return depthwise_sums(t);
  constexpr int64_t kNear = 4096;  // floats
  Finish rest = *t.finish;
  if (rest.clamps) {  // the first clamp is done
    rest.low1 = -__builtin_inff();
    rest.high1 = __builtin_inff();
  }
  const int64_t at = (int64_t)t.begin * t.out_width, count = (int64_t)(t.end - t.begin) * t.out_width;
  int64_t some = kNear / count / t.multiplier * t.multiplier;
  if (some < t.multiplier) some = t.multiplier;
  for (int64_t c = 0; c < t.channels; c += some) {
    Depthwise part = t;
    part.in += c / t.multiplier * t.in_pitch;
    part.out += c * t.out_pitch;
    part.weights += c * t.window.kernel_height * t.window.kernel_width;
    part.bias += c;
    part.channels = (int32_t)(some < t.channels - c ? some : t.channels - c);
    depthwise_sums(part);
    for (int64_t i = 0; i < part.channels; i++) {
      const float* residual = t.residual ? t.residual + (c + i) * t.residual_pitch + at : nullptr;
      finish(rest, part.out + i * t.out_pitch + at, residual, count);
    }
  }
}

}  // namespace SECATEUR_ISA
}  // namespace secateur
