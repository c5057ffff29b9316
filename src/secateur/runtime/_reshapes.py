"""Reshapes of an open batch, whose shapes are computed while the model runs, with constant ones.

`native/targets.cpp` finds them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from secateur.litert.graph import INT32, add_buffer, indices


def write_targets(model: Any, found: Mapping[int, list[int]]) -> None:
    """Give reshapes constant shapes, each in a new tensor behind the others.

    Args:
        model: A `ModelT` of one subgraph, changed in place.
        found: The shapes, by the places of the reshapes.
    """
    graph = model.subgraphs[0]
    for place, target in found.items():
        source, operand = indices(graph.operators[place].inputs)
        tensor = copy.copy(graph.tensors[operand])
        tensor.type, tensor.buffer = INT32, add_buffer(model, np.array(target, np.int32))
        tensor.shape, tensor.shapeSignature = np.array([len(target)], np.int32), None
        graph.tensors.append(tensor)
        graph.operators[place].inputs = np.array([source, len(graph.tensors) - 1], np.int32)
