"""Small networks with what XNNPACK does to each once a weight is marked sparse, worked out by hand.

`BATTERY` maps a name to a `Case`: a function that builds the Keras model, and the verdict on it:

- ENGAGES: its 1x1 convolutions run sparse, and the numbers stay right.
- DENSE: nothing changes; marking a weight sparse is harmless and useless.
- WRONG: XNNPACK rewrites a part of the network that it does not leave properly, and the numbers
  change. Nothing in such a file may be marked sparse.

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
SIZE = 32


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


def network(middle=None, begin=stem, end=head, channels=3, batch=None):
    """Stem, two separable convolutions, what is to be tested, one more, and an end."""
    inputs = keras.Input((SIZE, SIZE, channels), batch_size=batch)
    x = separable(separable(begin(inputs)))
    if middle is not None:
        x = middle(x)
    return keras.Model(inputs, end(separable(x)))


def strided(size, stride, pad, **kwargs):
    """A depthwise convolution with its own padding layer."""
    return lambda x: L.DepthwiseConv2D(size, stride, "valid", **kwargs)(L.ZeroPadding2D(pad)(x))


def layer(kind, *args, **kwargs):
    return lambda x: kind(*args, **kwargs)(x)


def normalized(x):
    x = L.Conv2D(16, 1, use_bias=False)(x)
    x = L.ReLU(6.0)(L.BatchNormalization()(x))
    return L.BatchNormalization()(L.DepthwiseConv2D(3, padding="same", use_bias=False)(x))


def residual(x):
    y = L.DepthwiseConv2D(3, padding="same")(pointwise(x, 32))
    return L.Add()([x, L.Conv2D(16, 1)(y)])


def squeeze(x, pool):
    y = pointwise(pool(x), 8)
    return L.Multiply()([x, L.Conv2D(16, 1, activation="sigmoid")(y)])


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
    return DepthToSpace(2)(x)


@keras.saving.register_keras_serializable("battery")
class DepthToSpace(L.Layer):
    """Channels to pixels, as `tf.nn.depth_to_space` does it."""

    def __init__(self, block, **kwargs):
        super().__init__(**kwargs)
        self.block = block

    def call(self, x):
        import tensorflow as tf

        return tf.nn.depth_to_space(x, self.block)

    def compute_output_shape(self, shape):
        b, h, w, c = shape
        return (b, h * self.block, w * self.block, c // self.block**2)

    def get_config(self):
        return {**super().get_config(), "block": self.block}


def _activation(name):
    return Case(lambda: network(layer(L.Activation, name)), ENGAGES)


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
    "depthwise 5x5": _engages(layer(L.DepthwiseConv2D, 5, padding="same")),
    "depthwise 3x3 stride 2": _engages(strided(3, 2, 1)),
    "depthwise 5x5 stride 2": _engages(strided(5, 2, 2)),
    **{
        f"{name}": _activation(name)
        for name in ("relu6", "swish", "leaky_relu", "gelu", "elu", "sigmoid", "tanh")
    },
    "ReLU layer": _engages(layer(L.ReLU)),
    "hard_swish": _activation("hard_swish"),
    "Rescaling in front": _engages(begin=lambda x: stem(L.Rescaling(1 / 127.5, -1.0)(x))),
    "SpatialDropout": _engages(layer(L.SpatialDropout2D, 0.2)),
    "batch of 1": _engages(batch=1),
    "batch of 8": _engages(batch=8),
    "pointwise head": _engages(
        end=lambda x: L.Conv2D(10, 1)(L.GlobalAveragePooling2D(keepdims=True)(x))
    ),
    "bilinear upsampling, depth to space": _engages(end=upsampled_pixels),
    "two heads": _engages(end=two_heads),
    "softmax head": _engages(end=lambda x: L.Softmax()(head(x))),
    # What it leaves dense.
    "PReLU": _dense(layer(L.PReLU, shared_axes=[1, 2])),
    "Concatenate": _dense(lambda x: L.Concatenate()([x, pointwise(x)])),
    "depthwise 7x7": _dense(layer(L.DepthwiseConv2D, 7, padding="same")),
    "depthwise dilation 2": _dense(layer(L.DepthwiseConv2D, 3, padding="same", dilation_rate=2)),
    "depthwise multiplier 2": _dense(
        layer(L.DepthwiseConv2D, 3, padding="same", depth_multiplier=2)
    ),
    "1 channel": _dense(channels=1),
    "4 channels": _dense(channels=4),
    "stem stride 1": _dense(begin=layer(L.Conv2D, 8, 3, padding="same")),
    "stem same": _dense(begin=layer(L.Conv2D, 8, 3, 2, "same")),
    "stem padded below only": _dense(begin=other_padding(((0, 1), (0, 1)))),
    "stem 7x7": _dense(begin=lambda x: L.Conv2D(8, 7, 2, "valid")(L.ZeroPadding2D(3)(x))),
    "end Flatten": _dense(end=lambda x: L.Dense(10)(L.Flatten()(x))),
    "end AveragePooling": _dense(end=lambda x: L.Dense(10)(L.Flatten()(L.AveragePooling2D(16)(x)))),
    "end GlobalMaxPooling": _dense(end=lambda x: L.Dense(10)(L.GlobalMaxPooling2D()(x))),
    "end convolution": _dense(end=layer(L.Conv2D, 4, 1)),
    "nearest upsampling": _dense(layer(L.UpSampling2D)),
    # What it gets wrong.
    "MaxPooling": _wrong(layer(L.MaxPooling2D)),
    "AveragePooling": _wrong(layer(L.AveragePooling2D)),
    "ordinary 3x3": _wrong(layer(L.Conv2D, 16, 3, padding="same")),
    "strided 1x1": _wrong(layer(L.Conv2D, 16, 1, strides=2)),
    "grouped 1x1": _wrong(layer(L.Conv2D, 16, 1, groups=2)),
    "map and head": _wrong(end=map_and_head),
}


def sparsify(model, share=0.9, seed=0):
    """Sets the smallest `share` of each 1x1 kernel to zero, and fills what Keras starts at zero."""
    rng = np.random.default_rng(seed)
    for each in model._flatten_layers():
        for weight in each.weights:
            value = np.array(ops.convert_to_numpy(weight))
            if weight.path.endswith(("bias", "beta", "moving_mean")):
                weight.assign(rng.normal(0, 0.1, value.shape))
            elif weight.path.endswith(("gamma", "moving_variance")):
                weight.assign(rng.uniform(0.5, 1.5, value.shape))
            elif is_pointwise(weight):
                cut = np.sort(np.abs(value), axis=None)[int(share * value.size) - 1]
                weight.assign(np.where(np.abs(value) <= cut, 0, value))
    return model


def is_pointwise(weight):
    """Whether a weight is a kernel that XNNPACK's threshold counts."""
    shape = tuple(weight.shape)
    return weight.path.endswith("kernel") and (shape[:-2] == (1, 1) or len(shape) == 2)
