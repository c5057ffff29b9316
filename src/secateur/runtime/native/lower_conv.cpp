// Convolutions and fully connected layers of a file as operations of this library.
#include <algorithm>

#include "isa.h"
#include "lowering.h"

namespace secateur {

using namespace tflite;

static constexpr int32_t kMostWindow = 1 << 15;

secateur_window padded(secateur_window asked, int32_t padding, const Shape& from, const Shape& to) {
  const auto [least, most] =
      std::minmax({asked.kernel_height, asked.kernel_width, asked.stride_height, asked.stride_width,
                   asked.dilation_height, asked.dilation_width});
  need(padding == kSame || padding == kValid, Reason::kOptions);
  need(least > 0 && most < kMostWindow, Reason::kOptions);
  if (asked.kernel_height == 1) asked.dilation_height = 1;
  if (asked.kernel_width == 1) asked.dilation_width = 1;
  // How much is padded on both sides together.
  const auto pad = [&](int64_t length, int64_t out, int64_t kernel, int64_t stride, int64_t dilation) {
    const int64_t span = (kernel - 1) * dilation + 1;
    need(out > 0 && out == (length + stride - (padding == kValid ? span : 1)) / stride, Reason::kShape);
    return padding == kSame ? static_cast<int32_t>(std::max<int64_t>((out - 1) * stride + span - length, 0)) : 0;
  };
  const int32_t high = pad(from.height, to.height, asked.kernel_height, asked.stride_height, asked.dilation_height);
  const int32_t wide = pad(from.width, to.width, asked.kernel_width, asked.stride_width, asked.dilation_width);
  asked.pad_top = high / 2;
  asked.pad_bottom = high - high / 2;
  asked.pad_left = wide / 2;
  asked.pad_right = wide - wide / 2;
  return asked;
}

std::unique_ptr<Lowered> Lowering::convolution(int64_t place, bool depthwise) {
  const Table o = options(place, depthwise ? kDepthwiseOptions : kConvOptions);
  const int function = depthwise ? 4 : 3;
  const auto dilation = [&](int field) { return o.has(field) ? o.word(field) : 1; };
  std::unique_ptr<Convolution> found = weighted(place, depthwise);
  const Shape from = found->sources[0], to = found->target;
  const Part dims = kernel(*found, 4);
  if (depthwise)
    need(dims[0] == 1 && dims[3] == to.channels && to.channels % from.channels == 0, Reason::kShape);
  else
    need(dims[3] == from.channels && dims[0] == to.channels, Reason::kShape);
  const secateur_window asked{dims[1], dims[2], o.word(2), o.word(1), dilation(function + 2), dilation(function + 1),
                              0,       0,       0,         0};
  found->window = padded(asked, o.byte(0), from, to);
  take_weights(*found, dims.product());
  take_bias(*found, place);
  found->first = fused(o.byte(function));
  return found;
}

// Its features are the last axis of what it reads.
std::unique_ptr<Lowered> Lowering::fully_connected(int64_t place) {
  const Table o = options(place, kDenseOptions);
  need(!o.byte(1), Reason::kOptions);
  std::unique_ptr<Convolution> found = weighted(place, false);
  const Shape from = found->sources[0], to = found->target;
  const Part dims = kernel(*found, 2);
  need(dims[1] == from.channels && dims[0] == to.channels, Reason::kShape);
  need(from.height == to.height && from.width == to.width, Reason::kShape);
  found->window = {1, 1, 1, 1, 1, 1, 0, 0, 0, 0};
  take_weights(*found, dims.product());
  take_bias(*found, place);
  found->first = fused(o.byte(0));
  return found;
}

// One that has its images and its kernel.
std::unique_ptr<Convolution> Lowering::weighted(int64_t place, bool depthwise) const {
  const Part all = reads(place);
  need((all.size() == 2 || all.size() == 3) && all[0] >= 0 && all[1] >= 0, Reason::kKind);
  need(!columns_.is_constant(all[0]) && columns_.is_constant(all[1]), Reason::kKind);
  Images images{{all[0]}, {image(all[0])}, output(place), image(output(place))};
  auto found = std::make_unique<Convolution>(std::move(images), depthwise);
  found->kernel = all[1];
  return found;
}

Part Lowering::kernel(const Convolution& convolution, int64_t rank) const {
  const Part dims = columns_.shape(columns_.source(convolution.kernel));
  need(dims.size() == rank && dims.least() > 0 && dims.product() <= kMostWeights, Reason::kShape);
  return dims;
}

void Lowering::take_weights(Convolution& convolution, int64_t size) {
  const int32_t kernel = convolution.kernel;
  convolution.size = size;
  if (convolution.depthwise) {
    const Array values = constants_.values(kernel);
    need(values.data && values.count == size, Reason::kType);
    convolution.nonzeros = best_kernels().count_nonzero(values.data, size);
    return;
  }
  std::shared_ptr<Prepared>& made = prepared_[kernel];
  if (!made && ahead_) made = ahead_->prepared(kernel);
  if (!made) made = make_prepared(columns_, kernel, 0);
  need(made != nullptr, Reason::kType);
  convolution.weights = made;
}

void Lowering::take_bias(Convolution& convolution, int64_t place) {
  const Part all = reads(place);
  if (all.size() < 3 || all[2] < 0) return;
  need(columns_.is_constant(all[2]), Reason::kType);
  const Array values = constants_.values(all[2], convolution.target.channels);
  need(values.data, Reason::kType);
  need(values.count == convolution.target.channels, Reason::kShape);
  convolution.bias.assign(values.data, values.data + values.count);
}

}  // namespace secateur
