// Convolutions over more than one pixel: a matrix times tiles of pixels.
#include <algorithm>

#include "checks.h"
#include "conv_weights.h"
#include "repack.h"
#include "vector_conv.h"

namespace secateur {
namespace {

// Rows that are computed aside before they are copied to where they belong.
constexpr int32_t kAsideRows = 48;

class Conv : public Operation {
 public:
  Conv(const Program& p, int32_t in_id, int32_t out_id, const secateur_window& w, const Finish& f,
       int32_t residual)
      : in_(in_id), residual_(residual), finish_(f), lanes_(p.kernels.lanes) {
    const Value& in = p.value(in_id);
    const Shape& to = p.value(out_id).shape;
    reads = {in_id};
    if (residual >= 0) reads.push_back(residual);
    out = out_id;
    const bool point = w.kernel_height == 1 && w.kernel_width == 1 && w.stride_height == 1 &&
                       w.stride_width == 1 && in.shape.pixels() == to.pixels();
    const bool outside = in.kind == Kind::kInput;
    repacks_ = !point || outside;
    in_pitch_ = in.shape.pitch();
    channels_ = in.shape.channels;
    kernel_width_ = w.kernel_width;
    if (repacks_) {
      repack_ = Repack(in.shape, to, w, outside);
      scratch = repack_.size();
    }
    row_ = repacks_ ? repack_.row() : to.width;
    // With wider rows than the output's, results lie apart at first, unless rows are whole vectors.
    by_row_ = row_ != to.width && to.width % lanes_ == 0;
    aside_ = row_ != to.width && !by_row_;
    width_ = to.width;
    pixels_ = (int64_t{to.height} - 1) * row_ + to.width;
  }

  // That can make up a tile.
  int64_t pixels() const { return by_row_ ? width_ : pixels_; }
  int32_t offset(int64_t column) const {
    const int64_t tap = column / channels_, c = column % channels_;
    if (!repacks_) return static_cast<int32_t>(c * in_pitch_);
    return repack_.offset(tap / kernel_width_, tap % kernel_width_, c);
  }
  void set(std::unique_ptr<Matrix> matrix) {
    matrix_ = std::move(matrix);
    if (aside_)
      thread_scratch = int64_t{kAsideRows} * matrix_->widest * lanes_;
    text += ", tile " + std::to_string(matrix_->tile((pixels() + lanes_ - 1) / lanes_) * lanes_);
  }
  int64_t weight_bytes() const override { return matrix_->bytes(); }

  void run(const Run& run) const override {
    for (int32_t n = 0; n < run.batch; n++) run_rows(run, n, 0, run.view(out, n).shape.height);
  }
  // Copied inputs are copied at once.
  bool by_rows() const override { return true; }
  int32_t rows_after(int32_t value, int32_t rows) const override {
    return value == in_ && repacks_ ? 0 : rows;
  }
  int32_t first_row(int32_t value, int32_t row) const override {
    return value == in_ && repacks_ ? 0 : row;
  }

  void run_rows(const Run& run, int32_t n, int32_t begin, int32_t end) const override {
    const Matrix& m = *matrix_;
    const View in = run.view(in_, n), to = run.view(out, n);
    const float* residual = residual_ < 0 ? nullptr : run.view(residual_, n).data;
    const float* base = in.data;
    if (repacks_) {
      if (begin == 0) repack_.run(run.kernels, in, run.scratch(), run.pool);
      base = run.scratch();
    }
    // Whole cache lines: the first and last may hold pixels of other rows, which are computed again.
    const int64_t first = by_row_ || aside_ ? begin * row_ : begin * row_ / kAlign * kAlign;
    int64_t last = std::min(pixels_, end * row_), lines = 1;
    if (by_row_) {
      last = first + width_;
      lines = end - begin;
    }
    const int32_t vectors = m.tile((last - first + lanes_ - 1) / lanes_);
    const int64_t step = int64_t{vectors} * lanes_;
    const int64_t line_tiles = (last - first + step - 1) / step, tiles = line_tiles * lines;
    // With several threads, enough pieces that none waits long for the last one.
    const int64_t wanted = run.pool.size() == 1 ? 1 : (4 * run.pool.size() + tiles - 1) / tiles;
    const int64_t parts = std::min<int64_t>(wanted, m.units);
    run.pool.each(tiles * parts, [&](int64_t item, int thread) {
      const int64_t part = item % parts, tile = item / parts;
      const int64_t line = tile / line_tiles, shift = tile % line_tiles * step;
      const int64_t at = first + shift + line * row_;
      const int64_t left = (last - first - shift + lanes_ - 1) / lanes_;
      Tile t{};
      t.in = base + at;
      t.vectors = static_cast<int32_t>(std::min<int64_t>(vectors, left));
      t.begin = static_cast<int32_t>(m.units * part / parts);
      t.end = static_cast<int32_t>(m.units * (part + 1) / parts);
      t.finish = &finish_;
      if (aside_) return work_aside(run, t, at, last, to, residual, run.scratch_of(thread));
      const int64_t place = by_row_ ? (begin + line) * width_ + shift : at;
      t.out = to.data + place;
      t.residual = residual ? residual + place : nullptr;
      t.pitch = to.pitch;
      m.multiply(run.kernels, t);
    });
  }

  void set_pitch(int32_t value, int64_t pitch) override {
    if (value != in_ || repacks_) return;
    matrix_->set_pitch(in_pitch_, pitch);
    in_pitch_ = pitch;
  }

 private:
  void work_aside(const Run& run, Tile t, int64_t at, int64_t limit, const View& to,
                  const float* residual, float* aside) const {
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
        const int64_t plane = m.channel(r) * to.pitch;
        for (int64_t y = at / row_, x = at % row_, i = at; i < last; y++, x = 0) {
          const int64_t inside = std::min(to.shape.width - x, last - i);
          if (inside > 0) {
            const int64_t place = plane + y * to.shape.width + x;
            std::copy(from + (i - at), from + (i - at) + inside, to.data + place);
            if (!finishes)
              run.kernels.finish(finish_, to.data + place, residual ? residual + place : nullptr, inside);
          }
          i += row_ - x;
        }
      }
    }
  }

  int32_t in_, residual_;
  Finish finish_;
  int lanes_;
  bool repacks_, aside_, by_row_;
  Repack repack_;
  int64_t in_pitch_, channels_, kernel_width_, row_, width_, pixels_;
  std::unique_ptr<Matrix> matrix_;
};

int64_t checked_depth(const Shape& in, const secateur_window& w) {
  const int64_t taps = int64_t{w.kernel_height} * w.kernel_width;
  if (taps > INT32_MAX / in.channels)
    refuse("The kernel is too large", "kernel_height", w.kernel_height, "kernel_width", w.kernel_width);
  return taps * in.channels;
}

std::string sizes(const Shape& in, const Shape& out) {
  return " " + std::to_string(in.channels) + ">" + std::to_string(out.channels);
}

}  // namespace

void add_sparse_conv(Program& p, int32_t in, int32_t out, const secateur_window* window,
                     const Rows& rows, const Array& bias, const secateur_epilogue* epilogue) {
  const Shape &from = p.readable(in, "in", true).shape, &to = p.writable(out).shape;
  const secateur_window w = checked(window, from, to);
  const int64_t depth = checked_depth(from, w);
  check_rows(rows, to.channels, depth);
  const std::vector<float> offsets = checked_bias(bias, to.channels);
  int32_t residual;
  const Finish finish = make_finish(p, epilogue, to, &residual);
  const double zeros = 1 - static_cast<double>(rows.count) / (static_cast<double>(depth) * to.channels);
  std::ostringstream text;
  text.precision(3);
  text << "sparse " << window_text(w) << sizes(from, to) << " " << 100 * zeros << "% zeros"
       << finish_text(finish);
  std::unique_ptr<Operation> operation;
  if (to.pixels() == 1) {
    operation = make_vector_conv(p, in, out, w, rows, offsets, finish, residual);
    operation->text = text.str();
  } else {
    auto conv = std::make_unique<Conv>(p, in, out, w, finish, residual);
    conv->text = text.str();
    const auto offset = [&](int64_t column) { return conv->offset(column); };
    conv->set(pack_sparse(p.kernels, rows, to.channels, from.channels, conv->pixels(), offset, offsets));
    operation = std::move(conv);
  }
  operation->multiply_adds = rows.count * to.pixels();
  p.add(std::move(operation));
}

void add_dense_conv(Program& p, int32_t in, int32_t out, const secateur_window* window,
                    const Array& weights, const Array& bias, const secateur_epilogue* epilogue) {
  const Shape &from = p.readable(in, "in", true).shape, &to = p.writable(out).shape;
  const secateur_window w = checked(window, from, to);
  const int64_t depth = checked_depth(from, w);
  if (!weights.data || weights.count / depth != to.channels || weights.count % depth)
    refuse("A convolution needs out_channels * kernel_height * kernel_width * in_channels weights",
           "out_channels", to.channels, "kernel", depth, "count", weights.data ? weights.count : 0);
  const std::vector<float> offsets = checked_bias(bias, to.channels);
  int32_t residual;
  const Finish finish = make_finish(p, epilogue, to, &residual);
  const std::string text = "dense " + window_text(w) + sizes(from, to) + finish_text(finish);
  std::unique_ptr<Operation> operation;
  if (to.pixels() == 1) {
    operation = make_vector_conv(p, in, out, w, weights.data, offsets, finish, residual);
    operation->text = text;
  } else {
    auto conv = std::make_unique<Conv>(p, in, out, w, finish, residual);
    conv->text = text;
    const auto offset = [&](int64_t column) { return conv->offset(column); };
    conv->set(pack_dense(p.kernels, weights.data, to.channels, depth, offset, offsets));
    operation = std::move(conv);
  }
  operation->multiply_adds = weights.count * to.pixels();
  p.add(std::move(operation));
}

}  // namespace secateur
