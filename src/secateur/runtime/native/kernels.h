// The kernels: functions that exist once for each instruction set, reached through a table. They trust
// their arguments; operations check them.
#pragma once

#include <stdint.h>

#include "secateur.h"

namespace secateur {

// Planes of values begin at multiples of this many floats and are padded to such a multiple, so that
// kernels may read and write whole vectors of any width. Planes of one pixel are the exception:
// there the channels lie side by side, and their end is padded.
constexpr int kAlign = 16;

// So many floats before and after the planes of a value may be read, too; they are never used. That is the
// most that two vectors reach beyond an image.
constexpr int kMargin = 48;

// A non-zero weight, and where its input lies from the tile's beginning.
struct Entry {
  int32_t offset;
  float weight;
};

// second(first(x) + residual). Where both are clamps, or nothing, the bounds are here.
struct Finish {
  secateur_activation first, second;
  bool residual, clamps;
  float low1, high1, low2, high2;
};

// Rows [begin, end) of a sparse matrix times a tile of `vectors` vectors of pixels.
struct SparseTile {
  const float* in;
  float* out;             // of output row 0; others are `pitch` apart
  const float* residual;  // likewise, or null
  int64_t pitch, residual_pitch;
  const Entry* entries;
  const int32_t* starts;  // of the entries of each row
  const int32_t* rows;    // which output row it is
  const float* bias;      // of each row, in the order of `starts`; null: add to what is in `out`
  int32_t begin, end;
  int32_t vectors;
  const Finish* finish;  // null: leave sums as they are
  // Where pairs of rows find the tile's columns, `in_pitch` apart before, of which there are so many.
  float* copy;
  int64_t in_pitch;
  int32_t columns;
};

// Rows of a dense matrix, packed in groups of kDenseRows, times a tile of pixels.
constexpr int kDenseRows = 6;
struct DenseTile {
  const float* in;
  float* out;
  const float* residual;
  int64_t pitch, residual_pitch;
  const int32_t* offsets;  // of the `depth` inputs, from the tile's beginning
  const float* weights;    // [group][depth][kDenseRows]
  const float* bias;
  int32_t depth;
  int32_t first, begin, end;  // groups; output rows are counted from `first`
  int32_t rows;               // in all: the last group may be short
  int32_t vectors;
  const Finish* finish;
};

// A matrix times one vector; rows lie across the lanes. `weights` are [group][step][lanes].
struct VectorProduct {
  const float* in;
  float* out;
  const int64_t* starts;   // of each group's steps
  const int32_t* indices;  // [step][lanes], or null: step s of any group reads in[s]
  const float* weights;
  const float* bias;    // [group][lanes]
  const int32_t* rows;  // [group][lanes], which output it is, or -1; null: in order
  int32_t begin, end;   // groups
  int32_t count;        // of outputs
};

// Rows [begin, end) of `channels` planes.
struct Depthwise {
  const float* in;        // of the first of these channels, likewise all else
  float* out;
  const float* residual;  // or null
  const float* weights;   // [channel][kernel_height][kernel_width]
  const float* bias;
  int64_t in_pitch, out_pitch, residual_pitch, back;
  int32_t turn;  // image rows from this one on lie `back` floats before where they would be
  int32_t channels, multiplier;
  int32_t height, width, out_width;
  int32_t begin, end;
  secateur_window window;
  const Finish* finish;
};

struct Kernels {
  const char* name;
  int lanes;
  int max_vectors;        // of a sparse tile
  int max_pair_vectors;   // of a sparse tile for pairs of rows, whose columns lie so far apart; 0: there are none
  int max_dense_vectors;  // of a dense tile
  void (*sparse)(const SparseTile&);
  // Offsets are from the beginning of `copy`. Of two rows the first, which has no more entries, takes turns with the
  // second, entry by entry; what the second one has more comes behind.
  void (*sparse_pairs)(const SparseTile&);
  void (*dense)(const DenseTile&);
  void (*vector_product)(const VectorProduct&);
  void (*depthwise)(const Depthwise&);
  // In place, over any number of floats.
  void (*finish)(const Finish&, float* x, const float* residual, int64_t count);
  void (*map)(const secateur_activation&, const float* x, float* y, int64_t count);
  // Either operand is one number where its flag says so.
  void (*binary)(int32_t function, const float* a, bool one_a, const float* b, bool one_b, float* y,
                 int64_t count);
  // y[i] = x[i * stride]
  void (*pick)(const float* x, int64_t stride, float* y, int64_t count);
  // y[s][i] = x[i * streams + s]
  void (*deal)(const float* x, int64_t streams, float* const* y, int64_t count);
  // y[c * out_pitch + r] = x[r * in_pitch + c]
  void (*transpose)(const float* x, int64_t in_pitch, float* y, int64_t out_pitch, int64_t rows, int64_t columns);
  // Numbers that are not 0 and where they are, side by side; there is room for a vector more. Returns how many.
  int64_t (*compress)(const float* x, int64_t count, int32_t* places, float* values);
  // How many numbers are not 0; -1 if one of them is infinite or no number.
  int64_t (*count_nonzero)(const float* x, int64_t count);
  float (*total)(const float* x, int64_t count);
  double (*peak)(int64_t rounds);  // multiply-adds done
};

}  // namespace secateur
