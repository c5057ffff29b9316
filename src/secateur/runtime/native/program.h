// A program: values, the operations on them, and the memory they share.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "ahead.h"
#include "threads.h"
#include "value.h"

namespace secateur {

class Program;

// So many rows of an image are whole cache lines: pieces of such rows begin and end with a line.
int32_t line_rows(int32_t width);

// What an operation sees while it runs.
class Run {
 public:
  Run(const Program& program, Pool& pool, const float* const* inputs, float* const* outputs,
      float* scratch, int64_t thread_scratch);
  const Kernels& kernels;
  Pool& pool;
  const int32_t batch;
  View view(int32_t id, int32_t image) const;
  // For one of the bands that an image is cut into, which a single thread does.
  Run of_band(int32_t band) const;
  // Rounds of a value's ring begin where the first turn ends: few other turns go on into the next round.
  void start_ring(int32_t id, int32_t row);
  // From now on the ring is in the round that has this row. Returns that round's first row.
  int32_t set_base(int32_t id, int32_t row);
  // Shared by all threads, and one thread's own, as large as the operation asked for.
  float* scratch() const { return scratch_; }
  float* scratch_of(int thread) const { return own_ + thread * thread_scratch_; }

 private:
  const Program& program_;
  const float* const* inputs_;
  float* const* outputs_;
  float* scratch_;
  float* own_;
  int64_t thread_scratch_;
  int32_t band_ = 0;
  struct Round {
    int32_t start = -1, base = 0;
  };
  std::vector<Round> rounds_;  // of each value
};

class Operation {
 public:
  virtual ~Operation() = default;
  virtual void run(const Run& run) const = 0;
  // Operations that can go row by row say so, and compute rows [begin, end) of one image. Of a value that they
  // read these need rows [first_row(begin), last_row(end)).
  virtual bool by_rows() const { return false; }
  virtual int32_t first_row(int32_t /*value*/, int32_t begin) const { return begin; }
  virtual int32_t last_row(int32_t /*value*/, int32_t end) const { return end; }
  // Whether they look for that value's View::turn.
  virtual bool goes_on(int32_t /*value*/) const { return false; }
  // Whether it will be run in turns, with run_rows, or all at once.
  virtual void set_turns(bool) {}
  // The channels of a value that it reads lie `pitch` apart from now on.
  virtual void set_pitch(int32_t /*value*/, int64_t /*pitch*/) {}
  virtual void run_rows(const Run&, int32_t /*image*/, int32_t /*begin*/, int32_t /*end*/) const {}
  virtual int64_t weight_bytes() const { return 0; }
  // What is left to do until it can run, or be asked for its weights' size, its gate or its pitch.
  virtual std::shared_ptr<Task> packing() const { return nullptr; }
  // A product of an image and a gate, one number for each channel, says so.
  virtual bool is_gated(int32_t* /*image*/, int32_t* /*gate*/) const { return false; }
  // An operation that can read image and gate instead of `product` does from now on, if that is less work.
  virtual bool take_gate(int32_t /*product*/, int32_t /*image*/, int32_t /*gate*/) { return false; }
  std::string text;
  int64_t multiply_adds = 0;
  std::vector<int32_t> reads;
  int32_t out = -1;
  int64_t scratch = 0, thread_scratch = 0;  // floats
};

class Program {
 public:
  explicit Program(const Kernels& kernels) : kernels(kernels) {}
  const Kernels& kernels;

  int32_t add_value(Kind kind, Shape shape, const float* data, int64_t count);
  // Throws std::invalid_argument unless there is such a value that an operation may read, or write.
  const Value& readable(int32_t id, const char* name, bool input = false) const;
  const Value& writable(int32_t id, const char* name = "out", bool output = false) const;
  const Value& value(int32_t id) const { return values_[static_cast<size_t>(id)]; }
  void add(std::unique_ptr<Operation> operation);
  // For weights of its operations.
  const std::shared_ptr<Pages>& pages() { return pages_; }

  // Has that thread pack weights instead of one of its own.
  void pack_in(std::shared_ptr<Ahead> thread) { ahead_ = std::move(thread); }
  // Does what is left of packing weights.
  void pack();
  void finalize(int32_t batch);
  void run(const float* const* inputs, float* const* outputs, int32_t threads, double* seconds);

  const std::vector<std::unique_ptr<Operation>>& operations() const { return operations_; }
  int64_t weight_bytes() const;
  int64_t arena_bytes() const;
  int32_t batch() const { return batch_; }

 private:
  friend class Run;
  // Operations [begin, end) take turns, for `rows` rows of the last one's output at a time, in bands of the
  // image; 0: they don't.
  struct Chain {
    size_t begin, end;
    int32_t rows, bands;
  };
  int64_t plan(int32_t batch, std::vector<int64_t>& offsets) const;
  void plan_chains(int32_t threads);
  bool inside(const Chain& chain, int32_t id) const;
  bool joins(size_t first, size_t i, int64_t large) const;
  bool closed(size_t begin, size_t end) const;
  int32_t band_edge(const Chain& chain, int32_t band) const;
  int64_t kept_bytes(Chain chain) const;
  std::vector<int32_t> ring_rows(const Chain& chain) const;
  void set_goals(const Chain& chain, int32_t rows, std::vector<int32_t>& goals) const;
  void need_from(const Chain& chain, size_t operation, int32_t row, std::vector<int32_t>& needs) const;
  void set_needs(const Chain& chain, const std::vector<int32_t>& done, std::vector<int32_t>& needs) const;
  template <class F>
  void each_turn(const Chain& chain, int32_t band, const F& turn) const;
  void plan_rings();
  void set_pitch(int32_t id, int64_t pitch);
  void run_piece(Run& run, size_t operation, int32_t image, int32_t begin, int32_t end) const;
  void run_chain(const Run& run, const Chain& chain, double* seconds) const;
  void place(int32_t batch, int32_t threads);
  void take_gates();

  std::shared_ptr<Pages> pages_ = std::make_shared<Pages>();  // of packed weights
  std::vector<Value> values_;
  std::vector<int32_t> inputs_, outputs_;
  std::vector<int32_t> place_;  // of inputs and outputs, in the caller's lists
  std::vector<std::unique_ptr<Operation>> operations_;
  std::vector<Chain> chains_;
  struct Life {
    size_t begin, end;
  };
  Life life(const Value& v) const;
  int32_t batch_ = 0, threads_ = 0;
  Floats arena_;
  bool is_touched_ = false;
  int64_t arena_size_ = 0, scratch_ = 0, thread_scratch_ = 0;
  Floats scratch_memory_;
  int64_t scratch_size_ = 0;
  Pool pool_;
  std::mutex running_;
  std::shared_ptr<Ahead> ahead_;  // that packs weights
};

}  // namespace secateur

struct secateur_program : secateur::Program {
  using Program::Program;
};
