// Values: what operations read and write.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>

#include "kernels.h"

namespace secateur {

inline int64_t align(int64_t n) { return (n + kAlign - 1) / kAlign * kAlign; }

struct Shape {
  int32_t channels, height, width;
  int64_t pixels() const { return static_cast<int64_t>(height) * width; }
  int64_t size() const { return pixels() * channels; }
  // From one plane to the next. An odd number of cache lines spreads planes over the cache's sets.
  int64_t pitch() const {
    if (pixels() == 1) return 1;
    const int64_t lines = (pixels() + kAlign - 1) / kAlign;
    return (lines % 2 || lines < 8 ? lines : lines + 1) * kAlign;
  }
  int64_t image() const { return align(channels * pitch()); }
  bool operator==(const Shape& o) const {
    return channels == o.channels && height == o.height && width == o.width;
  }
};

enum class Kind { kInput, kOutput, kInner, kConstant };

// Floats, all 0 at first, aligned for any vector.
class Floats {
 public:
  Floats() = default;
  explicit Floats(int64_t count);
  float* get() const { return data_; }
  float& operator[](int64_t i) const { return data_[i]; }
  explicit operator bool() const { return data_; }

 private:
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  std::unique_ptr<void, Free> memory_;
  float* data_ = nullptr;
};

struct Value {
  Kind kind;
  Shape shape;
  Floats data;       // of constants
  int writer = -1;   // the operation
  int last_use = -1;
  int64_t offset = 0;  // in the arena, in floats
  int64_t pitch = 0;   // between channels
  // If only some rows are kept at a time, how many, and the first of those that are there now.
  int32_t window = 0, base = 0;
  int64_t size(int32_t batch) const {
    return window ? align(shape.channels * pitch) : shape.image() * batch;
  }
};

// A value of one image while a program runs: channel-major, or, outside, channels last.
struct View {
  float* data;
  Shape shape;
  int64_t pitch;  // between channels
  float* plane(int64_t c) const { return data + c * pitch; }
};

}  // namespace secateur
