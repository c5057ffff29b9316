// Sparse matrices times tiles that are copied first: two rows at a time.
#pragma once

#include "k_matrix.h"

namespace secateur {
namespace SECATEUR_ISA {

// Of a tile, where two rows' sums fit the registers. With AVX-512, MobileNetV1 takes 3 to 5 % longer by pairs.
constexpr int kMaxPairVectors = kLanes == 8 && kRegisters == 16 ? 7 : 0;

// Side by side, columns take few pages and all lines of the cache alike, wherever they come from.
template <int V>
static void copy_columns(const SparseTile& t) {
  const float* from = t.in;
  float* to = t.copy;
  for (int32_t c = 0; c < t.columns; c++, from += t.in_pitch, to += kMaxPairVectors * kLanes)
    SECATEUR_UNROLL
    for (int v = 0; v < V; v++) store(to + v * kLanes, load(from + v * kLanes));
}

// Entries of both rows take turns, as long as the first one has some; then come the others of the second.
template <int V>
static void pair_tile(const SparseTile& t) {
  copy_columns<V>(t);
  int32_t r = t.begin;
  for (; r + 2 <= t.end; r += 2) {
    const Entry* e = t.entries + t.starts[r];
    const Entry* const both = e + 2 * (t.starts[r + 1] - t.starts[r]);
    const Entry* const end = t.entries + t.starts[r + 2];
    for (int32_t next = r + 2; next < r + 4 && next < t.end; next++) fetch_row<V>(t, next);
    vf x[V], y[V];
    begin_row<V>(t, r, x);
    begin_row<V>(t, r + 1, y);
    for (; e < both; e += 2) {
      add<V>(t.copy, e[0], x);
      add<V>(t.copy, e[1], y);
    }
    for (; e < end; e++) add<V>(t.copy, *e, y);
    end_row<V>(t, r, x);
    end_row<V>(t, r + 1, y);
  }
  if (r == t.end) return;
  SparseTile last = t;
  last.in = t.copy;
  last.begin = r;
  sparse_tile<V, 1>(last);
}

template <int V = kMaxPairVectors>
static void sparse_pairs(const SparseTile& t) {
  if constexpr (V > 1)
    if (t.vectors < V) return sparse_pairs<V - 1>(t);
  if constexpr (V > 0) pair_tile<V>(t);
}

}  // namespace SECATEUR_ISA
}  // namespace secateur
