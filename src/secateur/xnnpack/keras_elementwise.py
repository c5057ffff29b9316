"""Activations, arithmetic and normalization of Keras, and what the converter makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from secateur.xnnpack.graph import Kind, Value
from secateur.xnnpack.keras_emit import Emitter, Handler, Layer, Shape, registers
from secateur.xnnpack.rules import Reason

#: What each class becomes.
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


@registers(HANDLERS, *_NOTHING)
def _nothing(emitter: Emitter, call: Layer) -> Value:
    return call.values[0]


@registers(HANDLERS, *_FUNCTIONS)
def _function(emitter: Emitter, call: Layer) -> Value:
    name = _FUNCTIONS[type(call.operation).__name__]
    if name == "elu" and getattr(call.operation, "alpha", 1.0) != 1.0:
        return emitter.undelegated(call.values, call.shape)
    return emitter.function(call.values[0], name)


@registers(HANDLERS, *_UNARY)
def _unary(emitter: Emitter, call: Layer) -> Value:
    return emitter.unary(call.values[0], _UNARY[type(call.operation).__name__])


@registers(HANDLERS, "Activation")
def _activation(emitter: Emitter, call: Layer) -> Value:
    return activate(emitter, call.values[0], call.operation.activation, call.shape)


def activate(emitter: Emitter, x: Value, activation: Any, shape: Shape) -> Value:
    """Emits an activation: one of Keras' functions, or a layer."""
    if hasattr(activation, "compute_output_spec"):  # a layer
        handler = HANDLERS.get(type(activation).__name__)
        if handler is None:
            return emitter.other((x,), shape, Reason.UNKNOWN)
        return handler(emitter, Layer(activation, (x,), (x,), (shape,)))
    return emitter.function(x, getattr(activation, "__name__", "linear"))


@registers(HANDLERS, "ReLU")
def _relu(emitter: Emitter, call: Layer) -> Value:
    layer, (x,) = call.operation, call.values
    if layer.threshold or (layer.negative_slope and layer.max_value is not None):
        return emitter.undelegated((x,), call.shape)
    if layer.negative_slope:
        return emitter.unary(x, "leaky_relu")
    return emitter.clamp(x, "relu" if layer.max_value is None else "relu6")


@registers(HANDLERS, "PReLU")
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


@registers(HANDLERS, *_ARITHMETIC)
def _arithmetic(emitter: Emitter, call: Layer) -> Value:
    operands = call.values if len(call.values) > 1 else call.arguments[:2]
    result, *others = operands
    for other in others:
        result = emitter.arithmetic(_ARITHMETIC[type(call.operation).__name__], result, other)
    return result


@registers(HANDLERS, "Average")
def _average(emitter: Emitter, call: Layer) -> Value:
    result, *others = call.values
    for other in others:
        result = emitter.arithmetic("add", result, other)
    return emitter.arithmetic("multiply", result, 1 / len(call.values))


@registers(HANDLERS, "Clip")
def _clip(emitter: Emitter, call: Layer) -> Value:
    return emitter.clamp(call.values[0], "clip")


@registers(HANDLERS, "Power")
def _power(emitter: Emitter, call: Layer) -> Value:
    exponent = call.arguments[1]
    if isinstance(exponent, int | float) and exponent == 2:
        return emitter.arithmetic("multiply", call.values[0], call.values[0])
    return emitter.undelegated(call.values, call.shape)


@registers(HANDLERS, "BatchNormalization")
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


@registers(HANDLERS, "Rescaling")
def _rescaling(emitter: Emitter, call: Layer) -> Value:
    layer = call.operation
    x = emitter.arithmetic("multiply", call.values[0], layer.scale)
    return emitter.arithmetic("add", x, layer.offset) if np.any(layer.offset) else x


@registers(HANDLERS, "Normalization")
def _normalization(emitter: Emitter, call: Layer) -> Value:
    channels = call.shape[-1] or 1
    x = emitter.arithmetic("subtract", call.values[0], np.zeros((1, 1, 1, channels)))
    return emitter.arithmetic("multiply", x, np.zeros((1, 1, 1, channels)))
