// Functions of single numbers and of pairs, over arrays.
#pragma once

#include "kernels.h"
#include "vec_math.h"

namespace secateur {
namespace SECATEUR_ISA {

template <class F>
static SECATEUR_INLINE void each(const float* x, float* y, int64_t count, F f) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(y + i, f(load(x + i)));
  if (i < count) {
    const Lanes rest = lanes(0, count - i);
    store(y + i, f(load(x, i, rest)), rest);
  }
}

static void map(const secateur_activation& f, const float* x, float* y, int64_t count) {
  const vf a = splat(f.a), b = splat(f.b);
  switch (f.function) {
    case SECATEUR_CLAMP:
      return each(x, y, count, [=](vf v) { return minimum(b, maximum(a, v)); });
    case SECATEUR_HARD_SWISH:
      return each(x, y, count, [](vf v) {
        return v * minimum(splat(6.0f), maximum(vf{}, v + 3.0f)) * (1.0f / 6.0f);
      });
    case SECATEUR_HARD_SIGMOID:
      return each(x, y, count, [](vf v) {
        return minimum(splat(6.0f), maximum(vf{}, v + 3.0f)) * (1.0f / 6.0f);
      });
    case SECATEUR_SIGMOID:
      return each(x, y, count, [](vf v) { return sigmoid(v); });
    case SECATEUR_TANH:
      return each(x, y, count, [](vf v) { return hyperbolic_tangent(v); });
    case SECATEUR_SWISH:
      return each(x, y, count, [](vf v) { return swish(v); });
    case SECATEUR_ELU:
      return each(x, y, count, [](vf v) {
        const vf negative = exponential_minus_1(minimum(vf{}, v));
        return v > 0.0f ? v : negative;
      });
    case SECATEUR_LEAKY_RELU:
      return each(x, y, count, [=](vf v) { return v > 0.0f ? v : v * a; });
    case SECATEUR_GELU:
      return each(x, y, count, [](vf v) { return v * normal_distribution(v); });
    case SECATEUR_GELU_TANH:
      return each(x, y, count, [](vf v) {
        const vf u = 0.7978845608028654f * (v + 0.044715f * v * v * v);
        return v * sigmoid(u + u);
      });
    case SECATEUR_ABS:
      return each(x, y, count, [](vf v) { return (vf)((vi)v & 0x7fffffff); });
    case SECATEUR_SQUARE:
      return each(x, y, count, [](vf v) { return v * v; });
    case SECATEUR_EXP:
      return each(x, y, count, [](vf v) { return exponential(v); });
    case SECATEUR_SQRT:
      return each(x, y, count, [](vf v) { return square_root(v); });
    case SECATEUR_RSQRT:
      return each(x, y, count, [](vf v) { return 1.0f / square_root(v); });
    case SECATEUR_NEG:
      return each(x, y, count, [](vf v) { return -v; });
    case SECATEUR_LINEAR:
      return each(x, y, count, [=](vf v) { return a * v + b; });
    default:
      if (x != y) memmove(y, x, (size_t)count * sizeof(float));
  }
}

static SECATEUR_INLINE vf clamp(vf x, vf low, vf high) { return minimum(high, maximum(low, x)); }

static void finish(const Finish& f, float* x, const float* residual, int64_t count) {
  if (!f.clamps) {
    map(f.first, x, x, count);
    if (!f.residual) return;
    for (int64_t i = 0; i < count; i++) x[i] += residual[i];
    return map(f.second, x, x, count);
  }
  const vf low1 = splat(f.low1), high1 = splat(f.high1);
  const vf low2 = splat(f.low2), high2 = splat(f.high2);
  if (!f.residual) return each(x, x, count, [=](vf v) { return clamp(v, low1, high1); });
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    store(x + i, clamp(clamp(load(x + i), low1, high1) + load(residual + i), low2, high2));
  if (i < count) {
    const Lanes rest = lanes(0, count - i);
    const vf v = clamp(load(x, i, rest), low1, high1) + load(residual, i, rest);
    store(x + i, clamp(v, low2, high2), rest);
  }
}

template <class F>
static SECATEUR_INLINE void each_pair(const float* a, bool one_a, const float* b, bool one_b, float* y,
                                      int64_t count, F f) {
  if (one_a && one_b) {
    const vf v = f(splat(*a), splat(*b));
    return each(y, y, count, [=](vf) { return v; });
  }
  if (one_a) {
    const vf v = splat(*a);
    return each(b, y, count, [=](vf w) { return f(v, w); });
  }
  if (one_b) {
    const vf w = splat(*b);
    return each(a, y, count, [=](vf v) { return f(v, w); });
  }
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(y + i, f(load(a + i), load(b + i)));
  if (i < count) {
    const Lanes rest = lanes(0, count - i);
    store(y + i, f(load(a, i, rest), load(b, i, rest)), rest);
  }
}

static void binary(int32_t function, const float* a, bool one_a, const float* b, bool one_b, float* y,
                   int64_t count) {
  switch (function) {
    case SECATEUR_ADD:
      return each_pair(a, one_a, b, one_b, y, count, [](vf v, vf w) { return v + w; });
    case SECATEUR_SUB:
      return each_pair(a, one_a, b, one_b, y, count, [](vf v, vf w) { return v - w; });
    case SECATEUR_MUL:
      return each_pair(a, one_a, b, one_b, y, count, [](vf v, vf w) { return v * w; });
    case SECATEUR_DIV:
      return each_pair(a, one_a, b, one_b, y, count, [](vf v, vf w) { return v / w; });
    case SECATEUR_MAXIMUM:
      return each_pair(a, one_a, b, one_b, y, count, [](vf v, vf w) { return maximum(v, w); });
    case SECATEUR_MINIMUM:
      return each_pair(a, one_a, b, one_b, y, count, [](vf v, vf w) { return minimum(v, w); });
    default:
      return each_pair(a, one_a, b, one_b, y, count, [](vf v, vf w) { return (v - w) * (v - w); });
  }
}

static float total(const float* x, int64_t count) {
  vf s0 = {}, s1 = {};
  int64_t i = 0;
  for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
    s0 += load(x + i);
    s1 += load(x + i + kLanes);
  }
  for (; i < count; i += kLanes) s0 += load(x, i, lanes(0, count - i));
  return sum(s0 + s1);
}

}  // namespace SECATEUR_ISA
}  // namespace secateur
