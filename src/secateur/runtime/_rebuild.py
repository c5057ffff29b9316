"""A part of a graph as a `.tflite` file, written anew from objects: where tables have to change."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from secateur.litert._schema import class_of
from secateur.litert.flatbuffer import write_model
from secateur.litert.graph import indices
from secateur.litert.rewrite import fold_densify
from secateur.runtime._reading import Graph


def rebuild(
    graph: Graph, places: Sequence[int], inputs: Sequence[int], outputs: Sequence[int]
) -> bytes:
    """Write operators of a graph.

    Sparse weights are stored dense in the part: on some processors LiteRT computes wrong numbers
    where only a part of a graph has sparse ones.

    Args:
        graph: The graph; not changed.
        places: The operators, in their order, with those that unpack their constants.
        inputs: The tensors that the caller will fill.
        outputs: The tensors that the caller wants.

    Returns:
        The bytes of a file whose graph has these inputs and outputs, in this order; their shapes are
        those of the whole file.
    """
    whole = graph.model.subgraphs[0]
    operators = [copy.copy(whole.operators[place]) for place in places]
    used = dict.fromkeys([*inputs, *outputs])
    for operator in operators:
        used.update(dict.fromkeys(t for t in _tensors(operator) if t >= 0))
    numbers = {tensor: i for i, tensor in enumerate(used)}
    codes: dict[int, int] = {}
    for operator in operators:
        operator.opcodeIndex = codes.setdefault(operator.opcodeIndex, len(codes))
        for name in ("inputs", "outputs", "intermediates"):
            old = getattr(operator, name)
            if old is not None:
                new = [numbers.get(tensor, -1) for tensor in indices(old)]
                setattr(operator, name, np.array(new, np.int32))
    part = class_of("SubGraph")()
    part.tensors, part.operators = [copy.copy(whole.tensors[t]) for t in used], operators
    part.inputs = np.array([numbers[t] for t in inputs], np.int32)
    part.outputs = np.array([numbers[t] for t in outputs], np.int32)
    for tensor in part.tensors:
        tensor.name = None  # nobody asks for it
    model = class_of("Model")()
    model.version, model.subgraphs = 3, [part]
    model.operatorCodes = [graph.model.operatorCodes[code] for code in codes]
    _take_buffers(graph.model, model, part)
    fold_densify(model)
    return write_model(model)


def _tensors(operator: Any) -> list[int]:
    return [
        tensor
        for kind in (operator.inputs, operator.outputs, operator.intermediates)
        for tensor in indices(kind)
    ]


def _take_buffers(source: Any, model: Any, part: Any) -> None:
    """Take over the buffers that are used; the first one is empty, as the format asks."""
    model.buffers = [class_of("Buffer")()]
    places: dict[int, int] = {}
    for tensor in part.tensors:
        buffer = source.buffers[tensor.buffer]
        if buffer.data is None or not len(buffer.data):
            tensor.buffer = 0
            continue
        if tensor.buffer not in places:
            places[tensor.buffer] = len(model.buffers)
            model.buffers.append(buffer)
        tensor.buffer = places[tensor.buffer]
