// Vectors of floats, of the width this file is compiled for. Everything lies in an inline namespace of that
// instruction set's name and only C headers are used: code for one instruction set must never be merged
// with another's by the linker.
#pragma once

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define SECATEUR_LANES 16
#elif defined(__AVX2__)
#define SECATEUR_LANES 8
#else
#define SECATEUR_LANES 4
#endif

#define SECATEUR_UNROLL _Pragma("GCC unroll 16")
#define SECATEUR_LAMBDA_INLINE __attribute__((always_inline))
#define SECATEUR_INLINE inline __attribute__((always_inline))

namespace secateur {
namespace SECATEUR_ISA {

constexpr int kLanes = SECATEUR_LANES;

typedef float vf __attribute__((vector_size(4 * SECATEUR_LANES)));
typedef int32_t vi __attribute__((vector_size(4 * SECATEUR_LANES)));
typedef float vf_unaligned __attribute__((vector_size(4 * SECATEUR_LANES), aligned(4), may_alias));
typedef int32_t vi_unaligned __attribute__((vector_size(4 * SECATEUR_LANES), aligned(4), may_alias));

static SECATEUR_INLINE vf load(const float* p) { return *reinterpret_cast<const vf_unaligned*>(p); }
// What is used several times, but must not be read several times: it may lie across two cache lines.
static SECATEUR_INLINE vf load_once(const float* p) {
  vf x = load(p);
#if defined(__AVX512F__)
  __asm__("" : "+v"(x));
#endif
  return x;
}
static SECATEUR_INLINE vi load_int(const int32_t* p) {
  return *reinterpret_cast<const vi_unaligned*>(p);
}
static SECATEUR_INLINE void store(float* p, vf x) { *reinterpret_cast<vf_unaligned*>(p) = x; }
static SECATEUR_INLINE vf splat(float x) { return x - vf{}; }

// Gets cache lines that are about to be written, or added. A store to a line that is not in the second-level cache
// keeps AMD's processors from any other for 45 cycles. With narrower vectors it was not measured.
template <int V>
static SECATEUR_INLINE void fetch_lines(const float* p) {
  constexpr int line = 64 / (4 * SECATEUR_LANES);  // vectors
  if (kLanes < 8) return;
  SECATEUR_UNROLL
  for (int v = 0; v < V; v += line) __builtin_prefetch(p + v * kLanes, 1);
}

// The larger, and the smaller; where x is not a number, x.
static SECATEUR_INLINE vf maximum(vf bound, vf x) {
#if defined(__AVX512F__)
  return (vf)_mm512_max_ps((__m512)bound, (__m512)x);
#elif defined(__AVX2__)
  return (vf)_mm256_max_ps((__m256)bound, (__m256)x);
#else
  return bound > x ? bound : x;
#endif
}
static SECATEUR_INLINE vf minimum(vf bound, vf x) {
#if defined(__AVX512F__)
  return (vf)_mm512_min_ps((__m512)bound, (__m512)x);
#elif defined(__AVX2__)
  return (vf)_mm256_min_ps((__m256)bound, (__m256)x);
#else
  return bound < x ? bound : x;
#endif
}

static SECATEUR_INLINE vf square_root(vf x) {
#if defined(__AVX512F__)
  return (vf)_mm512_sqrt_ps((__m512)x);
#elif defined(__AVX2__)
  return (vf)_mm256_sqrt_ps((__m256)x);
#else
  for (int i = 0; i < kLanes; i++) x[i] = __builtin_sqrtf(x[i]);
  return x;
#endif
}

// Some lanes of a vector: those from `first` up to, and without, `last`. Memory of the others is not touched.
struct Lanes {
  int first, last;
#if defined(__AVX512F__)
  __mmask16 mask;
#elif defined(__AVX2__)
  __m256i mask;
#else
  vi mask;
#endif
};

static SECATEUR_INLINE Lanes lanes(int64_t first, int64_t last) {
  Lanes l;
  l.first = first < 0 ? 0 : first > kLanes ? kLanes : (int)first;
  l.last = last > kLanes ? kLanes : last < l.first ? l.first : (int)last;
#if defined(__AVX512F__)
  l.mask = (__mmask16)((1u << l.last) - (1u << l.first));
#elif defined(__AVX2__)
  const __m256i i = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  l.mask = _mm256_andnot_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(l.first), i),
                               _mm256_cmpgt_epi32(_mm256_set1_epi32(l.last), i));
#else
  for (int i = 0; i < kLanes; i++) l.mask[i] = i >= l.first && i < l.last ? -1 : 0;
#endif
  return l;
}

// The other lanes are 0. `p` is where lane 0 would be, which need not be inside of any array.
static SECATEUR_INLINE vf load(const float* base, int64_t at, const Lanes& l) {
#if defined(__AVX512F__)
  return (vf)_mm512_maskz_loadu_ps(l.mask, (const void*)((uintptr_t)base + (uintptr_t)(at * 4)));
#elif defined(__AVX2__)
  return (vf)_mm256_maskload_ps((const float*)((uintptr_t)base + (uintptr_t)(at * 4)), l.mask);
#else
  if (l.first == 0 && l.last == kLanes) return load(base + at);
  vf x = {};
  for (int i = l.first; i < l.last; i++) x[i] = base[at + i];
  return x;
#endif
}

// The other lanes are 0.
static SECATEUR_INLINE vf only(vf x, const Lanes& l) {
#if defined(__AVX512F__)
  return (vf)_mm512_maskz_mov_ps(l.mask, (__m512)x);
#elif defined(__AVX2__)
  return (vf)_mm256_and_ps((__m256)x, _mm256_castsi256_ps(l.mask));
#else
  return (vf)((vi)x & l.mask);
#endif
}

// Adds x * weight in some lanes; multiply-adds can leave lanes out with AVX-512, and at no cost.
#if defined(__AVX512F__)
constexpr bool kMaskedAdds = true;
#else
constexpr bool kMaskedAdds = false;
#endif
static SECATEUR_INLINE vf add_only(vf sum, vf x, vf weight, const Lanes& l) {
#if defined(__AVX512F__)
  return (vf)_mm512_mask3_fmadd_ps((__m512)x, (__m512)weight, (__m512)sum, l.mask);
#else
  return sum + only(x, l) * weight;
#endif
}

// Of lanes that begin with the first one.
static SECATEUR_INLINE void store(float* p, vf x, const Lanes& l) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, l.mask, (__m512)x);
#elif defined(__AVX2__)
  // Not _mm256_maskstore_ps, which takes AMD's processors longer than all else here.
  if (l.last & 8) return store(p, x);
  __m128 part = _mm256_castps256_ps128((__m256)x);
  if (l.last & 4) {
    _mm_storeu_ps(p, part);
    part = _mm256_extractf128_ps((__m256)x, 1);
    p += 4;
  }
  if (l.last & 2) {
    _mm_storel_pi((__m64*)p, part);
    part = _mm_movehl_ps(part, part);
    p += 2;
  }
  if (l.last & 1) _mm_store_ss(p, part);
#else
  if (l.last == kLanes) return store(p, x);
  for (int i = 0; i < l.last; i++) p[i] = x[i];
#endif
}

static SECATEUR_INLINE vf gather(const float* p, vi index) {
#if defined(__AVX512F__)
  return (vf)_mm512_i32gather_ps((__m512i)index, p, 4);
#elif defined(__AVX2__)
  return (vf)_mm256_i32gather_ps(p, (__m256i)index, 4);
#else
  vf x;
  for (int i = 0; i < kLanes; i++) x[i] = p[index[i]];
  return x;
#endif
}

// Four numbers, again and again: in any vector they are the first lanes as well as the last.
static SECATEUR_INLINE vf repeat4(const float* p) {
#if defined(__AVX512F__)
  return (vf)_mm512_broadcast_f32x4(_mm_loadu_ps(p));
#elif defined(__AVX2__)
  return (vf)_mm256_broadcast_ps((const __m128*)p);
#else
  return load(p);
#endif
}

// Of a followed by b: every second number, from the first or from the second, and all from number D on.
#if SECATEUR_LANES == 16
static SECATEUR_INLINE vf even(vf a, vf b) {
  return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
}
static SECATEUR_INLINE vf odd(vf a, vf b) {
  return __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
}
template <int D>
static SECATEUR_INLINE vf slide(vf a, vf b) {
  return (vf)_mm512_alignr_epi32((__m512i)b, (__m512i)a, D);
}
#elif SECATEUR_LANES == 8
static SECATEUR_INLINE vf even(vf a, vf b) {
  return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
}
static SECATEUR_INLINE vf odd(vf a, vf b) {
  return __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
}
template <int D>
static SECATEUR_INLINE vf slide(vf a, vf b) {
  return __builtin_shufflevector(a, b, D, D + 1, D + 2, D + 3, D + 4, D + 5, D + 6, D + 7);
}
#else
static SECATEUR_INLINE vf even(vf a, vf b) { return __builtin_shufflevector(a, b, 0, 2, 4, 6); }
static SECATEUR_INLINE vf odd(vf a, vf b) { return __builtin_shufflevector(a, b, 1, 3, 5, 7); }
template <int D>
static SECATEUR_INLINE vf slide(vf a, vf b) {
  return __builtin_shufflevector(a, b, D, D + 1, D + 2, D + 3);
}
#endif

// Of two vectors in memory, every second number from the first on, and the others.
static SECATEUR_INLINE void load_halves(const float* p, vf& evens, vf& odds) {
#if SECATEUR_LANES == 8
  // Fours are loaded to where a shuffle within halves puts them in order: across halves it takes two instructions.
  const auto fours = [](const float* q) SECATEUR_LAMBDA_INLINE {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(q)), _mm_loadu_ps(q + 8), 1);
  };
  const __m256 a = fours(p), b = fours(p + 4);
  evens = (vf)_mm256_shuffle_ps(a, b, 0b10001000);
  odds = (vf)_mm256_shuffle_ps(a, b, 0b11011101);
#else
  const vf a = load_once(p), b = load_once(p + kLanes);
  evens = even(a, b);
  odds = odd(a, b);
#endif
}

// In pairs, pairs of pairs and so on: one after the other each would wait for the one before.
static SECATEUR_INLINE float sum(vf x) {
  float part[kLanes];
  store(part, x);
  SECATEUR_UNROLL
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++) part[i] += part[i + half];
  return part[0];
}

}  // namespace SECATEUR_ISA
}  // namespace secateur
