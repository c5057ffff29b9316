// Random programs through the C interface, right and wrong ones, for the sanitizers to watch:
//
//     secateur_fuzz [seconds] [first seed]
//
// A program that is accepted must run, and give the same on every instruction set. Between them random files are read.
#include <algorithm>
#include <chrono>
#include <climits>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <list>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "fuzz_files.h"
#include "secateur.h"

namespace {

using Numbers = std::vector<float>;

class Fuzzer {
 public:
  Fuzzer(uint32_t seed, const char* isa) : random_(seed), program_(secateur_create(isa)) {}
  ~Fuzzer() {
    secateur_destroy(program_);
    secateur_ahead_free(ahead_);
  }

  // The outputs of a random program; empty if it was refused.
  std::vector<Numbers> run() {
    wrong_ = chance(40);
    if (chance(50)) ahead_ = secateur_ahead_create();
    batch_ = range(1, 3);
    const int inputs = range(1, 2);
    for (int i = 0; i < inputs; i++) {
      const Shape s = shape();
      input_shapes_.push_back(s);
      const int id = secateur_input(program_, s.c, s.h, s.w);
      remember(id, s, false);
      const int copy = value(s);
      if (secateur_to_chw(program_, id, copy) == SECATEUR_OK) remember(copy, s, true);
    }
    for (int i = range(1, 10); i > 0; i--) operation();
    std::vector<Shape> shapes;
    for (const Known& k : known_) {
      if (!k.readable || !chance(50)) continue;
      const int out = secateur_output(program_, k.shape.c, k.shape.h, k.shape.w);
      if (secateur_to_nhwc(program_, k.id, out) == SECATEUR_OK) shapes.push_back(k.shape);
    }
    std::vector<Numbers> outputs;
    if (secateur_finalize(program_, odd(batch_)) != SECATEUR_OK) return outputs;
    if (secateur_arena_bytes(program_) > (int64_t{1} << 28)) return outputs;
    // Exactly as large as they must be.
    if (secateur_finalize(program_, batch_) != SECATEUR_OK) return outputs;
    std::vector<Numbers> inputs_data;
    std::vector<const float*> in;
    std::vector<float*> out;
    for (const Shape& s : input_shapes_) inputs_data.push_back(numbers(s.size() * batch_));
    for (const Shape& s : shapes) outputs.emplace_back(s.size() * batch_);
    for (const Numbers& n : inputs_data) in.push_back(n.data());
    for (Numbers& n : outputs) out.push_back(n.data());
    std::vector<double> seconds(static_cast<size_t>(secateur_operations(program_)));
    const int threads = range(1, 3);
    for (int i = 0; i < 2; i++)
      if (secateur_run(program_, in.data(), out.data(), threads, i ? seconds.data() : nullptr) != 0) {
        std::fprintf(stderr, "a finalized program does not run: %s\n", secateur_error());
        std::abort();
      }
    return outputs;
  }

 private:
  struct Shape {
    int c, h, w;
    size_t size() const { return static_cast<size_t>(c) * h * w; }
  };
  struct Known {
    int id;
    Shape shape;
    bool readable;
  };

  int range(int low, int high) {
    return low + static_cast<int>(random_() % static_cast<uint32_t>(high - low + 1));
  }
  bool chance(int percent) { return range(1, 100) <= percent; }
  // Now and then another number than the right one.
  int odd(int right) {
    if (!wrong_ || !chance(4)) return right;
    static const int kinds[] = {0, -1, 1, 2, 1 << 20, 1 << 30, INT32_MAX, INT32_MIN};
    return chance(50) ? kinds[range(0, 7)] : right + range(-2, 2);
  }
  int64_t odd_count(size_t right) {
    if (!wrong_ || !chance(4)) return static_cast<int64_t>(right);
    // Never more than there is: nobody could check that.
    return right ? range(-1, static_cast<int>(right) - 1) : -1;
  }
  Shape shape() {
    const auto side = [&] { return chance(15) ? 1 : chance(5) ? range(60, 130) : range(1, 24); };
    return {chance(20) ? range(30, 80) : range(1, 24), side(), side()};
  }
  // Of an output; now and then enough for pairs of rows.
  int channels(int most) { return chance(10) ? range(most, 140) : range(1, most); }
  Numbers numbers(size_t count) {
    Numbers n(count);
    for (float& x : n) x = static_cast<float>(range(-1000, 1000)) / 500;
    return n;
  }
  int value(const Shape& s) { return secateur_value(program_, odd(s.c), odd(s.h), odd(s.w)); }
  void remember(int id, const Shape& s, bool readable) {
    if (id >= 0) known_.push_back({id, s, readable});
  }
  const Known& pick(bool inputs) {
    for (;;) {
      const Known& k = known_[static_cast<size_t>(range(0, static_cast<int>(known_.size()) - 1))];
      if (k.readable || inputs || (wrong_ && chance(20))) return k;
    }
  }
  secateur_activation activation() {
    // Without those that make infinities of ordinary numbers.
    static const int functions[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 17};
    const int f = odd(functions[range(0, 13)]);
    return {f, chance(90) ? -0.5f : NAN, chance(90) ? 1.5f : -INFINITY};
  }
  secateur_window window(const Shape& in, Shape* out) {
    secateur_window w{};
    const bool square = chance(70);
    w.kernel_height = range(1, 5);
    w.kernel_width = square ? w.kernel_height : range(1, 5);
    w.stride_height = range(1, 3);
    w.stride_width = square ? w.stride_height : range(1, 3);
    w.dilation_height = chance(80) ? 1 : 2;
    w.dilation_width = chance(80) ? 1 : 2;
    w.pad_top = range(0, w.kernel_height - 1);
    w.pad_left = range(0, w.kernel_width - 1);
    w.pad_bottom = range(0, 3);
    w.pad_right = range(0, 3);
    const auto size = [](int n, int k, int s, int d, int pad) {
      const int room = n + pad - (k - 1) * d - 1;
      return room < 0 ? 1 : room / s + 1;
    };
    out->h = size(in.h, w.kernel_height, w.stride_height, w.dilation_height, w.pad_top + w.pad_bottom);
    out->w = size(in.w, w.kernel_width, w.stride_width, w.dilation_width, w.pad_left + w.pad_right);
    for (int* n : {&w.kernel_height, &w.kernel_width, &w.stride_height, &w.dilation_width, &w.pad_top,
                   &w.pad_right})
      *n = odd(*n);
    return w;
  }

  // Until they are packed, and until the thread that prunes ahead is gone.
  const Numbers& keep(Numbers weights) { return *kept_.emplace(kept_.end(), std::move(weights)); }

  int sparse(int in, int out, const secateur_window& window, const Numbers& weights, int rows,
             const float* bias, int64_t bias_count, const secateur_epilogue* epilogue) {
    const auto count = static_cast<int64_t>(weights.size());
    const float* const data = weights.data();
    const int32_t some = odd(rows), flags = chance(80) ? SECATEUR_KEEP : 0;
    secateur_pruned* pruned = nullptr;
    if (!chance(60) || secateur_prune_ahead(ahead_, 1, &data, &count, &some, flags, &pruned) != SECATEUR_OK)
      pruned = secateur_prune(data, count, some, flags);
    const int status =
        secateur_sparse_conv2d(program_, in, out, &window, pruned, bias, bias_count, epilogue);
    secateur_pruned_free(pruned);
    return status;
  }

  // Squeeze and excite: a product that convolutions of one pixel may do with their weights.
  void gated(const Known& in) {
    const int gate = secateur_value(program_, in.shape.c, 1, 1), product = value(in.shape);
    if (secateur_mean(program_, in.id, gate) != SECATEUR_OK ||
        secateur_binary(program_, SECATEUR_MUL, gate, odd(in.id), product, nullptr) != SECATEUR_OK)
      return;
    const Shape to{channels(20), in.shape.h, in.shape.w};
    const int out = value(to);
    const Numbers& weights = keep(numbers(static_cast<size_t>(to.c) * static_cast<size_t>(in.shape.c)));
    const secateur_window point{1, 1, 1, 1, 1, 1, 0, 0, 0, 0};
    const int status = chance(50) ? secateur_conv2d(program_, product, out, &point, weights.data(),
                                                    odd_count(weights.size()), nullptr, 0, nullptr, nullptr)
                                  : sparse(product, out, point, weights, to.c, nullptr, 0, nullptr);
    if (status == SECATEUR_OK) remember(out, to, true);
    if (chance(20)) remember(product, in.shape, true);
  }

  void operation() {
    const int kind = range(0, 12);
    const Known in = pick(kind <= 2);
    if (kind == 12) return gated(in);
    Shape to = in.shape;
    int status = SECATEUR_INVALID, out = -1;
    secateur_epilogue epilogue{activation(), -1, {0, 0, 0}};
    const auto finish = [&] {
      out = value(to);
      for (const Known& k : known_)
        if (k.readable && k.shape.c == to.c && k.shape.h == to.h && k.shape.w == to.w && chance(50)) {
          epilogue.residual = odd(k.id);
          epilogue.second = activation();
        }
    };
    if (kind <= 3) {
      const secateur_window w = window(in.shape, &to);
      to.c = kind == 3 ? in.shape.c * range(1, 2) : channels(40);
      finish();
      const size_t taps = static_cast<size_t>(std::max(1, std::min(w.kernel_height, 8))) *
                          static_cast<size_t>(std::max(1, std::min(w.kernel_width, 8)));
      const Numbers bias = numbers(static_cast<size_t>(to.c));
      const bool biased = chance(50);
      const float* b = biased ? bias.data() : nullptr;
      const int64_t bias_count = biased ? odd_count(bias.size()) : 0;
      if (kind == 3) {
        const Numbers& weights = keep(numbers(taps * static_cast<size_t>(to.c)));
        status = secateur_depthwise_conv2d(program_, odd(in.id), out, &w, weights.data(),
                                           odd_count(weights.size()), b, bias_count, &epilogue);
      } else if (kind == 2) {
        const Numbers& weights =
            keep(numbers(taps * static_cast<size_t>(to.c) * static_cast<size_t>(in.shape.c)));
        const auto count = static_cast<int64_t>(weights.size());
        secateur_pruned* same = secateur_prune(weights.data(), count, odd(to.c), 0);
        if (chance(80)) secateur_pack_ahead(ahead_, same);
        status = secateur_conv2d(program_, odd(in.id), out, &w, weights.data(), odd_count(weights.size()),
                                 b, bias_count, &epilogue, same);
        secateur_pruned_free(same);
      } else {
        const int zeros = range(0, 4) * 25;
        Numbers weights = numbers(taps * static_cast<size_t>(to.c) * static_cast<size_t>(in.shape.c));
        for (float& x : weights)
          if (chance(zeros)) x = 0;
        status = sparse(odd(in.id), out, w, keep(std::move(weights)), to.c, b, bias_count, &epilogue);
      }
    } else if (kind == 4) {
      Known other = in;
      for (int i = 0; i < 5; i++) {
        const Known& k = pick(false);
        if (k.readable) other = k;
        if (other.shape.size() == in.shape.size()) break;
      }
      if (chance(30)) {
        const Numbers constant = numbers(static_cast<size_t>(in.shape.c));
        other.id = secateur_constant(program_, in.shape.c, 1, 1, constant.data(), odd_count(constant.size()));
      }
      finish();
      const int function = range(0, 5);
      status = secateur_binary(program_, odd(function == 3 ? 2 : function), in.id, other.id, out,
                               &epilogue.first);
    } else if (kind == 5) {
      finish();
      status = secateur_unary(program_, odd(in.id), out, &epilogue.first);
    } else if (kind == 6) {
      secateur_window w = window(in.shape, &to);
      finish();
      status = secateur_pool(program_, odd(range(0, 1)), in.id, out, &w, &epilogue.first);
    } else if (kind == 7) {
      to.h = to.w = 1;
      finish();
      status = secateur_mean(program_, in.id, out);
    } else if (kind == 8) {
      to.h = range(1, 30);
      to.w = range(1, 30);
      finish();
      const int flags = range(0, 3);
      status = secateur_resize(program_, 0, in.id, out, flags & 1, flags & 2);
    } else if (kind == 9) {
      to.c *= 2;
      finish();
      const int ids[2] = {in.id, odd(in.id)};
      status = secateur_concat(program_, ids, wrong_ && chance(5) ? 0 : 2, out);
    } else if (kind == 10) {
      const int c = range(0, 3), y = range(0, 3), x = range(0, 3);
      to = {to.c + c + range(0, 2), to.h + y + range(0, 2), to.w + x + range(0, 2)};
      finish();
      status = secateur_pad(program_, in.id, out, odd(c), odd(y), odd(x), 1.5f);
    } else {
      const int c = range(0, to.c - 1), y = range(0, to.h - 1), x = range(0, to.w - 1);
      to = {to.c - c, to.h - y, to.w - x};
      finish();
      status = chance(50) ? secateur_slice(program_, in.id, out, odd(c), odd(y), odd(x))
                          : secateur_softmax(program_, in.id, out, 1.0f);
    }
    if (status == SECATEUR_OK) remember(out, to, true);
    if (chance(5)) secateur_pack(program_);
  }

  std::mt19937 random_;
  secateur_program* program_;
  secateur_ahead* ahead_ = nullptr;
  std::list<Numbers> kept_;
  bool wrong_ = false;
  int batch_ = 1;
  std::vector<Known> known_;
  std::vector<Shape> input_shapes_;
};

bool close(const Numbers& a, const Numbers& b) {
  float largest = 1;
  for (float x : a)
    if (std::isfinite(x)) largest = std::max(largest, std::fabs(x));
  for (size_t i = 0; i < a.size(); i++)
    if (std::isfinite(a[i]) && !(std::fabs(a[i] - b[i]) <= 2e-3f * largest)) return false;
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? std::atof(argv[1]) : 60;
  auto seed = static_cast<uint32_t>(argc > 2 ? std::atoi(argv[2]) : 1);
  std::vector<std::string> isas;
  for (const char* p = secateur_isas(); *p; p++) {
    if (isas.empty() || *p == ',') isas.emplace_back();
    if (*p != ',') isas.back() += *p;
  }
  const auto start = std::chrono::steady_clock::now();
  int programs = 0, ran = 0, files = 0, read = 0, inferred = 0, built = 0;
  for (; std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < seconds; seed++) {
    std::vector<Numbers> first;
    for (size_t i = 0; i < isas.size(); i++) {
      // Whole images with the first one; with the others, operations take turns on some rows.
      setenv("SECATEUR_L2_BYTES", i == 0 ? "1000000000" : seed % 2 ? "65536" : "16384", 1);
      Fuzzer fuzzer(seed, isas[i].c_str());
      const std::vector<Numbers> outputs = fuzzer.run();
      if (i == 0) first = outputs;
      for (size_t o = 0; o < outputs.size(); o++)
        if (outputs.size() != first.size() || !close(outputs[o], first[o])) {
          std::fprintf(stderr, "seed %u: %s and %s differ in output %zu\n", seed, isas[0].c_str(),
                       isas[i].c_str(), o);
          return 1;
        }
    }
    programs++;
    ran += !first.empty();
    for (uint32_t i = 0; i < 10; i++) {
      const FuzzedFile file = fuzz_file(10 * seed + i);
      files++;
      read += file.read;
      inferred += file.inferred;
      built += file.built;
    }
  }
  std::printf("%d programs, %d of them ran; %d files, %d read, the shapes of %d found, %d built; next seed %u\n",
              programs, ran, files, read, inferred, built, seed);
  return 0;
}
