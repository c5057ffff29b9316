#include "vector_conv.h"

#include <algorithm>
#include <numeric>

#include "conv_weights.h"
#include "refuse.h"
#include "unset.h"

namespace secateur {
namespace {

// All weights, rows side by side.
class DenseVectors : public VectorWeights {
 public:
  DenseVectors(int lanes, std::shared_ptr<Pages> pages, const Array& weights, int32_t rows, int64_t depth)
      : VectorWeights(lanes, rows),
        unpacked_(weights, rows, 1, depth, lanes),
        depth_(depth),
        weights_(std::move(pages)) {}

  void set(VectorProduct& to) const override {
    to.starts = starts_.data();
    to.weights = weights_.data();
  }
  int64_t bytes() const override { return static_cast<int64_t>(weights_.size() * 4 + starts_.size() * 8); }
  bool fits(int lanes, const float* weights, int32_t rows, int64_t depth) const override {
    return lanes == lanes_ && weights == unpacked_.weights() && rows == rows_ && depth == depth_;
  }

 private:
  void work() override {
    for (int64_t g = 0; g <= groups(); g++) starts_.push_back(g * depth_);
    weights_.resize(static_cast<size_t>(unpacked_.size()));
  }
  int pieces() const override { return unpacked_.pieces(); }
  void piece(int number) noexcept override { unpacked_.piece(number, weights_.data()); }

  Interleaving unpacked_;
  int64_t depth_;
  Unset<float> weights_;
  std::vector<int64_t> starts_;
};

// Those that are not 0, of rows of like length side by side.
class SparseVectors : public VectorWeights {
 public:
  SparseVectors(int lanes, const std::shared_ptr<Pages>& pages, std::shared_ptr<Pruned> pruned, const std::vector<float>& bias)
      : VectorWeights(lanes, pruned->row_count()),
        pruned_(std::move(pruned)),
        weights_(pages),
        indices_(pages),
        bias_(bias) {}

  void set(VectorProduct& to) const override {
    to.starts = starts_.data();
    to.indices = indices_.data();
    to.weights = weights_.data();
    to.bias = bias_.data();
    to.rows = order_.data();
  }
  int64_t bytes() const override {
    return static_cast<int64_t>((weights_.size() + indices_.size() + bias_.size() + order_.size()) * 4 +
                                starts_.size() * 8);
  }

 private:
  void work() override {
    const Rows r = pruned_->rows();
    starts_.assign(static_cast<size_t>(groups()) + 1, 0);
    // Rows of like length lie in one group: few lanes idle.
    std::vector<int32_t> order(static_cast<size_t>(rows_));
    std::iota(order.begin(), order.end(), 0);
    const auto length = [&](int32_t o) { return r.starts[o + 1] - r.starts[o]; };
    std::stable_sort(order.begin(), order.end(),
                     [&](int32_t a, int32_t b) { return length(a) > length(b); });
    order.resize(static_cast<size_t>(groups() * lanes_), -1);
    std::vector<float> bias(order.size());
    for (size_t i = 0; i < order.size() && order[i] >= 0; i++) bias[i] = bias_[static_cast<size_t>(order[i])];
    for (size_t g = 0; g < static_cast<size_t>(groups()); g++)
      starts_[g + 1] = starts_[g] + length(order[g * static_cast<size_t>(lanes_)]);
    weights_.resize(static_cast<size_t>(starts_.back() * lanes_));
    indices_.resize(weights_.size());
    for (int64_t i = 0; i < groups() * lanes_; i++) {
      const int64_t begin = starts_[static_cast<size_t>(i / lanes_)] * lanes_ + i % lanes_;
      const int64_t end = starts_[static_cast<size_t>(i / lanes_) + 1] * lanes_;
      const int32_t o = order[static_cast<size_t>(i)];
      const int32_t first = o < 0 ? 0 : r.starts[o], count = o < 0 ? 0 : length(o);
      deal(r.values + first, count, weights_.data(), begin, end);
      deal(r.columns + first, count, indices_.data(), begin, end);
    }
    bias_ = std::move(bias);
    order_ = std::move(order);
    pruned_.reset();
  }

  // Into one lane of a group, that ends with zeros where other rows are longer.
  template <class T>
  void deal(const T* from, int32_t count, T* to, int64_t begin, int64_t end) const {
    for (int32_t k = 0; k < count; k++, begin += lanes_) to[begin] = from[k];
    for (; begin < end; begin += lanes_) to[begin] = 0;
  }

  std::shared_ptr<Pruned> pruned_;  // until it is packed
  Unset<float> weights_;
  Unset<int32_t> indices_;
  std::vector<float> bias_;
  std::vector<int32_t> order_;
  std::vector<int64_t> starts_;
};

class VectorConv : public Operation {
 public:
  VectorConv(Program& p, int32_t in_id, int32_t out_id, const secateur_window& w,
             std::shared_ptr<VectorWeights> weights, const std::vector<float>& bias, const Finish& f,
             int32_t residual)
      : in_(in_id), residual_(residual), window_(w), finish_(f), weights_(std::move(weights)), bias_(bias) {
    const Value& in = p.value(in_id);
    rows_ = p.value(out_id).shape.channels;
    depth_ = int64_t{w.kernel_height} * w.kernel_width * in.shape.channels;
    reads = {in_id};
    if (residual >= 0) reads.push_back(residual);
    out = out_id;
    channels_last_ = in.kind == Kind::kInput;
    // What the window sees, in the order of the weights, unless it is one pixel.
    gathers_ = depth_ != in.shape.channels || in.shape.pixels() != 1 || w.pad_top || w.pad_left;
    if (gathers_ && depth_ > (int64_t{1} << 28)) refuse("The kernel is too large", "inputs", depth_);
    if (gathers_) scratch = align(depth_);
    if (!bias_.empty()) bias_.resize(static_cast<size_t>(weights_->groups() * p.kernels.lanes));
  }

  int64_t weight_bytes() const override {
    return weights_->bytes() + static_cast<int64_t>(bias_.size() * 4);
  }
  std::shared_ptr<Task> packing() const override { return weights_; }

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
      t.bias = bias_.data();
      t.count = rows_;
      weights_->set(t);
      const int64_t groups = weights_->groups();
      const int64_t parts = std::min<int64_t>(run.pool.size() == 1 ? 1 : 4 * run.pool.size(), groups);
      run.pool.each(parts, [&](int64_t part, int) {
        VectorProduct mine = t;
        mine.begin = static_cast<int32_t>(groups * part / parts);
        mine.end = static_cast<int32_t>(groups * (part + 1) / parts);
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
  int32_t rows_;
  int64_t depth_;
  bool channels_last_, gathers_;
  std::shared_ptr<VectorWeights> weights_;
  std::vector<float> bias_;
};

}  // namespace

std::shared_ptr<VectorWeights> make_dense_vectors(int lanes, std::shared_ptr<Pages> pages, const Array& weights,
                                                  int32_t rows, int64_t depth) {
  return std::make_shared<DenseVectors>(lanes, std::move(pages), weights, rows, depth);
}

std::shared_ptr<VectorWeights> make_sparse_vectors(int lanes, const std::shared_ptr<Pages>& pages,
                                                   std::shared_ptr<Pruned> pruned, const std::vector<float>& bias) {
  return std::make_shared<SparseVectors>(lanes, pages, std::move(pruned), bias);
}

std::unique_ptr<Operation> make_vector_conv(Program& p, int32_t in, int32_t out, const secateur_window& w,
                                            std::shared_ptr<VectorWeights> weights,
                                            const std::vector<float>& bias, const Finish& finish,
                                            int32_t residual) {
  return std::make_unique<VectorConv>(p, in, out, w, std::move(weights), bias, finish, residual);
}

}  // namespace secateur
