#include "vector_conv.h"

#include <algorithm>
#include <numeric>

#include "conv_weights.h"
#include "refuse.h"
#include "unset.h"

namespace secateur {
namespace {

class VectorConv : public Operation {
 public:
  VectorConv(const Program& p, int32_t in_id, int32_t out_id, const secateur_window& w, const Finish& f,
             int32_t residual, const std::vector<float>& bias)
      : in_(in_id), residual_(residual), window_(w), finish_(f), lanes_(p.kernels.lanes) {
    const Value& in = p.value(in_id);
    rows_ = p.value(out_id).shape.channels;
    groups_ = (rows_ + lanes_ - 1) / lanes_;
    depth_ = int64_t{w.kernel_height} * w.kernel_width * in.shape.channels;
    reads = {in_id};
    if (residual >= 0) reads.push_back(residual);
    out = out_id;
    channels_last_ = in.kind == Kind::kInput;
    // What the window sees, in the order of the weights, unless it is one pixel.
    gathers_ = depth_ != in.shape.channels || in.shape.pixels() != 1 || w.pad_top || w.pad_left;
    if (gathers_ && depth_ > (int64_t{1} << 28)) refuse("The kernel is too large", "inputs", depth_);
    if (gathers_) scratch = align(depth_);
    bias_ = bias;
    bias_.resize(static_cast<size_t>(groups_ * lanes_));
  }

  void pack(const Rows& r) {
    // Rows of like length lie in one group: few lanes idle.
    std::vector<int32_t> order(static_cast<size_t>(rows_));
    std::iota(order.begin(), order.end(), 0);
    const auto length = [&](int32_t o) { return r.starts[o + 1] - r.starts[o]; };
    std::stable_sort(order.begin(), order.end(),
                     [&](int32_t a, int32_t b) { return length(a) > length(b); });
    order.resize(static_cast<size_t>(groups_ * lanes_), -1);
    std::vector<float> bias(order.size());
    starts_.push_back(0);
    for (int64_t g = 0; g < groups_; g++) {
      const int32_t* lane = order.data() + g * lanes_;
      const int64_t first = starts_.back(), steps = length(lane[0]);
      starts_.push_back(first + steps);
      weights_.resize(static_cast<size_t>((first + steps) * lanes_), 0.0f);
      indices_.resize(weights_.size());
      for (int i = 0; i < lanes_ && lane[i] >= 0; i++) {
        bias[static_cast<size_t>(g * lanes_ + i)] = bias_[static_cast<size_t>(lane[i])];
        for (int32_t s = 0; s < length(lane[i]); s++) {
          const auto at = static_cast<size_t>((first + s) * lanes_ + i);
          weights_[at] = r.values[r.starts[lane[i]] + s];
          indices_[at] = r.columns[r.starts[lane[i]] + s];
        }
      }
    }
    bias_ = std::move(bias);
    order_ = std::move(order);
    sparse_ = true;
  }

  void pack(const float* weights) {
    weights_.resize(static_cast<size_t>(groups_ * depth_ * lanes_));
    for (int64_t g = 0; g <= groups_; g++) starts_.push_back(g * depth_);
    interleave(weights, rows_, depth_, lanes_, weights_.data());
  }

  int64_t weight_bytes() const override {
    return static_cast<int64_t>((weights_.size() + indices_.size() + bias_.size() + order_.size()) * 4 +
                                starts_.size() * 8);
  }

  void run(const Run& run) const override {
    for (int32_t n = 0; n < run.batch; n++) {
      const View in = run.view(in_, n), to = run.view(out, n);
      VectorProduct t{};
      t.in = in.data;
      if (gathers_) {
        gather(in, run.scratch());
        t.in = run.scratch();
      }
      t.out = to.data;
      t.starts = starts_.data();
      t.indices = sparse_ ? indices_.data() : nullptr;
      t.weights = weights_.data();
      t.bias = bias_.data();
      t.rows = sparse_ ? order_.data() : nullptr;
      t.count = rows_;
      const int64_t parts = std::min<int64_t>(run.pool.size() == 1 ? 1 : 4 * run.pool.size(), groups_);
      run.pool.each(parts, [&](int64_t part, int) {
        VectorProduct mine = t;
        mine.begin = static_cast<int32_t>(groups_ * part / parts);
        mine.end = static_cast<int32_t>(groups_ * (part + 1) / parts);
        run.kernels.vector_product(mine);
      });
      const float* residual = residual_ < 0 ? nullptr : run.view(residual_, n).data;
      run.kernels.finish(finish_, to.data, residual, rows_);
    }
  }

 private:
  void gather(const View& in, float* to) const {
    const int64_t channels = in.shape.channels;
    for (int64_t ky = 0; ky < window_.kernel_height; ky++) {
      for (int64_t kx = 0; kx < window_.kernel_width; kx++, to += channels) {
        const int64_t y = ky * window_.dilation_height - window_.pad_top;
        const int64_t x = kx * window_.dilation_width - window_.pad_left;
        if (y < 0 || y >= in.shape.height || x < 0 || x >= in.shape.width) {
          std::fill(to, to + channels, 0.0f);
          continue;
        }
        const int64_t pixel = y * in.shape.width + x;
        if (channels_last_) {
          std::copy_n(in.data + pixel * channels, channels, to);
        } else {
          for (int64_t c = 0; c < channels; c++) to[c] = in.plane(c)[pixel];
        }
      }
    }
  }

  int32_t in_, residual_;
  secateur_window window_;
  Finish finish_;
  int lanes_;
  int32_t rows_;
  int64_t groups_, depth_;
  bool channels_last_, gathers_, sparse_ = false;
  Unset<float> weights_;
  std::vector<float> bias_;
  std::vector<int32_t> indices_, order_;
  std::vector<int64_t> starts_;
};

}  // namespace

std::unique_ptr<Operation> make_vector_conv(const Program& p, int32_t in, int32_t out,
                                            const secateur_window& w, const Rows& rows,
                                            const std::vector<float>& bias, const Finish& finish,
                                            int32_t residual) {
  auto conv = std::make_unique<VectorConv>(p, in, out, w, finish, residual, bias);
  conv->pack(rows);
  return conv;
}

std::unique_ptr<Operation> make_vector_conv(const Program& p, int32_t in, int32_t out,
                                            const secateur_window& w, const float* weights,
                                            const std::vector<float>& bias, const Finish& finish,
                                            int32_t residual) {
  auto conv = std::make_unique<VectorConv>(p, in, out, w, finish, residual, bias);
  conv->pack(weights);
  return conv;
}

}  // namespace secateur
