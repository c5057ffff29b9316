"""Convolutions and fully connected layers of a `.tflite` file as native operations."""

from __future__ import annotations

import math

import numpy as np

from secateur.litert.graph import indices
from secateur.runtime._forms import POINTWISE
from secateur.runtime._operations import Convolution, Depthwise, Weights
from secateur.runtime._pruned import Pruned
from secateur.runtime._reading import Graph
from secateur.runtime._terms import NotNative, Reason, fused, image, need, options_of, window_of

_MOST_WEIGHTS = 2**28


def convolution(graph: Graph, place: int) -> Convolution:
    """A CONV_2D.

    Raises:
        NotNative: If it cannot run natively.
    """
    options = options_of(graph, place, "Conv2DOptionsT")
    source, kernel, bias, output = _operands(graph, place)
    shape, target, dims = image(graph, source), image(graph, output), _dims(graph, kernel, 4)
    need(dims[3] == shape[0] and dims[0] == target[0], Reason.SHAPE)
    window = window_of(options, (dims[1], dims[2]), shape, target)
    return Convolution(
        *([source], output, [shape], target),
        _weights(graph, kernel, dims),
        _bias(graph, bias, target[0]),
        window,
        fused(options.fusedActivationFunction),
    )


def depthwise(graph: Graph, place: int) -> Convolution:
    """A DEPTHWISE_CONV_2D.

    Raises:
        NotNative: If it cannot run natively.
    """
    options = options_of(graph, place, "DepthwiseConv2DOptionsT")
    source, kernel, bias, output = _operands(graph, place)
    shape, target, dims = image(graph, source), image(graph, output), _dims(graph, kernel, 4)
    need(dims[0] == 1 and dims[3] == target[0] and target[0] % shape[0] == 0, Reason.SHAPE)
    window = window_of(options, (dims[1], dims[2]), shape, target)
    return Depthwise(
        *([source], output, [shape], target),
        _weights(graph, kernel, dims[1:]),
        _bias(graph, bias, target[0]),
        window,
        fused(options.fusedActivationFunction),
    )


def fully_connected(graph: Graph, place: int) -> Convolution:
    """A FULLY_CONNECTED whose features are the last axis of what it reads.

    Raises:
        NotNative: If it cannot run natively.
    """
    options = options_of(graph, place, "FullyConnectedOptionsT")
    need(options.weightsFormat == 0, Reason.OPTIONS)
    source, kernel, bias, output = _operands(graph, place)
    shape, target, dims = image(graph, source), image(graph, output), _dims(graph, kernel, 2)
    need(dims[1] == shape[0] and dims[0] == target[0], Reason.SHAPE)
    need(shape[1:] == target[1:], Reason.SHAPE)
    return Convolution(
        *([source], output, [shape], target),
        _weights(graph, kernel, (dims[0], 1, 1, dims[1])),
        _bias(graph, bias, target[0]),
        POINTWISE,
        fused(options.fusedActivationFunction),
    )


def _operands(graph: Graph, place: int) -> tuple[int, int, int, int]:
    """Data, kernel, bias (-1 where there is none) and output."""
    inputs = graph.reads[place]
    need(len(inputs) in (2, 3) and min(inputs[:2]) >= 0, Reason.KIND)
    need(not graph.is_constant(inputs[0]) and graph.is_constant(inputs[1]), Reason.KIND)
    return inputs[0], inputs[1], inputs[2] if len(inputs) == 3 else -1, _output(graph, place)


def _output(graph: Graph, place: int) -> int:
    return graph.writes[place][0]


def _dims(graph: Graph, kernel: int, rank: int) -> tuple[int, ...]:
    dims = tuple(indices(graph.tensors[graph.packed.get(kernel, kernel)].shape))
    need(len(dims) == rank and min(dims) > 0 and math.prod(dims) <= _MOST_WEIGHTS, Reason.SHAPE)
    return dims


def _weights(graph: Graph, kernel: int, dims: tuple[int, ...]) -> Weights:
    def load() -> np.ndarray:
        values = graph.constant(kernel)
        if values is None:
            raise NotNative(Reason.TYPE)
        return values.reshape(dims)

    if kernel not in graph.pruned:
        graph.pruned[kernel] = Pruned(load())
    need(graph.pruned[kernel].count is not None, Reason.TYPE)
    return Weights(load, dims, graph.pruned[kernel])


def _bias(graph: Graph, tensor: int, channels: int) -> np.ndarray | None:
    if tensor < 0:
        return None
    values = graph.constant(tensor)
    if values is None:
        raise NotNative(Reason.TYPE)
    need(values.size == channels, Reason.SHAPE)
    return np.array(values, np.float32).ravel()
