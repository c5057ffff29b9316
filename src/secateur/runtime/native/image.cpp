// Pooling and resizing.
#include <algorithm>
#include <cmath>

#include "checks.h"
#include "operations.h"

namespace secateur {
namespace {

class PoolOperation : public Operation {
 public:
  void run(const Run& run) const override {
    for (int32_t n = 0; n < run.batch; n++) {
      const View in = run.view(reads[0], n), to = run.view(out, n);
      run.pool.each(to.shape.channels, [&](int64_t c, int thread) {
        plane(run, in.plane(c), in.shape, to.plane(c), to.shape, run.scratch_of(thread));
        run.kernels.finish(finish, to.plane(c), nullptr, to.shape.pixels());
      });
    }
  }

  // All rows under a window become one, by vectors, before its columns do.
  void plane(const Run& run, const float* in, const Shape& from, float* to, const Shape& shape,
             float* row) const {
    const bool largest = function == SECATEUR_MAX_POOL;
    const float none = largest ? -INFINITY : 0.0f;
    for (int64_t y = 0; y < shape.height; y++) {
      const int64_t top = y * window.stride_height - window.pad_top;
      const int64_t y0 = std::max<int64_t>(top, 0);
      const int64_t y1 = std::min<int64_t>(top + window.kernel_height, from.height);
      std::fill(row, row + from.width, none);
      for (int64_t i = y0; i < y1; i++)
        run.kernels.binary(largest ? SECATEUR_MAXIMUM : SECATEUR_ADD, in + i * from.width, false, row, false, row,
                           from.width);
      for (int64_t x = 0; x < shape.width; x++) {
        const int64_t left = x * window.stride_width - window.pad_left;
        const int64_t x0 = std::max<int64_t>(left, 0);
        const int64_t x1 = std::min<int64_t>(left + window.kernel_width, from.width);
        float all = none;
        if (largest) {
          for (int64_t j = x0; j < x1; j++) all = std::max(all, row[j]);
        } else {
          for (int64_t j = x0; j < x1; j++) all += row[j];
          all /= static_cast<float>((y1 - y0) * (x1 - x0));
        }
        *to++ = all;
      }
    }
  }

  int32_t function;
  secateur_window window;
  Finish finish;
};

class Mean : public Operation {
 public:
  void run(const Run& run) const override {
    for (int32_t n = 0; n < run.batch; n++) {
      const View in = run.view(reads[0], n), to = run.view(out, n);
      const int64_t pixels = in.shape.pixels();
      run.pool.each(in.shape.channels, [&](int64_t c, int) {
        *to.plane(c) = run.kernels.total(in.plane(c), pixels) / static_cast<float>(pixels);
      });
    }
  }
};

// Along one axis: output i is between two inputs, `weight` of the way from the first to the second.
struct Between {
  int32_t first, second;
  float weight;
};

std::vector<Between> make_axis(int32_t function, int64_t in, int64_t out, bool align, bool half) {
  const float scale = align && out > 1 ? static_cast<float>(in - 1) / static_cast<float>(out - 1)
                                       : static_cast<float>(in) / static_cast<float>(out);
  const float shift = half ? 0.5f : 0.0f;
  const auto limit = [&](float x) {
    return static_cast<int32_t>(std::min(std::max(x, 0.0f), static_cast<float>(in - 1)));
  };
  std::vector<Between> axis;
  for (int64_t i = 0; i < out; i++) {
    const float at = (static_cast<float>(i) + shift) * scale;
    if (function == SECATEUR_NEAREST) {
      const int32_t nearest = limit(align ? std::round(at) : std::floor(at));
      axis.push_back({nearest, nearest, 0});
    } else {
      const float from = at - shift;
      const int32_t first = limit(std::floor(from)), second = limit(std::ceil(from));
      axis.push_back({first, second, from - static_cast<float>(first)});
    }
  }
  return axis;
}

class Resize : public Operation {
 public:
  void run(const Run& run) const override {
    for (int32_t n = 0; n < run.batch; n++) {
      const View in = run.view(reads[0], n), to = run.view(out, n);
      run.pool.each(to.shape.channels, [&](int64_t c, int) { plane(in, to, c); });
    }
  }

  void plane(const View& in, const View& to, int64_t c) const {
    float* p = to.plane(c);
    for (const Between& y : rows) {
      const float* upper = in.plane(c) + int64_t{y.first} * in.shape.width;
      const float* lower = in.plane(c) + int64_t{y.second} * in.shape.width;
      for (const Between& x : columns) {
        const float a = upper[x.first], b = lower[x.first];
        if (nearest) {
          *p++ = a;
          continue;
        }
        const float top = a + (upper[x.second] - a) * x.weight;
        const float bottom = b + (lower[x.second] - b) * x.weight;
        *p++ = top + (bottom - top) * y.weight;
      }
    }
  }

  bool nearest;
  std::vector<Between> rows, columns;
};

}  // namespace

void add_pool(Program& p, int32_t function, int32_t in, int32_t out, const secateur_window* window,
              const secateur_activation* activation) {
  if (function != SECATEUR_MAX_POOL && function != SECATEUR_AVERAGE_POOL)
    refuse("There is no such function", "function", function);
  const Shape &from = p.readable(in, "in").shape, &to = p.writable(out).shape;
  auto o = std::make_unique<PoolOperation>();
  o->window = checked(window, from, to);
  const secateur_window& w = o->window;
  if (from.channels != to.channels)
    refuse("Pooling keeps the channels", "in", from.channels, "out", to.channels);
  if (w.dilation_height != 1 || w.dilation_width != 1) refuse("Pooling has dilation 1");
  if (std::max(w.pad_top, w.pad_bottom) >= w.kernel_height ||
      std::max(w.pad_left, w.pad_right) >= w.kernel_width)
    refuse("Padding must be smaller than the kernel", "top", w.pad_top, "left", w.pad_left, "bottom",
           w.pad_bottom, "right", w.pad_right);
  o->function = function;
  o->finish = make_finish(activation);
  o->reads = {in};
  o->out = out;
  o->thread_scratch = align(from.width);
  o->text = (function == SECATEUR_MAX_POOL ? "max pool " : "average pool ") + window_text(w) +
            finish_text(o->finish);
  p.add(std::move(o));
}

void add_mean(Program& p, int32_t in, int32_t out) {
  const Shape &from = p.readable(in, "in").shape, &to = p.writable(out).shape;
  if (from.channels != to.channels || to.pixels() != 1)
    refuse("A mean keeps the channels and leaves a 1 x 1 image", "in", shape_text(from), "out",
           shape_text(to));
  auto o = std::make_unique<Mean>();
  o->reads = {in};
  o->out = out;
  o->text = "mean";
  p.add(std::move(o));
}

void add_resize(Program& p, int32_t function, int32_t in, int32_t out, int32_t align_corners,
                int32_t half_pixel_centers) {
  if (function != SECATEUR_BILINEAR && function != SECATEUR_NEAREST)
    refuse("There is no such function", "function", function);
  const Shape &from = p.readable(in, "in").shape, &to = p.writable(out).shape;
  if (from.channels != to.channels)
    refuse("Resizing keeps the channels", "in", from.channels, "out", to.channels);
  if (align_corners && half_pixel_centers)
    refuse("Corners are aligned, or pixels are centred, not both", "align_corners", align_corners);
  auto o = std::make_unique<Resize>();
  o->nearest = function == SECATEUR_NEAREST;
  o->rows = make_axis(function, from.height, to.height, align_corners != 0, half_pixel_centers != 0);
  o->columns = make_axis(function, from.width, to.width, align_corners != 0, half_pixel_centers != 0);
  o->reads = {in};
  o->out = out;
  o->text = o->nearest ? "resize nearest" : "resize bilinear";
  p.add(std::move(o));
}

}  // namespace secateur
