// Memory in large pages, where the system has them: to get as many small ones takes several times as long.
#pragma once

#include <cstddef>
#include <mutex>
#include <vector>

namespace secateur {

// All 0 at first, aligned for any vector.
class Block {
 public:
  Block() = default;
  // Throws std::bad_alloc.
  explicit Block(size_t bytes);
  ~Block() { release(); }
  Block(Block&& other) noexcept { *this = static_cast<Block&&>(other); }
  Block& operator=(Block&& other) noexcept;
  char* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  bool take_large(size_t bytes);
  void release();

  char* data_ = nullptr;
  size_t bytes_ = 0;
  void* small_ = nullptr;  // what the C library gave; null where it is of large pages
};

// Arrays that are freed together. Threads may take some at once.
class Pages {
 public:
  // Throws std::bad_alloc.
  void* take(size_t bytes);

 private:
  std::mutex mutex_;
  std::vector<Block> blocks_;
  size_t used_ = 0;  // of the last block
};

}  // namespace secateur
