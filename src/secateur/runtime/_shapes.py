"""What shapes the tensors of a model have for given inputs: LiteRT's own answer, without weights."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

from secateur.litert.flatbuffer import write_model
from secateur.litert.graph import (
    FLOAT16,
    INT8,
    add_buffer,
    indices,
    is_constant,
    opcode_name,
    opcode_names,
    producers,
    raw,
    shape,
    values,
)

# Constants of at least so many bytes are weights; what says how shapes change is shorter.
_WEIGHT_BYTES = 1024
_INT32 = 2
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


def fix_reshapes(model: Any) -> None:
    """Make reshapes that copy the batch size from a tensor take it from the number of values instead.

    The converter writes `reshape(x, [batch, 1000])` as four operators that read the batch size while
    the model runs, so that no shape behind them is known before. Nothing else of the model changes.

    Args:
        model: A `ModelT`, changed in place.
    """
    graph = model.subgraphs[0]
    names = opcode_names(model)
    if "PACK" not in names:
        return
    written = producers(graph)
    for operator in graph.operators or ():
        inputs = indices(operator.inputs) if names[operator.opcodeIndex] == "RESHAPE" else []
        if len(inputs) != 2:
            continue
        target = _target(model, written, inputs[0], inputs[1])
        if target is None:
            continue
        tensor = copy.copy(graph.tensors[inputs[1]])
        tensor.type, tensor.buffer = _INT32, add_buffer(model, np.array(target, np.int32))
        tensor.shape, tensor.shapeSignature = np.array([len(target)], np.int32), None
        graph.tensors.append(tensor)
        operator.inputs = np.array([inputs[0], len(graph.tensors) - 1], np.int32)


def _target(model: Any, written: dict[int, int], source: int, operand: int) -> list[int] | None:
    """The shape [-1, ...] that a reshape's operand stands for, None where it cannot be told."""
    graph = model.subgraphs[0]
    place = written.get(operand)
    if place is None or opcode_name(model, graph.operators[place]) != "PACK":
        return None
    first, *others = indices(graph.operators[place].inputs)
    sized = _measures(model, written, first)
    if sized is None or not all(is_constant(model, graph.tensors[i]) for i in others):
        return None
    lengths = [int(values(model, graph.tensors[i])[0]) for i in others]
    if lengths.count(-1) == 1 and sized == source:
        tensor = graph.tensors[source]
        known = indices(tensor.shapeSignature) or list(shape(tensor))
        rest = -math.prod(lengths)
        if min(known[1:], default=0) <= 0 or rest <= 0 or math.prod(known[1:]) % rest:
            return None
        lengths[lengths.index(-1)] = math.prod(known[1:]) // rest
    return [-1, *lengths] if lengths and min(lengths) > 0 else None


def _measures(model: Any, written: dict[int, int], tensor: int) -> int | None:
    """The tensor whose first length a scalar is: shape(x)[0]."""
    graph = model.subgraphs[0]
    place = written.get(tensor)
    if place is None or opcode_name(model, graph.operators[place]) != "STRIDED_SLICE":
        return None
    whole, *bounds = indices(graph.operators[place].inputs)
    options = graph.operators[place].builtinOptions
    if len(bounds) != 3 or options is None or options.shrinkAxisMask != 1:
        return None
    if not all(is_constant(model, graph.tensors[i]) for i in bounds):
        return None
    begin, _, stride = (values(model, graph.tensors[i]).tolist() for i in bounds)
    place = written.get(whole)
    if begin != [0] or stride != [1] or place is None:
        return None
    operator = graph.operators[place]
    return indices(operator.inputs)[0] if opcode_name(model, operator) == "SHAPE" else None


def without_weights(model: Any) -> bytes:
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


def _unpacks(model: Any, graph: Any, operator: Any) -> bool:
    """Whether an operator unpacks a weight; its result is then one with its values left out."""
    if opcode_name(model, operator) not in ("DENSIFY", "DEQUANTIZE"):
        return False
    sources = [graph.tensors[i] for i in indices(operator.inputs) if i >= 0]
    packed = all(is_constant(model, tensor) for tensor in sources)
    return packed or all(tensor.sparsity is not None for tensor in sources)


def first_unknown(model: Any) -> int:
    """The first operator behind which LiteRT knows no shapes before the model runs.

    Args:
        model: A `ModelT` of one subgraph.

    Returns:
        Its place; the number of operators where all shapes are known.
    """
    graph = model.subgraphs[0]
    for place, operator in enumerate(graph.operators or ()):
        needed = _STATIC.get(opcode_name(model, operator))
        inputs = indices(operator.inputs)
        if needed is None or not all(
            is_constant(model, graph.tensors[inputs[i]]) for i in needed if i < len(inputs)
        ):
            return place
    return len(graph.operators or ())
