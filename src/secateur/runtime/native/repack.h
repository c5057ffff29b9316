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

  int64_t size() const { return size_; }  // floats
  // Output pixel (y, x) is computed at y * row() + x.
  int64_t row() const { return columns_; }
  int64_t plane() const { return plane_; }
  // Where tap (ky, kx) of channel c begins.
  int32_t offset(int64_t ky, int64_t kx, int64_t c) const;
  void run(const Kernels&, const View& in, float* out, Pool& pool) const;

 private:
  struct Phase {
    int32_t y, x;
  };
  void copy_row(const Kernels&, const View& in, float* out, int64_t c, const Phase& phase, int64_t r) const;

  secateur_window window_{};
  bool channels_last_ = false;
  int64_t channels_ = 0, rows_ = 0, columns_ = 0, plane_ = 0, size_ = 0;
  std::vector<Phase> phases_;
  std::vector<int32_t> phase_index_;  // [tap]
};

}  // namespace secateur
