"""Operators of a `.tflite` file as operations of the native library, or why they are none."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from secateur.runtime._convolutions import convolution, depthwise, fully_connected
from secateur.runtime._forms import IDENTITY, RELU, RELU6, RELU_N1_TO_1, Activation, Shape
from secateur.runtime._operations import (
    SWISH,
    Concatenation,
    Elementwise,
    Mean,
    Operation,
    Padding,
    Pooling,
    Reshape,
    Resizing,
    Slice,
    Softmax,
    Unary,
)
from secateur.runtime._reading import Graph
from secateur.runtime._signatures import Binary, Function, Pool, Resize
from secateur.runtime._terms import (
    NotNative,
    Reason,
    fused,
    image,
    images,
    need,
    options_of,
    window_of,
)

UNARY = {
    "RELU": RELU,
    "RELU6": RELU6,
    "RELU_N1_TO_1": RELU_N1_TO_1,
    "LOGISTIC": Activation(Function.SIGMOID),
    "TANH": Activation(Function.TANH),
    "HARD_SWISH": Activation(Function.HARD_SWISH),
    "ELU": Activation(Function.ELU),
    "ABS": Activation(Function.ABS),
    "SQUARE": Activation(Function.SQUARE),
    "EXP": Activation(Function.EXP),
    "SQRT": Activation(Function.SQRT),
    "RSQRT": Activation(Function.RSQRT),
    "NEG": Activation(Function.NEG),
}
BINARY = {
    "ADD": (Binary.ADD, "AddOptionsT"),
    "SUB": (Binary.SUB, "SubOptionsT"),
    "MUL": (Binary.MUL, "MulOptionsT"),
    "DIV": (Binary.DIV, "DivOptionsT"),
    "MAXIMUM": (Binary.MAXIMUM, ""),
    "MINIMUM": (Binary.MINIMUM, ""),
    "SQUARED_DIFFERENCE": (Binary.SQUARED_DIFFERENCE, ""),
}


def lower(graph: Graph, place: int) -> Operation:
    """Turn one operator into an operation.

    Args:
        graph: The graph.
        place: The operator's place.

    Returns:
        The operation, every shape and size of it checked.

    Raises:
        NotNative: If the native library has no such operation; its argument is the reason.
    """
    kind = graph.kinds[place]
    outputs = graph.writes[place]
    if kind not in _LOWER:
        raise NotNative(Reason.KIND)
    need(len(outputs) == 1, Reason.KIND)
    return _LOWER[kind](graph, place)


def _unary(graph: Graph, place: int) -> Operation:
    kind = graph.kinds[place]
    if kind == "LEAKY_RELU":
        alpha = options_of(graph, place, "LeakyReluOptionsT").alpha
        need(math.isfinite(alpha), Reason.OPTIONS)
        function = Activation(Function.LEAKY_RELU, float(alpha))
    elif kind == "GELU":
        quick = options_of(graph, place, "GeluOptionsT").approximate
        function = Activation(Function.GELU_TANH if quick else Function.GELU)
    else:
        function = UNARY[kind]
    found = images(graph, place, 1)
    _, shapes, _, target = found
    need(shapes[0] == target, Reason.SHAPE)
    return Unary(found, function)


def swish(graph: Graph, sigmoid: int, product: int) -> Operation:
    """Turn two operators, a sigmoid and the product with what it reads, into one operation.

    Raises:
        NotNative: As `lower`.
    """
    activation = options_of(graph, product, "MulOptionsT").fusedActivationFunction
    need(fused(activation) == IDENTITY and len(graph.writes[product]) == 1, Reason.OPTIONS)
    tensors, shapes, _, between = images(graph, sigmoid, 1)
    (output,) = graph.writes[product]
    target = image(graph, output)
    need(shapes[0] == between == target, Reason.SHAPE)
    return Unary((tensors, shapes, output, target), SWISH)


def _binary(graph: Graph, place: int) -> Operation:
    function, options = BINARY[graph.kinds[place]]
    pair, (output,) = graph.reads[place], graph.writes[place]
    need(len(pair) == 2 and min(pair) >= 0, Reason.KIND)
    activation = IDENTITY
    if options:
        activation = fused(options_of(graph, place, options).fusedActivationFunction)
    target, rank = image(graph, output), len(graph.shape(output) or ())
    tensors: list[int] = []
    shapes: list[Shape] = []
    constants: dict[int, tuple[Shape, np.ndarray]] = {}
    for i, tensor in enumerate(pair):
        if graph.is_constant(tensor):
            constants[i] = _constant(graph, tensor, output)
            shape = constants[i][0]
        else:
            need(len(graph.shape(tensor) or ()) == rank, Reason.SHAPE)
            shape = image(graph, tensor)
            tensors.append(tensor)
            shapes.append(shape)
        pixels = shape[1:] in (target[1:], (1, 1))
        need(shape[0] in (target[0], 1) and pixels, Reason.BROADCAST)
    # The library broadcasts one operand; of two that grow together each would need it.
    need(target in shapes, Reason.BROADCAST)
    return Elementwise((tensors, shapes, output, target), function, activation, constants)


def _constant(graph: Graph, tensor: int, output: int) -> tuple[Shape, np.ndarray]:
    """A constant operand as an image that is the same for each of the batch."""
    values = graph.constant(tensor)
    if values is None:
        raise NotNative(Reason.TYPE)
    rank = len(graph.shape(output) or ())
    need(values.ndim <= rank and values.size > 0, Reason.BROADCAST)
    full = [1] * (rank - values.ndim) + list(values.shape)
    need(full[0] == 1 and rank >= 2, Reason.BROADCAST)
    height, width = ([1, 1] + full[1:-1])[-2:]
    return (full[-1], height, width), np.array(values, np.float32)


def _pool(graph: Graph, place: int) -> Operation:
    options = options_of(graph, place, "Pool2DOptionsT")
    function = Pool.MAX if graph.kinds[place] == "MAX_POOL_2D" else Pool.AVERAGE
    found = images(graph, place, 1)
    _, shapes, _, target = found
    need(shapes[0][0] == target[0], Reason.SHAPE)
    window = window_of(options, (options.filterHeight, options.filterWidth), shapes[0], target)
    activation = fused(options.fusedActivationFunction)
    return Pooling(found, function, window, activation)


def _mean(graph: Graph, place: int) -> Operation:
    found = images(graph, place, 2)
    _, shapes, _, target = found
    source = graph.reads[place][0]
    rank = len(graph.shape(source) or ())
    axes = graph.numbers(graph.reads[place][1])
    need(axes is not None, Reason.OPTIONS)
    need(sorted(axis % rank for axis in axes or ()) == list(range(1, rank - 1)), Reason.OPTIONS)
    need(rank > 2 and target == (shapes[0][0], 1, 1), Reason.SHAPE)
    return Mean(found)


def _resize(graph: Graph, place: int) -> Operation:
    bilinear = graph.kinds[place] == "RESIZE_BILINEAR"
    name = "ResizeBilinearOptionsT" if bilinear else "ResizeNearestNeighborOptionsT"
    options = options_of(graph, place, name)
    found = images(graph, place, 2)
    _, shapes, output, target = found
    need(len(graph.shape(output) or ()) == 4 and shapes[0][0] == target[0], Reason.SHAPE)
    flags = bool(options.alignCorners), bool(options.halfPixelCenters)
    need(not all(flags), Reason.OPTIONS)
    function = Resize.BILINEAR if bilinear else Resize.NEAREST
    return Resizing(found, function, flags)


def _concatenation(graph: Graph, place: int) -> Operation:
    options = options_of(graph, place, "ConcatenationOptionsT")
    inputs = graph.reads[place]
    found = images(graph, place, len(inputs), len(inputs))
    _, shapes, output, target = found
    rank = len(graph.shape(output) or ())
    need(options.axis in (-1, rank - 1) and not options.fusedActivationFunction, Reason.OPTIONS)
    need(all(shape[1:] == target[1:] for shape in shapes), Reason.SHAPE)
    need(sum(shape[0] for shape in shapes) == target[0], Reason.SHAPE)
    return Concatenation(found)


def _pad(graph: Graph, place: int) -> Operation:
    inputs = graph.reads[place]
    found = images(graph, place, len(inputs))
    _, shapes, _, target = found
    fill = 0.0
    if graph.kinds[place] == "PADV2":
        value = graph.constant(inputs[2]) if len(inputs) == 3 else None
        need(value is not None and value.size == 1, Reason.OPTIONS)
        fill = float(np.ravel(value)[0])  # type: ignore[arg-type]
    pads = paddings(graph, place)
    before = pads[-1][0], pads[-3][0] if len(pads) == 4 else 0, pads[-2][0] if len(pads) > 2 else 0
    channels, height, width = shapes[0]
    sizes = pads[-1], pads[-3] if len(pads) == 4 else (0, 0), pads[-2] if len(pads) > 2 else (0, 0)
    padded = tuple(n + sum(p) for n, p in zip((channels, height, width), sizes, strict=True))
    need(padded == target, Reason.SHAPE)
    return Padding(found, before, fill)


def paddings(graph: Graph, place: int) -> list[tuple[int, int]]:
    """Before and behind for each axis, none negative and none on the batch."""
    inputs = graph.reads[place]
    numbers = graph.numbers(inputs[1])
    rank = len(graph.shape(inputs[0]) or ())
    need(numbers is not None and len(numbers) == 2 * rank and rank >= 2, Reason.OPTIONS)
    assert numbers is not None
    need(min(numbers) >= 0 and numbers[:2] == [0, 0], Reason.OPTIONS)
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _slice(graph: Graph, place: int) -> Operation:
    found = images(graph, place, 3)
    _, shapes, output, target = found
    begin = graph.numbers(graph.reads[place][1])
    rank = len(graph.shape(output) or ())
    need(begin is not None and len(begin) == rank and begin[0] == 0, Reason.OPTIONS)
    assert begin is not None
    height, width = ([0, 0] + begin[1:-1])[-2:]
    start = begin[-1], height, width
    for first, length, whole in zip(start, target, shapes[0], strict=True):
        need(first >= 0 and first + length <= whole, Reason.SHAPE)
    return Slice(found, start)


def _reshape(graph: Graph, place: int) -> Operation:
    inputs = graph.reads[place]
    found = images(graph, place, len(inputs))
    _, shapes, _, target = found
    need(math.prod(shapes[0]) == math.prod(target), Reason.SHAPE)
    return Reshape(found)


def _softmax(graph: Graph, place: int) -> Operation:
    found = images(graph, place, 1)
    _, shapes, _, target = found
    beta = float(options_of(graph, place, "SoftmaxOptionsT").beta)
    need(shapes[0] == target and math.isfinite(beta), Reason.SHAPE)
    return Softmax(found, beta)


_LOWER: dict[str, Callable[[Graph, int], Operation]] = {
    "CONV_2D": convolution,
    "DEPTHWISE_CONV_2D": depthwise,
    "FULLY_CONNECTED": fully_connected,
    **dict.fromkeys((*UNARY, "LEAKY_RELU", "GELU"), _unary),
    **dict.fromkeys(BINARY, _binary),
    **dict.fromkeys(("MAX_POOL_2D", "AVERAGE_POOL_2D"), _pool),
    "MEAN": _mean,
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), _resize),
    "CONCATENATION": _concatenation,
    **dict.fromkeys(("PAD", "PADV2"), _pad),
    "SLICE": _slice,
    **dict.fromkeys(("RESHAPE", "SQUEEZE", "EXPAND_DIMS"), _reshape),
    "SOFTMAX": _softmax,
}
