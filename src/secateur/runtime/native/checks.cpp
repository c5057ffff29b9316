#include "checks.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace secateur {

static const char* const kFunctionNames[] = {
    "identity", "clamp",     "hard_swish", "sigmoid", "tanh", "swish", "elu",   "leaky_relu",   "gelu",
    "gelu_tanh", "abs",      "square",     "exp",     "sqrt", "rsqrt", "neg",   "hard_sigmoid", "linear"};
static constexpr int32_t kFunctions = sizeof(kFunctionNames) / sizeof(*kFunctionNames);
static_assert(kFunctions == SECATEUR_LINEAR + 1, "a name for each function");
static constexpr int32_t kMaxWindow = 1 << 24;

void check_activation(const secateur_activation& a) {
  if (a.function < 0 || a.function >= kFunctions)
    refuse("There is no such function", "function", a.function);
  if (a.function == SECATEUR_CLAMP && !(a.a <= a.b))
    refuse("A clamp needs a lower bound a and an upper bound b", "a", a.a, "b", a.b);
}

secateur_activation checked(const secateur_activation* a) {
  if (!a) return {SECATEUR_IDENTITY, 0, 0};
  check_activation(*a);
  return *a;
}

static bool bounds(const secateur_activation& a, float* low, float* high) {
  *low = a.function == SECATEUR_CLAMP ? a.a : -std::numeric_limits<float>::infinity();
  *high = a.function == SECATEUR_CLAMP ? a.b : std::numeric_limits<float>::infinity();
  return a.function == SECATEUR_CLAMP || a.function == SECATEUR_IDENTITY;
}

static Finish assemble(const secateur_activation& first, bool residual,
                       const secateur_activation& second) {
  Finish f{};
  f.first = first;
  f.second = second;
  f.residual = residual;
  const bool first_clamps = bounds(first, &f.low1, &f.high1);
  const bool second_clamps = bounds(second, &f.low2, &f.high2);
  f.clamps = first_clamps && second_clamps;
  return f;
}

Finish make_finish(const Program& p, const secateur_epilogue* e, const Shape& out, int32_t* residual) {
  *residual = -1;
  if (!e) return make_finish(nullptr);
  check_activation(e->first);
  check_activation(e->second);
  if (e->residual == -1) {
    if (e->second.function != SECATEUR_IDENTITY)
      refuse("Without a residual there is no second function", "second", e->second.function);
  } else {
    const Value& v = p.readable(e->residual, "residual");
    if (v.kind != Kind::kInner) refuse("A residual is no constant", "residual", e->residual);
    if (!(v.shape == out))
      refuse("A residual needs the output's shape " + shape_text(out), "residual",
             shape_text(v.shape));
    *residual = e->residual;
  }
  return assemble(e->first, e->residual != -1, e->second);
}

Finish make_finish(const secateur_activation* a) {
  return assemble(checked(a), false, checked(static_cast<const secateur_activation*>(nullptr)));
}

static void check_size(const char* what, int64_t in, int64_t out, int64_t kernel, int64_t stride,
                       int64_t dilation, int64_t before, int64_t after) {
  const int64_t room = in + before + after - (kernel - 1) * dilation - 1;
  const int64_t expected = room < 0 ? 0 : room / stride + 1;
  if (expected != out)
    refuse(std::string("The output's ") + what + " does not fit the window", "expected", expected,
           "received", out, "input", in, "kernel", kernel, "stride", stride, "dilation", dilation,
           "padding", before + after);
}

secateur_window checked(const secateur_window* window, const Shape& in, const Shape& out) {
  if (!window) refuse("A window is missing", "window", "NULL");
  const secateur_window& w = *window;
  for (int32_t n : {w.kernel_height, w.kernel_width, w.stride_height, w.stride_width,
                    w.dilation_height, w.dilation_width})
    if (n < 1 || n > kMaxWindow) refuse("Kernel, stride and dilation are at least 1", "received", n);
  for (int32_t n : {w.pad_top, w.pad_left, w.pad_bottom, w.pad_right})
    if (n < 0 || n > kMaxWindow) refuse("Padding is at least 0", "received", n);
  check_size("height", in.height, out.height, w.kernel_height, w.stride_height, w.dilation_height,
             w.pad_top, w.pad_bottom);
  check_size("width", in.width, out.width, w.kernel_width, w.stride_width, w.dilation_width,
             w.pad_left, w.pad_right);
  return w;
}

int32_t window_first_row(const secateur_window& w, int32_t begin) {
  const int64_t first = int64_t{begin} * w.stride_height - w.pad_top;
  return static_cast<int32_t>(std::clamp<int64_t>(first, 0, INT32_MAX));
}

int32_t window_last_row(const secateur_window& w, int32_t end) {
  constexpr int64_t kLimit = 1 << 29;
  const int64_t first = (int64_t{end} - 1) * w.stride_height - w.pad_top;
  const int64_t last = first + (int64_t{w.kernel_height} - 1) * w.dilation_height;
  return static_cast<int32_t>(std::clamp<int64_t>(last + 1, -kLimit, kLimit));
}

std::string window_text(const secateur_window& w) {
  std::string text = std::to_string(w.kernel_height) + "x" + std::to_string(w.kernel_width);
  if (w.stride_height != 1 || w.stride_width != 1) {
    text += " stride " + std::to_string(w.stride_height);
    if (w.stride_width != w.stride_height) text += "x" + std::to_string(w.stride_width);
  }
  return text;
}

static std::string function_text(const secateur_activation& a) {
  if (a.function != SECATEUR_CLAMP) return kFunctionNames[a.function];
  if (a.a == 0 && a.b == 6) return "relu6";
  if (a.a == 0 && std::isinf(a.b)) return "relu";
  return "clamp";
}

std::string finish_text(const Finish& f) {
  std::string text;
  if (f.first.function != SECATEUR_IDENTITY) text += " + " + function_text(f.first);
  if (f.residual) text += " + residual";
  if (f.second.function != SECATEUR_IDENTITY) text += " + " + function_text(f.second);
  return text;
}

std::string shape_text(const Shape& s) {
  return "(" + std::to_string(s.channels) + ", " + std::to_string(s.height) + ", " +
         std::to_string(s.width) + ")";
}

}  // namespace secateur
