"""Convolutions and fully connected layers of a `.tflite` file as native operations."""

from __future__ import annotations

import math

import numpy as np

from secateur.runtime._forms import POINTWISE
from secateur.runtime._operations import Convolution, Depthwise, Weights
from secateur.runtime._pruned import Ahead, Pruned
from secateur.runtime._reading import Graph
from secateur.runtime._terms import NotNative, Reason, fused, image, need, options_of, window_of

_MOST_WEIGHTS = 2**28
# Their weights begin with the output channels, as `Pruned` takes them; others are few.
_PRUNED_AHEAD = ("CONV_2D", "FULLY_CONNECTED")


def prune_ahead(graph: Graph) -> None:
    """Have the weights of convolutions pruned by another thread, while this one goes on.

    For files that were read into objects, as something in them is rare; of others the thread has begun
    by itself. Only those that the file holds as they are: others would have to be unpacked here first.

    Args:
        graph: The graph; it keeps what is not zero, and the thread.

    Raises:
        NativeMissingError: If the native library is not there.
    """
    graph.ahead, found = Ahead(), {}
    for kind, inputs in zip(graph.kinds, graph.reads, strict=True):
        kernel = inputs[1] if kind in _PRUNED_AHEAD and len(inputs) > 1 else -1
        if not graph.is_plain(kernel) or kernel in found:
            continue
        weights = graph.constant(kernel)
        if weights is not None and 0 < weights.size <= _MOST_WEIGHTS:
            found[kernel] = weights
    graph.pruned.update(zip(found, graph.ahead.prune([*found.values()]), strict=True))


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
        ([source], [shape], output, target),
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
        ([source], [shape], output, target),
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
        ([source], [shape], output, target),
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
    dims = graph.dims[graph.packed.get(kernel, kernel)]
    need(len(dims) == rank and min(dims) > 0 and math.prod(dims) <= _MOST_WEIGHTS, Reason.SHAPE)
    return dims


def _weights(graph: Graph, kernel: int, dims: tuple[int, ...]) -> Weights:
    def load() -> np.ndarray:
        values = graph.constant(kernel)
        if values is None:
            raise NotNative(Reason.TYPE)
        return values.reshape(dims)

    plain = graph.is_plain(kernel)
    if kernel not in graph.pruned:
        graph.pruned[kernel] = Pruned(load())
        if not plain:
            graph.pruned[kernel].finish()  # now, not to keep what was unpacked for it
    return Weights(load, dims, graph.pruned[kernel], plain)


def _bias(graph: Graph, tensor: int, channels: int) -> np.ndarray | None:
    if tensor < 0:
        return None
    values = graph.constant(tensor)
    if values is None:
        raise NotNative(Reason.TYPE)
    need(values.size == channels, Reason.SHAPE)
    return values.ravel()
