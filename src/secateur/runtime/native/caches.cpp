#include "caches.h"

#include <algorithm>
#include <cstdlib>

#include "isa.h"

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

namespace secateur {

// Some systems know the question and have no answer.
[[maybe_unused]] static int64_t known(int64_t bytes, int64_t otherwise) { return bytes > 0 ? bytes : otherwise; }

int64_t first_level_cache() {
  constexpr int64_t usual = 32 * 1024;
#if defined(_SC_LEVEL1_DCACHE_SIZE)
  return known(sysconf(_SC_LEVEL1_DCACHE_SIZE), usual);
#else
  return usual;
#endif
}

int64_t second_level_cache() {
  constexpr int64_t usual = 512 * 1024;
  if (const char* given = std::getenv("SECATEUR_L2_BYTES")) return std::max(1LL, std::atoll(given));
#if defined(_SC_LEVEL2_CACHE_SIZE)
  return known(sysconf(_SC_LEVEL2_CACHE_SIZE), usual);
#else
  return usual;
#endif
}

int64_t large_image() {
  const int64_t cache = second_level_cache();
  // AMD's third-level cache is nearly as fast as the second: MobileNetV2 loses 4 % by turns on images of 0.3 to 0.6 MB,
  // whether the second level has 512 KB or 1 MB.
  return is_amd() ? std::min<int64_t>(2 * cache, 1 << 20) : cache / 4;
}

}  // namespace secateur
