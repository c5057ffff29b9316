// Values: what operations read and write.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels.h"
#include "pages.h"

namespace secateur {

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t align(int64_t n) { return ceil_div(n, kAlign) * kAlign; }

struct Shape {
  int32_t channels, height, width;
  int64_t pixels() const { return static_cast<int64_t>(height) * width; }
  int64_t size() const { return pixels() * channels; }
  // From one plane to the next. An odd number of cache lines spreads planes over the cache's sets.
  int64_t pitch() const {
    if (pixels() == 1) return 1;
    const int64_t lines = ceil_div(pixels(), kAlign);
    return (lines % 2 || lines < 8 ? lines : lines + 1) * kAlign;
  }
  int64_t image() const { return align(channels * pitch()); }
  bool operator==(const Shape& o) const {
    return channels == o.channels && height == o.height && width == o.width;
  }
};

enum class Kind { kInput, kOutput, kInner, kConstant };

// Floats, not set to anything at first, aligned for any vector.
class Floats {
 public:
  Floats() = default;
  explicit Floats(int64_t count) : block_(static_cast<size_t>(std::max<int64_t>(count, 1)) * 4) {}
  float* get() const { return reinterpret_cast<float*>(block_.data()); }
  float& operator[](int64_t i) const { return get()[i]; }
  explicit operator bool() const { return block_.data(); }

 private:
  Block block_;
};

struct Value {
  Kind kind;
  Shape shape;
  Floats data;       // of constants
  int writer = -1;   // the operation
  int last_use = -1;
  int64_t offset = 0;  // in the arena, in floats
  int64_t pitch = 0;   // between channels
  // Rows that are kept at a time, in a ring, of which each band of the image has a copy; 0: all are kept.
  int32_t ring = 0, copies = 1;
  // From one copy to the next.
  int64_t copy() const { return align(shape.channels * pitch) + 2 * kMargin; }
  int64_t size(int32_t batch) const { return ring ? copy() * copies : shape.image() * batch; }
};

// A value of one image while a program runs: channel-major, or, outside, channels last.
struct View {
  float* data;
  Shape shape;
  int64_t pitch;  // between channels
  // Rows from `turn` on lie so many floats before where they would be: a ring begins again.
  int32_t turn = INT32_MAX;
  int64_t back = 0;
  float* plane(int64_t c) const { return data + c * pitch; }
};

}  // namespace secateur
