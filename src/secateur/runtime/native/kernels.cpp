// Compiled once for each instruction set, with its flags and its name in SECATEUR_ISA.
#include "k_depthwise.h"
#include "k_pairs.h"
#include "k_pick.h"
#include "k_transpose.h"

#define SECATEUR_TEXT2(x) #x
#define SECATEUR_TEXT(x) SECATEUR_TEXT2(x)

namespace secateur {
namespace SECATEUR_ISA {

static double peak(int64_t rounds) {
  vf x[12];
  vf factor = splat(0.5f);
  for (int i = 0; i < 12; i++) x[i] = splat((float)i);
  // Stops the compiler from computing all rounds in advance.
  __asm__ volatile("" : "+m"(factor));
  for (int64_t r = 0; r < rounds; r++)
    SECATEUR_UNROLL
    for (int i = 0; i < 12; i++) x[i] = x[i] * factor + factor;
  vf all = x[0];
  for (int i = 1; i < 12; i++) all += x[i];
  volatile float keep = sum(all);
  (void)keep;
  return 12.0 * kLanes * (double)rounds;
}

extern const Kernels kernels;
const Kernels kernels = {SECATEUR_TEXT(SECATEUR_ISA),
                         kLanes,
                         kMaxVectors,
                         kMaxPairVectors,
                         kMaxDenseVectors,
                         sparse<>,
                         sparse_pairs<>,
                         dense,
                         vector_product,
                         depthwise,
                         finish,
                         map,
                         binary,
                         pick,
                         deal,
                         transpose,
                         compress,
                         count_nonzero,
                         total,
                         peak};

}  // namespace SECATEUR_ISA
}  // namespace secateur
