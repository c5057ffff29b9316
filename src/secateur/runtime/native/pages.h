// Memory from the C library, aligned for any vector.
#pragma once

#include <cstddef>
#include <mutex>
#include <vector>

namespace secateur {

// Whatever was there before: to set it to 0 would touch all pages, and what is packed is written from end to end.
class Block {
 public:
  Block() = default;
  // Throws std::bad_alloc.
  explicit Block(size_t bytes);
  ~Block();
  Block(Block&& other) noexcept { *this = static_cast<Block&&>(other); }
  Block& operator=(Block&& other) noexcept;
  char* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  char* data_ = nullptr;
  size_t bytes_ = 0;
  void* allocated_ = nullptr;
};

// Unmaps whole pages of a mapped file; they are mapped again where somebody reads them.
void give_back_pages(const void* begin, size_t bytes);

// Gets the pages of memory that is about to be written, where the system can give many at once: one by one, as they
// are first written, they take twice as long. (Large pages would take less, but in a virtual machine whose host has
// none a single one may take 5 ms.)
void get_pages(void* begin, size_t bytes);

// Arrays that are freed together. Threads may take some at once.
class Pages {
 public:
  // Throws std::bad_alloc.
  void* take(size_t bytes);

 private:
  std::mutex mutex_;
  std::vector<Block> blocks_, large_;
  size_t used_ = 0;  // of the last one of `blocks_`
};

}  // namespace secateur
