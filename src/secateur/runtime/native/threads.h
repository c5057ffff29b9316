// A small pool: the caller and some helpers share the items of a loop. Each has a run of neighbours to
// itself, so that it finds in its cache what it wrote in the loop before, and then helps the others.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace secateur {

class Pool {
 public:
  ~Pool() { resize(1); }

  // Helpers for `threads` threads in all. Where the system gives fewer, fewer work.
  void resize(int threads);
  int size() const { return static_cast<int>(helpers_.size()) + 1; }

  // Calls f(item, thread) for each item in [0, count), thread in [0, size()). f must not throw.
  template <class F>
  void each(int64_t count, const F& f) {
    if (helpers_.empty() || count <= 1) {
      for (int64_t i = 0; i < count; i++) f(i, 0);
      return;
    }
    run(count, &f, [](const void* g, int64_t i, int t) { (*static_cast<const F*>(g))(i, t); });
  }

 private:
  using Call = void (*)(const void*, int64_t, int);

  void run(int64_t count, const void* f, Call call);
  void help(int thread);
  void work(int thread);

  std::vector<std::thread> helpers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<uint64_t> round_{0};
  struct alignas(64) Share {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };
  std::unique_ptr<Share[]> shares_;  // of each thread
  std::atomic<bool> open_{false};  // whether a loop has items left, perhaps
  std::atomic<int> inside_{0}, sleepers_{0};
  std::atomic<bool> stop_{false};
  const void* f_ = nullptr;
  Call call_ = nullptr;
};

}  // namespace secateur
