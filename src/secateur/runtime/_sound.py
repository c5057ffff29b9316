"""Checks of a model that LiteRT does not make itself: where they fail, it reads or writes elsewhere."""

from __future__ import annotations

import math

from secateur.litert._columns import Columns
from secateur.litert.graph import FLOAT32

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


def check_sound(columns: Columns) -> None:
    """Check what operators read and write.

    Args:
        columns: A subgraph that `check_columns` has let pass.

    Raises:
        ValueError: If an operator writes to a constant, something is read that nobody writes, or
            the types of an operator's tensors cannot be.
    """
    written = {tensor for outputs in columns.writes for tensor in outputs if tensor >= 0}
    for tensor in written:
        _need(not columns.sizes[tensor], columns, tensor, _WRITTEN)
    known = {-1, *columns.inputs, *written}
    for kind, inputs, outputs in zip(columns.kinds, columns.reads, columns.writes, strict=True):
        for tensor in inputs:
            if tensor not in known:
                _need(_needs_no_writer(columns, tensor), columns, tensor, _UNWRITTEN)
                known.add(tensor)
        if kind in _SAME_TYPE:
            _check_types(columns, inputs, outputs, _DATA.get(kind, 0))
        if kind in ("DENSIFY", "DEQUANTIZE"):
            _check_unpacking(columns, inputs, outputs, kind == "DENSIFY")
        if kind in _WEIGHTED:
            _check_weights(columns, inputs, _WEIGHTED[kind])
    for tensor in columns.outputs:
        fits = tensor in known or _needs_no_writer(columns, tensor)
        _need(fits, columns, tensor, _UNWRITTEN)


_WRITTEN = "an operator writes to a constant"
_UNWRITTEN = "something is read that nothing writes"
_SIZES = "the operands of an operator are of sizes that do not go together"
_TYPES = "an operator takes and gives numbers of types that do not go together"


def _needs_no_writer(columns: Columns, tensor: int) -> bool:
    """Whether a tensor has values without an operator: a constant, a variable, or one of none."""
    stored = columns.sizes[tensor] > 0 or tensor in columns.variables
    return stored or math.prod(columns.shapes[tensor]) == 0


def _check_types(columns: Columns, inputs: list[int], outputs: list[int], data: int) -> None:
    _need(len(inputs) > data and inputs[data] >= 0, columns, outputs[0] if outputs else -1, _TYPES)
    source = columns.types[inputs[data]]
    for tensor in outputs:
        if tensor < 0:
            continue
        target = columns.types[tensor]
        fits = (source == FLOAT32) == (target == FLOAT32)
        _need(fits and target not in (_RESOURCE, _VARIANT), columns, tensor, _TYPES)


def _check_unpacking(columns: Columns, inputs: list[int], outputs: list[int], dense: bool) -> None:
    """Constants are unpacked into memory of the size that the output has in the file."""
    fits = len(inputs) == len(outputs) == 1 and min(*inputs, *outputs) >= 0
    _need(fits, columns, -1, _SIZES)
    source, target = inputs[0], outputs[0]
    same = columns.shapes[source] == columns.shapes[target]
    _need(same or not columns.sizes[source], columns, target, _SIZES)
    fits = columns.types[target] == (columns.types[source] if dense else FLOAT32)
    _need(fits, columns, target, _TYPES)


def _check_weights(columns: Columns, inputs: list[int], axis: int) -> None:
    """A bias has a value for each output channel; XNNPACK does not count them."""
    _need(len(inputs) >= 2 and inputs[1] >= 0, columns, -1, _SIZES)
    kernel = columns.shapes[inputs[1]]
    _need(len(kernel) > axis and min(kernel) > 0, columns, inputs[1], _SIZES)
    if len(inputs) > 2 and inputs[2] >= 0:
        bias = math.prod(columns.shapes[inputs[2]])
        _need(bias == kernel[axis], columns, inputs[2], _SIZES)


def _need(true: bool, columns: Columns, tensor: int, what: str) -> None:
    if not true:
        name = columns.name(tensor) if tensor >= 0 else ""
        raise ValueError(
            f"The .tflite file is damaged or half-written ({what}). Convert or copy it again. "
            f"Received: tensor {tensor} ({name!r})"
        )
