// Operations on large images take turns: each computes some rows, from rows that the one before has just
// written and that are still in the cache, where whole images would not fit. Values between them are kept
// in part: rows that nothing needs any more make room for new ones, in a ring, so that the same memory is
// written again while it is in the cache. With several threads, each does all of this for a band of rows.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include "caches.h"
#include "program.h"

namespace secateur {

// Fewer rows at a time cost more than they save.
static constexpr int32_t kMinRows = 8;

// Of an operation that nothing waits for, how far before the image its goal is.
static constexpr int32_t kFar = 1 << 30;

int32_t line_rows(int32_t width) { return kAlign / std::gcd(width, kAlign); }
static int32_t line_rows(const Shape& s) { return line_rows(s.width); }
// The nearest whole cache lines, also of negative rows.
static int32_t down(int32_t row, const Shape& s) { return row & -line_rows(s); }
static int32_t up(int32_t row, const Shape& s) { return down(row + line_rows(s) - 1, s); }

static int64_t row_bytes(const Shape& s) { return int64_t{s.channels} * s.width * 4; }

// Whether an operation of the chain writes a value. Vectors of rows, below, have a place for each operation.
bool Program::inside(const Chain& chain, int32_t id) const {
  const int32_t writer = value(id).writer;
  return writer >= static_cast<int32_t>(chain.begin) && writer < static_cast<int32_t>(chain.end);
}

// Only a chain's last value may be used after it: no other one has a place where all of it would be.
bool Program::closed(size_t begin, size_t end) const {
  for (size_t i = begin; i + 1 < end; i++)
    if (value(operations_[i]->out).last_use >= static_cast<int32_t>(end)) return false;
  return true;
}

// Chains of which what is kept fits the cache, and as many rows a turn as then do. All of a chain's last value
// is written and read again, so a chain ends where that is little.
void Program::plan_chains(int32_t threads) {
  chains_.clear();
  const int64_t cache = second_level_cache();
  const int64_t large = large_image();
  const auto fits = [&](const Chain& c) { return kept_bytes(c) <= cache / 4 * 3; };
  for (size_t i = 0; i < operations_.size();) {
    Chain chain{i, i + 1, 0, 1};
    const double height = value(operations_[i]->out).shape.height;
    for (size_t end = i; end < operations_.size() && joins(i, end, large); end++) {
      const Shape& last = value(operations_[end]->out).shape;
      const int32_t lines = line_rows(last);
      const auto least = static_cast<int32_t>(std::ceil(kMinRows * last.height / height));
      Chain longer{i, end + 1, up(std::max(1, least), last), 1};
      if (end > i && !fits(longer)) break;
      longer.bands = std::clamp(last.height / std::max(lines, kMinRows), 1, threads);
      const bool larger = last.image() > value(operations_[chain.end - 1]->out).shape.image();
      // Too few bands would leave threads without work.
      if (end > i && closed(i, end + 1) && 2 * longer.bands > threads && !larger) chain = longer;
    }
    if (chain.rows) {
      const Shape& last = value(operations_[chain.end - 1]->out).shape;
      const int32_t least = chain.rows, lines = line_rows(last);
      for (int32_t low = 0, high = (last.height - least) / lines + 1; low < high;) {
        const int32_t middle = low + (high - low) / 2;
        Chain more = chain;
        more.rows = least + middle * lines;
        if (fits(more)) chain = more, low = middle + 1;
        else high = middle;
      }
    }
    chains_.push_back(chain);
    i = chain.end;
  }
}

int32_t Program::band_edge(const Chain& chain, int32_t band) const {
  const Shape& last = value(operations_[chain.end - 1]->out).shape;
  if (band == chain.bands) return last.height;
  return down(static_cast<int32_t>(int64_t{last.height} * band / chain.bands) + line_rows(last) / 2, last);
}

// Of a chain's rings and of what a turn adds to its last value.
int64_t Program::kept_bytes(Chain chain) const {
  chain.bands = 1;
  const std::vector<int32_t> rings = ring_rows(chain);
  int64_t bytes = 0;
  for (size_t i = 0; i < rings.size(); i++)
    bytes += rings[i] * row_bytes(value(operations_[chain.begin + i]->out).shape);
  return bytes;
}

// Whether an operation can be in a chain that begins with operation `first`.
bool Program::joins(size_t first, size_t i, int64_t large) const {
  const Operation& o = *operations_[i];
  const auto is_large = [&](int32_t id) { return value(id).shape.image() * 4 >= large; };
  const auto read = [&](int32_t id) {
    return value(id).writer >= static_cast<int32_t>(first) && is_large(id);
  };
  return o.by_rows() && (is_large(o.out) || std::any_of(o.reads.begin(), o.reads.end(), read));
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

// How far each operation must come so that the last one has done the rows before `rows`. They may lie before
// the image: then the others have not come as far as the image's first row needs.
void Program::set_goals(const Chain& chain, int32_t rows, std::vector<int32_t>& goals) const {
  std::fill(goals.begin(), goals.end(), -kFar);
  goals.back() = rows;
  for (size_t i = chain.end; i-- > chain.begin;) {
    const int32_t goal = goals[i - chain.begin];
    if (goal == -kFar) continue;
    for (int32_t id : operations_[i]->reads) {
      if (!inside(chain, id)) continue;
      const Shape& s = value(id).shape;
      int32_t& its = goals[static_cast<size_t>(value(id).writer) - chain.begin];
      its = std::max(its, std::min(s.height, up(operations_[i]->last_row(id, goal), s)));
    }
  }
}

// Lowers the first rows that are needed of what an operation reads from row `row` of its output on.
void Program::need_from(const Chain& chain, size_t i, int32_t row, std::vector<int32_t>& needs) const {
  for (int32_t id : operations_[i]->reads) {
    if (!inside(chain, id)) continue;
    int32_t& its = needs[static_cast<size_t>(value(id).writer) - chain.begin];
    its = std::min(its, down(operations_[i]->first_row(id, row), value(id).shape));
  }
}

// The first row of the output of each operation that is still needed when they have done so many rows.
void Program::set_needs(const Chain& chain, const std::vector<int32_t>& done,
                        std::vector<int32_t>& needs) const {
  needs = done;
  for (size_t i = chain.begin; i < chain.end; i++) need_from(chain, i, done[i - chain.begin], needs);
}

// Calls turn(operation, first row, last row, needs before it) for each turn of a band of one image.
template <class F>
void Program::each_turn(const Chain& chain, int32_t band, const F& turn) const {
  std::vector<int32_t> done(chain.end - chain.begin), goals(done), needs(done);
  // They begin with the first row that the band needs.
  const int32_t begin = band_edge(chain, band), end = band_edge(chain, band + 1);
  for (size_t i = 0; i < done.size(); i++) done[i] = value(operations_[chain.begin + i]->out).shape.height;
  done.back() = begin;
  for (size_t i = chain.end; i-- > chain.begin;) need_from(chain, i, done[i - chain.begin], done);
  // The first turns bring the others as far as the last one's first rows need.
  int32_t rows = begin;
  const auto ahead = [&] {
    set_goals(chain, rows, goals);
    for (size_t i = 0; i < done.size(); i++)
      if (goals[i] > done[i]) return true;
    return false;
  };
  while (ahead()) rows -= chain.rows;
  while (rows < end) {
    rows = std::min(end, rows + chain.rows);
    set_goals(chain, rows, goals);
    set_needs(chain, done, needs);
    for (size_t i = 0; i < done.size(); i++) {
      if (goals[i] <= done[i]) continue;
      turn(chain.begin + i, done[i], goals[i], needs[i]);
      done[i] = goals[i];
    }
  }
}

// How many rows of each value are needed at a time.
std::vector<int32_t> Program::ring_rows(const Chain& chain) const {
  std::vector<int32_t> rings(chain.end - chain.begin, 1);
  for (int32_t band = 0; band < chain.bands; band++)
    each_turn(chain, band, [&](size_t i, int32_t, int32_t goal, int32_t needed) {
      int32_t& rows = rings[i - chain.begin];
      rows = std::max(rows, up(goal, value(operations_[i]->out).shape) - needed);
    });
  for (size_t i = chain.begin; i < chain.end; i++)
    rings[i - chain.begin] = up(rings[i - chain.begin], value(operations_[i]->out).shape);
  return rings;
}

// Rows of a value that only its chain sees are kept in a ring.
void Program::plan_rings() {
  for (size_t i = 0; i < values_.size(); i++) {
    values_[i].ring = 0;
    set_pitch(static_cast<int32_t>(i), values_[i].shape.pitch());
  }
  for (const Chain& chain : chains_) {
    if (!chain.rows) continue;
    const std::vector<int32_t> rings = ring_rows(chain);
    for (size_t i = chain.begin; i + 1 < chain.end; i++) {
      const int32_t id = operations_[i]->out;
      Value& v = values_[static_cast<size_t>(id)];
      v.ring = rings[i - chain.begin];
      v.copies = chain.bands;
      set_pitch(id, Shape{1, v.ring, v.shape.width}.pitch());
    }
  }
}

void Program::set_pitch(int32_t id, int64_t pitch) {
  Value& v = values_[static_cast<size_t>(id)];
  if (v.pitch == pitch) return;
  v.pitch = pitch;
  for (const auto& o : operations_)
    if (std::find(o->reads.begin(), o->reads.end(), id) != o->reads.end()) o->set_pitch(id, pitch);
}

// Some rows of one operation, in pieces within which no ring begins again, except where the operation
// itself knows how to go on.
void Program::run_piece(Run& run, size_t i, int32_t image, int32_t begin, int32_t end) const {
  const Operation& o = *operations_[i];
  run.start_ring(o.out, end);
  while (begin < end) {
    int32_t stop = end;
    const auto place = [&](int32_t id, int32_t row, bool whole) {
      const Value& v = value(id);
      if (!v.ring) return;
      const int32_t base = run.set_base(id, row);
      if (whole) stop = std::min(stop, base + v.ring);
    };
    for (int32_t id : o.reads) place(id, o.first_row(id, begin), !o.goes_on(id));
    place(o.out, begin, true);
    o.run_rows(run, image, begin, stop);
    begin = stop;
  }
}

void Program::run_chain(const Run& run, const Chain& chain, double* seconds) const {
  using Clock = std::chrono::steady_clock;
  // Adds the time of `work` to `sum`, if there is one.
  const auto time = [](double* sum, const auto& work) {
    if (!sum) return work();
    const Clock::time_point before = Clock::now();
    work();
    *sum += std::chrono::duration<double>(Clock::now() - before).count();
  };
  const size_t begin = chain.begin, count = chain.end - begin;
  double* const first = seconds ? seconds + begin : nullptr;
  if (!chain.rows) return time(first, [&] { operations_[begin]->run(run); });
  // Bands run at the same time, and what they take is the mean of theirs.
  std::vector<std::vector<double>> times(static_cast<size_t>(seconds ? chain.bands : 0),
                                         std::vector<double>(count));
  for (int32_t image = 0; image < run.batch; image++) {
    run.pool.each(chain.bands, [&](int64_t band, int) {
      Run mine = run.of_band(static_cast<int32_t>(band));
      each_turn(chain, static_cast<int32_t>(band), [&](size_t i, int32_t done, int32_t goal, int32_t) {
        time(seconds ? &times[static_cast<size_t>(band)][i - begin] : nullptr,
             [&] { run_piece(mine, i, image, done, goal); });
      });
    });
  }
  for (const auto& its : times)
    for (size_t i = 0; i < count; i++) first[i] += its[i] / chain.bands;
}

}  // namespace secateur
