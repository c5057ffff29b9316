// Rows that become columns.
#pragma once

#include "kernels.h"
#include "vec.h"

namespace secateur {
namespace SECATEUR_ISA {

// Of as many rows as a vector has lanes. A round takes every second number of all rows one behind the other, and then
// the rest: the number at a place goes where the lowest bit of that place is the highest one. After as many rounds as
// lanes have bits, rows and lanes have changed places.
static SECATEUR_INLINE void transpose_vectors(vf (&x)[kLanes]) {
  SECATEUR_UNROLL
  for (int round = 1; round < kLanes; round *= 2) {
    vf y[kLanes];
    SECATEUR_UNROLL
    for (int i = 0; i < kLanes / 2; i++) {
      y[i] = even(x[2 * i], x[2 * i + 1]);
      y[i + kLanes / 2] = odd(x[2 * i], x[2 * i + 1]);
    }
    SECATEUR_UNROLL
    for (int i = 0; i < kLanes; i++) x[i] = y[i];
  }
}

// y[c * out_pitch + r] = x[r * in_pitch + c], for as many of each as a vector has lanes, or for fewer.
static SECATEUR_INLINE void transpose_block(const float* x, int64_t in_pitch, float* y, int64_t out_pitch,
                                            const Lanes& rows, const Lanes& columns) {
  vf block[kLanes];
  if (rows.last == kLanes && columns.last == kLanes) {
    SECATEUR_UNROLL
    for (int i = 0; i < kLanes; i++) block[i] = load(x + i * in_pitch);
    transpose_vectors(block);
    SECATEUR_UNROLL
    for (int i = 0; i < kLanes; i++) store(y + i * out_pitch, block[i]);
    return;
  }
  SECATEUR_UNROLL
  for (int i = 0; i < kLanes; i++) block[i] = i < rows.last ? load(x, i * in_pitch, columns) : vf{};
  transpose_vectors(block);
  SECATEUR_UNROLL
  for (int i = 0; i < kLanes; i++)
    if (i < columns.last) store(y + i * out_pitch, block[i], rows);
}

static void transpose(const float* x, int64_t in_pitch, float* y, int64_t out_pitch, int64_t rows, int64_t columns) {
  for (int64_t r = 0; r < rows; r += kLanes)
    for (int64_t c = 0; c < columns; c += kLanes)
      transpose_block(x + r * in_pitch + c, in_pitch, y + c * out_pitch + r, out_pitch, lanes(0, rows - r),
                      lanes(0, columns - c));
}

}  // namespace SECATEUR_ISA
}  // namespace secateur
