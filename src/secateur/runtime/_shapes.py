"""What LiteRT says of the tensors of a model: it gets a file without weights, and never runs it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from secateur.litert._columns import Dims
from secateur.litert._schema import class_of
from secateur.litert.flatbuffer import write_model
from secateur.runtime import _litert
from secateur.runtime._extract import outline
from secateur.runtime._reading import Graph
from secateur.runtime._static import first_unknown, static


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
    known = first_unknown(static(graph))
    places = range(known, len(graph.kinds))
    unknown = {tensor for place in places for tensor in graph.writes[place]}
    details = {entry["index"]: entry for entry in details_by_litert(graph, given, True)}
    shapes = [
        tuple(details[i]["shape"].tolist()) if i in details and i not in unknown else None
        for i in range(graph.count)
    ]
    shapes += [graph.dims[i] for i in range(graph.count, len(graph.types))]
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
    interpreter = _litert.without_delegates(outline(graph))
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
