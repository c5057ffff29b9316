// Sparse and dense matrices times tiles of pixels, and times one vector.
#pragma once

#include "k_map.h"

namespace secateur {
namespace SECATEUR_ISA {

// Stores `V` vectors of one output row, finished.
template <int V>
static SECATEUR_INLINE void finish_row(const vf (&x)[V], float* out, const float* residual,
                                       const Finish* f) {
  if (f && f->clamps) {
    const vf low1 = splat(f->low1), high1 = splat(f->high1);
    if (!f->residual) {
      SECATEUR_UNROLL
      for (int v = 0; v < V; v++) store(out + v * kLanes, clamp(x[v], low1, high1));
      return;
    }
    const vf low2 = splat(f->low2), high2 = splat(f->high2);
    SECATEUR_UNROLL
    for (int v = 0; v < V; v++) {
      const vf sum = clamp(x[v], low1, high1) + load(residual + v * kLanes);
      store(out + v * kLanes, clamp(sum, low2, high2));
    }
    return;
  }
  SECATEUR_UNROLL
  for (int v = 0; v < V; v++) store(out + v * kLanes, x[v]);
  if (f) finish(*f, out, residual, V * kLanes);
}

// A row takes about as long as a line to come from the third-level cache.
constexpr int kRowsAhead = 2;

// Of the tile, what a row will add and, with AVX2, write: with AVX-512, to fetch that as well takes MobileNetV1 2 % more
// time.
template <int V>
static SECATEUR_INLINE void fetch_row(const SparseTile& t, int32_t r) {
  if (kLanes == 8) fetch_lines<V>(t.out + t.rows[r] * t.pitch);
  if (t.finish && t.residual) fetch_lines<V>(t.residual + t.rows[r] * t.residual_pitch);
}

template <int V>
static SECATEUR_INLINE void begin_row(const SparseTile& t, int32_t r, vf (&x)[V]) {
  if (t.bias) {
    const vf bias = splat(t.bias[r]);
    SECATEUR_UNROLL
    for (int v = 0; v < V; v++) x[v] = bias;
    return;
  }
  const float* out = t.out + t.rows[r] * t.pitch;
  SECATEUR_UNROLL
  for (int v = 0; v < V; v++) x[v] = load(out + v * kLanes);
}

template <int V>
static SECATEUR_INLINE void add(const float* in, const Entry& e, vf (&x)[V]) {
  const vf w = splat(e.weight);
  SECATEUR_UNROLL
  for (int v = 0; v < V; v++) x[v] += w * load(in + e.offset + v * kLanes);
}

template <int V>
static SECATEUR_INLINE void end_row(const SparseTile& t, int32_t r, const vf (&x)[V]) {
  const float* residual = t.residual ? t.residual + t.rows[r] * t.residual_pitch : nullptr;
  finish_row<V>(x, t.out + t.rows[r] * t.pitch, residual, t.finish);
}

// All non-zeros of a row go into V accumulators that stay in registers. An accumulator waits for the
// one before it, so narrow tiles take two sets of them.
template <int V, int Sets>
static void sparse_tile(const SparseTile& t) {
  const Entry* e = t.entries + t.starts[t.begin];
  for (int32_t r = t.begin; r < t.end; r++) {
    const Entry* end = t.entries + t.starts[r + 1];
    if (r + kRowsAhead < t.end) fetch_row<V>(t, r + kRowsAhead);
    vf x[V], more[V];
    begin_row<V>(t, r, x);
    if (Sets == 2) {
      SECATEUR_UNROLL
      for (int v = 0; v < V; v++) more[v] = vf{};
      for (; e + 2 <= end; e += 2) {
        add<V>(t.in, e[0], x);
        add<V>(t.in, e[1], more);
      }
    }
    for (; e < end; e++) add<V>(t.in, *e, x);
    if (Sets == 2) {
      SECATEUR_UNROLL
      for (int v = 0; v < V; v++) x[v] += more[v];
    }
    end_row<V>(t, r, x);
  }
}

#if defined(__x86_64__) && !defined(__AVX512F__)
constexpr int kRegisters = 16;
#else
constexpr int kRegisters = 32;
#endif
// Of a tile: 384 bytes of a row, six cache lines, where vectors are wide enough for that. More would not fit AVX2's
// registers.
constexpr int kMaxVectors = kLanes == 8 ? 12 : 6;

// Rows of fewer non-zeros than this overlap, and two sets would only have to be added.
constexpr int kShortRow = 12;

template <int V>
static void sparse_width(const SparseTile& t) {
  const bool are_short = t.starts[t.end] - t.starts[t.begin] < kShortRow * (t.end - t.begin);
  if (2 * V + 2 > kRegisters || are_short) return sparse_tile<V, 1>(t);
  return sparse_tile<V, 2>(t);
}

template <int V = kMaxVectors>
static void sparse(const SparseTile& t) {
  if constexpr (V > 1)
    if (t.vectors < V) return sparse<V - 1>(t);
  sparse_width<V>(t);
}

// R rows, the first ones of a group, of V vectors.
template <int V, int R>
static SECATEUR_INLINE void dense_group(const DenseTile& t, int32_t g) {
  const float *w = t.weights + (int64_t)g * t.depth * kDenseRows, *bias = t.bias + g * kDenseRows;
  vf x[R][V];
  SECATEUR_UNROLL
  for (int r = 0; r < R; r++)
    for (int v = 0; v < V; v++) x[r][v] = splat(bias[r]);
  for (int32_t k = 0; k < t.depth; k++, w += kDenseRows) {
    const float* p = t.in + t.offsets[k];
    vf in[V];
    SECATEUR_UNROLL
    for (int v = 0; v < V; v++) in[v] = load(p + v * kLanes);
    SECATEUR_UNROLL
    for (int r = 0; r < R; r++)
      SECATEUR_UNROLL
      for (int v = 0; v < V; v++) x[r][v] += in[v] * w[r];
  }
  const int32_t left = t.rows - g * kDenseRows;
  const int64_t first = (int64_t)(g - t.first) * kDenseRows;
  // The most frequent end without a branch between rows: sums stay in registers.
  if (left >= R && t.finish && t.finish->clamps && !t.finish->residual) {
    const vf low = splat(t.finish->low1), high = splat(t.finish->high1);
    float* out = t.out + first * t.pitch;
    SECATEUR_UNROLL
    for (int r = 0; r < R; r++, out += t.pitch)
      SECATEUR_UNROLL
      for (int v = 0; v < V; v++) store(out + v * kLanes, clamp(x[r][v], low, high));
    return;
  }
  SECATEUR_UNROLL
  for (int r = 0; r < R; r++) {
    if (r >= left) break;
    const float* residual = t.residual ? t.residual + (first + r) * t.residual_pitch : nullptr;
    finish_row<V>(x[r], t.out + (first + r) * t.pitch, residual, t.finish);
  }
}

template <int V>
static void dense_tile(const DenseTile& t) {
  for (int32_t g = t.begin; g < t.end; g++) {
    // The last group may be short.
    if (t.rows - g * kDenseRows <= 2)
      dense_group<V, 2>(t, g);
    else
      dense_group<V, kDenseRows>(t, g);
  }
}

constexpr int kMaxDenseVectors = kLanes == 8 ? 2 : 4;

static void dense(const DenseTile& t) {
  switch (t.vectors) {
    case 1: return dense_tile<1>(t);
    case 2: return dense_tile<2>(t);
    case 3: return dense_tile<3>(t);
    default: return dense_tile<4>(t);
  }
}

// Rows of a group may have different numbers of steps: missing ones have weight 0 and are left out, so
// that an infinite input does not get into rows that do not read it.
static void vector_product(const VectorProduct& t) {
  for (int32_t g = t.begin; g < t.end; g++) {
    vf x[4] = {load(t.bias + (int64_t)g * kLanes), vf{}, vf{}, vf{}};
    const int64_t first = t.starts[g], steps = t.starts[g + 1] - first;
    const float* w = t.weights + first * kLanes;
    int64_t s = 0;
    if (t.indices) {
      const int32_t* index = t.indices + first * kLanes;
      for (; s < steps; s++, w += kLanes, index += kLanes) {
        const vf weight = load(w), product = weight * gather(t.in, load_int(index));
        x[s & 1] += weight != 0.0f ? product : vf{};
      }
    } else {
      for (; s + 4 <= steps; s += 4, w += 4 * kLanes)
        SECATEUR_UNROLL
        for (int i = 0; i < 4; i++) x[i] += t.in[s + i] * load(w + i * kLanes);
      for (; s < steps; s++, w += kLanes) x[0] += t.in[s] * load(w);
    }
    const vf y = (x[0] + x[1]) + (x[2] + x[3]);
    if (t.rows) {
      for (int i = 0; i < kLanes; i++)
        if (t.rows[g * kLanes + i] >= 0) t.out[t.rows[g * kLanes + i]] = y[i];
    } else {
      store(t.out + (int64_t)g * kLanes, y, lanes(0, t.count - (int64_t)g * kLanes));
    }
  }
}

}  // namespace SECATEUR_ISA
}  // namespace secateur
