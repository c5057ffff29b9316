"""Keras layers and operations, one function each that says what the converter makes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from secateur.xnnpack.graph import Kind, Value, Window
from secateur.xnnpack.keras_calls import Call, Tensor
from secateur.xnnpack.keras_emit import Emitter, Shape
from secateur.xnnpack.rules import Reason


@dataclasses.dataclass(frozen=True)
class Layer:
    """One call of a layer or operation, as its function below sees it.

    Args:
        operation: The layer or operation.
        values: What it reads.
        arguments: Its arguments in order, a Value where there is a tensor.
        shapes: The shapes of its outputs.
    """

    operation: Any
    values: tuple[Value, ...]
    arguments: tuple[Any, ...]
    shapes: tuple[Shape, ...]

    @property
    def shape(self) -> Shape:
        """The shape of the only output."""
        return self.shapes[0]


Handler = Callable[[Emitter, Layer], Value]
HANDLERS: dict[str, Handler] = {}

_NOTHING = (
    *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "GaussianNoise", "GaussianDropout"),
    *("AlphaDropout", "ActivityRegularization", "Identity", "StopGradient"),
    *("RandomFlip", "RandomRotation", "RandomTranslation", "RandomZoom", "RandomContrast"),
    *("RandomBrightness", "RandomCrop", "RandomErasing", "RandomHue", "RandomSaturation"),
)
_FUNCTIONS = {
    **{"Relu": "relu", "Relu6": "relu6", "Sigmoid": "sigmoid", "Silu": "silu", "Tanh": "tanh"},
    **{"Elu": "elu", "ELU": "elu", "Gelu": "gelu", "HardSigmoid": "hard_sigmoid"},
    **{"HardSilu": "hard_silu", "HardTanh": "hard_tanh", "LeakyRelu": "leaky_relu"},
    **{"LeakyReLU": "leaky_relu", "Exp": "exponential", "Softmax": "softmax"},
    **{"SoftSign": "softsign", "Softsign": "softsign", "TanhShrink": "tanh_shrink"},
}
_UNARY = {"Absolute": "abs", "Abs": "abs", "Negative": "neg", "Square": "square", "Sqrt": "sqrt"}
_UNARY |= {"Floor": "floor", "Ceil": "ceil", "Rsqrt": "rsqrt", "Sin": "sin", "Cos": "cos"}
_ARITHMETIC = {"Add": "add", "Multiply": "multiply", "Subtract": "subtract", "Divide": "divide"}
_ARITHMETIC |= {"TrueDivide": "divide", "Maximum": "maximum", "Minimum": "minimum"}
_REDUCTIONS = {"Mean": "mean", "Sum": "sum", "Max": "maximum", "Min": "minimum"}
_MOST_CONCATENATED = 5


def handle(emitter: Emitter, call: Call, values: Sequence[Value]) -> list[Value]:
    """Emits the nodes of a call.

    Args:
        emitter: Where they go.
        call: The call.
        values: What became of the tensors it reads.

    Returns:
        What became of its outputs.
    """
    known = dict(zip(call.inputs, values, strict=True))
    arguments = tuple(
        known.get(x, x) if isinstance(x, Tensor) else x for x in (*call.args, *call.kwargs.values())
    )
    shapes = tuple(tensor.shape for tensor in call.outputs)
    return _handle(emitter, Layer(call.operation, tuple(values), arguments, shapes))


def _handle(emitter: Emitter, call: Layer) -> list[Value]:
    emitter.operation = call.operation
    for kind in type(call.operation).__mro__:
        if kind.__name__ in HANDLERS and kind.__module__.split(".")[0] == "keras":
            changed = type(call.operation).call is not kind.call  # type: ignore[attr-defined]
            if not changed and getattr(call.operation, "data_format", None) != "channels_first":
                return [HANDLERS[kind.__name__](emitter, call)]
            break
    return [emitter.other(call.values, shape, Reason.UNKNOWN) for shape in call.shapes]


def _handles(*names: str) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(names, handler))
        return handler

    return register


@_handles(*_NOTHING)
def _nothing(emitter: Emitter, call: Layer) -> Value:
    return call.values[0]


@_handles(*_FUNCTIONS)
def _function(emitter: Emitter, call: Layer) -> Value:
    name = _FUNCTIONS[type(call.operation).__name__]
    if name == "elu" and getattr(call.operation, "alpha", 1.0) != 1.0:
        return emitter.undelegated(call.values, call.shape)
    return emitter.function(call.values[0], name)


@_handles(*_UNARY)
def _unary(emitter: Emitter, call: Layer) -> Value:
    return emitter.unary(call.values[0], _UNARY[type(call.operation).__name__])


@_handles("Activation")
def _activation(emitter: Emitter, call: Layer) -> Value:
    return _activate(emitter, call.values[0], call.operation.activation, call.shape)


def _activate(emitter: Emitter, x: Value, activation: Any, shape: Shape) -> Value:
    if hasattr(activation, "compute_output_spec"):  # a layer
        return _handle(emitter, Layer(activation, (x,), (x,), (shape,)))[0]
    return emitter.function(x, getattr(activation, "__name__", "linear"))


@_handles("ReLU")
def _relu(emitter: Emitter, call: Layer) -> Value:
    layer, (x,) = call.operation, call.values
    if layer.threshold or (layer.negative_slope and layer.max_value is not None):
        return emitter.undelegated((x,), call.shape)
    if layer.negative_slope:
        return emitter.unary(x, "leaky_relu")
    return emitter.clamp(x, "relu" if layer.max_value is None else "relu6")


@_handles("PReLU")
def _prelu(emitter: Emitter, call: Layer) -> Value:
    (x,) = call.values
    slope = emitter.constant(np.zeros(call.operation.alpha.shape))
    before = next((node for node in emitter.nodes if x in node.outputs), None)
    if before is None or before.operator != "relu":
        return emitter.add(Kind.BINARY, (x, slope), call.shape, "prelu")
    negative = emitter.clamp(emitter.unary(x, "neg"))
    return emitter.arithmetic(
        "add", x, emitter.add(Kind.BINARY, (negative, slope), call.shape, "multiply")
    )


@_handles(*_ARITHMETIC)
def _arithmetic(emitter: Emitter, call: Layer) -> Value:
    operands = call.values if len(call.values) > 1 else call.arguments[:2]
    result, *others = operands
    for other in others:
        result = emitter.arithmetic(_ARITHMETIC[type(call.operation).__name__], result, other)
    return result


@_handles("Average")
def _average(emitter: Emitter, call: Layer) -> Value:
    result, *others = call.values
    for other in others:
        result = emitter.arithmetic("add", result, other)
    return emitter.arithmetic("multiply", result, 1 / len(call.values))


@_handles("Clip")
def _clip(emitter: Emitter, call: Layer) -> Value:
    return emitter.clamp(call.values[0], "clip")


@_handles("Power")
def _power(emitter: Emitter, call: Layer) -> Value:
    exponent = call.arguments[1]
    if isinstance(exponent, int | float) and exponent == 2:
        return emitter.arithmetic("multiply", call.values[0], call.values[0])
    return emitter.undelegated(call.values, call.shape)


@_handles("BatchNormalization")
def _batch_normalization(emitter: Emitter, call: Layer) -> Value:
    (x,), layer = call.values, call.operation
    rank = len(x.shape)
    axis = layer.axis % rank
    length = x.shape[axis] or 1
    shape = (
        (length,) if axis == rank - 1 else tuple(length if i == axis else 1 for i in range(rank))
    )
    scaled = emitter.arithmetic("multiply", x, np.zeros(shape))
    return emitter.arithmetic("add", scaled, np.zeros(shape))


@_handles("Rescaling")
def _rescaling(emitter: Emitter, call: Layer) -> Value:
    layer = call.operation
    x = emitter.arithmetic("multiply", call.values[0], layer.scale)
    return emitter.arithmetic("add", x, layer.offset) if np.any(layer.offset) else x


@_handles("Normalization")
def _normalization(emitter: Emitter, call: Layer) -> Value:
    channels = call.shape[-1] or 1
    x = emitter.arithmetic("subtract", call.values[0], np.zeros((1, 1, 1, channels)))
    return emitter.arithmetic("multiply", x, np.zeros((1, 1, 1, channels)))


@_handles("ZeroPadding2D")
def _zero_padding(emitter: Emitter, call: Layer) -> Value:
    rows, columns = call.operation.padding
    pads = ((0, 0), tuple(rows), tuple(columns), (0, 0))
    return emitter.add(Kind.PAD, call.values, call.shape, pads=pads)


@_handles("Conv2D")
def _conv(emitter: Emitter, call: Layer) -> Value:
    layer, (x,) = call.operation, call.values
    if layer.rank != 2:
        return emitter.other((x,), call.shape)
    channels = layer.kernel.shape[-2]
    window = _window(layer, x, groups=layer.groups, channels=channels)

    def emit(x: Value, window: Window) -> Value:
        return emitter.convolution(x, layer.kernel, window, call.shape)

    y = emitter.dilated(x, emit, window, call.shape)
    return _activate(emitter, y, layer.activation, call.shape)


@_handles("DepthwiseConv2D")
def _depthwise(emitter: Emitter, call: Layer) -> Value:
    layer, (x,) = call.operation, call.values
    window = _window(layer, x, multiplier=layer.depth_multiplier)

    def emit(x: Value, window: Window) -> Value:
        return emitter.depthwise(x, layer.kernel, window, call.shape)

    y = emitter.dilated(x, emit, window, call.shape)
    return _activate(emitter, y, layer.activation, call.shape)


@_handles("SeparableConv2D")
def _separable(emitter: Emitter, call: Layer) -> Value:
    layer, (x,) = call.operation, call.values
    window = _window(layer, x, multiplier=layer.depth_multiplier)
    between = (*call.shape[:-1], layer.pointwise_kernel.shape[-2])

    def emit(x: Value, window: Window) -> Value:
        return emitter.depthwise(x, layer.depthwise_kernel, window, between)

    y = emitter.dilated(x, emit, window, between)
    point = Window((1, 1), channels=between[-1])
    y = emitter.convolution(y, layer.pointwise_kernel, point, call.shape)
    return _activate(emitter, y, layer.activation, call.shape)


def _window(layer: Any, x: Value, **kwargs: Any) -> Window:
    """The window of a convolution layer.

    Where "same" pads the same number of pixels on both sides, `secateur.export` writes the padding
    out, which XNNPACK can use.
    """
    kernel, strides = tuple(layer.kernel_size), tuple(layer.strides)
    dilation = tuple(layer.dilation_rate)
    return Window.of(
        layer.padding, kernel, strides=strides, dilation=dilation, **kwargs
    ).with_explicit_padding(x.shape[1:3])


@_handles("Dense")
def _dense(emitter: Emitter, call: Layer) -> Value:
    layer, (x,) = call.operation, call.values
    y = emitter.dense(x, layer.kernel, call.shape)
    return _activate(emitter, y, layer.activation, call.shape)


@_handles("GlobalAveragePooling2D", "GlobalMaxPooling2D")
def _global_pooling(emitter: Emitter, call: Layer) -> Value:
    operator = "mean" if "Average" in type(call.operation).__name__ else "maximum"
    keep = call.operation.keepdims
    return emitter.add(Kind.REDUCE, call.values, call.shape, operator, axes=(1, 2), keep_dims=keep)


@_handles(*_REDUCTIONS)
def _reduction(emitter: Emitter, call: Layer) -> Value:
    (x,), rank = call.values, len(call.values[0].shape)
    axis = call.operation.axis
    axes = range(rank) if axis is None else np.atleast_1d(axis)
    return emitter.add(
        Kind.REDUCE,
        (x,),
        call.shape,
        _REDUCTIONS[type(call.operation).__name__],
        axes=tuple(sorted(int(a) % rank for a in axes)),
        keep_dims=bool(call.operation.keepdims),
    )


@_handles("AveragePooling2D", "MaxPooling2D")
def _pooling(emitter: Emitter, call: Layer) -> Value:
    layer = call.operation
    pool, strides = tuple(layer.pool_size), tuple(layer.strides)
    if pool == (1, 1) == strides:
        return emitter.clamp(call.values[0], "pool")
    if any(stride > size for stride, size in zip(strides, pool, strict=True)):
        return emitter.undelegated(call.values, call.shape)
    return emitter.other(call.values, call.shape)


@_handles("Flatten", "Reshape")
def _reshape(emitter: Emitter, call: Layer) -> Value:
    return emitter.reshape(call.values[0], call.shape)


@_handles("UpSampling2D")
def _upsampling(emitter: Emitter, call: Layer) -> Value:
    (x,) = call.values
    if call.operation.interpolation == "bilinear":
        return emitter.add(Kind.RESIZE_BILINEAR, (x,), call.shape)
    if x.shape[0] is not None:
        x = emitter.add(Kind.RESHAPE, (x,), x.shape)
    return emitter.undelegated((x,), call.shape)


@_handles("Resizing")
def _resizing(emitter: Emitter, call: Layer) -> Value:
    layer = call.operation
    plain = not (layer.crop_to_aspect_ratio or layer.pad_to_aspect_ratio)
    if layer.interpolation == "bilinear" and plain and not layer.antialias:
        return emitter.add(Kind.RESIZE_BILINEAR, call.values, call.shape)
    return emitter.undelegated(call.values, call.shape)


@_handles("DepthToSpace")
def _depth_to_space(emitter: Emitter, call: Layer) -> Value:
    return emitter.add(Kind.DEPTH_TO_SPACE, call.values, call.shape)


@_handles("Concatenate")
def _concatenate(emitter: Emitter, call: Layer) -> Value:
    if len(call.values) > _MOST_CONCATENATED:
        return emitter.undelegated(call.values, call.shape)
    return emitter.other(call.values, call.shape)


@_handles("Cropping2D", "Permute", "Transpose", "Conv2DTranspose", "SpaceToDepth")
def _other(emitter: Emitter, call: Layer) -> Value:
    return emitter.other(call.values, call.shape)
