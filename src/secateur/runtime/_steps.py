"""Segments made ready to run: programs of the native library, and small models in LiteRT."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from secateur.runtime import _litert
from secateur.runtime._extract import extract
from secateur.runtime._partition import Segment
from secateur.runtime._program import Addresses, Program
from secateur.runtime._reading import Graph
from secateur.runtime._units import Units

#: The name of operations that move data between layouts.
SEAM = "seam"
#: Gives the array that a tensor's values are in, in LiteRT's shape.
Place = Callable[[], np.ndarray]


class Mistaken(RuntimeError):
    """LiteRT gives an operator's output another shape than it was thought to have."""


class NativeStep:
    """A native segment.

    Args:
        graph: The graph.
        segment: A native segment of it.
        units: All units of the graph.
        threads: How many threads to use.

    Raises:
        Refused: If the native library does not take one of the units.
    """

    def __init__(self, graph: Graph, segment: Segment, units: Units, threads: int) -> None:
        self.inputs, self.outputs = segment.inputs, segment.outputs
        self.threads, self.batch = threads, graph.batch
        self.program = Program()
        #: The inputs as the program takes them, and the tensor that each of its operations writes, -1
        #: where it only changes a layout.
        self._order, self._written = units.build(self.program, segment.numbers, segment.outputs)
        self._name = graph.name
        self.program.finalize(graph.batch)
        self.weight_bytes = self.program.weight_bytes
        self.arena_bytes = self.program.arena_bytes

    @functools.cached_property
    def names(self) -> list[str]:
        """What each of the program's operations belongs to: the layer's name, or a seam."""
        return [SEAM if tensor < 0 else self._name(tensor) for tensor in self._written]

    @functools.cached_property
    def labels(self) -> list[str]:
        """What each of the program's operations runs."""
        return [self.program.describe(i) for i in range(self.program.operations)]

    def kernel(self, tensor: int) -> str:
        """What runs the operation that writes a tensor."""
        return self.labels[self._written.index(tensor)]

    @property
    def work(self) -> list[int]:
        """The multiply-adds of each for one image."""
        return [self.program.multiply_adds(i) for i in range(self.program.operations)]

    def run(self, places: Mapping[int, Place], seconds: np.ndarray | None = None) -> None:
        """Read the inputs where they are and write the outputs where they belong."""
        self.run_at(self.addresses(places), seconds)

    def run_at(self, addresses: Addresses, seconds: np.ndarray | None = None) -> None:
        """Run where `addresses` said, as long as nothing has moved."""
        self.program.run_at(addresses, self.threads, seconds)

    def addresses(self, places: Mapping[int, Place]) -> Addresses:
        """Where the inputs are and the outputs belong. LiteRT keeps its memory while nobody looks."""
        inputs = [
            places[tensor]().reshape(self.batch, *shape)
            for tensor, shape in zip(self._order, self.program.in_shapes, strict=True)
        ]
        outputs = [
            places[tensor]().reshape(self.batch, *shape)
            for tensor, shape in zip(self.outputs, self.program.out_shapes, strict=True)
        ]
        return self.program.addresses(inputs, outputs)


class LiteRTStep:
    """A segment that LiteRT runs.

    Args:
        graph: The graph.
        segment: A segment of it.
        threads: How many threads to use.

    Raises:
        Mistaken: If LiteRT gives an output another shape than it was thought to have.
    """

    def __init__(self, graph: Graph, segment: Segment, threads: int) -> None:
        self.inputs, self.outputs = segment.inputs, segment.outputs
        places = [place for unit in segment.units for place in unit.places]
        self.operators = len(places)
        content, self.bytes = extract(graph, places, segment.inputs, segment.outputs)
        self._litert = _litert.interpreter(model_content=content, num_threads=threads)
        entries = self._litert.get_input_details()
        self._in = [entry["index"] for entry in entries]
        #: Whether the shape of an input is not known before a run.
        self._open = any(graph.shapes[tensor] is None for tensor in self.inputs)
        for tensor, entry in zip(self.inputs, entries, strict=True):
            shape = graph.shapes[tensor]
            if shape not in (None, tuple(entry["shape"])):
                self._litert.resize_tensor_input(entry["index"], shape)
        self._litert.allocate_tensors()
        entries = self._litert.get_output_details()
        self._out = [entry["index"] for entry in entries]
        for tensor, entry in zip(self.outputs, entries, strict=True):
            shape, found = graph.shapes[tensor], tuple(entry["shape"].tolist())
            if shape not in (None, found):
                raise Mistaken(
                    f"LiteRT gives tensor {tensor} another shape than was expected, {shape}. Pass "
                    f'native="never" to run the model in LiteRT alone. Received: shape={found}'
                )

    def input_place(self, tensor: int) -> Place:
        """Where LiteRT wants an input of the segment."""
        return self._litert.tensor(self._in[self.inputs.index(tensor)])

    def output_place(self, tensor: int) -> Place:
        """Where LiteRT puts an output of the segment."""
        return self._litert.tensor(self._out[self.outputs.index(tensor)])

    def run(self, places: Mapping[int, Place], seconds: np.ndarray | None = None) -> None:
        """Copy in what lies elsewhere, and run."""
        start = time.perf_counter()
        self._fit(places)
        for tensor, index in zip(self.inputs, self._in, strict=True):
            target, source = self._litert.tensor(index)(), places[tensor]()
            if source.ctypes.data != target.ctypes.data:
                np.copyto(target, source)
            del target, source  # LiteRT does not run while somebody looks at its memory
        self._litert.invoke()
        if seconds is not None:
            seconds[0] = time.perf_counter() - start

    def _fit(self, places: Mapping[int, Place]) -> None:
        """Get ready for inputs whose shapes only this run tells."""
        if not self._open:
            return
        # Copies: an input that lies in LiteRT's memory goes with it.
        sources = [np.array(places[tensor]()) for tensor in self.inputs]
        if all(
            s.shape == self._litert.tensor(i)().shape
            for s, i in zip(sources, self._in, strict=True)
        ):
            return
        for source, index in zip(sources, self._in, strict=True):
            self._litert.resize_tensor_input(index, source.shape)
        self._litert.allocate_tensors()
        for source, index in zip(sources, self._in, strict=True):
            np.copyto(self._litert.tensor(index)(), source)


Step = NativeStep | LiteRTStep


def connect(
    steps: Sequence[Step], graph: Graph, front: Mapping[int, Place]
) -> tuple[dict[int, Place], list[int]]:
    """Say where each tensor between the steps lies, with as few copies as can be.

    Args:
        steps: The steps in their order.
        graph: The graph.
        front: Where the caller puts inputs and looks for outputs.

    Returns:
        The places, and the outputs that must be copied there at the end.
    """
    places: dict[int, Place] = {tensor: front[tensor] for tensor in graph.inputs}
    copied = []
    for step in steps:
        for tensor in step.outputs:
            if isinstance(step, LiteRTStep):
                places[tensor] = step.output_place(tensor)
                if tensor in front:
                    copied.append(tensor)
            elif tensor in front:
                places[tensor] = front[tensor]
            else:
                places[tensor] = _between(steps, graph, tensor)
    return places, copied


def _between(steps: Sequence[Step], graph: Graph, tensor: int) -> Place:
    """The place of a tensor that a native step writes: inside the LiteRT step that reads it."""
    readers = [step for step in steps if tensor in step.inputs]
    if readers and isinstance(readers[0], LiteRTStep):
        return readers[0].input_place(tensor)
    array = np.empty(graph.shapes[tensor] or (), np.float32)
    return lambda: array
