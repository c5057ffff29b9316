"""Leave out of a `.tflite` file what nothing uses, and store equal constants once."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np

from secateur.litert.graph import indices, text


def tidy(model: Any) -> None:
    """Remove what nothing uses from a model, and let equal constants share their bytes.

    Tensors, operator kinds and buffers that nothing refers to are removed. Operators, inputs,
    outputs, signatures and metadata stay, and so does the order of all that is left.

    Args:
        model: A `ModelT`, changed in place.
    """
    for index, graph in enumerate(model.subgraphs):
        _drop_tensors(model, index, graph)
    _drop_operator_codes(model)
    _merge_buffers(model)


def drop_conversion_notes(model: Any) -> None:
    """Remove the converter's notes on its own version and options, which no engine reads.

    Args:
        model: A `ModelT`, changed in place.
    """
    entries = model.metadata or ()
    model.metadata = [entry for entry in entries if text(entry.name) != "CONVERSION_METADATA"]


def _drop_tensors(model: Any, index: int, graph: Any) -> None:
    entries = [
        entry
        for signature in model.signatureDefs or ()
        if signature.subgraphIndex == index
        for entry in (*(signature.inputs or ()), *(signature.outputs or ()))
    ]
    used = {*indices(graph.inputs), *indices(graph.outputs), *(e.tensorIndex for e in entries)}
    for operator in graph.operators or ():
        for part in (operator.inputs, operator.outputs, operator.intermediates):
            used.update(indices(part))
    kept = [number for number in range(len(graph.tensors or ())) if number in used]
    new = {old: place for place, old in enumerate(kept)} | {-1: -1}
    graph.tensors = [graph.tensors[number] for number in kept]
    graph.inputs, graph.outputs = _renumbered(graph.inputs, new), _renumbered(graph.outputs, new)
    for operator in graph.operators or ():
        operator.inputs = _renumbered(operator.inputs, new)
        operator.outputs = _renumbered(operator.outputs, new)
        operator.intermediates = _renumbered(operator.intermediates, new)
    for entry in entries:
        entry.tensorIndex = new[entry.tensorIndex]


def _drop_operator_codes(model: Any) -> None:
    operators = [op for graph in model.subgraphs for op in graph.operators or ()]
    kept = sorted({operator.opcodeIndex for operator in operators})
    new = {old: place for place, old in enumerate(kept)}
    model.operatorCodes = [model.operatorCodes[place] for place in kept]
    for operator in operators:
        operator.opcodeIndex = new[operator.opcodeIndex]


def _merge_buffers(model: Any) -> None:
    """Keep buffer 0, which is empty by convention, and one of each content."""
    from ai_edge_litert import schema_py_generated as schema

    buffers: list[Any] = [schema.BufferT()]
    places: dict[bytes, int] = {}
    old = model.buffers

    def place(number: int) -> int:
        data = old[number].data
        if data is None or not len(data):
            return 0
        content = np.asarray(data, np.uint8).tobytes()
        if content not in places:
            places[content] = len(buffers)
            buffers.append(copy(old[number]))
        return places[content]

    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.buffer = place(tensor.buffer)
    for entry in model.metadata or ():
        entry.buffer = place(entry.buffer)
    if model.metadataBuffer is not None:
        model.metadataBuffer = np.array([place(i) for i in indices(model.metadataBuffer)], np.int32)
    model.buffers = buffers


def _renumbered(numbers: Any, new: dict[int, int]) -> np.ndarray | None:
    if numbers is None:
        return None
    return np.array([new[number] for number in indices(numbers)], np.int32)
