"""Reshapes of an open batch, whose shapes are computed while the model runs.

The converter writes `reshape(x, [batch, 1000])` as four operators that read the batch size from a
tensor: SHAPE, STRIDED_SLICE, PACK and RESHAPE. No shape behind them would be known before the model
runs. But a reshape keeps the number of values, so that the batch follows from the other lengths.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from secateur.litert._columns import Columns
from secateur.litert.graph import INT32, add_buffer, indices

#: Gives the values of a constant of whole numbers; None where it is none.
Numbers = Callable[[int], list[int] | None]


def targets(columns: Columns, writers: Mapping[int, int], numbers: Numbers) -> dict[int, list[int]]:
    """Find reshapes that copy the batch size from a tensor.

    Args:
        columns: The graph.
        writers: The operator that writes each tensor.
        numbers: Reads constants.

    Returns:
        By the places of the reshapes: the shapes [-1, ...] that would do the same.
    """
    if "PACK" not in columns.kinds:
        return {}
    found = {}
    for place, kind in enumerate(columns.kinds):
        inputs = columns.reads[place] if kind == "RESHAPE" else []
        packing = writers.get(inputs[1]) if len(inputs) == 2 else None
        if packing is None or columns.kinds[packing] != "PACK":
            continue
        target = _target(columns, writers, numbers, inputs[0], columns.reads[packing])
        if target is not None:
            found[place] = target
    return found


def _target(
    columns: Columns,
    writers: Mapping[int, int],
    numbers: Numbers,
    source: int,
    packed: list[int],
) -> list[int] | None:
    """The shape [-1, ...] that a reshape's operand stands for, None where it cannot be told."""
    sized = _measured(columns, writers, numbers, packed[0]) if packed else None
    rest = [numbers(tensor) for tensor in packed[1:]]
    if sized is None or not all(rest):
        return None
    lengths = [found[0] for found in rest if found]
    if lengths.count(-1) == 1 and sized == source:
        known = (columns.signatures[source] or columns.shapes[source])[1:]
        others = -math.prod(lengths)
        if min(known, default=0) <= 0 or others <= 0 or math.prod(known) % others:
            return None
        lengths[lengths.index(-1)] = math.prod(known) // others
    return [-1, *lengths] if lengths and min(lengths) > 0 else None


def _measured(
    columns: Columns, writers: Mapping[int, int], numbers: Numbers, tensor: int
) -> int | None:
    """The tensor whose first length a scalar is: shape(x)[0]."""
    place = writers.get(tensor)
    if place is None or columns.kinds[place] != "STRIDED_SLICE":
        return None
    options, operands = columns.options[place], columns.reads[place]
    if len(operands) != 4 or getattr(options, "shrinkAxisMask", None) != 1:
        return None
    begin, end, stride = (numbers(operand) for operand in operands[1:])
    place = writers.get(operands[0])
    if begin != [0] or end is None or stride != [1] or place is None:
        return None
    measured = columns.reads[place] if columns.kinds[place] == "SHAPE" else []
    return measured[0] if measured else None


def write_targets(model: Any, found: Mapping[int, list[int]]) -> None:
    """Give reshapes constant shapes, each in a new tensor behind the others.

    Args:
        model: A `ModelT` of one subgraph, changed in place.
        found: What `targets` found.
    """
    graph = model.subgraphs[0]
    for place, target in found.items():
        source, operand = indices(graph.operators[place].inputs)
        tensor = copy.copy(graph.tensors[operand])
        tensor.type, tensor.buffer = INT32, add_buffer(model, np.array(target, np.int32))
        tensor.shape, tensor.shapeSignature = np.array([len(target)], np.int32), None
        graph.tensors.append(tensor)
        graph.operators[place].inputs = np.array([source, len(graph.tensors) - 1], np.int32)
