// Operations on large images take turns: each computes some rows, from rows that the one before has just
// written and that are still in the cache, where whole images would not fit.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <numeric>

#include "program.h"

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

namespace secateur {

// Fewer rows at a time cost more than they save.
static constexpr int32_t kMinRows = 8;

// Of the second-level cache; tests set it, so that small images take turns as well.
static int64_t cache_bytes() {
  if (const char* given = std::getenv("SECATEUR_L2_BYTES")) return std::max(1LL, std::atoll(given));
#if defined(_SC_LEVEL2_CACHE_SIZE)
  const int64_t bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
  if (bytes > 0) return bytes;
#endif
  return 512 * 1024;
}

int32_t line_rows(int32_t width) { return kAlign / std::gcd(width, kAlign); }

static int64_t row_bytes(const Shape& s) { return int64_t{s.channels} * s.width * 4; }

void Program::plan_chains() {
  chains_.clear();
  const int64_t cache = cache_bytes();
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

// Calls turn(operation, first row, last row, rows done of each operation) for each turn of one image.
template <class F>
void Program::each_turn(const Chain& chain, int32_t threads, const F& turn) {
  const auto [begin, end, rows] = chain;
  std::vector<int32_t> done(end - begin);
  // Rows of a value that are there; all of those from before the chain.
  const auto there = [&, begin = begin](int32_t id) {
    const Value& v = value(id);
    const auto writer = static_cast<size_t>(v.writer);
    return v.writer < 0 || writer < begin ? v.shape.height : done[writer - begin];
  };
  // Until all are complete: the last one need not be the last to be.
  for (bool more = true; more;) {
    more = false;
    for (size_t i = begin; i < end; i++) {
      const Operation& o = *operations_[i];
      const Shape& s = value(o.out).shape;
      const int32_t mine = done[i - begin];
      int32_t last = s.height;
      if (i == begin)
        last = static_cast<int32_t>(std::min<int64_t>(last, mine + int64_t{rows} * threads));
      for (int32_t id : o.reads)
        if (there(id) < value(id).shape.height) last = std::min(last, o.rows_after(id, there(id)));
      // All but the last turn end with a whole line.
      const int32_t whole = line_rows(s.width);
      if (last < s.height) last = (i == begin ? last + whole - 1 : last) / whole * whole;
      last = std::min(last, s.height);
      more |= last < s.height;
      if (last <= mine) continue;
      turn(i, mine, last, done);
      done[i - begin] = last;
    }
  }
}

void Program::run_chain(const Run& run, const Chain& chain, double* seconds) {
  using Clock = std::chrono::steady_clock;
  const size_t begin = chain.begin;
  Clock::time_point before = seconds ? Clock::now() : Clock::time_point();
  const auto took = [&](size_t i) {
    if (!seconds) return;
    const Clock::time_point now = Clock::now();
    seconds[i] += std::chrono::duration<double>(now - before).count();
    before = now;
  };
  if (!chain.rows) {
    operations_[begin]->run(run);
    return took(begin);
  }
  for (int32_t image = 0; image < run.batch; image++) {
    for (size_t i = begin; i < chain.end; i++)
      values_[static_cast<size_t>(operations_[i]->out)].base = 0;
    each_turn(chain, run.pool.size(), [&](size_t i, int32_t mine, int32_t last, const auto& done) {
      make_room(chain, operations_[i]->out, done, last);
      operations_[i]->run_rows(run, image, mine, last);
      took(i);
    });
  }
}

// Values that only a chain's operations see are kept in part: rows that nothing needs any more make
// room for new ones, so that the same memory is used again while it is in the cache.
void Program::plan_windows(int32_t threads) {
  for (size_t i = 0; i < values_.size(); i++) {
    const auto id = static_cast<int32_t>(i);
    values_[i].window = values_[i].base = 0;
    set_pitch(id, values_[i].shape.pitch());
  }
  for (const Chain& chain : chains_) {
    if (!chain.rows) continue;
    std::vector<int32_t> most(chain.end - chain.begin);
    each_turn(chain, threads, [&](size_t i, int32_t, int32_t last, const auto& done) {
      int32_t& rows = most[i - chain.begin];
      rows = std::max(rows, last - first_needed(chain, operations_[i]->out, done));
    });
    for (size_t i = chain.begin; i < chain.end; i++) {
      const int32_t id = operations_[i]->out;
      Value& v = values_[static_cast<size_t>(id)];
      const int32_t rows = most[i - chain.begin];
      const bool inside = v.last_use > v.writer && static_cast<size_t>(v.last_use) < chain.end;
      if (!inside || rows >= v.shape.height) continue;
      v.window = rows;
      set_pitch(id, Shape{1, rows, v.shape.width}.pitch());
    }
  }
}

// The first row of a value that operations of a chain still read once they have done so many rows.
int32_t Program::first_needed(const Chain& chain, int32_t id, const std::vector<int32_t>& done) const {
  int32_t first = value(id).shape.height;
  for (size_t i = chain.begin; i < chain.end; i++)
    for (int32_t read : operations_[i]->reads)
      if (read == id) first = std::min(first, operations_[i]->first_row(id, done[i - chain.begin]));
  first = std::min(first, done[static_cast<size_t>(value(id).writer) - chain.begin]);
  const int32_t whole = line_rows(value(id).shape.width);
  return first / whole * whole;
}

// Before rows up to `last` are written: if they do not fit, the rows that are needed move to the front.
void Program::make_room(const Chain& chain, int32_t id, const std::vector<int32_t>& done, int32_t last) {
  Value& v = values_[static_cast<size_t>(id)];
  if (!v.window || last - v.base <= v.window) return;
  const int32_t first = first_needed(chain, id, done), end = done[static_cast<size_t>(v.writer) - chain.begin];
  const int64_t width = v.shape.width;
  float* to = arena_.get() + v.offset;
  for (int32_t c = 0; c < v.shape.channels; c++, to += v.pitch)
    std::copy(to + (first - v.base) * width, to + (end - v.base) * width, to);
  v.base = first;
}

void Program::set_pitch(int32_t id, int64_t pitch) {
  Value& v = values_[static_cast<size_t>(id)];
  if (v.pitch == pitch) return;
  v.pitch = pitch;
  for (const auto& o : operations_)
    if (std::find(o->reads.begin(), o->reads.end(), id) != o->reads.end()) o->set_pitch(id, pitch);
}

}  // namespace secateur
