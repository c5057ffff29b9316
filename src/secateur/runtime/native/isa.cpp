#include "isa.h"

#include <cstdlib>
#include <stdexcept>
#include <vector>

namespace secateur {

#if defined(SECATEUR_X86)
namespace avx512 {
extern const Kernels kernels;
}
namespace avx2 {
extern const Kernels kernels;
}
#endif
#if defined(SECATEUR_NEON)
namespace neon {
extern const Kernels kernels;
}
#endif
namespace portable {
extern const Kernels kernels;
}

static std::vector<const Kernels*> find_kernels() {
  std::vector<const Kernels*> found;
#if defined(SECATEUR_X86)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
    found.push_back(&avx512::kernels);
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    found.push_back(&avx2::kernels);
#endif
#if defined(SECATEUR_NEON)
  found.push_back(&neon::kernels);  // every aarch64 processor has it
#endif
  found.push_back(&portable::kernels);
  return found;
}

static const std::vector<const Kernels*>& all_kernels() {
  static const std::vector<const Kernels*> found = find_kernels();
  return found;
}

const Kernels& best_kernels() { return *all_kernels().front(); }

const std::string& kernel_names() {
  static const std::string names = [] {
    std::string text;
    for (const Kernels* k : all_kernels()) text += (text.empty() ? "" : ",") + std::string(k->name);
    return text;
  }();
  return names;
}

bool is_amd() {
#if defined(SECATEUR_X86)
  __builtin_cpu_init();
  return __builtin_cpu_is("amd");
#else
  return false;
#endif
}

const Kernels& choose_kernels(const char* name) {
  const bool given = name && *name;
  if (!given) name = std::getenv("SECATEUR_ISA");
  if (!name || !*name) return best_kernels();
  for (const Kernels* k : all_kernels())
    if (std::string(name) == k->name) return *k;
  throw std::invalid_argument(
      std::string("This processor, or this build, does not have the instruction set asked for") +
      (given ? "" : " by the environment variable SECATEUR_ISA") + "; it has " + kernel_names() +
      ". Received: isa=" + name);
}

}  // namespace secateur
