// Operations on large images take turns: each computes some rows, from rows that the one before has just
// written and that are still in the cache, where whole images would not fit.
#include <algorithm>
#include <chrono>

#include "program.h"

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

namespace secateur {

// Fewer rows at a time cost more than they save.
static constexpr int32_t kMinRows = 8;

static int64_t cache_bytes() {
#if defined(_SC_LEVEL2_CACHE_SIZE)
  const int64_t bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
  if (bytes > 0) return bytes;
#endif
  return 512 * 1024;
}

static int64_t row_bytes(const Shape& s) { return int64_t{s.channels} * s.width * 4; }

void Program::plan_chains() {
  chains_.clear();
  static const int64_t cache = cache_bytes();
  // Shared scratch memory is one operation's at a time: the first one's.
  const auto joins = [&](const Operation& o, bool first) {
    return o.by_rows() && value(o.out).shape.image() * 4 >= cache / 4 && (first || !o.scratch);
  };
  for (size_t i = 0; i < operations_.size();) {
    size_t end = i;
    double bytes = 0;  // for each row of the first output
    int32_t rows = 0;
    const double height = value(operations_[i]->out).shape.height;
    for (; end < operations_.size() && joins(*operations_[end], end == i); end++) {
      const Shape& s = value(operations_[end]->out).shape;
      bytes += static_cast<double>(row_bytes(s)) * s.height / height;
      const auto fit = static_cast<int32_t>(static_cast<double>(cache) / 2 / bytes);
      if (fit < kMinRows) break;
      rows = fit;
    }
    if (end < i + 2) {
      chains_.push_back({i, i + 1, 0});
      i++;
      continue;
    }
    chains_.push_back({i, end, rows});
    i = end;
  }
}

// Within a chain, everything lives from its first operation to its last.
Program::Life Program::life(const Value& v) const {
  const auto find = [&](int32_t operation) {
    return std::upper_bound(
               chains_.begin(), chains_.end(), operation,
               [](int32_t o, const Chain& c) { return static_cast<size_t>(o) < c.begin; }) -
           1;
  };
  return {find(v.writer)->begin, find(v.last_use)->end};
}

void Program::run_chain(const Run& run, size_t begin, size_t end, int32_t rows, double* seconds) const {
  using Clock = std::chrono::steady_clock;
  Clock::time_point before = seconds ? Clock::now() : Clock::time_point();
  const auto took = [&](size_t i) {
    if (!seconds) return;
    const Clock::time_point now = Clock::now();
    seconds[i] += std::chrono::duration<double>(now - before).count();
    before = now;
  };
  if (!rows) {
    operations_[begin]->run(run);
    return took(begin);
  }
  std::vector<int32_t> done(end - begin);
  // Rows of a value that are there; all of those from before the chain.
  const auto there = [&](int32_t id) {
    const Value& v = value(id);
    const auto writer = static_cast<size_t>(v.writer);
    return v.writer < 0 || writer < begin ? v.shape.height : done[writer - begin];
  };
  for (int32_t image = 0; image < run.batch; image++) {
    std::fill(done.begin(), done.end(), 0);
    while (done.back() < value(operations_[end - 1]->out).shape.height) {
      for (size_t i = begin; i < end; i++) {
        const Operation& o = *operations_[i];
        int32_t& mine = done[i - begin];
        int32_t last = value(o.out).shape.height;
        if (i == begin) last = std::min(last, mine + rows * run.pool.size());
        for (int32_t id : o.reads)
          if (there(id) < value(id).shape.height) last = std::min(last, o.rows_after(id, there(id)));
        if (last <= mine) continue;
        o.run_rows(run, image, mine, last);
        mine = last;
        took(i);
      }
    }
  }
}

}  // namespace secateur
