#include "program.h"

#include <algorithm>

#include "denormals.h"
#include "refuse.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace secateur {

// Offsets within an image fit 32 bits, with room for what kernels add to them.
static constexpr int64_t kMaxImage = int64_t{1} << 29;
static constexpr int64_t kMaxArena = int64_t{1} << 36;

// The address sanitizer sees what leaves a value only if values lie apart, each in a place of its own.
#if defined(__SANITIZE_ADDRESS__)
static constexpr int64_t kGap = 16 * kAlign;
#else
static constexpr int64_t kGap = 0;
#endif

int32_t Program::add_value(Kind kind, Shape s, const float* data, int64_t count) {
  if (batch_) refuse("A program cannot grow once it is finalized");
  if (s.channels < 1 || s.height < 1 || s.width < 1 || s.pixels() > kMaxImage ||
      s.image() > kMaxImage)
    refuse("A value needs at least 1 and at most 2^29 numbers an image", "channels", s.channels,
           "height", s.height, "width", s.width);
  if (values_.size() >= (size_t{1} << 24)) refuse("There are too many values");
  Value v;
  v.kind = kind;
  v.shape = s;
  v.pitch = s.pitch();
  if (kind == Kind::kConstant) {
    if (!data || count != s.size())
      refuse("A constant needs channels * height * width numbers", "expected", s.size(), "count",
             data ? count : 0);
    const int64_t size = s.image() + 2 * kMargin;
    v.data = Floats(size);
    std::fill_n(v.data.get(), size, 0.0f);  // all that is no pixel
    for (int64_t p = 0; p < s.pixels(); p++)
      for (int32_t c = 0; c < s.channels; c++)
        v.data[kMargin + c * s.pitch() + p] = data[p * s.channels + c];
  }
  const auto id = static_cast<int32_t>(values_.size());
  auto& list = kind == Kind::kInput ? inputs_ : outputs_;
  const bool outside = kind == Kind::kInput || kind == Kind::kOutput;
  list.reserve(list.size() + 1);
  place_.reserve(place_.size() + 1);
  values_.push_back(std::move(v));
  place_.push_back(outside ? static_cast<int32_t>(list.size()) : -1);
  if (outside) list.push_back(id);
  return id;
}

const Value& Program::readable(int32_t id, const char* name, bool input) const {
  if (id < 0 || static_cast<size_t>(id) >= values_.size()) refuse("There is no such value", name, id);
  const Value& v = value(id);
  if (v.kind == Kind::kOutput) refuse("An output cannot be read", name, id);
  if (v.kind == Kind::kInput && !input)
    refuse("This operation does not read inputs; copy it with secateur_to_chw", name, id);
  if (v.kind == Kind::kInner && v.writer < 0)
    refuse("A value is read before an operation writes it", name, id);
  return v;
}

const Value& Program::writable(int32_t id, const char* name, bool output) const {
  if (batch_) refuse("A program cannot grow once it is finalized");
  if (id < 0 || static_cast<size_t>(id) >= values_.size()) refuse("There is no such value", name, id);
  const Value& v = value(id);
  if (output ? v.kind != Kind::kOutput : v.kind != Kind::kInner)
    refuse(output ? "This operation writes outputs only"
                  : "This operation writes values only, no inputs, outputs or constants",
           name, id);
  if (v.writer >= 0) refuse("A value can be written by one operation only", name, id);
  return v;
}

void Program::add(std::unique_ptr<Operation> operation) {
  const auto index = static_cast<int32_t>(operations_.size());
  operations_.push_back(std::move(operation));
  const Operation& o = *operations_.back();
  values_[static_cast<size_t>(o.out)].writer = index;
  values_[static_cast<size_t>(o.out)].last_use = index;
  for (int32_t id : o.reads) values_[static_cast<size_t>(id)].last_use = index;
  if (std::shared_ptr<Task> packing = o.packing()) {
    if (!ahead_) ahead_ = std::make_shared<Ahead>();
    ahead_->add(std::move(packing));
  }
}

void Program::pack() {
  // From the last to the first: the other thread comes from the front.
  for (auto o = operations_.rbegin(); o != operations_.rend(); o++)
    if (const std::shared_ptr<Task> packing = (*o)->packing()) packing->finish();
}

// Largest first, each at the lowest place that no value has that lives at the same time.
int64_t Program::plan(int32_t batch, std::vector<int64_t>& offsets) const {
  std::vector<int32_t> order;
  for (size_t i = 0; i < values_.size(); i++)
    if (values_[i].kind == Kind::kInner && values_[i].writer >= 0)
      order.push_back(static_cast<int32_t>(i));
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return value(a).size(batch) > value(b).size(batch);
  });
  int64_t total = 0;
  std::vector<int32_t> placed;  // by offset
  for (int32_t id : order) {
    const Value& v = value(id);
    const Life mine = life(v);
    const int64_t size = v.size(batch) + 2 * kMargin + kGap;
    int64_t at = 0;
    for (int32_t other : placed) {
      const Value& o = value(other);
      const Life its = life(o);
      if (!kGap && (its.end <= mine.begin || mine.end <= its.begin)) continue;
      const int64_t start = offsets[static_cast<size_t>(other)] - kMargin;
      if (at + size <= start) break;
      at = std::max(at, start + o.size(batch) + 2 * kMargin + kGap);
    }
    if (at + size > kMaxArena) refuse("The program needs too much memory", "batch", batch);
    offsets[static_cast<size_t>(id)] = at + kMargin;
    total = std::max(total, at + size);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), id,
                                   [&](int32_t a, int32_t b) {
                                     return offsets[static_cast<size_t>(a)] <
                                            offsets[static_cast<size_t>(b)];
                                   }),
                  id);
  }
  return total;
}

void Program::finalize(int32_t batch) {
  std::lock_guard<std::mutex> lock(running_);
  if (batch < 1 || batch > (1 << 20)) refuse("A batch has at least 1 image", "batch", batch);
  for (int32_t id : outputs_)
    if (value(id).writer < 0) refuse("No operation writes an output", "output", id);
  if (!batch_) {
    pack();
    ahead_.reset();
    take_gates();
  }
  place(batch, 1);
  batch_ = batch;
}

// Gives values their places in the arena, which depend on how many bands there are.
void Program::place(int32_t batch, int32_t threads) {
  threads_ = 0;  // should memory run out
  plan_chains(threads);
  plan_rings();
  scratch_ = thread_scratch_ = 0;
  for (const Chain& chain : chains_) {
    for (size_t i = chain.begin; i < chain.end; i++) {
      Operation& o = *operations_[i];
      o.set_turns(chain.rows != 0);
      scratch_ = std::max(scratch_, align(o.scratch));
      thread_scratch_ = std::max(thread_scratch_, align(o.thread_scratch));
    }
  }
  std::vector<int64_t> offsets(values_.size());
  const int64_t size = plan(batch, offsets);
  if (kGap || size != arena_size_ || !arena_) {
    arena_ = Floats(size);
    arena_size_ = size;
    is_touched_ = false;
  }
  for (size_t i = 0; i < values_.size(); i++) values_[i].offset = offsets[i];
#if defined(__SANITIZE_ADDRESS__)
  ASAN_POISON_MEMORY_REGION(arena_.get(), static_cast<size_t>(size) * 4);
  for (const Value& v : values_)
    if (v.kind == Kind::kInner && v.writer >= 0)
      ASAN_UNPOISON_MEMORY_REGION(arena_.get() + v.offset - kMargin,
                                  static_cast<size_t>(v.size(batch) + 2 * kMargin) * 4);
#endif
  threads_ = threads;
}

void Program::run(const float* const* inputs, float* const* outputs, int32_t threads,
                  double* seconds) {
  std::lock_guard<std::mutex> lock(running_);
  if (!batch_) refuse("Call secateur_finalize before secateur_run");
  if (threads < 1 || threads > 1024)
    refuse("The number of threads must be from 1 to 1024", "threads", threads);
  const auto missing = [](const auto* list, size_t count) {
    return count && (!list || std::any_of(list, list + count, [](auto* p) { return !p; }));
  };
  if (missing(inputs, inputs_.size())) refuse("Every input needs an array");
  if (missing(outputs, outputs_.size())) refuse("Every output needs an array");
  pool_.resize(threads);
  if (pool_.size() != threads_) place(batch_, pool_.size());
  if (!is_touched_) get_pages(arena_.get(), static_cast<size_t>(arena_size_) * sizeof(float));
  is_touched_ = true;
  const int64_t need = scratch_ + thread_scratch_ * pool_.size();
  if (need > scratch_size_) {
    scratch_memory_ = Floats(need);
    scratch_size_ = need;
  }
  const NoDenormals none;
  const Run state(*this, pool_, inputs, outputs, scratch_memory_.get(), thread_scratch_);
  if (seconds) std::fill_n(seconds, operations_.size(), 0.0);
  for (const Chain& c : chains_) run_chain(state, c, seconds);
}

int64_t Program::weight_bytes() const {
  int64_t sum = 0;
  if (!batch_) return sum;
  for (const auto& o : operations_) sum += o->weight_bytes();
  for (const Value& v : values_)
    if (v.data) sum += v.shape.image() * 4;
  return sum;
}

int64_t Program::arena_bytes() const {
  return batch_ ? (arena_size_ + std::max(scratch_size_, scratch_ + thread_scratch_)) * 4 : 0;
}

Run::Run(const Program& program, Pool& pool, const float* const* inputs, float* const* outputs,
         float* scratch, int64_t thread_scratch)
    : kernels(program.kernels),
      pool(pool),
      batch(program.batch_),
      program_(program),
      inputs_(inputs),
      outputs_(outputs),
      scratch_(scratch),
      own_(scratch ? scratch + program.scratch_ : nullptr),
      thread_scratch_(thread_scratch) {}

Run Run::of_band(int32_t band) const {
  static Pool alone;
  Run run(program_, alone, inputs_, outputs_, scratch_, thread_scratch_);
  if (own_) run.own_ = own_ + band * thread_scratch_;
  run.band_ = band;
  run.rounds_.resize(program_.values_.size());
  return run;
}

void Run::start_ring(int32_t id, int32_t row) {
  Round& round = rounds_[static_cast<size_t>(id)];
  const int32_t ring = program_.value(id).ring;
  if (ring && round.start < 0) round.start = row % ring;
}

int32_t Run::set_base(int32_t id, int32_t row) {
  Round& round = rounds_[static_cast<size_t>(id)];
  const int32_t ring = program_.value(id).ring, start = round.start;
  round.base = row < start ? start - ring : start + (row - start) / ring * ring;
  return round.base;
}

View Run::view(int32_t id, int32_t image) const {
  const Value& v = program_.value(id);
  const auto place = static_cast<size_t>(program_.place_[static_cast<size_t>(id)]);
  switch (v.kind) {
    case Kind::kInput:  // never written: operations refuse to
      return {const_cast<float*>(inputs_[place]) + image * v.shape.size(), v.shape, 1};
    case Kind::kOutput:
      return {outputs_[place] + image * v.shape.size(), v.shape, 1};
    case Kind::kConstant:
      return {v.data.get() + kMargin, v.shape, v.shape.pitch()};
    default: {
      float* const data = program_.arena_.get() + v.offset;
      if (!v.ring) return {data + image * v.shape.image(), v.shape, v.pitch};
      // Row 0 may lie before what is kept of it: nothing reads it then.
      const int64_t width = v.shape.width, base = rounds_[static_cast<size_t>(id)].base;
      return {data + v.copy() * band_ - base * width, v.shape, v.pitch,
              static_cast<int32_t>(base + v.ring), v.ring * width};
    }
  }
}

}  // namespace secateur
