"""What an operator must be to run natively, asked in small questions; and why it is not."""

from __future__ import annotations

import math
from typing import Any

from secateur.litert.graph import FLOAT32
from secateur.runtime._forms import (
    IDENTITY,
    POINTWISE,
    RELU,
    RELU6,
    RELU_N1_TO_1,
    SAME,
    VALID,
    Activation,
    Shape,
    Window,
    windowed,
)
from secateur.runtime._reading import Dims, Graph
from secateur.runtime._signatures import Function

# No image is larger: its values are counted in 32 bits.
_MOST_VALUES = 2**29
_FUSED = {0: IDENTITY, 1: RELU, 2: RELU_N1_TO_1, 3: RELU6, 4: Activation(Function.TANH)}


class Reason:
    """Why an operator or a whole model runs where it runs."""

    SPARSE = "native: the zeros are left out"
    DENSE = "native: too few zeros to leave out, but faster than a change to LiteRT and back"
    WITH_OTHERS = "native: cheaper than a change to LiteRT and back"
    KIND = "LiteRT: the native library has no such operator"
    TYPE = "LiteRT: not in float32"
    SHAPE = "LiteRT: a shape the native library does not take"
    OPTIONS = "LiteRT: with options the native library does not take"
    BROADCAST = "LiteRT: operands of these shapes"
    UNKNOWN = "LiteRT: shapes that are known only while the model runs"
    COST = "LiteRT: at least as fast there"
    NO_ZEROS = "LiteRT: no convolution or fully connected layer of float32 has enough zeros"
    NOT_WORTH = "LiteRT: the whole model is at least as fast there"
    SUBGRAPHS = "LiteRT: the model has several subgraphs"
    STATE = "LiteRT: the model keeps variables"
    CUSTOM = "LiteRT: the model has operators of its own"
    NEVER = 'LiteRT: native="never"'
    OPTIONS_GIVEN = "LiteRT: options were given that only LiteRT has"
    MISSING = "LiteRT: the native library is not installed"
    UNREADABLE = "LiteRT: the model's inputs and outputs are not as usual"


class NotNative(Exception):
    """An operator cannot run natively; the argument is one of `Reason`."""


def need(true: bool, reason: str) -> None:
    """Give up where something needed is not so."""
    if not true:
        raise NotNative(reason)


def image(graph: Graph, tensor: int) -> Shape:
    """A tensor as one image a batch entry: channels, height, width."""
    if tensor not in graph.images:
        need(tensor >= 0, Reason.KIND)
        need(graph.types[tensor] == FLOAT32, Reason.TYPE)
        graph.images[tensor] = _image(graph.shapes[tensor], graph.batch)
    return graph.images[tensor]


def _image(dims: Dims | None, batch: int) -> Shape:
    if dims is None:
        raise NotNative(Reason.UNKNOWN)
    need(2 <= len(dims) <= 4 and min(dims) > 0, Reason.SHAPE)
    need(dims[0] == batch and math.prod(dims) <= _MOST_VALUES, Reason.SHAPE)
    height, width = ((1, 1) + dims[1:-1])[-2:]
    return dims[-1], height, width


def images(
    graph: Graph, place: int, operands: int, data: int = 1
) -> tuple[list[int], list[Shape], int, Shape]:
    """The tensors and shapes of an operator of so many operands, of which the first are images.

    Returns:
        The tensors that hold images, their shapes, the output and its shape.
    """
    inputs = graph.reads[place]
    outputs = graph.writes[place]
    need(len(inputs) == operands and len(outputs) == 1, Reason.KIND)
    tensors = inputs[:data]
    need(bool(tensors) and not any(i < 0 or graph.is_constant(i) for i in tensors), Reason.KIND)
    shapes = [image(graph, tensor) for tensor in tensors]
    return tensors, shapes, outputs[0], image(graph, outputs[0])


def options_of(graph: Graph, place: int, name: str) -> Any:
    """An operator's options, which must be of the kind that belongs to it."""
    options = graph.options[place]
    need(type(options).__name__ == name, Reason.OPTIONS)
    return options


def fused(number: int) -> Activation:
    """The function that an operator applies to its output."""
    need(number in _FUSED, Reason.OPTIONS)
    return _FUSED[number]


def window_of(options: Any, kernel: tuple[int, int], source: Shape, target: Shape) -> Window:
    """The window of a convolution or pooling, with its padding in numbers, checked against shapes."""
    stride = options.strideH, options.strideW
    dilation = getattr(options, "dilationHFactor", 1), getattr(options, "dilationWFactor", 1)
    need(options.padding in (SAME, VALID), Reason.OPTIONS)
    need(min(*kernel, *stride, *dilation) > 0, Reason.OPTIONS)
    need(max(*kernel, *stride, *dilation) < 2**15, Reason.OPTIONS)
    if kernel == stride == (1, 1) and source[1:] == target[1:]:
        return POINTWISE
    before, behind = [], []
    for axis in (0, 1):
        length, step, out = source[axis + 1], stride[axis], target[axis + 1]
        span = (kernel[axis] - 1) * dilation[axis] + 1
        expected = windowed(length, kernel[axis], step, dilation[axis], options.padding)
        need(out == expected and out > 0, Reason.SHAPE)
        total = max((out - 1) * step + span - length, 0) if options.padding == SAME else 0
        before.append(total // 2)
        behind.append(total - total // 2)
    return Window(kernel, stride, (before[0], before[1], behind[0], behind[1]), dilation)
