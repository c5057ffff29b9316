#include "threads.h"

#include <system_error>

namespace secateur {

// How often a thread looks for work before it sleeps, or gives way: some tens of microseconds, longer
// than the gap between two operations.
static constexpr int kSpins = 2000;

static inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

void Pool::resize(int threads) {
  if (threads == size()) return;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
    round_++;
  }
  wake_.notify_all();
  for (std::thread& helper : helpers_) helper.join();
  helpers_.clear();
  stop_ = false;
  round_ = 0;
  for (int t = 1; t < threads; t++) {
    try {
      helpers_.emplace_back(&Pool::help, this, t);
    } catch (const std::system_error&) {
      break;
    }
  }
}

void Pool::run(int64_t count, const void* f, Call call) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    count_ = count;
    f_ = f;
    call_ = call;
    next_ = 0;
    busy_ = static_cast<int>(helpers_.size());
    round_++;
  }
  wake_.notify_all();
  work(0);
  for (int i = 0; busy_.load(std::memory_order_acquire) != 0; i++)
    i < kSpins ? pause() : std::this_thread::yield();
}

void Pool::work(int thread) {
  for (int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < count_;)
    call_(f_, i, thread);
}

void Pool::help(int thread) {
  uint64_t seen = 0;
  for (;;) {
    for (int i = 0; i < kSpins && round_.load(std::memory_order_acquire) == seen; i++) pause();
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return round_.load() != seen; });
      seen = round_.load();
      if (stop_) return;
    }
    work(thread);
    busy_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace secateur
