"""The inputs and outputs of a model, kept by LiteRT; what runs reads and writes them there."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter as LiteRT
from ai_edge_litert.interpreter import OpResolverType

from secateur.litert._schema import class_of
from secateur.litert.flatbuffer import write_model
from secateur.litert.graph import indices
from secateur.runtime._inference import infer
from secateur.runtime._reading import Dims, Graph
from secateur.runtime._shapes import first_unknown, without_weights
from secateur.runtime._steps import Place


class Ends:
    """LiteRT's interpreter of a model without weights: it is never invoked.

    It knows names, details and errors, and it owns the memory of inputs and outputs. Mostly it is one
    of a model without operators. Only where there are operators for which `infer` has no rule it is
    one of them all, which takes longer to make, so that LiteRT finds the shapes.

    Args:
        graph: The graph.
        tensors: How many tensors the file has; the graph may have more.

    Attributes:
        interpreter: LiteRT's.
    """

    def __init__(self, graph: Graph, tensors: int) -> None:
        stored = {tensor: graph.dims[tensor] for tensor in graph.inputs}
        shapes = infer(graph, stored)
        #: The inputs' shapes in the file, and what follows from them.
        self._first = stored, shapes
        self._all = shapes is None
        self._tensors = tensors
        self.interpreter = _litert(
            without_weights(graph.model) if self._all else _without_operators(graph)
        )

    def given(self) -> dict[int, Dims]:
        """The shapes that the inputs shall have."""
        return {e["index"]: _dims(e["shape"]) for e in self.interpreter.get_input_details()}

    def settle(self, graph: Graph) -> None:
        """Allocate memory for inputs of the shapes asked for, and tell the graph all shapes.

        Args:
            graph: The graph; gets its shapes.

        Raises:
            RuntimeError: If the model does not take such shapes, or an array is still in use.
        """
        given = self.given()
        shapes = self._infer(graph, given)
        if shapes is None:
            self._take_all(graph, given)
            graph.shapes = self._found(graph)
        else:
            graph.shapes, graph.known = shapes, len(graph.kinds)
            for entry in self.interpreter.get_output_details():
                wanted = shapes[entry["index"]]
                if _dims(entry["shape"]) != wanted:
                    self.interpreter.resize_tensor_input(entry["index"], wanted)
            self.interpreter.allocate_tensors()

    def _infer(self, graph: Graph, given: dict[int, Dims]) -> list[Dims | None] | None:
        if self._all:
            return None
        stored, shapes = self._first
        return shapes if given == stored else infer(graph, given)

    def _take_all(self, graph: Graph, given: Mapping[int, Dims]) -> None:
        if not self._all:
            self._all = True
            self.interpreter = _with_operators(graph, given)
        self.interpreter.allocate_tensors()

    def _found(self, graph: Graph) -> list[Dims | None]:
        """The shapes that LiteRT found, where it knows them before the model runs."""
        graph.known = first_unknown(graph)
        details = {entry["index"]: entry for entry in self.interpreter.get_tensor_details()}
        unknown = {tensor for place in graph.writes[graph.known :] for tensor in place}
        return [
            _dims(details[i]["shape"]) if i in details and i not in unknown else None
            for i in range(len(graph.types))
        ]

    def places(self, graph: Graph) -> dict[int, Place] | None:
        """Where inputs are, and outputs whose shapes are known; None if two share memory."""
        outside = [*graph.inputs, *(t for t in graph.outputs if graph.shapes[t] is not None)]
        places = {tensor: self.interpreter.tensor(tensor) for tensor in outside}
        return places if _apart(places) else None

    def tensor_details(self, load: Callable[[], Graph], allocated: bool) -> list[dict[str, Any]]:
        """The details of all tensors of the file.

        Args:
            load: Reads the graph.
            allocated: Whether they should be those behind `allocate_tensors`.
        """
        interpreter = self.interpreter
        if not self._all:
            interpreter = _with_operators(load(), self.given())
            if allocated:
                interpreter.allocate_tensors()
        details = interpreter.get_tensor_details()
        return [entry for entry in details if entry["index"] < self._tensors]


def _dims(lengths: Any) -> Dims:
    return tuple(indices(lengths))


def _apart(places: Mapping[int, Place]) -> bool:
    """Whether no two tensors share memory."""
    arrays = {tensor: place() for tensor, place in places.items()}
    ends = sorted((array.ctypes.data, array.nbytes) for array in arrays.values())
    return all(start + size <= later for (start, size), (later, _) in itertools.pairwise(ends))


def _litert(content: bytes) -> Any:
    kind = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return LiteRT(model_content=content, experimental_op_resolver_type=kind)


def _with_operators(graph: Graph, given: Mapping[int, Dims]) -> Any:
    interpreter = _litert(without_weights(graph.model))
    for tensor, dims in given.items():
        interpreter.resize_tensor_input(tensor, dims)
    return interpreter


def _without_operators(graph: Graph) -> bytes:
    """A file of the inputs and outputs only, with the same tensor numbers.

    Outputs are variables there: LiteRT gives memory to these though no operator writes them.
    """
    slim, part = copy.copy(graph.head), class_of("SubGraph")()
    slim.subgraphs, slim.operatorCodes, slim.buffers = [part], [], [class_of("Buffer")()]
    slim.metadata = slim.metadataBuffer = None
    part.inputs, part.outputs = (np.array(t, np.int32) for t in (graph.inputs, graph.outputs))
    part.operators = []
    part.tensors = [class_of("Tensor")()] * len(graph.types)
    for tensor in (*graph.inputs, *graph.outputs):
        part.tensors[tensor] = end = copy.copy(graph.tensor(tensor))
        end.buffer, end.isVariable = 0, tensor in graph.outputs
    return write_model(slim)
