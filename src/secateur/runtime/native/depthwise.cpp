#include <algorithm>

#include "ahead.h"
#include "checks.h"
#include "operations.h"
#include "unset.h"

namespace secateur {
namespace {

// The weights of one channel after the other, once the task is finished.
class ByChannel : public Task {
 public:
  // `weights` are [taps][channels], and stay until then.
  ByChannel(std::shared_ptr<Pages> pages, const float* weights, int64_t taps, int64_t channels)
      : weights_(weights), taps_(taps), channels_(channels), packed_(std::move(pages)) {}
  const float* data() const { return packed_.data(); }
  int64_t size() const { return static_cast<int64_t>(packed_.size()); }

 private:
  void work() override {
    packed_.resize(static_cast<size_t>(taps_ * channels_));
    for (int64_t t = 0; t < taps_; t++)
      for (int64_t c = 0; c < channels_; c++)
        packed_[static_cast<size_t>(c * taps_ + t)] = weights_[t * channels_ + c];
  }

  const float* weights_;
  int64_t taps_, channels_;
  Unset<float> packed_;
};

class DepthwiseConv : public Operation {
 public:
  void run(const Run& run) const override {
    for (int32_t n = 0; n < run.batch; n++) run_rows(run, n, 0, run.view(out, n).shape.height);
  }
  // What is read and added, too, would have to be in two rounds of a ring at once.
  bool by_rows() const override { return residual_ != in_; }
  int32_t first_row(int32_t value, int32_t begin) const override {
    return value == in_ ? window_first_row(window_, begin) : begin;
  }
  int32_t last_row(int32_t value, int32_t end) const override {
    return value == in_ ? window_last_row(window_, end) : end;
  }
  bool goes_on(int32_t value) const override { return value == in_; }

  void run_rows(const Run& run, int32_t n, int32_t begin, int32_t end) const override {
    const View in = run.view(in_, n), to = run.view(out, n);
    const View residual = residual_ < 0 ? View{} : run.view(residual_, n);
    const int64_t channels = in.shape.channels, pieces = std::min<int64_t>(channels, run.pool.size());
    run.pool.each(pieces, [&](int64_t piece, int) {
      const int64_t first = channels * piece / pieces, last = channels * (piece + 1) / pieces;
      const int64_t c = first * multiplier_;
      Depthwise t = task(in, to.shape.width);
      t.in = in.plane(first);
      t.out = to.plane(c);
      t.residual = residual.data ? residual.plane(c) : nullptr;
      t.residual_pitch = residual.pitch;
      t.weights += c * window_.kernel_height * window_.kernel_width;
      t.bias += c;
      t.out_pitch = to.pitch;
      t.channels = static_cast<int32_t>((last - first) * multiplier_);
      t.begin = begin;
      t.end = end;
      run.kernels.depthwise(t);
    });
  }
  int64_t weight_bytes() const override {
    return (weights_->size() + static_cast<int64_t>(bias_.size())) * 4;
  }
  std::shared_ptr<Task> packing() const override { return weights_; }

  // What is the same for all rows and channels.
  Depthwise task(const View& in, int32_t out_width) const {
    Depthwise t{};
    t.in = in.data;
    t.weights = weights_->data();
    t.bias = bias_.data();
    t.in_pitch = in.pitch;
    t.turn = in.turn;
    t.back = in.back;
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
  std::shared_ptr<ByChannel> weights_;
  std::vector<float> bias_;
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
  o->weights_ = std::make_shared<ByChannel>(p.pages(), weights.data, taps, to.channels);
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
