// Operations that only move numbers.
#include <algorithm>

#include "checks.h"
#include "operations.h"

namespace secateur {
namespace {

// Blocks of pixels keep both sides in the cache.
constexpr int64_t kBlock = 64;

int64_t blocks(const Shape& s) { return (s.pixels() + kBlock - 1) / kBlock; }

class ToChannelMajor : public Operation {
 public:
  void run(const Run& run) const override {
    const Shape& s = run.view(out, 0).shape;
    const int64_t count = blocks(s);
    run.pool.each(count * run.batch, [&](int64_t item, int) {
      const auto n = static_cast<int32_t>(item / count);
      const View in = run.view(reads[0], n), to = run.view(out, n);
      const int64_t first = item % count * kBlock, last = std::min(first + kBlock, s.pixels());
      if (s.channels < run.kernels.lanes) {
        for (int64_t c = 0; c < s.channels; c++)
          run.kernels.pick(in.data + first * s.channels + c, s.channels, to.plane(c) + first, last - first);
      } else {
        run.kernels.transpose(in.data + first * s.channels, s.channels, to.data + first, to.pitch, last - first,
                              s.channels);
      }
    });
  }
};

class ToChannelsLast : public Operation {
 public:
  void run(const Run& run) const override {
    const Shape& s = run.view(out, 0).shape;
    const int64_t count = blocks(s);
    run.pool.each(count * run.batch, [&](int64_t item, int) {
      const auto n = static_cast<int32_t>(item / count);
      const View in = run.view(reads[0], n), to = run.view(out, n);
      const int64_t first = item % count * kBlock, last = std::min(first + kBlock, s.pixels());
      if (s.channels < run.kernels.lanes) {
        for (int64_t p = first; p < last; p++)
          for (int64_t c = 0; c < s.channels; c++) to.data[p * s.channels + c] = in.plane(c)[p];
      } else {
        run.kernels.transpose(in.data + first, in.pitch, to.data + first * s.channels, s.channels, s.channels,
                              last - first);
      }
    });
  }
};

class Reshape : public Operation {
 public:
  void run(const Run& run) const override {
    for (int32_t n = 0; n < run.batch; n++) {
      const View in = run.view(reads[0], n), to = run.view(out, n);
      const int64_t from_channels = in.shape.channels, to_channels = to.shape.channels;
      if (from_channels == to_channels && in.pitch == to.pitch) {
        std::copy_n(in.data, from_channels * in.pitch, to.data);
        continue;
      }
      run.pool.each(to_channels, [&](int64_t c, int) {
        for (int64_t p = 0; p < to.shape.pixels(); p++) {
          const int64_t i = p * to_channels + c;
          to.plane(c)[p] = in.plane(i % from_channels)[i / from_channels];
        }
      });
    }
  }
};

class Concat : public Operation {
 public:
  void run(const Run& run) const override {
    for (int32_t n = 0; n < run.batch; n++) {
      const View to = run.view(out, n);
      int64_t at = 0;
      for (int32_t id : reads) {
        const View in = run.view(id, n);
        std::copy_n(in.data, in.shape.channels * in.pitch, to.plane(at));
        at += in.shape.channels;
      }
    }
  }
};

// The rows of one image into another, from (c, y, x) of the one to (c, y, x) of the other.
void copy_rows(const View& in, const View& to, int64_t from_y, int64_t from_x, int64_t to_y, int64_t to_x,
               int64_t from_c, int64_t to_c, int64_t height, int64_t width) {
  for (int64_t y = 0; y < height; y++)
    std::copy_n(in.plane(from_c) + (from_y + y) * in.shape.width + from_x, width,
                to.plane(to_c) + (to_y + y) * to.shape.width + to_x);
}

class Pad : public Operation {
 public:
  void run(const Run& run) const override {
    for (int32_t n = 0; n < run.batch; n++) {
      const View in = run.view(reads[0], n), to = run.view(out, n);
      run.pool.each(to.shape.channels, [&](int64_t c, int) {
        std::fill_n(to.plane(c), to.shape.pixels(), fill);
        if (c < channel || c >= int64_t{channel} + in.shape.channels) return;
        copy_rows(in, to, 0, 0, y, x, c - channel, c, in.shape.height, in.shape.width);
      });
    }
  }
  int32_t channel, y, x;
  float fill;
};

class Slice : public Operation {
 public:
  void run(const Run& run) const override {
    for (int32_t n = 0; n < run.batch; n++) {
      const View in = run.view(reads[0], n), to = run.view(out, n);
      run.pool.each(to.shape.channels, [&](int64_t c, int) {
        copy_rows(in, to, y, x, 0, 0, c + channel, c, to.shape.height, to.shape.width);
      });
    }
  }
  int32_t channel, y, x;
};

void finish_adding(Program& p, std::unique_ptr<Operation> o, int32_t in, int32_t out, const char* text) {
  o->reads = {in};
  o->out = out;
  o->text = text;
  p.add(std::move(o));
}

void check_same(const Shape& in, const Shape& out) {
  if (!(in == out)) refuse("Both shapes must be the same", "in", shape_text(in), "out", shape_text(out));
}

// `inner` lies in `outer`, from there.
void check_inside(const Shape& inner, const Shape& outer, int32_t c, int32_t y, int32_t x) {
  const auto fits = [](int64_t at, int64_t size, int64_t room) { return at >= 0 && at + size <= room; };
  if (!fits(c, inner.channels, outer.channels) || !fits(y, inner.height, outer.height) ||
      !fits(x, inner.width, outer.width))
    refuse("The smaller shape must lie inside of the larger", "smaller", shape_text(inner), "larger",
           shape_text(outer), "channel", c, "row", y, "column", x);
}

}  // namespace

void add_to_chw(Program& p, int32_t in, int32_t out) {
  const Value& from = p.readable(in, "in", true);
  if (from.kind != Kind::kInput) refuse("Only inputs have another layout", "in", in);
  check_same(from.shape, p.writable(out).shape);
  finish_adding(p, std::make_unique<ToChannelMajor>(), in, out, "to channel-major");
}

void add_to_nhwc(Program& p, int32_t in, int32_t out) {
  check_same(p.readable(in, "in").shape, p.writable(out, "out", true).shape);
  finish_adding(p, std::make_unique<ToChannelsLast>(), in, out, "to channels last");
}

void add_reshape(Program& p, int32_t in, int32_t out) {
  const Shape &from = p.readable(in, "in").shape, &to = p.writable(out).shape;
  if (from.size() != to.size())
    refuse("Both shapes must have as many numbers", "in", shape_text(from), "out", shape_text(to));
  finish_adding(p, std::make_unique<Reshape>(), in, out, "reshape");
}

void add_concat(Program& p, const int32_t* ins, int32_t count, int32_t out) {
  if (!ins || count < 1) refuse("There is nothing to put together", "count", count);
  const Shape& to = p.writable(out).shape;
  auto o = std::make_unique<Concat>();
  int64_t channels = 0;
  for (int32_t i = 0; i < count; i++) {
    const Shape& s = p.readable(ins[i], "in").shape;
    if (s.height != to.height || s.width != to.width)
      refuse("All must have the output's height and width", "in", shape_text(s), "out", shape_text(to));
    channels += s.channels;
    o->reads.push_back(ins[i]);
  }
  if (channels != to.channels)
    refuse("The output needs the channels of all inputs", "in", channels, "out", to.channels);
  o->out = out;
  o->text = "concat";
  p.add(std::move(o));
}

void add_pad(Program& p, int32_t in, int32_t out, int32_t c, int32_t y, int32_t x, float fill) {
  check_inside(p.readable(in, "in").shape, p.writable(out).shape, c, y, x);
  auto o = std::make_unique<Pad>();
  o->channel = c;
  o->y = y;
  o->x = x;
  o->fill = fill;
  finish_adding(p, std::move(o), in, out, "pad");
}

void add_slice(Program& p, int32_t in, int32_t out, int32_t c, int32_t y, int32_t x) {
  check_inside(p.writable(out).shape, p.readable(in, "in").shape, c, y, x);
  auto o = std::make_unique<Slice>();
  o->channel = c;
  o->y = y;
  o->x = x;
  finish_adding(p, std::move(o), in, out, "slice");
}

}  // namespace secateur
