// Arrays that are written from end to end right after they are made, which need not be set to 0 before.
#pragma once

#include <memory>
#include <vector>

namespace secateur {

template <class T>
struct UnsetAllocator : std::allocator<T> {
  template <class U>
  struct rebind {
    using other = UnsetAllocator<U>;
  };
  template <class U>
  void construct(U* at) noexcept {
    ::new (static_cast<void*>(at)) U;
  }
  template <class U, class... Args>
  void construct(U* at, Args&&... args) {
    ::new (static_cast<void*>(at)) U(std::forward<Args>(args)...);
  }
};
// resize() leaves new numbers as they are.
template <class T>
using Unset = std::vector<T, UnsetAllocator<T>>;

}  // namespace secateur
