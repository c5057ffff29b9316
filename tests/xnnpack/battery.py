"""Small networks with what XNNPACK does to each once a weight is marked sparse, worked out by hand.

`BATTERY` maps a name to a `Case`: a function that builds the Keras model, and the verdict on it:

- ENGAGES: its 1x1 convolutions run sparse, and the numbers stay right.
- DENSE: nothing changes; marking a weight sparse is harmless and useless.
- WRONG: XNNPACK rewrites a part of the network that it does not leave properly: the numbers change,
  or the file does not load. Nothing in such a file may be marked sparse.

`sparsify(model)` puts zeros into the 1x1 kernels, and gives biases and batch statistics values, so
that a wrong result shows.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers as L
from keras import ops

ENGAGES, DENSE, WRONG = "engages", "dense", "wrong"
# No height is a number of channels anywhere, which would hide mistakes between the two.
SIZE = 24


@dataclasses.dataclass(frozen=True)
class Case:
    """A network, and what XNNPACK does to it at 90 % zeros."""

    build: Callable[[], Any]
    verdict: str


def stem(x, filters=8):
    """The only way in: 3x3, stride 2, one pixel of zeros around, three channels."""
    x = L.ZeroPadding2D(1)(x)
    return L.Conv2D(filters, 3, 2, "valid", activation="relu")(x)


def pointwise(x, filters=16, **kwargs):
    return L.Conv2D(filters, 1, **{"activation": "relu", **kwargs})(x)


def separable(x, filters=16, **kwargs):
    return pointwise(L.DepthwiseConv2D(3, padding="same", activation="relu")(x), filters, **kwargs)


def head(x, units=10):
    return L.Dense(units)(L.GlobalAveragePooling2D()(x))


def network(middle=None, begin=stem, end=head, channels=3, batch=1, name_of=None):
    """Stem, two separable convolutions, what is to be tested, one more, and an end."""
    inputs = keras.Input((SIZE, SIZE, channels), batch_size=batch)
    x = separable(separable(begin(inputs)))
    if middle is not None:
        x = middle(x)
    return keras.Model(inputs, end(separable(x)), name=name_of)


def strided(size, stride, pad, **kwargs):
    """A depthwise convolution with its own padding layer."""
    return lambda x: L.DepthwiseConv2D(size, stride, "valid", **kwargs)(L.ZeroPadding2D(pad)(x))


def shrink(x):
    """To a quarter of the size, rounded up."""
    return strided(3, 2, 1)(strided(5, 2, 2)(x))


def layer(kind, *args, **kwargs):
    return lambda x: kind(*args, **kwargs)(x)


def normalized(x):
    x = L.Conv2D(16, 1, use_bias=False)(x)
    x = L.ReLU(6.0)(L.BatchNormalization()(x))
    return L.BatchNormalization()(L.DepthwiseConv2D(3, padding="same", use_bias=False)(x))


def activations(x):
    for name in ("relu6", "leaky_relu", "elu", "gelu", "tanh", "sigmoid"):
        x = L.Activation(name)(x)
    return x


def residual(x):
    y = L.DepthwiseConv2D(3, padding="same")(pointwise(x, 32))
    return L.Add()([x, L.Conv2D(16, 1)(y)])


def squeeze(x, pool):
    y = pointwise(pool(x), 8)
    return L.Multiply()([x, L.Conv2D(16, 1, activation="sigmoid")(y)])


def pool(x):
    return L.GlobalAveragePooling2D(keepdims=True)(x)


def pool_and_reshape(x):
    return L.Reshape((1, 1, x.shape[-1]))(L.GlobalAveragePooling2D()(x))


def two_heads(x):
    return [head(x), head(pointwise(x), 4)]


def map_and_head(x):
    return [head(x), L.Conv2D(4, 1)(x)]


def other_padding(pad):
    return lambda x: L.Conv2D(8, 3, 2, "valid", activation="relu")(L.ZeroPadding2D(pad)(x))


def upsampled_pixels(x):
    x = L.UpSampling2D(interpolation="bilinear")(x)
    x = L.Conv2D(12, 1)(x)
    return ops.depth_to_space(x, 2)


def _engages(*args, **kwargs):
    return Case(lambda: network(*args, **kwargs), ENGAGES)


def _dense(*args, **kwargs):
    return Case(lambda: network(*args, **kwargs), DENSE)


def _wrong(*args, **kwargs):
    return Case(lambda: network(*args, **kwargs), WRONG)


BATTERY = {
    # What XNNPACK takes.
    "separable": _engages(),
    "batch normalization": _engages(normalized),
    "residual": _engages(residual),
    "SeparableConv2D": _engages(layer(L.SeparableConv2D, 16, 3, padding="same")),
    "Dense on a map": _engages(layer(L.Dense, 16, activation="relu")),
    "squeeze and excite": _engages(lambda x: squeeze(x, L.GlobalAveragePooling2D(keepdims=True))),
    "squeeze and excite by Reshape": _engages(lambda x: squeeze(x, pool_and_reshape)),
    "squeeze and excite by Reshape, open batch": _engages(
        lambda x: squeeze(x, pool_and_reshape), batch=None
    ),
    "depthwise 5x5": _engages(layer(L.DepthwiseConv2D, 5, padding="same")),
    "depthwise 3x3 stride 2": _engages(strided(3, 2, 1)),
    "depthwise 5x5 stride 2": _engages(strided(5, 2, 2)),
    "activations": _engages(activations),
    "swish": _engages(layer(L.Activation, "swish")),
    "hard_swish": _engages(layer(L.Activation, "hard_swish")),
    "ReLU layer": _engages(layer(L.ReLU)),
    "Rescaling in front": _engages(begin=lambda x: stem(L.Rescaling(1 / 127.5, -1.0)(x))),
    "SpatialDropout": _engages(layer(L.SpatialDropout2D, 0.2)),
    "open batch": _engages(batch=None),
    "batch of 8": _engages(batch=8),
    "pointwise head of two": _engages(end=lambda x: L.Conv2D(10, 1)(pointwise(pool(x), 20))),
    "bilinear upsampling, depth to space": _engages(end=upsampled_pixels),
    "two heads": _engages(end=two_heads),
    "softmax head": _engages(end=lambda x: L.Softmax()(head(x))),
    "Flatten behind pooling": _engages(end=lambda x: L.Dense(10)(L.Flatten()(pool(x)))),
    "strided to one pixel": _engages(lambda x: shrink(shrink(x))),
    # What it leaves dense.
    "Dense on a map, open batch": _dense(layer(L.Dense, 16, activation="relu"), batch=None),
    "PReLU": _dense(layer(L.PReLU, shared_axes=[1, 2])),
    "Concatenate": _dense(lambda x: L.Concatenate()([x, pointwise(x)])),
    "depthwise dilation 2, open batch": _dense(
        layer(L.DepthwiseConv2D, 3, padding="same", dilation_rate=2), batch=None
    ),
    "1 channel": _dense(channels=1),
    "4 channels": _dense(channels=4),
    "stem stride 1": _dense(begin=layer(L.Conv2D, 8, 3, padding="same")),
    "stem same": _dense(begin=layer(L.Conv2D, 8, 3, 2, "same")),
    "stem padded below only": _dense(begin=other_padding(((0, 1), (0, 1)))),
    "stem 7x7": _dense(begin=lambda x: L.Conv2D(8, 7, 2, "valid")(L.ZeroPadding2D(3)(x))),
    "end Flatten": _dense(end=lambda x: L.Dense(10)(L.Flatten()(x))),
    "end AveragePooling": _dense(end=lambda x: L.Dense(10)(L.Flatten()(L.AveragePooling2D(12)(x)))),
    "end GlobalMaxPooling": _dense(end=lambda x: L.Dense(10)(L.GlobalMaxPooling2D()(x))),
    "end convolution": _dense(end=layer(L.Conv2D, 4, 1)),
    "nearest upsampling": _dense(layer(L.UpSampling2D)),
    "an addition of itself": _dense(lambda x: L.Add()([x, x])),
    # What it gets wrong.
    "MaxPooling": _wrong(layer(L.MaxPooling2D)),
    "AveragePooling": _wrong(layer(L.AveragePooling2D, 2)),
    "depthwise 7x7": _wrong(layer(L.DepthwiseConv2D, 7, padding="same")),
    "depthwise multiplier 2": _wrong(
        layer(L.DepthwiseConv2D, 3, padding="same", depth_multiplier=2)
    ),
    "depthwise dilation 2": _wrong(layer(L.DepthwiseConv2D, 3, padding="same", dilation_rate=2)),
    "depthwise same stride 2": _wrong(layer(L.DepthwiseConv2D, 3, 2, padding="same")),
    "PReLU behind a convolution": _wrong(lambda x: L.PReLU(shared_axes=[1, 2])(L.Conv2D(16, 1)(x))),
    "arithmetic with a constant": _wrong(lambda x: L.ReLU()(x * 0.5 + 0.1)),
    "ordinary 3x3": _wrong(layer(L.Conv2D, 16, 3, padding="same")),
    "strided 1x1": _wrong(layer(L.Conv2D, 16, 1, strides=2)),
    "grouped 1x1": _wrong(layer(L.Conv2D, 16, 1, groups=2)),
    "map and head": _wrong(end=map_and_head),
    "output inside": _wrong(end=lambda x: [x, head(separable(x))]),
    "pointwise head": _wrong(end=lambda x: L.Conv2D(10, 1)(pool(x))),
    "pooled gate": _wrong(lambda x: x * ops.sigmoid(pool(x))),
    "mean over channels": _wrong(lambda x: x * ops.mean(x, axis=-1, keepdims=True)),
    "mean over rows": _wrong(lambda x: x + ops.mean(x, axis=1, keepdims=True)),
    "softmax of pooled pixels": _wrong(end=lambda x: L.Softmax()(pool(x))),
    "Concatenate of pooled pixels": _wrong(end=lambda x: L.Concatenate()([pool(x), pool(x)])),
}


def sparsify(model, share=0.9, seed=0):
    """Sets `share` of each 1x1 kernel to zero, the rest to what keeps numbers of order 1."""
    rng = np.random.default_rng(seed)
    for each in model._flatten_layers():
        for weight in each.weights:
            value = np.array(ops.convert_to_numpy(weight))
            if weight.path.endswith(("bias", "beta", "moving_mean")):
                weight.assign(rng.normal(0, 0.1, value.shape))
            elif weight.path.endswith(("gamma", "moving_variance")):
                weight.assign(rng.uniform(0.5, 1.5, value.shape))
            elif is_pointwise(weight):
                value = rng.normal(0, (2 / value.shape[-2] / (1 - share)) ** 0.5, value.shape)
                value.flat[rng.permutation(value.size)[: round(share * value.size)]] = 0
                weight.assign(value)
    return model


def is_pointwise(weight):
    """Whether a weight is a kernel that XNNPACK's threshold counts."""
    shape = tuple(weight.shape)
    return weight.path.endswith("kernel") and (shape[:-2] == (1, 1) or len(shape) == 2)
