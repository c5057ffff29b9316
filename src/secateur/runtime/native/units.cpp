#include "units.h"

#include <algorithm>

#include "refuse.h"

namespace secateur {

using namespace tflite;

static bool same(const secateur_activation& a, const secateur_activation& b) {
  return a.function == b.function && a.a == b.a && a.b == b.b;
}

Units::Units(const Columns& file, Preparation* ahead, int64_t known)
    : file_(file),
      ahead_(ahead),
      constants_(file),
      lower_(file, ahead, constants_),
      readers_(static_cast<size_t>(file_.tensors())),
      units_(static_cast<size_t>(file_.operators()), -1),
      seen_(static_cast<size_t>(file_.tensors())) {
  const std::vector<int32_t>& needed = file_.column(SECATEUR_NEEDED);
  for (int32_t place : needed)
    for (int32_t tensor : file_.reads(place))
      if (tensor >= 0) readers_[static_cast<size_t>(tensor)].push_back(place);
  for (int32_t place : needed) {
    const Part writes = file_.part(SECATEUR_WRITE, place);
    const bool unpacks = writes.size() == 1 && writes[0] >= 0 && file_.source(writes[0]) != writes[0];
    if (units_[static_cast<size_t>(place)] < 0 && !unpacks && !find_swish(place, known)) find(place, place < known);
  }
  for (Unit& unit : all_)
    if (unit.native) fuse(unit);
  const auto gone = [](const Unit& unit) { return unit.places.empty(); };
  all_.erase(std::remove_if(all_.begin(), all_.end(), gone), all_.end());
  count_weights();
  describe();
}

// Tensors from elsewhere, each once.
template <class All>
void Units::take_inputs(Unit& unit, const All& tensors) {
  unit.inputs.clear();
  now_++;
  for (int32_t tensor : tensors) {
    if (tensor < 0 || file_.is_constant(tensor)) continue;
    int64_t& seen = seen_[static_cast<size_t>(tensor)];
    if (seen != now_) unit.inputs.push_back(tensor);
    seen = now_;
  }
}

void Units::append(Unit unit) {
  units_[static_cast<size_t>(unit.places.back())] = static_cast<int32_t>(all_.size());
  all_.push_back(std::move(unit));
}

void Units::find(int64_t place, bool known) {
  Unit unit;
  unit.places = {static_cast<int32_t>(place)};
  try {
    need(known, Reason::kUnknown);
    unit.native = lower_(place);
    take_inputs(unit, unit.native->inputs);
    unit.outputs = {unit.native->output};
  } catch (const NotNative& answer) {
    unit.reason = answer.reason;
    take_inputs(unit, file_.reads(place));
    for (int32_t tensor : file_.part(SECATEUR_WRITE, place))
      if (tensor >= 0) unit.outputs.push_back(tensor);
  }
  append(std::move(unit));
}

// x * sigmoid(x) as one function; false where an operator is no such sigmoid.
bool Units::find_swish(int64_t place, int64_t known) {
  const Part writes = file_.part(SECATEUR_WRITE, place), from = file_.part(SECATEUR_READ, place);
  if (file_.kind(place) != kLogistic || writes.size() != 1 || writes[0] < 0 || from.size() != 1) return false;
  const std::vector<int32_t>& readers = readers_[static_cast<size_t>(writes[0])];
  if (readers.size() != 1 || file_.is_output(writes[0])) return false;
  const int32_t product = readers[0];
  if (file_.kind(product) != kMul || product >= known || file_.part(SECATEUR_WRITE, product).size() != 1)
    return false;
  const Part both = file_.part(SECATEUR_READ, product);
  const int32_t x = from[0], sigmoid = writes[0];
  if (both.size() != 2 || !((both[0] == x && both[1] == sigmoid) || (both[0] == sigmoid && both[1] == x)))
    return false;
  Unit unit;
  try {
    unit.native = lower_.swish(place, product);
  } catch (const NotNative&) {
    return false;
  }
  unit.places = {static_cast<int32_t>(place), product};
  unit.inputs = unit.native->inputs;
  unit.outputs = {unit.native->output};
  append(std::move(unit));
  return true;
}

// Joins what the library runs in one pass.
void Units::fuse(Unit& unit) {
  if (const auto* function = dynamic_cast<const Function*>(unit.native.get()))
    fuse_function(unit, *function);
  else if (auto* convolution = unit.convolution())
    fuse_padding(unit, *convolution);
  else if (const auto* total = dynamic_cast<const Pair*>(unit.native.get()))
    fuse_residual(unit, *total);
}

// The native unit that writes a tensor, where nobody but another unit reads it; null for none.
Unit* Units::writer(const Unit& unit, int32_t tensor) {
  const int32_t place = file_.writer(tensor);
  const int32_t found = place < 0 ? -1 : units_[static_cast<size_t>(place)];
  if (found < 0 || file_.is_output(tensor)) return nullptr;
  for (int32_t reader : readers_[static_cast<size_t>(tensor)])
    if (std::find(unit.places.begin(), unit.places.end(), reader) == unit.places.end()) return nullptr;
  Unit& before = all_[static_cast<size_t>(found)];
  return before.native ? &before : nullptr;
}

// Makes an operation that has taken on a unit's part in it; it runs where that ran.
void Units::take_over(Unit& unit, Unit& before) {
  unit.native = std::move(before.native);
  unit.native->output = unit.outputs[0];
  absorb(unit, before);
}

// Adds the operators of another unit, which is gone then.
void Units::absorb(Unit& unit, Unit& before) {
  units_[static_cast<size_t>(before.places.back())] = -1;
  unit.places.insert(unit.places.end(), before.places.begin(), before.places.end());
  std::sort(unit.places.begin(), unit.places.end());
  before = Unit();
  take_inputs(unit, unit.native->inputs);
}

// f(operation(x)): the function becomes a part of the operation.
void Units::fuse_function(Unit& unit, const Function& function) {
  Unit* const before = writer(unit, function.inputs[0]);
  if (before && before->native->then(function.function)) take_over(unit, *before);
}

// conv(pad(x)): the padding becomes the window's.
void Units::fuse_padding(Unit& unit, Convolution& convolution) {
  Unit* const before = writer(unit, convolution.inputs[0]);
  const auto* const padding = before ? dynamic_cast<const Padding*>(before->native.get()) : nullptr;
  if (!padding || padding->fill != 0 || padding->target.channels != padding->sources[0].channels) return;
  const Shape from = padding->sources[0], to = padding->target, first = padding->before;
  secateur_window window = convolution.window;
  window.pad_top += first.height;
  window.pad_left += first.width;
  window.pad_bottom += to.height - from.height - first.height;
  window.pad_right += to.width - from.width - first.width;
  if (std::max({window.pad_top, window.pad_left, window.pad_bottom, window.pad_right}) >= 1 << 15) return;
  convolution.window = window;
  convolution.inputs[0] = padding->inputs[0];
  convolution.sources[0] = from;
  absorb(unit, *before);
}

// conv(x) + y: the sum becomes a part of the convolution that runs last.
void Units::fuse_residual(Unit& unit, const Pair& total) {
  if (total.function != SECATEUR_ADD || total.left || total.right || total.inputs[0] == total.inputs[1]) return;
  const auto place = [&](size_t i) { return file_.writer(total.inputs[i]); };
  const size_t last = place(1) > place(0);
  for (size_t mine : {last, 1 - last}) {
    Unit* const before = writer(unit, total.inputs[mine]);
    Convolution* const convolution = before ? before->convolution() : nullptr;
    if (!convolution || !(total.sources[mine] == total.target)) continue;
    if (!convolution->take_residual(total.inputs[1 - mine], total.sources[1 - mine])) continue;
    if (!same(total.activation, kIdentity)) convolution->second = total.activation;
    take_over(unit, *before);
    return;
  }
}

bool Convolution::then(const secateur_activation& function) {
  secateur_activation& free = residual < 0 ? first : second;
  if (!same(free, kIdentity)) return false;
  free = function;
  return true;
}

bool Convolution::take_residual(int32_t tensor, const Shape& shape) {
  if (residual >= 0 || !(shape == target)) return false;
  residual = tensor;
  inputs.push_back(tensor);
  sources.push_back(shape);
  return true;
}

bool Convolution::count() {
  if (weights) {
    weights->weights->finish();
    nonzeros = weights->weights->count();
  }
  return nonzeros >= 0;
}

bool Pair::then(const secateur_activation& function) {
  if (!same(activation, kIdentity)) return false;
  activation = function;
  return true;
}

// Last of all, as until here another thread was at it; from behind, as that one comes from the front.
void Units::count_weights() {
  for (auto unit = all_.rbegin(); unit != all_.rend(); ++unit) {
    Convolution* const convolution = unit->convolution();
    if (!convolution || convolution->count()) continue;
    unit->native.reset();
    unit->reason = Reason::kType;
  }
}

void Units::describe() {
  std::vector<int32_t>& all = columns_[SECATEUR_UNITS];
  all.clear();
  const auto add = [&](int64_t number) { all.push_back(static_cast<int32_t>(number)); };
  for (const Unit& unit : all_) {
    const Convolution* const c = unit.convolution();
    add(static_cast<int32_t>(unit.reason));
    add((unit.native ? SECATEUR_UNIT_NATIVE : 0) | (c && c->depthwise ? SECATEUR_UNIT_DEPTHWISE : 0) |
        (c && c->sparse ? SECATEUR_UNIT_SPARSE : 0));
    add(c ? c->size : 0);
    add(c ? c->nonzeros : 0);
    const std::vector<int32_t>* const lists[] = {&unit.places, &unit.inputs, &unit.outputs};
    for (const auto* each : lists) add(static_cast<int64_t>(each->size()));
    for (const auto* each : lists) all.insert(all.end(), each->begin(), each->end());
  }
}

}  // namespace secateur
