#include <algorithm>

#include "checks.h"
#include "operations.h"

namespace secateur {
namespace {

// Bands of fewer rows read too much twice.
constexpr int64_t kBand = 4;

class DepthwiseConv : public Operation {
 public:
  void run(const Run& run) const override {
    for (int32_t n = 0; n < run.batch; n++) run_rows(run, n, 0, run.view(out, n).shape.height);
  }
  bool by_rows() const override { return true; }
  int32_t rows_after(int32_t value, int32_t rows) const override {
    return value == in_ ? window_rows(window_, rows) : rows;
  }
  int32_t first_row(int32_t value, int32_t row) const override {
    return value == in_ ? window_first_row(window_, row) : row;
  }

  void run_rows(const Run& run, int32_t n, int32_t begin, int32_t end) const override {
    const View in = run.view(in_, n), to = run.view(out, n);
    const float* residual = residual_ < 0 ? nullptr : run.view(residual_, n).data;
    // Some rows: a band for each thread, which wrote it. Then pieces of whole input channels; alone, all at once.
    const int64_t channels = in.shape.channels, threads = run.pool.size(), rows = end - begin;
    const bool whole = rows == to.shape.height;
    const int64_t bands = whole ? 1 : std::min(threads, std::max<int64_t>(1, rows / kBand));
    const int64_t pieces = threads == 1 ? 1 : std::min(channels, (4 * threads + bands - 1) / bands);
    run.pool.each(bands * pieces, [&](int64_t item, int) {
      const int64_t band = item / pieces, piece = item % pieces;
      const int64_t first = channels * piece / pieces, last = channels * (piece + 1) / pieces;
      const int64_t c = first * multiplier_;
      Depthwise t = task(in, to.shape.width);
      t.in = in.plane(first);
      t.out = to.plane(c);
      t.residual = residual ? residual + c * to.pitch : nullptr;
      t.weights += c * window_.kernel_height * window_.kernel_width;
      t.bias += c;
      t.out_pitch = to.pitch;
      t.channels = static_cast<int32_t>((last - first) * multiplier_);
      t.begin = static_cast<int32_t>(begin + rows * band / bands);
      t.end = static_cast<int32_t>(begin + rows * (band + 1) / bands);
      run.kernels.depthwise(t);
    });
  }
  int64_t weight_bytes() const override {
    return static_cast<int64_t>((weights_.size() + bias_.size()) * 4);
  }

  // What is the same for all rows and channels.
  Depthwise task(const View& in, int32_t out_width) const {
    Depthwise t{};
    t.in = in.data;
    t.weights = weights_.data();
    t.bias = bias_.data();
    t.in_pitch = in.pitch;
    t.multiplier = static_cast<int32_t>(multiplier_);
    t.height = in.shape.height;
    t.width = in.shape.width;
    t.out_width = out_width;
    t.window = window_;
    t.finish = &finish_;
    return t;
  }

  int32_t in_, residual_;
  int64_t multiplier_;
  secateur_window window_;
  Finish finish_;
  std::vector<float> weights_, bias_;  // [channel][kernel_height][kernel_width]
};

}  // namespace

void add_depthwise(Program& p, int32_t in, int32_t out, const secateur_window* window,
                   const Array& weights, const Array& bias, const secateur_epilogue* epilogue) {
  const Shape &from = p.readable(in, "in").shape, &to = p.writable(out).shape;
  auto o = std::make_unique<DepthwiseConv>();
  o->window_ = checked(window, from, to);
  if (to.channels % from.channels)
    refuse("A depthwise convolution's output channels are a multiple of its input's", "in",
           from.channels, "out", to.channels);
  const int64_t taps = int64_t{o->window_.kernel_height} * o->window_.kernel_width;
  if (!weights.data || weights.count % to.channels || weights.count / to.channels != taps)
    refuse("A depthwise convolution needs kernel_height * kernel_width * out_channels weights", "kernel",
           taps, "out_channels", to.channels, "count", weights.data ? weights.count : 0);
  o->in_ = in;
  o->out = out;
  o->multiplier_ = to.channels / from.channels;
  o->finish_ = make_finish(p, epilogue, to, &o->residual_);
  o->reads = {in};
  if (o->residual_ >= 0) o->reads.push_back(o->residual_);
  o->weights_.resize(static_cast<size_t>(weights.count));
  for (int64_t t = 0; t < taps; t++)
    for (int64_t c = 0; c < to.channels; c++)
      o->weights_[static_cast<size_t>(c * taps + t)] = weights.data[t * to.channels + c];
  o->bias_.resize(static_cast<size_t>(to.channels));
  if (bias.count != (bias.data ? to.channels : 0))
    refuse("A bias has one number for each output channel", "expected", to.channels, "count", bias.count);
  if (bias.data) o->bias_.assign(bias.data, bias.data + bias.count);
  o->multiply_adds = weights.count * to.pixels();
  o->text = "depthwise " + window_text(o->window_) + " " + std::to_string(to.channels) +
            finish_text(o->finish_);
  p.add(std::move(o));
}

}  // namespace secateur
