"""What shapes the tensors of a model have for given inputs, where its operators are common ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from secateur.litert.graph import indices
from secateur.runtime._forms import SAME, VALID, windowed
from secateur.runtime._lowering import BINARY, UNARY
from secateur.runtime._reading import Dims, Graph


class _Unknown(Exception):
    """There is no rule for an operator, or it does not go with its inputs."""


def infer(graph: Graph, given: Mapping[int, Dims]) -> list[Dims | None] | None:
    """Find the shapes of all tensors, as LiteRT would.

    Args:
        graph: The graph; the shapes of its constants are those of the file.
        given: The shapes of its inputs.

    Returns:
        The shape of each tensor, None for those that nothing writes; or None as a whole where there
        is an operator of another kind, or one that does not take such inputs.
    """
    shapes: list[Dims | None] = [None] * len(graph.types)
    for tensor, dims in given.items():
        shapes[tensor] = dims
    try:
        for place in graph.needed:
            for tensor in graph.reads[place]:
                if tensor >= 0 and shapes[tensor] is None:
                    shapes[tensor] = _stored(graph, tensor)
            (output,) = graph.writes[place]
            shapes[output] = _RULES[graph.kinds[place]](_Operator(graph, place, shapes))
    except (_Unknown, KeyError, ValueError):
        return None
    return shapes


def _stored(graph: Graph, tensor: int) -> Dims:
    if not graph.is_stored(tensor):
        raise _Unknown
    return graph.dims[tensor]


class _Operator:
    """An operator with the shapes of what it reads."""

    def __init__(self, graph: Graph, place: int, shapes: list[Dims | None]) -> None:
        self._graph, self._place = graph, place
        self.reads = graph.reads[place]
        self._shapes = shapes

    def shape(self, operand: int = 0) -> Dims:
        """The shape of an operand."""
        tensor = self.reads[operand] if operand < len(self.reads) else -1
        return _there(self._shapes[tensor] if tensor >= 0 else None)

    def numbers(self, operand: int) -> list[int]:
        """The values of an operand that is a constant."""
        return _there(self._graph.numbers(self.reads[operand])) if operand < len(self.reads) else []

    def options(self, name: str) -> Any:
        """The options, of the class that belongs to the kind of operator."""
        options = self._graph.options[self._place]
        return _there(options if type(options).__name__ == name else None)


def _there(found: Any) -> Any:
    if found is None:
        raise _Unknown
    return found


def _check(fits: bool) -> None:
    if not fits:
        raise _Unknown


def _image(operator: _Operator, operand: int = 0) -> Dims:
    dims = operator.shape(operand)
    _check(len(dims) == 4)
    return dims


def _same(operator: _Operator) -> Dims:
    return operator.shape()


def _windowed(operator: _Operator, options: Any, kernel: Dims, channels: int) -> Dims:
    dims = _image(operator)
    strides = options.strideH, options.strideW
    dilation = getattr(options, "dilationHFactor", 1), getattr(options, "dilationWFactor", 1)
    _check(min(*strides, *dilation, *kernel) > 0 and options.padding in (SAME, VALID))
    axes = zip(dims[1:3], kernel, strides, dilation, strict=True)
    lengths = [windowed(*axis, options.padding) for axis in axes]
    _check(min(lengths) > 0)
    return (dims[0], *lengths, channels)


def _convolution(operator: _Operator) -> Dims:
    kernel = _image(operator, 1)
    return _windowed(operator, operator.options("Conv2DOptionsT"), kernel[1:3], kernel[0])


def _depthwise(operator: _Operator) -> Dims:
    kernel = _image(operator, 1)
    return _windowed(operator, operator.options("DepthwiseConv2DOptionsT"), kernel[1:3], kernel[3])


def _pool(operator: _Operator) -> Dims:
    options = operator.options("Pool2DOptionsT")
    kernel = options.filterHeight, options.filterWidth
    return _windowed(operator, options, kernel, _image(operator)[3])


def _dense(operator: _Operator) -> Dims:
    dims, kernel = operator.shape(), operator.shape(1)
    keep = operator.options("FullyConnectedOptionsT").keepNumDims
    _check(len(kernel) == 2 and kernel[1] > 0)
    if keep:
        _check(dims[-1:] == kernel[1:])
        return (*dims[:-1], kernel[0])
    rows, rest = divmod(math.prod(dims), kernel[1])
    _check(not rest)
    return rows, kernel[0]


def _broadcast(operator: _Operator) -> Dims:
    left, right = operator.shape(0), operator.shape(1)
    return left if left == right else tuple(map(int, np.broadcast_shapes(left, right)))


def _axes(axes: list[int], rank: int) -> set[int]:
    _check(all(-rank <= axis < rank for axis in axes))
    return {axis % rank for axis in axes}


def _mean(operator: _Operator) -> Dims:
    dims, keep = operator.shape(), operator.options("ReducerOptionsT").keepDims
    axes = _axes(operator.numbers(1), len(dims))
    _check(bool(axes))
    lengths = [1 if i in axes else length for i, length in enumerate(dims)]
    return tuple(length for i, length in enumerate(lengths) if keep or i not in axes)


def _resize(operator: _Operator) -> Dims:
    dims = _image(operator)
    height, width = operator.numbers(1)
    _check(height > 0 and width > 0)
    return dims[0], height, width, dims[3]


def _concatenation(operator: _Operator) -> Dims:
    dims = operator.shape()
    (axis,) = _axes([operator.options("ConcatenationOptionsT").axis], len(dims))
    total = 0
    for operand in range(len(operator.reads)):
        other = operator.shape(operand)
        _check((*other[:axis], *other[axis + 1 :]) == (*dims[:axis], *dims[axis + 1 :]))
        total += other[axis]
    return (*dims[:axis], total, *dims[axis + 1 :])


def _pad(operator: _Operator) -> Dims:
    dims, numbers = operator.shape(), operator.numbers(1)
    _check(len(numbers) == 2 * len(dims) and min(numbers, default=0) >= 0)
    pairs = zip(dims, numbers[::2], numbers[1::2], strict=True)
    return tuple(length + before + behind for length, before, behind in pairs)


def _slice(operator: _Operator) -> Dims:
    dims, begin, size = operator.shape(), operator.numbers(1), operator.numbers(2)
    for length, first, count in zip(dims, begin, size, strict=True):
        _check(first >= 0 and 0 < count <= length - first)
    return tuple(size)  # LiteRT keeps to the file where one is "all the rest"


def _reshape(operator: _Operator) -> Dims:
    if len(operator.reads) == 2:
        _check(len(operator.shape(1)) == 1)
        target = operator.numbers(1)
    else:
        target = indices(_there(operator.options("ReshapeOptionsT").newShape))
    count = math.prod(operator.shape())
    if target.count(-1) == 1:
        rest = -math.prod(target)
        _check(rest > 0 and count % rest == 0)
        target[target.index(-1)] = count // rest
    _check(min(target, default=0) >= 0 and math.prod(target) == count)
    return tuple(target)


def _squeeze(operator: _Operator) -> Dims:
    dims, named = operator.shape(), operator.options("SqueezeOptionsT").squeezeDims
    axes = _axes(indices(named), len(dims))
    axes = axes or {i for i, length in enumerate(dims) if length == 1}
    _check(all(dims[axis] == 1 for axis in axes))
    return tuple(length for i, length in enumerate(dims) if i not in axes)


def _expand(operator: _Operator) -> Dims:
    dims = operator.shape()
    (axis,) = operator.numbers(1)
    (axis,) = _axes([axis], len(dims) + 1)
    return (*dims[:axis], 1, *dims[axis:])


_RULES: dict[str, Callable[[_Operator], Dims]] = {
    **dict.fromkeys((*UNARY, "LEAKY_RELU", "GELU", "SOFTMAX", "DEQUANTIZE", "DENSIFY"), _same),
    **dict.fromkeys(BINARY, _broadcast),
    **dict.fromkeys(("MAX_POOL_2D", "AVERAGE_POOL_2D"), _pool),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), _resize),
    **dict.fromkeys(("PAD", "PADV2"), _pad),
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense,
    "MEAN": _mean,
    "CONCATENATION": _concatenation,
    "SLICE": _slice,
    "RESHAPE": _reshape,
    "SQUEEZE": _squeeze,
    "EXPAND_DIMS": _expand,
}
