"""What LiteRT says of the tensors of a model: it gets a file without weights, and never runs it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from secateur.litert._columns import Dims
from secateur.litert._schema import class_of
from secateur.litert.flatbuffer import write_model
from secateur.litert.graph import (
    FLOAT16,
    INT8,
    indices,
    is_constant,
    opcode_name,
    raw,
)
from secateur.runtime import _litert
from secateur.runtime._reading import Graph

# Constants of at least so many bytes are weights; what says how shapes change is shorter.
_WEIGHT_BYTES = 1024
_PACKED = (FLOAT16, INT8)

# Operators whose outputs have shapes that follow from the shapes of their inputs, and from the inputs
# named here, which must then be constants.
_STATIC: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(
        (
            *("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL"),
            *("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "POW"),
            *("RELU", "RELU6", "RELU_N1_TO_1", "LOGISTIC", "TANH", "HARD_SWISH", "ELU", "PRELU"),
            *("LEAKY_RELU", "GELU", "ABS", "SQUARE", "EXP", "SQRT", "RSQRT", "NEG", "LOG", "CAST"),
            *("FLOOR", "CEIL", "ROUND", "SIN", "COS", "SOFTMAX", "LOG_SOFTMAX", "L2_NORMALIZATION"),
            *("MAX_POOL_2D", "AVERAGE_POOL_2D", "CONCATENATION", "PACK", "UNPACK", "SHAPE"),
            *("SQUEEZE", "DEPTH_TO_SPACE", "SPACE_TO_DEPTH", "DEQUANTIZE", "QUANTIZE", "DENSIFY"),
            *("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL", "SELECT_V2"),
            *("LOGICAL_AND", "LOGICAL_OR", "LOGICAL_NOT", "GATHER"),
        ),
        (),
    ),
    **dict.fromkeys(
        (
            *("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "RESHAPE", "PAD", "PADV2"),
            *("MIRROR_PAD", "TRANSPOSE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "TILE"),
            *("EXPAND_DIMS", "ARG_MAX", "ARG_MIN", "BROADCAST_TO", "TOPK_V2"),
        ),
        (1,),
    ),
    **{"SLICE": (1, 2), "STRIDED_SLICE": (1, 2, 3), "SPLIT": (0,), "TRANSPOSE_CONV": (0,)},
}


def _without_weights(model: Any) -> bytes:
    """A file of the same operators and tensors whose weights are left out: it loads, but never runs.

    Args:
        model: A `ModelT` of one subgraph; not changed.

    Returns:
        The bytes of a small `.tflite` file with the same tensor numbers.
    """
    slim, graph = copy.copy(model), copy.copy(model.subgraphs[0])
    slim.subgraphs, slim.metadata, slim.metadataBuffer = [graph], None, None
    graph.tensors = [copy.copy(tensor) for tensor in graph.tensors]
    graph.operators = [
        operator
        for operator in graph.operators or ()
        if not _unpacks(model, model.subgraphs[0], operator)
    ]
    for tensor in graph.tensors:
        data = raw(model, tensor)
        if data is not None and (
            len(data) >= _WEIGHT_BYTES or tensor.type in _PACKED or tensor.sparsity is not None
        ):
            tensor.buffer = 0
        tensor.sparsity = None
    used = sorted({0, *(tensor.buffer for tensor in graph.tensors)})
    slim.buffers = [model.buffers[number] for number in used]
    numbers = {number: i for i, number in enumerate(used)}
    for tensor in graph.tensors:
        tensor.buffer = numbers[tensor.buffer]
    return write_model(slim)


def shapes_by_litert(graph: Graph, given: Mapping[int, Dims]) -> tuple[list[Dims | None], int]:
    """Find the shapes of all tensors, whatever the operators.

    Args:
        graph: The graph.
        given: The shapes of its inputs.

    Returns:
        The shape of each tensor, None where LiteRT knows it only behind a run; and how many
        operators come before the first of those.

    Raises:
        RuntimeError: If the model does not take such inputs.
    """
    known = _first_unknown(graph)
    places = range(known, len(graph.kinds))
    unknown = {tensor for place in places for tensor in graph.writes[place]}
    details = {entry["index"]: entry for entry in details_by_litert(graph, given, True)}
    shapes = [
        tuple(details[i]["shape"].tolist()) if i in details and i not in unknown else None
        for i in range(len(graph.types))
    ]
    return shapes, known


def details_by_litert(
    graph: Graph, given: Mapping[int, Dims], allocated: bool
) -> list[dict[str, Any]]:
    """The details of all tensors.

    Args:
        graph: The graph.
        given: The shapes of its inputs.
        allocated: Whether they should be those behind `allocate_tensors`.

    Raises:
        RuntimeError: If the model does not take such inputs.
    """
    interpreter = _litert.without_delegates(_without_weights(graph.model))
    for tensor, dims in given.items():
        interpreter.resize_tensor_input(tensor, dims)
    if allocated:
        interpreter.allocate_tensors()
    return interpreter.get_tensor_details()


def ends_by_litert(graph: Graph) -> Any:
    """An interpreter of inputs, outputs and signatures only, with the same tensor numbers.

    Outputs are variables there, as no operator writes them.

    Args:
        graph: The graph.
    """
    slim, part = copy.copy(graph.head()), class_of("SubGraph")()
    slim.subgraphs, slim.operatorCodes, slim.buffers = [part], [], [class_of("Buffer")()]
    slim.metadata = slim.metadataBuffer = None
    part.inputs, part.outputs = (np.array(t, np.int32) for t in (graph.inputs, graph.outputs))
    part.operators = []
    part.tensors = [class_of("Tensor")()] * graph.count
    for tensor in (*graph.inputs, *graph.outputs):
        part.tensors[tensor] = end = copy.copy(graph.tensor(tensor))
        end.buffer, end.isVariable = 0, tensor in graph.outputs
    return _litert.without_delegates(write_model(slim))


def _unpacks(model: Any, graph: Any, operator: Any) -> bool:
    """Whether an operator unpacks a weight; its result is then one with its values left out."""
    if opcode_name(model, operator) not in ("DENSIFY", "DEQUANTIZE"):
        return False
    sources = [graph.tensors[i] for i in indices(operator.inputs) if i >= 0]
    packed = all(is_constant(model, tensor) for tensor in sources)
    return packed or all(tensor.sparsity is not None for tensor in sources)


def _first_unknown(graph: Graph) -> int:
    """The first operator behind which LiteRT knows no shapes before the model runs.

    Args:
        graph: The graph.

    Returns:
        Its place; the number of operators where all shapes are known.
    """
    for place, (kind, inputs) in enumerate(zip(graph.kinds, graph.reads, strict=True)):
        needed = _STATIC.get(kind)
        if needed is None or not all(
            graph.is_stored(inputs[i]) for i in needed if i < len(inputs) and inputs[i] >= 0
        ):
            return place
    return len(graph.kinds)
