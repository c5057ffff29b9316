#include "denormals.h"

namespace secateur {

#if defined(__x86_64__) || defined(__i386__)
// Flush results to zero, and operands.
static constexpr unsigned kFlush = 0x8040;
NoDenormals::NoDenormals() : before_(__builtin_ia32_stmxcsr()) {
  __builtin_ia32_ldmxcsr(static_cast<unsigned>(before_) | kFlush);
}
NoDenormals::~NoDenormals() { __builtin_ia32_ldmxcsr(static_cast<unsigned>(before_)); }
#elif defined(__aarch64__)
static constexpr uint64_t kFlush = uint64_t{1} << 24;
NoDenormals::NoDenormals() {
  asm volatile("mrs %0, fpcr" : "=r"(before_));
  asm volatile("msr fpcr, %0" : : "r"(before_ | kFlush));
}
NoDenormals::~NoDenormals() { asm volatile("msr fpcr, %0" : : "r"(before_)); }
#else
NoDenormals::NoDenormals() = default;
NoDenormals::~NoDenormals() = default;
#endif

}  // namespace secateur
