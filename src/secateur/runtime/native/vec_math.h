// Functions of vectors, accurate to a few units in the last place.
#pragma once

#include "vec.h"

namespace secateur {
namespace SECATEUR_ISA {

// Range reduction to [-ln 2 / 2, ln 2 / 2], then a polynomial (the minimax one of Cephes' expf). The
// power of two is multiplied in two halves: results overflow to infinity and underflow gradually.
static SECATEUR_INLINE vf exponential(vf x) {
  x = minimum(splat(104.0f), maximum(splat(-104.0f), x));
  const vf magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to a whole number
  const vf n = (x * 1.44269504088896341f + magic) - magic;
  vf r = x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  vf p = splat(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  // A number that is not one has no whole number; it stays what it is in p.
  const vi whole = __builtin_convertvector(n == n ? n : vf{}, vi);
  const vi half = whole >> 1;
  return p * (vf)((half + 127) << 23) * (vf)((whole - half + 127) << 23);
}

static SECATEUR_INLINE vf sigmoid(vf x) { return 1.0f / (1.0f + exponential(-x)); }

// An odd polynomial near 0, where 1 - 2 / (exp(2x) + 1) would lose digits.
static SECATEUR_INLINE vf hyperbolic_tangent(vf x) {
  const vf s = x * x;
  vf p = splat(-5.70498872745e-3f);
  p = p * s + 2.06390887954e-2f;
  p = p * s - 5.37397155531e-2f;
  p = p * s + 1.33314422036e-1f;
  p = p * s - 3.33332819422e-1f;
  p = p * s * x + x;
  const vf far = 1.0f - 2.0f / (exponential(x + x) + 1.0f);
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
  const vf t = 1.0f / (1.0f + 0.3275911f * z);
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
