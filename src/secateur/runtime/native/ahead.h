// Work that a thread of its own may do before anybody needs it.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

namespace secateur {

class Task {
 public:
  virtual ~Task() = default;
  // Does the work unless it is done. Where a thread is at it, helps it, or waits for it. Throws what the work
  // throws; then it is not done, and may be asked for again.
  void finish();

 protected:
  virtual void work() = 0;
  // Pieces that are left when `work` is done, and that threads may share.
  virtual int pieces() const { return 0; }
  virtual void piece(int) noexcept {}

 private:
  std::mutex mutex_;
  std::condition_variable all_;
  bool worked_ = false;
  int begun_ = 0, done_ = 0;  // pieces
};

// Does tasks in the order in which they come. Who needs one that its turn has not come to does it itself: nobody
// waits for the thread to begin, or needs one at all.
class Ahead {
 public:
  ~Ahead() { stop(); }
  // Where the system gives no thread or memory, or behind `stop`, it is left undone.
  void add(std::shared_ptr<Task> task) noexcept;
  // Waits for the task under way and leaves the others undone.
  void stop();

 private:
  void loop();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Task>> waiting_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace secateur
