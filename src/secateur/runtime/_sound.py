"""Checks of a model that LiteRT does not make itself: where they fail, it reads or writes elsewhere."""

from __future__ import annotations

import math
from typing import Any

from secateur.litert.graph import (
    FLOAT32,
    indices,
    is_constant,
    opcode_names,
    producers,
    text,
)

_RESOURCE, _VARIANT = 13, 14
# Operators that give numbers of the type of their first input: LiteRT chooses code by one of
# the two types and does not look at the other.
_SAME_TYPE = frozenset(
    (
        *("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL"),
        *("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "POW", "PRELU"),
        *("RELU", "RELU6", "RELU_N1_TO_1", "LOGISTIC", "TANH", "HARD_SWISH", "ELU", "LEAKY_RELU"),
        *("GELU", "ABS", "SQUARE", "EXP", "SQRT", "RSQRT", "NEG", "LOG", "FLOOR", "CEIL", "ROUND"),
        *("SIN", "COS", "SOFTMAX", "LOG_SOFTMAX", "L2_NORMALIZATION", "MAX_POOL_2D"),
        *("AVERAGE_POOL_2D", "CONCATENATION", "MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "RESHAPE"),
        *("SQUEEZE", "EXPAND_DIMS", "PAD", "PADV2", "MIRROR_PAD", "SLICE", "STRIDED_SLICE"),
        *("TRANSPOSE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "DEPTH_TO_SPACE", "TILE"),
        *("SPACE_TO_DEPTH", "PACK", "UNPACK", "BROADCAST_TO"),
    )
)
# Those whose data are not their first operand.
_DATA = {"TRANSPOSE_CONV": 2}
# Those with a kernel and a bias, and the kernel's axis of output channels.
_WEIGHTED = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}


def check_sound(model: Any) -> None:
    """Check what operators read and write.

    Args:
        model: A `ModelT` that `read_model` returned.

    Raises:
        ValueError: If an operator writes to a constant, something is read that nobody writes, or
            the types of an operator's tensors cannot be.
    """
    names = opcode_names(model)
    for graph in model.subgraphs:
        written = producers(graph)
        for tensor in written:
            _need(not is_constant(model, graph.tensors[tensor]), graph, tensor, _WRITTEN)
        known = {-1, *indices(graph.inputs), *written}
        for operator in graph.operators or ():
            kind = names[operator.opcodeIndex]
            inputs, outputs = indices(operator.inputs), indices(operator.outputs)
            for tensor in inputs:
                if tensor not in known:
                    _need(_needs_no_writer(model, graph, tensor), graph, tensor, _UNWRITTEN)
                    known.add(tensor)
            if kind in _SAME_TYPE:
                _check_types(graph, inputs, outputs, _DATA.get(kind, 0))
            if kind in ("DENSIFY", "DEQUANTIZE"):
                _check_unpacking(model, graph, inputs, outputs, kind == "DENSIFY")
            if kind in _WEIGHTED:
                _check_weights(graph, inputs, _WEIGHTED[kind])
        for tensor in indices(graph.outputs):
            fits = tensor in known or _needs_no_writer(model, graph, tensor)
            _need(fits, graph, tensor, _UNWRITTEN)


_WRITTEN = "an operator writes to a constant"
_UNWRITTEN = "something is read that nothing writes"
_SIZES = "the operands of an operator are of sizes that do not go together"
_TYPES = "an operator takes and gives numbers of types that do not go together"


def _needs_no_writer(model: Any, graph: Any, tensor: int) -> bool:
    """Whether a tensor has values without an operator: a constant, a variable, or one of none."""
    found = graph.tensors[tensor]
    empty = math.prod(indices(found.shape)) == 0
    return is_constant(model, found) or bool(found.isVariable) or empty


def _check_types(graph: Any, inputs: list[int], outputs: list[int], data: int) -> None:
    _need(len(inputs) > data and inputs[data] >= 0, graph, outputs[0] if outputs else -1, _TYPES)
    source = graph.tensors[inputs[data]].type
    for tensor in outputs:
        if tensor < 0:
            continue
        target = graph.tensors[tensor].type
        fits = (source == FLOAT32) == (target == FLOAT32)
        _need(fits and target not in (_RESOURCE, _VARIANT), graph, tensor, _TYPES)


def _check_unpacking(
    model: Any, graph: Any, inputs: list[int], outputs: list[int], dense: bool
) -> None:
    """Constants are unpacked into memory of the size that the output has in the file."""
    fits = len(inputs) == len(outputs) == 1 and min(*inputs, *outputs) >= 0
    _need(fits, graph, -1, _SIZES)
    source, target = graph.tensors[inputs[0]], graph.tensors[outputs[0]]
    same = indices(source.shape) == indices(target.shape)
    _need(same or not is_constant(model, source), graph, outputs[0], _SIZES)
    _need(target.type == (source.type if dense else FLOAT32), graph, outputs[0], _TYPES)


def _check_weights(graph: Any, inputs: list[int], axis: int) -> None:
    """A bias has a value for each output channel; XNNPACK does not count them."""
    _need(len(inputs) >= 2 and inputs[1] >= 0, graph, -1, _SIZES)
    kernel = indices(graph.tensors[inputs[1]].shape)
    _need(len(kernel) > axis and min(kernel) > 0, graph, inputs[1], _SIZES)
    if len(inputs) > 2 and inputs[2] >= 0:
        bias = math.prod(indices(graph.tensors[inputs[2]].shape))
        _need(bias == kernel[axis], graph, inputs[2], _SIZES)


def _need(true: bool, graph: Any, tensor: int, what: str) -> None:
    if not true:
        name = text(graph.tensors[tensor].name) if tensor >= 0 else ""
        raise ValueError(
            f"The .tflite file is damaged or half-written ({what}). Convert or copy it again. "
            f"Received: tensor {tensor} ({name!r})"
        )
