#include "building.h"

#include "refuse.h"
#include "units.h"

namespace secateur {

Building::Building(Program& program, Constants& constants, const Columns& columns)
    : program(program),
      constants(constants),
      columns(columns),
      values_(static_cast<size_t>(columns.tensors()), -1) {}

int32_t Building::operator[](int32_t tensor) const {
  if (!has(tensor)) refuse("A tensor is not written", "tensor", tensor);
  return values_[static_cast<size_t>(tensor)];
}

static void append(std::vector<int32_t>& shapes, const Shape& shape) {
  shapes.insert(shapes.end(), {shape.height, shape.width, shape.channels});
}

void Building::add_input(int32_t tensor, const Shape& shape, bool inner) {
  int32_t value = program.add_value(Kind::kInput, shape, nullptr, 0);
  order.push_back(tensor);
  append(shapes, shape);
  if (inner) {
    const int32_t in = value;
    value = program.add_value(Kind::kInner, shape, nullptr, 0);
    add_to_chw(program, in, value);
    written.push_back(-1);
  }
  values_[static_cast<size_t>(tensor)] = value;
}

void Building::add_output(int32_t tensor, const Shape& shape) {
  add_to_nhwc(program, (*this)[tensor], program.add_value(Kind::kOutput, shape, nullptr, 0));
  append(shapes, shape);
  written.push_back(-1);
}

void Building::add(Lowered& native) {
  const int32_t out = program.add_value(Kind::kInner, native.target, nullptr, 0);
  native.add(*this, out);
  values_[static_cast<size_t>(native.output)] = out;
  written.push_back(native.output);
}

void Units::build(Program& program, const Part& members, const Part& outputs, int32_t* failed) {
  if (ahead_) program.pack_in(ahead_->thread());
  Building to(program, constants_, file_);
  std::vector<Shape> shapes(static_cast<size_t>(file_.tensors()));
  std::vector<bool> given(shapes.size());
  for (int32_t tensor : outputs) {
    if (tensor < 0 || tensor >= file_.tensors()) refuse("There is no such tensor", "tensor", tensor);
    given[static_cast<size_t>(tensor)] = true;
  }
  // How many units read a tensor.
  std::vector<int32_t> readers(shapes.size());
  for (int32_t i : members) {
    if (i < 0 || static_cast<size_t>(i) >= all_.size() || !all_[static_cast<size_t>(i)].native)
      refuse("There is no such unit", "unit", i);
    for (int32_t tensor : all_[static_cast<size_t>(i)].inputs) readers[static_cast<size_t>(tensor)]++;
  }
  // An input that one convolution reads and nothing else does stays as it is.
  const auto as_it_is = [&](const Lowered& native, int32_t tensor) {
    const auto* const c = dynamic_cast<const Convolution*>(&native);
    const bool first = c && !c->depthwise && tensor == c->inputs[0] && tensor != c->residual;
    return first && readers[static_cast<size_t>(tensor)] == 1 && !given[static_cast<size_t>(tensor)];
  };
  for (int32_t i : members) {
    *failed = i;
    Lowered& native = *all_[static_cast<size_t>(i)].native;
    for (size_t k = 0; k < native.inputs.size(); k++)
      if (!to.has(native.inputs[k]))
        to.add_input(native.inputs[k], native.sources[k], !as_it_is(native, native.inputs[k]));
    to.add(native);
    shapes[static_cast<size_t>(native.output)] = native.target;
  }
  *failed = -1;
  for (int32_t tensor : outputs) to.add_output(tensor, shapes[static_cast<size_t>(tensor)]);
  columns_[SECATEUR_BUILT_WRITTEN] = std::move(to.written);
  columns_[SECATEUR_BUILT_INPUT] = std::move(to.order);
  columns_[SECATEUR_BUILT_SHAPE] = std::move(to.shapes);
}

void Convolution::add(Building& to, int32_t out) {
  const secateur_epilogue epilogue{first, residual < 0 ? -1 : to[residual], residual < 0 ? kIdentity : second};
  if (!sparse) {
    add_dense(to, out, epilogue);
    return;
  }
  // Who packs it frees it, mostly another thread; a second convolution with these weights has them pruned again.
  std::shared_ptr<Pruned> kept = std::move(weights->weights);
  if (!kept || !kept->kept()) {
    kept = make_prepared(to.columns, kernel, SECATEUR_KEEP)->weights;
    kept->finish();
  }
  add_sparse_conv(to.program, to[inputs[0]], out, &window, kept, {bias.data(), static_cast<int64_t>(bias.size())},
                  &epilogue);
}

void Convolution::add_dense(Building& to, int32_t out, const secateur_epilogue& epilogue) {
  Array all = to.constants.values(kernel);
  const Array offsets{bias.empty() ? nullptr : bias.data(), static_cast<int64_t>(bias.size())};
  if (depthwise) {
    add_depthwise(to.program, to[inputs[0]], out, &window, all, offsets, &epilogue);
  } else {
    all.mapped = weights->weights && weights->weights->mapped() && weights->weights->weights() == all.data;
    add_dense_conv(to.program, to[inputs[0]], out, &window, all, offsets, &epilogue, weights->packed);
  }
  if (!to.columns.is_plain(kernel)) to.program.pack();  // now, as unpacked weights do not stay
}

void Function::add(Building& to, int32_t out) { add_unary(to.program, to[inputs[0]], out, &function); }

void Pair::add(Building& to, int32_t out) {
  size_t next = 0;
  const auto value = [&](const std::unique_ptr<Constant>& constant) {
    if (!constant) return to[inputs[next++]];
    return to.program.add_value(Kind::kConstant, constant->shape, constant->values.data(),
                                static_cast<int64_t>(constant->values.size()));
  };
  const int32_t one = value(left), other = value(right);
  add_binary(to.program, function, one, other, out, &activation);
}

void Pooling::add(Building& to, int32_t out) {
  add_pool(to.program, function, to[inputs[0]], out, &window, &activation);
}

void Padding::add(Building& to, int32_t out) {
  add_pad(to.program, to[inputs[0]], out, before.channels, before.height, before.width, fill);
}

void Resizing::add(Building& to, int32_t out) {
  add_resize(to.program, function_, to[inputs[0]], out, corners_, centers_);
}

void Slice::add(Building& to, int32_t out) {
  add_slice(to.program, to[inputs[0]], out, begin_.channels, begin_.height, begin_.width);
}

void Softmax::add(Building& to, int32_t out) { add_softmax(to.program, to[inputs[0]], out, beta_); }

void Simple::add(Building& to, int32_t out) {
  std::vector<int32_t> from;
  for (int32_t tensor : inputs) from.push_back(to[tensor]);
  switch (kind_) {
    case kMean: return add_mean(to.program, from[0], out);
    case kReshape: return add_reshape(to.program, from[0], out);
    case kConcatenation: return add_concat(to.program, from.data(), static_cast<int32_t>(from.size()), out);
  }
}

}  // namespace secateur
