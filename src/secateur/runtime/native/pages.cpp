#include "pages.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#if !defined(MADV_POPULATE_WRITE)
#define MADV_POPULATE_WRITE 23  // older systems refuse it
#endif
#else
#define MADV_POPULATE_WRITE 0
#define MADV_DONTNEED 0
#endif

namespace secateur {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kMost = SIZE_MAX / 4;
#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kLeast = 0;  // it sees what leaves an array only if each has a block of its own
#else
constexpr size_t kLeast = size_t{1} << 20;
#endif

// Blocks of kLeast that nobody has any more, of any program: whoever loads the next one finds their pages there, which
// the C library would have given back. 4 MiB at most are kept so. Without a lock, which a fork could leave locked.
constexpr int kSpares = 4;
std::atomic<void*> spares[kSpares];

void* take_spare() {
  for (std::atomic<void*>& spare : spares)
    if (void* const found = spare.exchange(nullptr)) return found;
  return nullptr;
}

bool keep_spare(void* block) {
  for (std::atomic<void*>& spare : spares) {
    void* none = nullptr;
    if (spare.compare_exchange_strong(none, block)) return true;
  }
  return false;
}

size_t round_up(size_t n) { return (n + kAlignment - 1) / kAlignment * kAlignment; }

bool is_usual(size_t bytes) { return kLeast && bytes == kLeast; }

}  // namespace

Block::Block(size_t bytes) {
  if (bytes > kMost) throw std::bad_alloc();
  if (is_usual(bytes)) allocated_ = take_spare();
  if (!allocated_) allocated_ = std::malloc(bytes + kAlignment);
  if (!allocated_) throw std::bad_alloc();
  data_ = reinterpret_cast<char*>(round_up(reinterpret_cast<uintptr_t>(allocated_)));
  bytes_ = bytes;
}

Block::~Block() {
  if (!allocated_ || (is_usual(bytes_) && keep_spare(allocated_))) return;
  std::free(allocated_);
}

Block& Block::operator=(Block&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(allocated_, other.allocated_);
  return *this;
}

// Of the pages that lie within an array, where there are many.
static void advise(const void* begin, size_t bytes, int advice) {
#if defined(__linux__)
  static const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t first = (reinterpret_cast<uintptr_t>(begin) + page - 1) / page * page;
  const uintptr_t last = (reinterpret_cast<uintptr_t>(begin) + bytes) / page * page;
  if (last >= first + 16 * page) madvise(reinterpret_cast<void*>(first), last - first, advice);
#else
  static_cast<void>(begin);
  static_cast<void>(bytes);
  static_cast<void>(advice);
#endif
}

void get_pages(void* begin, size_t bytes) { advise(begin, bytes, MADV_POPULATE_WRITE); }
void give_back_pages(const void* begin, size_t bytes) { advise(begin, bytes, MADV_DONTNEED); }

void* Pages::take(size_t bytes) {
  if (bytes > kMost) throw std::bad_alloc();
  bytes = round_up(bytes);
  std::lock_guard<std::mutex> lock(mutex_);
  if (bytes > kLeast) return large_.emplace_back(bytes).data();
  if (blocks_.empty() || blocks_.back().bytes() - used_ < bytes) {
    blocks_.emplace_back(kLeast);
    used_ = 0;
  }
  void* const taken = blocks_.back().data() + used_;
  used_ += bytes;
  return taken;
}

}  // namespace secateur
