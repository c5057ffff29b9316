// Convolutions over more than one pixel: a matrix times tiles of pixels.
#include <algorithm>
#include <cstdio>

#include "checks.h"
#include "conv_weights.h"
#include "pruned.h"
#include "repack.h"
#include "vector_conv.h"

namespace secateur {
namespace {

// Part i of n of something.
struct Range {
  int64_t begin, end;
};
Range range(int64_t all, int64_t i, int64_t n) {
  return n == 1 ? Range{0, all} : Range{all * i / n, all * (i + 1) / n};
}

// In turns, inputs are repacked for so many rows at a time, or for more if these are not whole cache lines.
constexpr int32_t kRepackRows = 16;
// Rows of a sparse matrix that threads share among themselves.
constexpr int32_t kUnitRows = 128;

class Conv : public Operation {
 public:
  Conv(const Program& p, int32_t in_id, int32_t out_id, const secateur_window& w, const Finish& f,
       int32_t residual)
      : in_(in_id), residual_(residual), window_(w), finish_(f), lanes_(p.kernels.lanes) {
    const Value& in = p.value(in_id);
    const Shape& to = p.value(out_id).shape;
    reads = {in_id};
    if (residual >= 0) reads.push_back(residual);
    out = out_id;
    const bool point = w.kernel_height == 1 && w.kernel_width == 1 && w.stride_height == 1 &&
                       w.stride_width == 1 && in.shape.pixels() == to.pixels();
    const bool outside = in.kind == Kind::kInput;
    repacks_ = !point || outside;
    channels_ = in.shape.channels;
    if (repacks_) repack_ = Repack(in.shape, to, w, outside);
    pitch_ = repacks_ ? repack_.plane(repack_.rows()) : in.shape.pitch();
    row_ = repacks_ ? repack_.row() : to.width;
    // With wider rows than the output's, results lie apart at first, unless rows are whole vectors.
    by_row_ = row_ != to.width && to.width % lanes_ == 0;
    aside_ = row_ != to.width && !by_row_;
    width_ = to.width;
    pixels_ = (int64_t{to.height} - 1) * row_ + to.width;
  }

  // That can make up a tile.
  int64_t pixels() const { return by_row_ ? width_ : pixels_; }
  Offsets offsets() const {
    if (!repacks_) return {{0}, pitch_};
    Offsets found{{}, pitch_ * repack_.planes()};
    for (int32_t y = 0; y < window_.kernel_height; y++)
      for (int32_t x = 0; x < window_.kernel_width; x++) found.taps.push_back(repack_.offset(y, x));
    return found;
  }
  int32_t rows_a_unit() const { return aside_ ? kAsideRows : kUnitRows; }
  void set(std::shared_ptr<Matrix> matrix) {
    matrix_ = std::move(matrix);
    set_turns(false);
    text += ", tile " + std::to_string(matrix_->tile((pixels() + lanes_ - 1) / lanes_) * lanes_);
  }
  int64_t weight_bytes() const override { return matrix_->bytes(); }
  std::shared_ptr<Task> packing() const override { return matrix_; }

  void set_turns(bool turns) override {
    if (repacks_) set_plane(repack_.plane(turns ? repack_.rows(repack_rows()) : repack_.rows()));
    const int64_t own = own_size();
    scratch = turns ? 0 : own;
    thread_scratch = aside_size() + matrix_->copy_size() + (turns ? own : 0);
  }
  void run(const Run& run) const override {
    for (int32_t n = 0; n < run.batch; n++) {
      const View in = run.view(in_, n);
      const int32_t height = run.view(out, n).shape.height;
      if (!repacks_) {
        multiply(run, n, in.data, gated(run, n, run.scratch()), 0, height);
        continue;
      }
      repack_.run(run.kernels, in, run.scratch(), pitch_, 0, repack_.rows(), run.pool);
      multiply(run, n, run.scratch(), nullptr, 0, height);
    }
  }

  bool take_gate(int32_t product, int32_t image, int32_t gate) override {
    // Weights are multiplied one by one, images by vectors but far away: a weight costs as much as five numbers.
    const bool less = 5 * multiply_adds / pixels_ <= channels_ * pixels_;
    if (repacks_ || in_ != product || residual_ == product || !less) return false;
    in_ = image;
    gate_ = gate;
    std::replace(reads.begin(), reads.end(), product, image);
    reads.push_back(gate);
    matrix_->keep_channels();
    return true;
  }

  // What is read and added, too, would have to be in two rounds of a ring at once.
  bool by_rows() const override { return !repacks_ || residual_ != in_; }
  int32_t first_row(int32_t value, int32_t begin) const override {
    return value == in_ ? window_first_row(window_, begin) : value == gate_ ? 0 : begin;
  }
  int32_t last_row(int32_t value, int32_t end) const override {
    return value == in_ ? window_last_row(window_, end) : value == gate_ ? 1 : end;
  }
  bool goes_on(int32_t value) const override { return value == in_ && repacks_; }
  void run_rows(const Run& run, int32_t n, int32_t begin, int32_t end) const override {
    const View in = run.view(in_, n);
    float* const own = run.scratch_of(0) + (thread_scratch - own_size());
    if (!repacks_) return multiply(run, n, in.data, gated(run, n, own), begin, end);
    for (int32_t row = begin; row < end; row += repack_rows()) {
      const int32_t last = std::min(end, row + repack_rows());
      repack_.run(run.kernels, in, own, pitch_, row, repack_.rows(last), run.pool);
      multiply(run, n, own - row * row_, nullptr, row, last);
    }
  }

  void set_pitch(int32_t value, int64_t pitch) override {
    if (value == in_ && !repacks_) set_plane(pitch);
  }

 private:
  int32_t repack_rows() const {
    return by_row_ || aside_ ? kRepackRows : std::max(kRepackRows, line_rows(static_cast<int32_t>(width_)));
  }
  // What is repacked, or weights with a gate: of all threads, or, in turns, of each behind its other scratch.
  int64_t own_size() const { return repacks_ ? repack_.size(pitch_) : gate_ >= 0 ? matrix_->gated_size() : 0; }
  int64_t aside_size() const { return aside_ ? align(int64_t{kAsideRows} * matrix_->widest * lanes_) : 0; }
  void set_plane(int64_t pitch) {
    if (pitch == pitch_) return;
    matrix_->set_pitch(pitch_, pitch);
    pitch_ = pitch;
  }

  // The weights with this image's gate, if there is one.
  const float* gated(const Run& run, int32_t n, float* to) const {
    if (gate_ < 0) return nullptr;
    const View gate = run.view(gate_, n);
    matrix_->gate(gate.data, gate.pitch, to);
    return to;
  }

  // `base` is where pixel 0 of the first channel would be.
  void multiply(const Run& run, int32_t n, const float* base, const float* gated, int32_t begin,
                int32_t end) const {
    const Matrix& m = *matrix_;
    const View to = run.view(out, n);
    const View residual = residual_ < 0 ? View{} : run.view(residual_, n);
    // Whole cache lines: the first and last may hold pixels of other rows, which are computed again.
    const int64_t first = by_row_ || aside_ ? begin * row_ : begin * row_ / kAlign * kAlign;
    int64_t last = std::min(pixels_, end * row_), lines = 1;
    if (by_row_) {
      last = first + width_;
      lines = end - begin;
    }
    // Each thread has output channels of its own, which it then finds in its cache; where there are too few of
    // them, threads share the pixels as well.
    const int64_t vectors = ceil_div(last - first, lanes_), threads = run.pool.size();
    const int64_t parts = m.units <= threads ? m.units : ceil_div(m.parts, threads) * threads;
    const int64_t shares = std::min(ceil_div(threads, parts * lines), vectors);
    const int64_t share = ceil_div(vectors, shares), tiles = ceil_div(share, m.tile(share));
    const auto work = [&](int64_t part, int64_t line, int64_t its, int64_t tile, int thread) {
      const Range of_thread = range(vectors, its, shares);
      const Range of_tile = range(of_thread.end - of_thread.begin, tile, tiles);
      if (of_tile.begin == of_tile.end) return;
      const int64_t shift = (of_thread.begin + of_tile.begin) * lanes_, at = first + shift + line * row_;
      const Range of_units = range(m.units, part, parts);
      Tile t{};
      t.in = base + at;
      t.gated = gated;
      t.vectors = static_cast<int32_t>(of_tile.end - of_tile.begin);
      t.begin = static_cast<int32_t>(of_units.begin);
      t.end = static_cast<int32_t>(of_units.end);
      t.finish = &finish_;
      t.copy = run.scratch_of(thread) + aside_size();
      if (aside_) return work_aside(run, t, at, last, to, residual, run.scratch_of(thread));
      const int64_t place = by_row_ ? (begin + line) * width_ + shift : at;
      t.out = to.data + place;
      t.residual = residual.data ? residual.data + place : nullptr;
      t.pitch = to.pitch;
      t.residual_pitch = residual.pitch;
      m.multiply(run.kernels, t);
    };
    if (threads == 1) {  // the most frequent case, and the shortest tiles: no divisions
      for (int64_t part = 0; part < parts; part++)
        for (int64_t line = 0; line < lines; line++)
          for (int64_t tile = 0; tile < tiles; tile++) work(part, line, 0, tile, 0);
      return;
    }
    run.pool.each(parts * lines * shares * tiles, [&](int64_t item, int thread) {
      work(item / tiles / shares / lines, item / tiles / shares % lines, item / tiles % shares, item % tiles,
           thread);
    });
  }

  void work_aside(const Run& run, Tile t, int64_t at, int64_t limit, const View& to,
                  const View& residual, float* aside) const {
    const Matrix& m = *matrix_;
    const int32_t end = t.end, step = kAsideRows / m.rows_a_unit;
    const int64_t last = std::min(limit, at + int64_t{t.vectors} * lanes_);
    t.out = aside;
    t.pitch = int64_t{t.vectors} * lanes_;
    t.from_begin = true;
    const bool finishes = finish_.clamps && !finish_.residual;
    t.finish = finishes ? &finish_ : nullptr;
    for (; t.begin < end; t.begin += step) {
      t.end = std::min(end, t.begin + step);
      m.multiply(run.kernels, t);
      const int32_t first_row = t.begin * m.rows_a_unit;
      const int32_t last_row = std::min(m.rows, t.end * m.rows_a_unit);
      for (int32_t r = first_row; r < last_row; r++) {
        const float* from = aside + (r - first_row) * t.pitch;
        float* const plane = to.plane(r);
        const float* const added = residual.data ? residual.plane(r) : nullptr;
        for (int64_t y = at / row_, x = at % row_, i = at; i < last; y++, x = 0) {
          const int64_t inside = std::min(to.shape.width - x, last - i);
          if (inside > 0) {
            const int64_t place = y * to.shape.width + x;
            std::copy(from + (i - at), from + (i - at) + inside, plane + place);
            if (!finishes)
              run.kernels.finish(finish_, plane + place, added ? added + place : nullptr, inside);
          }
          i += row_ - x;
        }
      }
    }
  }

  int32_t in_, residual_, gate_ = -1;
  secateur_window window_;
  Finish finish_;
  int lanes_;
  bool repacks_, aside_, by_row_;
  Repack repack_;
  // Between the planes that the matrix reads.
  int64_t pitch_;
  int64_t channels_, row_, width_, pixels_;
  std::shared_ptr<Matrix> matrix_;
};

int64_t checked_depth(const Shape& in, const secateur_window& w) {
  const int64_t taps = int64_t{w.kernel_height} * w.kernel_width;
  if (taps > INT32_MAX / in.channels)
    refuse("The kernel is too large", "kernel_height", w.kernel_height, "kernel_width", w.kernel_width);
  return taps * in.channels;
}

void check_weights(const Array& weights, int32_t out_channels, int64_t depth) {
  if (!weights.data || weights.count / depth != out_channels || weights.count % depth)
    refuse("A convolution needs out_channels * kernel_height * kernel_width * in_channels weights",
           "out_channels", out_channels, "kernel", depth, "count", weights.data ? weights.count : 0);
}

std::string sizes(const Shape& in, const Shape& out) {
  return " " + std::to_string(in.channels) + ">" + std::to_string(out.channels);
}

}  // namespace

void add_dense_conv(Program& p, int32_t in, int32_t out, const secateur_window* window,
                    const Array& weights, const Array& bias, const secateur_epilogue* epilogue,
                    std::shared_ptr<VectorWeights> packed) {
  const Shape &from = p.readable(in, "in", true).shape, &to = p.writable(out).shape;
  const secateur_window w = checked(window, from, to);
  const int64_t depth = checked_depth(from, w);
  check_weights(weights, to.channels, depth);
  const std::vector<float> offsets = checked_bias(bias, to.channels);
  int32_t residual;
  const Finish finish = make_finish(p, epilogue, to, &residual);
  const std::string text = "dense " + window_text(w) + sizes(from, to) + finish_text(finish);
  std::unique_ptr<Operation> operation;
  if (to.pixels() == 1) {
    if (!packed || !packed->fits(p.kernels.lanes, weights.data, to.channels, depth))
      packed = make_dense_vectors(p.kernels.lanes, p.pages(), weights, to.channels, depth);
    operation = make_vector_conv(p, in, out, w, std::move(packed), offsets, finish, residual);
    operation->text = text;
  } else {
    auto conv = std::make_unique<Conv>(p, in, out, w, finish, residual);
    conv->text = text;
    conv->set(make_dense(p.kernels, p.pages(), weights, to.channels, from.channels, conv->offsets(),
                         offsets));
    operation = std::move(conv);
  }
  operation->multiply_adds = weights.count * to.pixels();
  p.add(std::move(operation));
}

void add_sparse_conv(Program& p, int32_t in, int32_t out, const secateur_window* window,
                     const std::shared_ptr<Pruned>& weights, const Array& bias,
                     const secateur_epilogue* epilogue) {
  const Shape &from = p.readable(in, "in", true).shape, &to = p.writable(out).shape;
  const secateur_window w = checked(window, from, to);
  const int64_t depth = checked_depth(from, w);
  if (!weights->kept() || weights->row_count() != to.channels || weights->depth() != depth)
    refuse("A convolution needs out_channels rows of kernel_height * kernel_width * in_channels weights",
           "out_channels", to.channels, "kernel", depth, "rows", weights->row_count(), "depth", weights->depth(),
           "kept", weights->kept());
  const std::vector<float> offsets = checked_bias(bias, to.channels);
  int32_t residual;
  const Finish finish = make_finish(p, epilogue, to, &residual);
  const double zeros = 1 - static_cast<double>(weights->count()) / (static_cast<double>(depth) * to.channels);
  char share[32];
  std::snprintf(share, sizeof share, " %.3g%% zeros", 100 * zeros);
  const std::string text = "sparse " + window_text(w) + sizes(from, to) + share + finish_text(finish);
  weights->take();
  std::unique_ptr<Operation> operation;
  if (to.pixels() == 1) {
    auto packed = make_sparse_vectors(p.kernels.lanes, p.pages(), weights, offsets);
    operation = make_vector_conv(p, in, out, w, std::move(packed), {}, finish, residual);
    operation->text = text;
  } else {
    auto conv = std::make_unique<Conv>(p, in, out, w, finish, residual);
    conv->text = text;
    conv->set(make_sparse(p.kernels, weights, from.channels, conv->pixels(), conv->rows_a_unit(),
                          conv->offsets(), offsets));
    operation = std::move(conv);
  }
  operation->multiply_adds = weights->count() * to.pixels();
  p.add(std::move(operation));
}

}  // namespace secateur
