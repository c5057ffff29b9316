// Functions of single numbers, of pairs, and softmax.
#include <algorithm>
#include <cmath>

#include "checks.h"
#include "operations.h"

namespace secateur {
namespace {

// Calls f(first, count) for pieces of `size` numbers, as many as are worth a thread's while.
template <class F>
void in_pieces(Pool& pool, int64_t size, const F& f) {
  constexpr int64_t piece = 16 * 1024;
  const int64_t count = (size + piece - 1) / piece;
  pool.each(count, [&](int64_t i, int) { f(i * piece, std::min(piece, size - i * piece)); });
}

class Unary : public Operation {
 public:
  void run(const Run& run) const override {
    for (int32_t n = 0; n < run.batch; n++) {
      const View in = run.view(reads[0], n), to = run.view(out, n);
      in_pieces(run.pool, to.shape.image(), [&](int64_t at, int64_t count) {
        run.kernels.map(function, in.data + at, to.data + at, count);
      });
    }
  }
  bool by_rows() const override { return true; }
  void run_rows(const Run& run, int32_t n, int32_t begin, int32_t end) const override {
    const View in = run.view(reads[0], n), to = run.view(out, n);
    const int64_t at = int64_t{begin} * to.shape.width, count = int64_t{end - begin} * to.shape.width;
    run.pool.each(to.shape.channels, [&](int64_t c, int) {
      run.kernels.map(function, in.plane(c) + at, to.plane(c) + at, count);
    });
  }
  secateur_activation function;
};

class BinaryOperation : public Operation {
 public:
  void run(const Run& run) const override {
    const Shape& s = run.view(out, 0).shape;
    const bool same = run.view(reads[0], 0).shape == s && run.view(reads[1], 0).shape == s;
    for (int32_t n = 0; n < run.batch; n++) {
      if (!same && s.pixels() != 1) {
        run_rows(run, n, 0, s.height);
        continue;
      }
      const View a = run.view(reads[0], n), b = run.view(reads[1], n), to = run.view(out, n);
      const bool one_a = a.shape.channels != s.channels, one_b = b.shape.channels != s.channels;
      in_pieces(run.pool, s.pixels() == 1 ? s.channels : s.image(), [&](int64_t at, int64_t count) {
        work(run, one_a ? a.data : a.data + at, one_a, one_b ? b.data : b.data + at, one_b, to.data + at,
             count);
      });
    }
  }

  bool by_rows() const override { return true; }
  void run_rows(const Run& run, int32_t n, int32_t begin, int32_t end) const override {
    const View a = run.view(reads[0], n), b = run.view(reads[1], n), to = run.view(out, n);
    const int64_t at = int64_t{begin} * to.shape.width, count = int64_t{end - begin} * to.shape.width;
    const bool one_a = a.shape.pixels() == 1, one_b = b.shape.pixels() == 1;
    run.pool.each(to.shape.channels, [&](int64_t c, int) {
      const float* x = a.plane(a.shape.channels == 1 ? 0 : c) + (one_a ? 0 : at);
      const float* y = b.plane(b.shape.channels == 1 ? 0 : c) + (one_b ? 0 : at);
      work(run, x, one_a, y, one_b, to.plane(c) + at, count);
    });
  }

  bool is_gated(int32_t* image, int32_t* its_gate) const override {
    *image = gate == reads[0] ? reads[1] : reads[0];
    *its_gate = gate;
    return gate >= 0;
  }

  int32_t function;
  Finish finish;
  int32_t gate = -1;  // the operand that is one, where this is just a product

 private:
  void work(const Run& run, const float* x, bool one_x, const float* y, bool one_y, float* z,
            int64_t count) const {
    run.kernels.binary(function, x, one_x, y, one_y, z, count);
    if (finish.first.function != SECATEUR_IDENTITY) run.kernels.finish(finish, z, nullptr, count);
  }
};

class Softmax : public Operation {
 public:
  void run(const Run& run) const override {
    for (int32_t n = 0; n < run.batch; n++) {
      const View in = run.view(reads[0], n), to = run.view(out, n);
      if (to.shape.pixels() == 1) {
        vector(run.kernels, in.data, to.data, to.shape.channels);
        continue;
      }
      run.pool.each(to.shape.pixels(), [&](int64_t p, int) {
        const int64_t channels = to.shape.channels;
        float most = -INFINITY;
        for (int64_t c = 0; c < channels; c++) most = std::max(most, beta * in.plane(c)[p]);
        double sum = 0;
        for (int64_t c = 0; c < channels; c++) {
          to.plane(c)[p] = std::exp(beta * in.plane(c)[p] - most);
          sum += to.plane(c)[p];
        }
        for (int64_t c = 0; c < channels; c++)
          to.plane(c)[p] = static_cast<float>(to.plane(c)[p] / sum);
      });
    }
  }
  float beta;

 private:
  // Channels lie side by side.
  void vector(const Kernels& kernels, const float* x, float* y, int64_t count) const {
    float most = -INFINITY;
    for (int64_t c = 0; c < count; c++) most = std::max(most, beta * x[c]);
    kernels.map({SECATEUR_LINEAR, beta, -most}, x, y, count);
    kernels.map({SECATEUR_EXP, 0, 0}, y, y, count);
    kernels.map({SECATEUR_LINEAR, 1 / kernels.total(y, count), 0}, y, y, count);
  }
};

const char* const kBinaryNames[] = {"add",     "sub",     "mul",          "div",
                                    "maximum", "minimum", "squared_difference"};

}  // namespace

void add_unary(Program& p, int32_t in, int32_t out, const secateur_activation* a) {
  const Shape &from = p.readable(in, "in").shape, &to = p.writable(out).shape;
  if (!(from == to)) refuse("Both shapes must be the same", "in", shape_text(from), "out", shape_text(to));
  auto o = std::make_unique<Unary>();
  o->function = checked(a);
  o->reads = {in};
  o->out = out;
  const std::string text = finish_text(make_finish(a));
  o->text = text.empty() ? "copy" : text.substr(3);
  p.add(std::move(o));
}

void add_binary(Program& p, int32_t function, int32_t left, int32_t right, int32_t out,
                const secateur_activation* activation) {
  if (function < 0 || function > SECATEUR_SQUARED_DIFFERENCE)
    refuse("There is no such function", "function", function);
  const Shape &a = p.readable(left, "left").shape, &b = p.readable(right, "right").shape;
  const Shape& to = p.writable(out).shape;
  for (const Shape& s : {a, b}) {
    const bool image = s.height == to.height && s.width == to.width;
    if ((s.channels != to.channels && s.channels != 1) || (!image && s.pixels() != 1))
      refuse("An operand must have the output's channels or 1, and its height and width or 1 x 1",
             "operand", shape_text(s), "out", shape_text(to));
  }
  auto o = std::make_unique<BinaryOperation>();
  o->function = function;
  o->finish = make_finish(activation);
  o->reads = {left, right};
  o->out = out;
  if (function == SECATEUR_MUL && o->finish.first.function == SECATEUR_IDENTITY && to.pixels() > 1) {
    const auto gates = [&](const Shape& image, const Shape& gate) {
      return image == to && gate.channels == to.channels && gate.pixels() == 1;
    };
    if (gates(a, b)) o->gate = right;
    if (gates(b, a)) o->gate = left;
  }
  o->text = kBinaryNames[function] + finish_text(o->finish);
  p.add(std::move(o));
}

void add_softmax(Program& p, int32_t in, int32_t out, float beta) {
  const Shape &from = p.readable(in, "in").shape, &to = p.writable(out).shape;
  if (!(from == to)) refuse("Both shapes must be the same", "in", shape_text(from), "out", shape_text(to));
  if (!(beta > 0) || std::isinf(beta)) refuse("beta must be above 0", "beta", beta);
  auto o = std::make_unique<Softmax>();
  o->beta = beta;
  o->reads = {in};
  o->out = out;
  o->text = "softmax";
  p.add(std::move(o));
}

}  // namespace secateur
