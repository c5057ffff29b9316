// Images copied so that a convolution of any window becomes one of 1 x 1: padded, and, for strides, sorted
// into phases (with stride 2 the even columns, then the odd). Then each tap of the window reads the
// pixels of an output row side by side, from an offset that is the same for all of them.
#pragma once

#include "program.h"

namespace secateur {

class Repack {
 public:
  Repack() = default;
  Repack(const Shape& in, const Shape& out, const secateur_window& window, bool channels_last);

  // Output pixel (y, x) is computed at y * row() + x.
  int64_t row() const { return row_; }
  // Of all output rows, and of `rows` of them: repacked rows, floats of a plane, and floats in all.
  int64_t rows() const { return rows_; }
  int64_t rows(int64_t output_rows) const { return output_rows + extra_; }
  int64_t plane(int64_t rows) const;
  int64_t size(int64_t plane) const { return align(channels_ * planes() * plane + kSlack); }
  // Planes of each channel.
  int64_t planes() const { return static_cast<int64_t>(phases_.size()); }
  // Where tap (ky, kx) of the first channel begins, in planes of all rows.
  int64_t offset(int64_t ky, int64_t kx) const;
  // Repacks rows [first, last) into planes that begin with the first of them.
  void run(const Kernels&, const View& in, float* out, int64_t plane, int64_t first, int64_t last,
           Pool& pool) const;

 private:
  struct Phase {
    int32_t y, x;
  };
  // Of a row of a phase, columns [first, last) lie inside of the image, and the first of them is this pixel.
  struct Part {
    int64_t first, last, pixel;
  };
  // Row r of a phase's plane: the image row it is of, or null where there is none.
  const float* image_row(const View& in, int64_t c, int32_t phase_y, int64_t r) const;
  void copy_row(const Kernels&, const View& in, float* out, int64_t c, size_t phase, int64_t r) const;
  // Rows of all channels and of the phases that have this `phase_y`, at once.
  void deal_row(const Kernels&, const View& in, float* out, int64_t plane, int32_t phase_y, int64_t r) const;
  void find_parts(int64_t width);

  secateur_window window_{};
  bool channels_last_ = false;
  // Tiles may reach over the end of the last plane.
  static constexpr int64_t kSlack = 256;
  static constexpr int64_t kMaxStreams = 16;
  int64_t channels_ = 0, rows_ = 0, extra_ = 0, columns_ = 0, row_ = 0;
  bool deals_ = false;  // channels last: all numbers of a row go somewhere
  std::vector<Phase> phases_;
  std::vector<Part> parts_;  // [phase]
  std::vector<int32_t> phase_index_;  // [tap]
};

}  // namespace secateur
