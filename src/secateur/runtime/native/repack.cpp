#include "repack.h"

#include <algorithm>
#include <cstring>

#include "refuse.h"

namespace secateur {

static constexpr int64_t kMaxTaps = 4096;

Repack::Repack(const Shape& in, const Shape& out, const secateur_window& window, bool channels_last)
    : window_(window), channels_last_(channels_last), channels_(in.channels) {
  if (int64_t{window.kernel_height} * window.kernel_width > kMaxTaps)
    refuse("The window is too large", "kernel_height", window.kernel_height, "kernel_width",
           window.kernel_width);
  extra_ = (int64_t{window.kernel_height} - 1) * window.dilation_height / window.stride_height;
  rows_ = rows(out.height);
  columns_ = out.width + (int64_t{window.kernel_width} - 1) * window.dilation_width / window.stride_width;
  for (int64_t ky = 0; ky < window.kernel_height; ky++) {
    for (int64_t kx = 0; kx < window.kernel_width; kx++) {
      const Phase phase{static_cast<int32_t>(ky * window.dilation_height % window.stride_height),
                        static_cast<int32_t>(kx * window.dilation_width % window.stride_width)};
      const auto same = [&](const Phase& p) { return p.y == phase.y && p.x == phase.x; };
      const auto found = std::find_if(phases_.begin(), phases_.end(), same);
      phase_index_.push_back(static_cast<int32_t>(found - phases_.begin()));
      if (found == phases_.end()) phases_.push_back(phase);
    }
  }
  constexpr int64_t limit = int64_t{1} << 30;
  const auto phases = static_cast<int64_t>(phases_.size());
  if (rows_ > limit / columns_ || rows_ * columns_ > limit / phases / channels_ / 2)
    refuse("The padded image is too large", "height", rows_, "width", columns_);
}

int64_t Repack::plane(int64_t rows) const {
  return Shape{1, static_cast<int32_t>(rows), static_cast<int32_t>(columns_)}.pitch();
}

int64_t Repack::offset(int64_t ky, int64_t kx) const {
  const int64_t phase = phase_index_[static_cast<size_t>(ky * window_.kernel_width + kx)];
  const int64_t y = ky * window_.dilation_height / window_.stride_height;
  const int64_t x = kx * window_.dilation_width / window_.stride_width;
  return phase * plane(rows_) + y * columns_ + x;
}

void Repack::copy_row(const Kernels& kernels, const View& in, float* out, int64_t c, const Phase& phase,
                      int64_t r) const {
  const int64_t y = r * window_.stride_height + phase.y - window_.pad_top;
  if (y < 0 || y >= in.shape.height) {
    std::memset(out, 0, static_cast<size_t>(columns_) * sizeof(float));
    return;
  }
  const int64_t step = channels_last_ ? in.shape.channels : 1;
  const float* line = in.data + (channels_last_ ? c : c * in.pitch) + y * in.shape.width * step;
  if (y >= in.turn) line -= in.back;
  // Columns [first, last) lie inside of the image.
  const int64_t stride = window_.stride_width, shift = phase.x - window_.pad_left;
  const int64_t first = std::min(columns_, shift >= 0 ? 0 : (-shift + stride - 1) / stride);
  const int64_t room = in.shape.width - shift;
  const int64_t last = std::max(first, room <= 0 ? 0 : std::min(columns_, (room - 1) / stride + 1));
  for (int64_t i = 0; i < first; i++) out[i] = 0;
  if (last > first) {
    const float* from = line + (first * stride + shift) * step;
    if (stride * step == 1)
      std::memcpy(out + first, from, static_cast<size_t>(last - first) * sizeof(float));
    else
      kernels.pick(from, stride * step, out + first, last - first);
  }
  for (int64_t i = last; i < columns_; i++) out[i] = 0;
}

void Repack::run(const Kernels& kernels, const View& in, float* out, int64_t plane, int64_t first,
                 int64_t last, Pool& pool) const {
  const auto phases = static_cast<int64_t>(phases_.size());
  const auto copy = [&](int64_t c, int64_t p, int64_t r) {
    float* const to = out + (c * phases + p) * plane + (r - first) * columns_;
    copy_row(kernels, in, to, c, phases_[static_cast<size_t>(p)], r);
  };
  // What lies together is read by the same thread.
  if (channels_last_) {
    pool.each(last - first, [&](int64_t i, int) {
      for (int64_t p = 0; p < phases; p++)
        for (int64_t c = 0; c < channels_; c++) copy(c, p, first + i);
    });
    return;
  }
  pool.each(channels_, [&](int64_t c, int) {
    for (int64_t p = 0; p < phases; p++)
      for (int64_t r = first; r < last; r++) copy(c, p, r);
  });
}

}  // namespace secateur
