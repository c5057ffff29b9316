// Numbers that lie apart, brought together.
#pragma once

#include "kernels.h"
#include "vec.h"

namespace secateur {
namespace SECATEUR_ISA {

#if defined(__AVX512F__)
// For short strides all numbers are loaded, and those that are taken moved to their places. Returns how many are
// done, a multiple of a vector's.
template <int Stride>
static int64_t pick_short(const float* x, float* y, int64_t count) {
  // Number l of the result is in vector l * Stride / kLanes.
  vi place;
  __mmask16 from[Stride] = {};
  SECATEUR_UNROLL
  for (int l = 0; l < kLanes; l++) {
    place[l] = l * Stride % kLanes;
    from[l * Stride / kLanes] |= (__mmask16)(1 << l);
  }
  // The last vector ends with the last number that is taken.
  const Lanes end = lanes(0, (kLanes - 1) * Stride + 1 - (Stride - 1) * kLanes);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes, x += kLanes * Stride) {
    __m512 all = (__m512)load(x, (Stride - 1) * kLanes, end);
    all = _mm512_maskz_permutexvar_ps(from[Stride - 1], (__m512i)place, all);
    SECATEUR_UNROLL
    for (int v = 0; v < Stride - 1; v++)
      all = _mm512_mask_permutexvar_ps(all, from[v], (__m512i)place, (__m512)load(x + v * kLanes));
    store(y + i, (vf)all);
  }
  return i;
}
#endif

static void pick(const float* x, int64_t stride, float* y, int64_t count) {
  vi index;
  for (int i = 0; i < kLanes; i++) index[i] = (int32_t)(i * stride);
  int64_t i = 0;
  if (stride == 2) {
    // The last vector's second half ends one number before the next that is taken.
    for (; i + kLanes < count; i += kLanes) {
      vf evens, odds;
      load_halves(x + 2 * i, evens, odds);
      store(y + i, evens);
    }
  }
#if defined(__AVX512F__)
  switch (stride) {
    case 3: i = pick_short<3>(x, y, count); break;
    case 4: i = pick_short<4>(x, y, count); break;
    case 6: i = pick_short<6>(x, y, count); break;
    case 8: i = pick_short<8>(x, y, count); break;
  }
#endif
  if (stride < INT32_MAX / kLanes)
    for (; i + kLanes <= count; i += kLanes) store(y + i, gather(x + i * stride, index));
  for (; i < count; i++) y[i] = x[i * stride];
}

#if defined(__AVX512F__)
// Six streams: three of pairs, and in a vector of eight pairs, each stream of pairs has other lanes than in
// the two vectors beside it. So what three vectors have of a stream fits one, and the pairs are put in order as
// they are parted.
static int64_t deal6(const float* x, float* const* y, int64_t count) {
  __mmask8 from[3][3];  // [stream of pairs][vector]
  vi place[6];
  for (int pair = 0; pair < 3; pair++) {
    for (int v = 0; v < 3; v++) {
      from[pair][v] = 0;
      for (int lane = 0; lane < 8; lane++)
        if ((8 * v + lane) % 3 == pair) from[pair][v] |= (__mmask8)(1 << lane);
    }
    for (int l = 0; l < kLanes; l++) {
      // Numbers 8 to 15 come from the next three vectors.
      const int at = l / 8 * kLanes + (3 * (l % 8) + pair) % 8 * 2;
      place[2 * pair][l] = at;
      place[2 * pair + 1][l] = at + 1;
    }
  }
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes, x += 6 * kLanes) {
    // The image comes from the third-level cache or from memory; some turns ahead.
    SECATEUR_UNROLL
    for (int v = 0; v < 6; v++) __builtin_prefetch(x + 32 * kLanes + v * kLanes);
    __m512d in[6];
    SECATEUR_UNROLL
    for (int v = 0; v < 6; v++) in[v] = (__m512d)load(x + v * kLanes);
    SECATEUR_UNROLL
    for (int pair = 0; pair < 3; pair++) {
      __m512d half[2];
      SECATEUR_UNROLL
      for (int h = 0; h < 2; h++) {
        half[h] = _mm512_mask_blend_pd(from[pair][1], in[3 * h], in[3 * h + 1]);
        half[h] = _mm512_mask_blend_pd(from[pair][2], half[h], in[3 * h + 2]);
      }
      SECATEUR_UNROLL
      for (int s = 0; s < 2; s++)
        store(y[2 * pair + s] + i, (vf)_mm512_permutex2var_ps((__m512)half[0], (__m512i)place[2 * pair + s],
                                                              (__m512)half[1]));
    }
  }
  return i;
}
#endif

#if defined(__AVX2__) && !defined(__AVX512F__)
// Likewise, with four pairs a vector. Of two halves of a stream of pairs, the first numbers of all pairs are brought
// together, and then the second ones; each with those of the first half in lanes 0, 1, 4 and 5. What is left is to
// put them in order.
static int64_t deal6(const float* x, float* const* y, int64_t count) {
  // Pair i of a stream is pair 3 * i + stream of all, and stays in its lane.
  const auto place = [](int pair) {
    vi at;
    for (int i = 0; i < kLanes; i++) {
      const int lane = (3 * (i % 4) + pair) % 4;
      at[i] = lane / 2 * 4 + i / 4 * 2 + lane % 2;
    }
    return (__m256i)at;
  };
  const __m256i order[3] = {place(0), place(1), place(2)};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes, x += 6 * kLanes) {
    __m256d in[6];
    SECATEUR_UNROLL
    for (int v = 0; v < 6; v++) in[v] = (__m256d)load(x + v * kLanes);
    // Of three vectors, the lanes that hold a stream's pairs.
    __m256 half[3][2];
    SECATEUR_UNROLL
    for (int h = 0; h < 2; h++) {
      const __m256d a = in[3 * h], b = in[3 * h + 1], c = in[3 * h + 2];
      half[0][h] = (__m256)_mm256_blend_pd(_mm256_blend_pd(a, b, 0b0100), c, 0b0010);
      half[1][h] = (__m256)_mm256_blend_pd(_mm256_blend_pd(a, b, 0b1001), c, 0b0100);
      half[2][h] = (__m256)_mm256_blend_pd(_mm256_blend_pd(a, b, 0b0010), c, 0b1001);
    }
    SECATEUR_UNROLL
    for (int pair = 0; pair < 3; pair++) {
      const __m256 first = _mm256_shuffle_ps(half[pair][0], half[pair][1], 0b10001000);
      const __m256 second = _mm256_shuffle_ps(half[pair][0], half[pair][1], 0b11011101);
      store(y[2 * pair] + i, (vf)_mm256_permutevar8x32_ps(first, order[pair]));
      store(y[2 * pair + 1] + i, (vf)_mm256_permutevar8x32_ps(second, order[pair]));
    }
  }
  return i;
}
#endif

// y[s][i] = x[i * streams + s]
static void deal(const float* x, int64_t streams, float* const* y, int64_t count) {
  int64_t done = 0;
#if defined(__AVX2__)
  if (streams == 6) done = deal6(x, y, count);
#endif
  if (done == count) return;
  for (int64_t s = 0; s < streams; s++)
    pick(x + done * streams + s, streams, y[s] + done, count - done);
}

#if defined(__AVX2__) && !defined(__AVX512F__)
// The lanes that each mask has, the first ones first.
struct LanesOfMasks {
  uint8_t lanes[256][8] = {};
  constexpr LanesOfMasks() {
    for (int mask = 0; mask < 256; mask++)
      for (int lane = 0, n = 0; lane < 8; lane++)
        if (mask >> lane & 1) lanes[mask][n++] = (uint8_t)lane;
  }
};
static constexpr LanesOfMasks kLanesOfMasks;

static unsigned nonzeros(__m256 some) {
  return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(some, _mm256_setzero_ps(), _CMP_NEQ_UQ));
}

static int64_t compress_vector(const float* x, int64_t i, uint8_t found, int32_t* places, float* values) {
  const __m256i lane = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)kLanesOfMasks.lanes[found]));
  _mm256_storeu_si256((__m256i*)places, _mm256_add_epi32(_mm256_set1_epi32((int32_t)i), lane));
  _mm256_storeu_ps(values, _mm256_permutevar8x32_ps((__m256)load(x + i), lane));
  return __builtin_popcount(found);
}
#endif

// Weights come from a mapped file, whose pages lie anywhere: at the end of each one the processor no longer knows what
// will be read next. A page ahead; nothing happens where there is none.
static SECATEUR_INLINE void fetch_page(const float* x) { __builtin_prefetch(x + 1024); }

static int64_t compress(const float* x, int64_t count, int32_t* places, float* values) {
  int64_t n = 0, i = 0;
#if defined(__AVX512F__)
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (; i + kLanes <= count; i += kLanes) {
    fetch_page(x + i);
    const __m512 some = (__m512)load(x + i);
    const __mmask16 found = _mm512_cmp_ps_mask(some, _mm512_setzero_ps(), _CMP_NEQ_UQ);
    const __m512i place = _mm512_add_epi32(_mm512_set1_epi32((int32_t)i), lane);
    _mm512_storeu_si512(places + n, _mm512_maskz_compress_epi32(found, place));
    _mm512_storeu_ps(values + n, _mm512_maskz_compress_ps(found, some));
    n += __builtin_popcount(found);
  }
#elif defined(__AVX2__)
  for (; i + 64 <= count; i += 64) {
    for (int line = 0; line < 64; line += kAlign) fetch_page(x + i + line);
    uint64_t found = 0;
    SECATEUR_UNROLL
    for (int v = 0; v < 8; v++) found |= (uint64_t)nonzeros((__m256)load(x + i + v * kLanes)) << (v * kLanes);
    if (__builtin_popcountll(found) <= 16) {
      // One by one: to ask of each vector whether there is anything costs more, as the answer cannot be foreseen.
      for (; found; found &= found - 1, n++) {
        const int64_t place = i + __builtin_ctzll(found);
        places[n] = (int32_t)place;
        values[n] = x[place];
      }
    } else {
      for (int v = 0; v < 8; v++)
        n += compress_vector(x, i + v * kLanes, (uint8_t)(found >> (v * kLanes)), places + n, values + n);
    }
  }
  for (; i + kLanes <= count; i += kLanes)
    n += compress_vector(x, i, (uint8_t)nonzeros((__m256)load(x + i)), places + n, values + n);
#endif
  for (; i < count; i++) {
    places[n] = (int32_t)i;  // kept only if the next one is not written over it
    values[n] = x[i];
    n += x[i] != 0;
  }
  return n;
}

static int64_t count_nonzero(const float* x, int64_t count) {
  constexpr int64_t kSome = 1 << 14;  // 32 bits are enough for each sum, and more of them fit a vector
  constexpr int64_t kLines = 4 * kAlign;
  int64_t found = 0;
  uint32_t strange = 0;
  for (int64_t begin = 0; begin < count; begin += kSome) {
    const int64_t end = begin + kSome < count ? begin + kSome : count;
    uint32_t some = 0;
    const auto look = [&](int64_t at) {
      uint32_t bits;
      memcpy(&bits, x + at, sizeof bits);
      some += (bits & 0x7fffffffu) != 0;
      strange |= (bits & 0x7f800000u) == 0x7f800000u;
    };
    int64_t i = begin;
    for (; i + kLines <= end; i += kLines) {
      for (int64_t line = 0; line < kLines; line += kAlign) fetch_page(x + i + line);
      for (int64_t k = 0; k < kLines; k++) look(i + k);
    }
    for (; i < end; i++) look(i);
    found += some;
  }
  return strange ? -1 : found;
}

}  // namespace SECATEUR_ISA
}  // namespace secateur
