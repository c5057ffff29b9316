#include "pages.h"

#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

// The address sanitizer sees what leaves an array only if each has a block of its own, from the C library.
#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__)
#define SECATEUR_LARGE_PAGES
#include <sys/mman.h>
#endif

namespace secateur {
namespace {

constexpr size_t kPage = size_t{1} << 21;
constexpr size_t kAlignment = 64;
constexpr size_t kMost = SIZE_MAX / 4;

size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

}  // namespace

Block::Block(size_t bytes) {
  if (bytes > kMost) throw std::bad_alloc();
  if (bytes >= kPage / 2 && take_large(round_up(bytes, kPage))) return;
  small_ = std::calloc(bytes + kAlignment, 1);  // pages of fresh zeros cost nothing until they are used
  if (!small_) throw std::bad_alloc();
  data_ = reinterpret_cast<char*>(round_up(reinterpret_cast<uintptr_t>(small_), kAlignment));
  bytes_ = bytes;
}

#if defined(SECATEUR_LARGE_PAGES)
bool Block::take_large(size_t bytes) {
  // Large pages begin at multiples of their size: one more is taken, and what is too much is given back.
  void* const all =
      mmap(nullptr, bytes + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (all == MAP_FAILED) return false;
  char* const begin = static_cast<char*>(all);
  const size_t before = round_up(reinterpret_cast<uintptr_t>(all), kPage) - reinterpret_cast<uintptr_t>(all);
  if (before) munmap(begin, before);
  munmap(begin + before + bytes, kPage - before);
  data_ = begin + before;
  bytes_ = bytes;
  madvise(data_, bytes_, MADV_HUGEPAGE);  // where the system does not, it only takes longer
  return true;
}
#else
bool Block::take_large(size_t) { return false; }
#endif

void Block::release() {
#if defined(SECATEUR_LARGE_PAGES)
  if (data_ && !small_) munmap(data_, bytes_);
#endif
  std::free(small_);
}

Block& Block::operator=(Block&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(small_, other.small_);
  return *this;
}

void* Pages::take(size_t bytes) {
#if defined(SECATEUR_LARGE_PAGES)
  constexpr size_t least = 2 * kPage;
#else
  constexpr size_t least = 0;
#endif
  if (bytes > kMost) throw std::bad_alloc();
  bytes = round_up(bytes, kAlignment);
  std::lock_guard<std::mutex> lock(mutex_);
  if (blocks_.empty() || blocks_.back().bytes() - used_ < bytes || !least) {
    // What is left of the last block is lost; most of it was never touched.
    blocks_.emplace_back(bytes < least ? least : bytes);
    used_ = 0;
  }
  void* const taken = blocks_.back().data() + used_;
  used_ += bytes;
  return taken;
}

}  // namespace secateur
