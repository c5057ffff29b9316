"""The inputs and outputs of a model, for callers as LiteRT's interpreter has them."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from secateur.litert._columns import Dims
from secateur.litert.graph import DTYPES
from secateur.runtime._memory import Memory
from secateur.runtime._reading import Graph, read_graph
from secateur.runtime._shapes import details_by_litert, ends_by_litert, shapes_by_litert
from secateur.runtime._steps import Place

_IN_USE = """There is at least 1 reference to internal data
      in the interpreter in the form of a numpy array or slice. Be sure to
      only hold the function returned from tensor() if you are using raw
      data access."""
_MOST_BYTES = 2**63 - 1


class Ends:
    """Their names, shapes and memory; what runs reads and writes there.

    Methods are LiteRT's, with its errors and their words. What is rare, LiteRT itself answers: it gets
    a file of the inputs and outputs alone.

    Args:
        graph: The graph.
        source: The path or bytes of its file, should LiteRT be asked.
    """

    def __init__(self, graph: Graph, source: str | bytes) -> None:
        self._source = source
        self._inputs, self._outputs, self._tensors = graph.inputs, graph.outputs, graph.count
        ends = (*graph.inputs, *graph.outputs)
        self._shapes = {tensor: graph.dims[tensor] for tensor in ends}
        self._signatures = {tensor: graph.signature(tensor) for tensor in ends}
        self._names = {tensor: graph.name(tensor) for tensor in ends}
        self._dtypes = {tensor: np.dtype(DTYPES[graph.types[tensor]]) for tensor in ends}
        self._quantized = {tensor for tensor in ends if graph.is_quantized(tensor)}
        self._memory: Memory | None = None

    # -- for who runs the model --

    def given(self) -> dict[int, Dims]:
        """The shapes that the inputs shall have."""
        return {tensor: self._shapes[tensor] for tensor in self._inputs}

    def settle(self, graph: Graph, ask: bool = False) -> None:
        """Get memory for inputs of the shapes asked for, and tell the graph all shapes.

        Args:
            graph: The graph; gets its shapes.
            ask: Whether to ask LiteRT for them.

        Raises:
            RuntimeError: If the model does not take such shapes, or an array is still in use.
            ValueError: If it is the graph of another model.
            MemoryError: If there is not so much.
        """
        self.check_unused()
        if (graph.inputs, graph.outputs, graph.count) != (
            self._inputs,
            self._outputs,
            self._tensors,
        ):
            raise ValueError(
                "The file is another one than when the interpreter was made. Make a new one. "
                f"Received: inputs={graph.inputs}, outputs={graph.outputs}"
            )
        given = self.given()
        if ask or not graph.infer(given):
            graph.set_shapes(*shapes_by_litert(graph, given))
        found = {tensor: graph.shapes[tensor] for tensor in self._outputs}
        known = given | {tensor: dims for tensor, dims in found.items() if dims is not None}
        self._shapes.update(known)
        self._memory = Memory({t: (dims, self._dtypes[t]) for t, dims in known.items()})

    def places(self) -> dict[int, Place]:
        """Where inputs are, and outputs whose shapes are known."""
        memory = self._memory
        assert memory is not None
        return {
            tensor: functools.partial(memory.array, tensor)
            for tensor in self._shapes
            if tensor in memory
        }

    def release(self) -> None:
        """Give the memory back, as something else runs the model."""
        self._memory = None

    def check_unused(self) -> None:
        """Refuse to go on where a caller has kept an array.

        Raises:
            RuntimeError: If one has.
        """
        if self._memory is not None and self._memory.in_use():
            raise RuntimeError(_IN_USE)

    # -- for callers --

    def resize_tensor_input(self, input_index: int, tensor_size: Any, strict: bool = False) -> None:
        """Ask for another shape of an input."""
        self.check_unused()
        lengths = np.array(tensor_size, np.int32)
        if lengths.ndim != 1:
            raise ValueError(f"Shape should be 1D instead of {lengths.ndim}.")
        tensor = operator.index(input_index)
        if tensor not in self._inputs:
            raise RuntimeError(
                f"Only inputs can be resized: {self._inputs}. Received: input_index={tensor}"
            )
        dims = tuple(lengths.tolist())
        if strict:
            self._check_open(tensor, dims)
        size = self._dtypes[tensor].itemsize
        for length in dims:
            size *= length % 2**64
        if size > _MOST_BYTES:
            raise RuntimeError("BytesRequired number of elements overflowed.")
        if dims != self._shapes[tensor]:
            self._shapes[tensor], self._memory = dims, None

    def _check_open(self, tensor: int, dims: Dims) -> None:
        """Refuse to change a length that the model does not leave open."""
        open_dims = self._signatures[tensor] or self._shapes[tensor]
        if len(dims) != len(open_dims):
            raise RuntimeError(f"The tensor has {len(open_dims)} axes. Received: {len(dims)} axes")
        for axis, (allowed, length) in enumerate(zip(open_dims, dims, strict=True)):
            if allowed not in (-1, length):
                raise RuntimeError(
                    f"Attempting to resize dimension {axis} of tensor {tensor} with value {allowed} "
                    f"to {length}. ResizeInputTensorStrict only allows mutating unknown dimensions "
                    "identified by -1."
                )

    def set_tensor(self, tensor_index: int, value: Any) -> None:
        """Copy values into an input."""
        tensor, array = self._index(tensor_index), np.asarray(value)
        if self._memory is None or tensor not in self._memory:
            raise ValueError(
                "Cannot set tensor: Tensor is unallocated. Try calling allocate_tensors() first"
            )
        mine = self._memory.array(tensor)
        if array.dtype.newbyteorder("=") != mine.dtype:
            raise ValueError(
                f"Cannot set tensor: Got value of type {_type_name(array.dtype)} but expected type "
                f"{_type_name(mine.dtype)} for input {tensor}, name: {self._names[tensor]} "
            )
        if array.ndim != mine.ndim:
            raise ValueError(
                f"Cannot set tensor: Dimension mismatch. Got {array.ndim} but expected {mine.ndim} "
                f"for input {tensor}."
            )
        for axis, (length, expected) in enumerate(zip(array.shape, mine.shape, strict=True)):
            if length != expected:
                raise ValueError(
                    f"Cannot set tensor: Dimension mismatch. Got {length} but expected {expected} "
                    f"for dimension {axis} of input {tensor}."
                )
        mine[...] = array

    def get_tensor(self, tensor_index: int, subgraph_index: int = 0) -> Any:
        """A copy of an input or output."""
        if subgraph_index:
            return self._litert.get_tensor(tensor_index, subgraph_index)
        return np.array(self._array(tensor_index))

    def tensor(self, tensor_index: int) -> Callable[[], Any]:
        """A function that gives the memory of an input or output."""
        return lambda: self._array(tensor_index)

    def _array(self, tensor_index: int) -> np.ndarray:
        tensor = self._index(tensor_index)
        if self._memory is None or tensor not in self._memory:
            raise ValueError("Tensor data is null. Run allocate_tensors() first")
        return self._memory.array(tensor)

    def _index(self, tensor_index: int) -> int:
        tensor = operator.index(tensor_index)
        if not 0 <= tensor < self._tensors:
            raise ValueError(
                f"Invalid tensor index {tensor} exceeds max tensor index {self._tensors}"
            )
        return tensor

    def get_input_details(self) -> list[dict[str, Any]]:
        """Name, index, shape, dtype and so on of each input."""
        return [self._details(tensor) for tensor in self._inputs]

    def get_output_details(self) -> list[dict[str, Any]]:
        """Name, index, shape, dtype and so on of each output."""
        return [self._details(tensor) for tensor in self._outputs]

    def _details(self, tensor: int) -> dict[str, Any]:
        shape = np.array(self._shapes[tensor], np.int32)
        signature = np.array(self._signatures[tensor] or self._shapes[tensor], np.int32)
        found = {
            "name": self._names[tensor],
            "index": tensor,
            "shape": shape,
            "shape_signature": signature,
            "dtype": self._dtypes[tensor].type,
            "quantization": (0.0, 0),
            "quantization_parameters": {
                "scales": np.array([], np.float32),
                "zero_points": np.array([], np.int32),
                "quantized_dimension": 0,
                "block_size": 0,
            },
            "sparsity_parameters": {},
        }
        if tensor in self._quantized:
            ends = [*self._litert.get_input_details(), *self._litert.get_output_details()]
            (theirs,) = (entry for entry in ends if entry["index"] == tensor)
            for name in ("quantization", "quantization_parameters"):
                found[name] = theirs[name]
        return found

    def get_tensor_details(self, subgraph_index: int = 0) -> list[dict[str, Any]]:
        """The details of all tensors of the file."""
        if subgraph_index:
            return self._litert.get_tensor_details(subgraph_index)
        details = details_by_litert(
            read_graph(self._source), self.given(), self._memory is not None
        )
        return [entry for entry in details if entry["index"] < self._tensors]

    def num_subgraphs(self) -> int:
        """How many subgraphs the model has."""
        return 1

    def get_signature_list(self) -> dict[str, Any]:
        """The signatures with the names of their inputs and outputs."""
        return self._litert.get_signature_list()

    def get_signature_runner(self, signature_key: str | None = None) -> Any:
        """LiteRT's runner of a signature, which knows its names and cannot run."""
        return self._litert.get_signature_runner(signature_key)

    @functools.cached_property
    def _litert(self) -> Any:
        return ends_by_litert(read_graph(self._source))


def _type_name(dtype: np.dtype) -> str:
    """What LiteRT calls a type."""
    return "STRING" if dtype.kind in "OSU" else dtype.name.upper()
