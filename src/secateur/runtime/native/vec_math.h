// Functions of vectors, accurate to a few units in the last place.
#pragma once

#include "vec.h"

namespace secateur {
namespace SECATEUR_ISA {

// p times the whole power n of two, which overflows to infinity and underflows gradually.
static SECATEUR_INLINE vf times_power_of_two(vf p, vf n) {
#if defined(__AVX512F__)
  return (vf)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
  // In two halves, of which neither leaves the range. A number that is not one has no whole number; it stays
  // what it is in p.
  const vi whole = __builtin_convertvector(n == n ? n : vf{}, vi);
  const vi half = whole >> 1;
  return p * (vf)((half + 127) << 23) * (vf)((whole - half + 127) << 23);
#endif
}

// Of numbers from 1 to 1e38. Divisions of wide vectors take longer than an estimate and a step of Newton's.
static SECATEUR_INLINE vf reciprocal(vf x) {
#if defined(__AVX512F__)
  const vf y = (vf)_mm512_rcp14_ps((__m512)x);
  return y * (2.0f - x * y);
#elif defined(__AVX2__)
  const vf y = (vf)_mm256_rcp_ps((__m256)x);
  return y * (2.0f - x * y);
#else
  return 1.0f / x;
#endif
}

// exp(x) = p * 2^n: n is rounded by adding 1.5 * 2^23, where the last bits then are a whole number; p is a
// polynomial of what is left, in [-ln 2 / 2, ln 2 / 2], of the least relative error there, 3e-9.
constexpr float kMagic = 12582912.0f;
struct Power {
  vf p, n_and_magic;
  explicit SECATEUR_INLINE Power(vf x) : n_and_magic(x * 1.44269504088896341f + kMagic) {
    const vf n = n_and_magic - kMagic;
    vf r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    p = splat(1.3814539415761828e-3f);
    p = p * r + 8.36874544620514e-3f;
    p = p * r + 4.166838899254799e-2f;
    p = p * r + 1.666652113199234e-1f;
    p = p * r + 4.999999403953552e-1f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
  }
};

static SECATEUR_INLINE vf exponential(vf x) {
  const Power e(minimum(splat(104.0f), maximum(splat(-104.0f), x)));
  return times_power_of_two(e.p, e.n_and_magic - kMagic);
}

// exp(x) of numbers from -87 to 88: no result leaves the range, and a power of two is just added to the exponent.
#if defined(__AVX512F__)
static SECATEUR_INLINE vf exponential_in_range(vf x) {
  // exp(x) = 2^(n / 16) exp(r). A table has the bits of the sixteenths of a power, less those that end up below
  // the exponent when n is added to it; what is left is so small that fewer terms do.
  const vi sixteenths = {0x3f800000, 0x3f7daac3, 0x3f7b95c2, 0x3f79c3d3, 0x3f7837f0, 0x3f76f532,
                         0x3f75fed7, 0x3f75583f, 0x3f7504f3, 0x3f7508a4, 0x3f75672a, 0x3f76248c,
                         0x3f7744fd, 0x3f78ccdf, 0x3f7ac0c7, 0x3f7d257d};
  const vf n_and_magic = x * 23.083120654223414f + kMagic, n = n_and_magic - kMagic;
  vf r = x - n * 0.0433216989f;
  r = r + n * 1.19040888e-10f;
  vf p = splat(1.6666667e-1f);
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const vi power = (vi)_mm512_permutexvar_epi32((__m512i)n_and_magic, (__m512i)sixteenths);
  return p * (vf)(power + ((vi)n_and_magic << 19));
}
#elif defined(__AVX2__)
static SECATEUR_INLINE vf exponential_in_range(vf x) {
  // The same with eighths. Terms are added in pairs, as few vectors are under way at once and wait for each other;
  // relative error 4e-8.
  const vi eighths = {0x3f800000, 0x3f7b95c2, 0x3f7837f0, 0x3f75fed7,
                      0x3f7504f3, 0x3f75672a, 0x3f7744fd, 0x3f7ac0c7};
  const vf n_and_magic = x * 11.541560327111707f + kMagic, n = n_and_magic - kMagic;
  vf r = x - n * 0.086669921875f;
  r = r + n * 2.6524305e-5f;
  const vf p = (r * 1.6667840e-1f + 5.0005865e-1f) * (r * r) + (r + 1.0f);
  const vi power = (vi)_mm256_permutevar8x32_epi32((__m256i)eighths, (__m256i)n_and_magic);
  return p * (vf)(power + ((vi)n_and_magic << 20));
}
#else
static SECATEUR_INLINE vf exponential_in_range(vf x) {
  const Power e(x);
  return (vf)((vi)e.p + ((vi)e.n_and_magic << 23));
}
#endif

// 1 / (1 + exp(-x)) of numbers from -88 on, where it is below 1e-38.
constexpr float kLeastSigmoid = -88.0f;
static SECATEUR_INLINE vf sigmoid_of_number(vf x) {
  return reciprocal(1.0f + exponential_in_range(-minimum(splat(87.0f), x)));
}

static SECATEUR_INLINE vf sigmoid(vf x) {
  return x == x ? sigmoid_of_number(maximum(splat(kLeastSigmoid), x)) : x;
}

static SECATEUR_INLINE vf swish(vf x) {
  x = maximum(splat(kLeastSigmoid), x);  // before it is multiplied: an infinity times 0 is no number
  return x * sigmoid_of_number(x);
}

// An odd polynomial near 0, where 2 / (1 + exp(-2x)) - 1 would lose digits.
static SECATEUR_INLINE vf hyperbolic_tangent(vf x) {
  const vf s = x * x;
  vf p = splat(-5.70498872745e-3f);
  p = p * s + 2.06390887954e-2f;
  p = p * s - 5.37397155531e-2f;
  p = p * s + 1.33314422036e-1f;
  p = p * s - 3.33332819422e-1f;
  p = p * s * x + x;
  const vf far = 2.0f * sigmoid(x + x) - 1.0f;
  return s < 0.390625f ? p : far;
}

// exp(x) - 1 without cancellation, for x up to 0.
static SECATEUR_INLINE vf exponential_minus_1(vf x) {
  const vf t = hyperbolic_tangent(x * 0.5f);
  return (t + t) / (1.0f - t);
}

// The normal distribution function by Abramowitz and Stegun 7.1.26, absolute error below 1e-7.
static SECATEUR_INLINE vf normal_distribution(vf x) {
  const vf z = (x < 0.0f ? -x : x) * 0.70710678118654752f;
  const vf t = reciprocal(1.0f + 0.3275911f * minimum(splat(1e30f), z));
  vf p = splat(1.061405429f);
  p = p * t - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  const vf tail = 0.5f * p * t * exponential(-z * z);
  return x < 0.0f ? tail : 1.0f - tail;
}

}  // namespace SECATEUR_ISA
}  // namespace secateur
