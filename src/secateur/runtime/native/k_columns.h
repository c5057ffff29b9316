// What a depthwise convolution reads of an image row: a vector for each column of its kernel.
#pragma once

#include "kernels.h"
#include "vec.h"

namespace secateur {
namespace SECATEUR_ISA {

// A strip of V vectors of outputs: what a kernel's columns need of one image row. The row is read once and
// moved in registers, as most vectors beside it would cross cache lines. `Alone`: the strip is as wide as the
// image.
template <int K, int S, int V, bool Alone>
struct Columns {
  static constexpr int C = S == 1 ? K / 2 : 0;  // the column that is read, where one is
  // Lanes outside of the image count as 0: multiply-adds leave them out where that costs nothing and there
  // are registers for all masks; elsewhere what is read is cleared.
  static constexpr bool kLate = kMaskedAdds && K == 3;
  Lanes column[V][K];                     // of what a column is multiplied with
  Lanes inside[S * V], before, after[K];  // of what is read
  int64_t at;
  Columns() = default;
  Columns(int64_t x, const Depthwise& t) {
    at = x * S - t.window.pad_left + C;
    const auto pixels = [&](int64_t first) {
      return lanes((S - 1 - first) >> (S - 1), (t.width - first + S - 1) >> (S - 1));
    };
    for (int v = 0; v < V; v++) {
      for (int k = 0; k < K; k++) column[v][k] = pixels(at + v * S * kLanes + k - C);
      for (int s = 0; s < S; s++) inside[v * S + s] = pixels(at + v * S * kLanes + s);
    }
    const int64_t end = at + S * V * kLanes;
    before = pixels(at - kLanes);
    for (int k = 0; k < K; k++)
      after[k] = S == 1 ? pixels(end) : lanes(0, end + k >= 0 && end + k < t.width ? kLanes : 0);
  }
  static bool alone(const Depthwise& t) {
    return S == 1 && t.window.pad_left >= C && C - t.window.pad_left + V * kLanes >= t.width;
  }
  SECATEUR_INLINE void read(const float* row, vf (&out)[V][K]) const {
    if constexpr (S == 1) read_all(row + at, out);
    else read_halves(row + at, out);
  }
  static SECATEUR_INLINE vf early(vf x, const Lanes& l) { return kLate ? x : only(x, l); }
  SECATEUR_INLINE vf add(vf sum, vf x, vf weight, int v, int k) const {
    return kLate ? add_only(sum, x, weight, column[v][k]) : sum + x * weight;
  }
  // From the column in the middle, those to its left and to its right.
  SECATEUR_INLINE void read_all(const float* p, vf (&out)[V][K]) const {
    SECATEUR_UNROLL
    for (int v = 0; v < V; v++) out[v][C] = early(load_once(p + v * kLanes), inside[v]);
    const vf left_end = Alone ? vf{} : early(repeat4(p - 4), before);
    const vf right_end = Alone ? vf{} : early(repeat4(p + V * kLanes), after[0]);
    SECATEUR_UNROLL
    for (int v = 0; v < V; v++) {
      const vf left = v ? out[v - 1][C] : left_end, right = v + 1 < V ? out[v + 1][C] : right_end;
      out[v][C - 1] = slide<kLanes - 1>(left, out[v][C]);
      out[v][C + 1] = slide<1>(out[v][C], right);
      if constexpr (C > 1) {
        out[v][C - 2] = slide<kLanes - 2>(left, out[v][C]);
        out[v][C + 2] = slide<2>(out[v][C], right);
      }
      if constexpr (C > 2) {
        out[v][C - 3] = slide<kLanes - 3>(left, out[v][C]);
        out[v][C + 3] = slide<3>(out[v][C], right);
      }
    }
  }
  // Columns 0 and 1 of the kernel take turns in what is read; the others are these, moved on.
  SECATEUR_INLINE void read_halves(const float* p, vf (&out)[V][K]) const {
    SECATEUR_UNROLL
    for (int v = 0; v < V; v++) {
      vf evens, odds;
      load_halves(p + 2 * v * kLanes, evens, odds);
      out[v][0] = early(evens, inside[v * S]);
      out[v][1] = early(odds, inside[v * S + S - 1]);
    }
    SECATEUR_UNROLL
    for (int k = 2; k < K; k++) {
      const vf end = early(splat(p[2 * V * kLanes + k - 2]), after[k - 2]);
      SECATEUR_UNROLL
      for (int v = 0; v < V; v++)
        out[v][k] = slide<1>(out[v][k - 2], v + 1 < V ? out[v + 1][k - 2] : end);
    }
  }
  // What is read lies in the image or close enough to it.
  static bool fits(const Depthwise& t) {
    const int64_t last = (t.out_width - 1) / kLanes * kLanes * S - t.window.pad_left;
    return t.window.pad_left + 4 <= kMargin && last + S * kLanes + K / 2 + 4 - t.width <= kMargin;
  }
};

}  // namespace SECATEUR_ISA
}  // namespace secateur
