#include "threads.h"

#include <system_error>

#include "denormals.h"

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
    stop_ = true;  // before the round that tells of it
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
  shares_ = std::make_unique<Share[]>(static_cast<size_t>(size()));
}

void Pool::run(int64_t count, const void* f, Call call) {
  for (int t = 0; t < size(); t++) {
    shares_[t].next.store(count * t / size(), std::memory_order_relaxed);
    shares_[t].end = count * (t + 1) / size();
  }
  f_ = f;
  call_ = call;
  open_.store(true);
  // A helper is either awake, and sees the new round, or has said that it sleeps: both are in one order.
  round_.fetch_add(1);
  if (sleepers_.load() != 0) {
    std::lock_guard<std::mutex> lock(mutex_);
    wake_.notify_all();
  }
  work(0);
  // Helpers that come too late are not waited for: one that says it is inside finds the loop closed, or is
  // seen here.
  open_.store(false);
  for (int i = 0; inside_.load() != 0; i++)
    i < kSpins ? pause() : std::this_thread::yield();
}

void Pool::work(int thread) {
  for (int k = 0; k < size(); k++) {
    Share& share = shares_[(thread + k) % size()];
    for (int64_t i; (i = share.next.fetch_add(1, std::memory_order_relaxed)) < share.end;)
      call_(f_, i, thread);
  }
}

void Pool::help(int thread) {
  const NoDenormals none;
  uint64_t seen = 0;
  for (;;) {
    for (int i = 0; i < kSpins && round_.load(std::memory_order_acquire) == seen; i++) pause();
    if (round_.load(std::memory_order_acquire) == seen) {
      std::unique_lock<std::mutex> lock(mutex_);
      sleepers_.fetch_add(1);
      wake_.wait(lock, [&] { return round_.load() != seen; });
      sleepers_.fetch_sub(1);
    }
    seen = round_.load(std::memory_order_acquire);
    if (stop_) return;
    inside_.fetch_add(1);
    if (open_.load()) work(thread);
    inside_.fetch_sub(1);
  }
}

}  // namespace secateur
