// Arrays that are written from end to end right after they are made, which need not be set to 0 before.
#pragma once

#include <memory>
#include <vector>

#include "pages.h"

namespace secateur {

// Takes memory from some pages, or as usual.
template <class T>
struct UnsetAllocator {
  using value_type = T;
  using propagate_on_container_move_assignment = std::true_type;
  UnsetAllocator(std::shared_ptr<Pages> pages = nullptr) : pages(std::move(pages)) {}
  template <class U>
  UnsetAllocator(const UnsetAllocator<U>& other) : pages(other.pages) {}

  T* allocate(size_t n) {
    return pages ? static_cast<T*>(pages->take(n * sizeof(T))) : std::allocator<T>().allocate(n);
  }
  void deallocate(T* at, size_t n) noexcept {
    if (!pages) std::allocator<T>().deallocate(at, n);
  }
  template <class U>
  void construct(U* at) noexcept {
    ::new (static_cast<void*>(at)) U;
  }
  template <class U, class... Args>
  void construct(U* at, Args&&... args) {
    ::new (static_cast<void*>(at)) U(std::forward<Args>(args)...);
  }
  bool operator==(const UnsetAllocator& other) const { return pages == other.pages; }
  bool operator!=(const UnsetAllocator& other) const { return pages != other.pages; }

  std::shared_ptr<Pages> pages;
};
// resize() leaves new numbers as they are.
template <class T>
using Unset = std::vector<T, UnsetAllocator<T>>;

}  // namespace secateur
