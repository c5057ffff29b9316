#include "repack.h"

#include <algorithm>

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
  // Where the output's rows are whole cache lines, those that are read begin with one.
  row_ = out.width % kAlign == 0 ? align(columns_) : columns_;
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
  if (rows_ > limit / row_ || rows_ * row_ > limit / phases / channels_ / 2)
    refuse("The padded image is too large", "height", rows_, "width", row_);
  find_parts(in.width);
}

void Repack::find_parts(int64_t width) {
  const int64_t stride = window_.stride_width;
  int64_t columns = 0;  // of the stride
  deals_ = channels_last_ && stride <= kMaxStreams / channels_;
  for (const Phase& phase : phases_) {
    const int64_t shift = phase.x - window_.pad_left, room = width - shift;
    const int64_t first = std::min(columns_, shift >= 0 ? 0 : (-shift + stride - 1) / stride);
    const int64_t last = room <= 0 ? 0 : std::min(columns_, (room - 1) / stride + 1);
    parts_.push_back({first, std::max(first, last), first * stride + shift});
    columns += phase.y == 0;
    deals_ = deals_ && first < last;
  }
  deals_ = deals_ && columns == stride;
}

int64_t Repack::plane(int64_t rows) const {
  return Shape{1, static_cast<int32_t>(rows), static_cast<int32_t>(row_)}.pitch();
}

int64_t Repack::offset(int64_t ky, int64_t kx) const {
  const int64_t phase = phase_index_[static_cast<size_t>(ky * window_.kernel_width + kx)];
  const int64_t y = ky * window_.dilation_height / window_.stride_height;
  const int64_t x = kx * window_.dilation_width / window_.stride_width;
  return phase * plane(rows_) + y * row_ + x;
}

const float* Repack::image_row(const View& in, int64_t c, int32_t phase_y, int64_t r) const {
  const int64_t y = r * window_.stride_height + phase_y - window_.pad_top;
  if (y < 0 || y >= in.shape.height) return nullptr;
  const int64_t step = channels_last_ ? in.shape.channels : 1;
  const float* row = in.data + (channels_last_ ? c : c * in.pitch) + y * in.shape.width * step;
  return y >= in.turn ? row - in.back : row;
}

void Repack::copy_row(const Kernels& kernels, const View& in, float* out, int64_t c, size_t phase,
                      int64_t r) const {
  const float* const row = image_row(in, c, phases_[phase].y, r);
  const Part p = row ? parts_[phase] : Part{};
  std::fill(out, out + p.first, 0.0f);
  std::fill(out + p.last, out + columns_, 0.0f);
  if (p.first == p.last) return;
  const int64_t step = channels_last_ ? in.shape.channels : 1, stride = window_.stride_width * step;
  const float* const from = row + p.pixel * step;
  if (stride == 1) std::copy(from, from + (p.last - p.first), out + p.first);
  else kernels.pick(from, stride, out + p.first, p.last - p.first);
}

void Repack::deal_row(const Kernels& kernels, const View& in, float* out, int64_t plane, int32_t phase_y,
                      int64_t r) const {
  const float* const row = image_row(in, 0, phase_y, r);
  const int64_t stride = window_.stride_width, streams = stride * channels_;
  int64_t count = in.shape.width / stride;
  float* to[kMaxStreams];
  int64_t left[kMaxStreams];
  for (size_t phase = 0; phase < phases_.size(); phase++) {
    if (phases_[phase].y != phase_y) continue;
    const Part p = row ? parts_[phase] : Part{};
    for (int64_t c = 0; c < channels_; c++) {
      float* const line = out + (c * planes() + static_cast<int64_t>(phase)) * plane;
      std::fill(line, line + p.first, 0.0f);
      std::fill(line + p.last, line + columns_, 0.0f);
      to[p.pixel * channels_ + c] = line + p.first;
      left[p.pixel * channels_ + c] = p.last - p.first;
    }
    count = std::min(count, p.last - p.first);
  }
  if (!row) return;
  kernels.deal(row, streams, to, count);
  // Of the first columns of the stride there may be one more.
  for (int64_t s = 0; s < streams; s++)
    for (int64_t i = count; i < left[s]; i++) to[s][i] = row[i * streams + s];
}

void Repack::run(const Kernels& kernels, const View& in, float* out, int64_t plane, int64_t first,
                 int64_t last, Pool& pool) const {
  const int64_t phases = planes();
  const auto copy = [&](int64_t c, int64_t p, int64_t r) {
    float* const to = out + (c * phases + p) * plane + (r - first) * row_;
    copy_row(kernels, in, to, c, static_cast<size_t>(p), r);
  };
  // What lies together is read by the same thread.
  if (channels_last_) {
    pool.each(last - first, [&](int64_t i, int) {
      if (deals_) {
        for (const Phase& phase : phases_)
          if (phase.x == 0) deal_row(kernels, in, out + i * row_, plane, phase.y, first + i);
        return;
      }
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
