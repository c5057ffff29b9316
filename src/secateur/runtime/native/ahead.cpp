#include "ahead.h"

#include <exception>

namespace secateur {

void Task::finish() {
  std::unique_lock<std::mutex> lock(mutex_);
  if (!worked_) work();
  worked_ = true;
  const int count = pieces();
  while (begun_ < count) {
    const int mine = begun_++;
    lock.unlock();
    piece(mine);
    lock.lock();
    if (++done_ == count) all_.notify_all();
  }
  all_.wait(lock, [&] { return done_ == count; });
}

void Ahead::stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  if (!thread_.joinable()) return;
  wake_.notify_one();
  thread_.join();
}

void Ahead::add(std::shared_ptr<Task> task) noexcept {
  try {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (stop_) return;
      waiting_.push_back(std::move(task));
    }
    if (!thread_.joinable()) thread_ = std::thread(&Ahead::loop, this);
    wake_.notify_one();
  } catch (const std::exception&) {  // std::system_error, std::bad_alloc
  }
}

void Ahead::loop() {
  for (;;) {
    std::unique_lock<std::mutex> lock(mutex_);
    wake_.wait(lock, [&] { return stop_ || !waiting_.empty(); });
    if (stop_) return;
    const std::shared_ptr<Task> task = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    try {
      task->finish();
    } catch (const std::exception&) {  // who needs it will do it again, and learn what went wrong
    }
  }
}

}  // namespace secateur
