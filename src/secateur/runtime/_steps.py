"""Segments made ready to run: programs of the native library, and small models in LiteRT."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from secateur.runtime import _litert
from secateur.runtime._native import NativeError
from secateur.runtime._operations import Convolution
from secateur.runtime._partition import Segment
from secateur.runtime._program import Addresses, Program
from secateur.runtime._reading import Graph
from secateur.runtime._units import Unit

#: The name of operations that move data between layouts.
SEAM = "seam"
#: Gives the array that a tensor's values are in, in LiteRT's shape.
Place = Callable[[], np.ndarray]


class Refused(Exception):
    """The native library does not take a unit; the arguments are the unit and what it said."""


class NativeStep:
    """A native segment.

    Args:
        graph: The graph.
        segment: A native segment of it.
        threads: How many threads to use.

    Raises:
        Refused: If the native library does not take one of the units.
    """

    def __init__(self, graph: Graph, segment: Segment, threads: int) -> None:
        self.inputs, self.outputs = segment.inputs, segment.outputs
        self.threads = threads
        self.program = Program()
        #: The tensor that each of the program's operations writes, None where it only changes a layout.
        self._written: list[int | None] = []
        self._name = graph.name
        values: dict[int, int] = {}
        self._order: list[int] = []  # the inputs as the program takes them
        self._shapes: list[tuple[int, int, int]] = []
        for unit, out in zip(segment.units, self._outs(segment.units), strict=True):
            try:
                self._add(unit, out, values, segment)
            except NativeError as error:
                raise Refused(unit, str(error)) from error
        self._out_shapes = []
        for tensor in segment.outputs:
            channels, height, width = _target(segment, tensor)
            self.program.to_nhwc(values[tensor], self.program.output((channels, height, width)))
            self._out_shapes.append((height, width, channels))
            self._written.append(None)
        self.batch = graph.batch
        self.program.finalize(graph.batch)
        self.weight_bytes = self.program.weight_bytes
        self.arena_bytes = self.program.arena_bytes

    @functools.cached_property
    def names(self) -> list[str]:
        """What each of the program's operations belongs to: the layer's name, or a seam."""
        return [SEAM if tensor is None else self._name(tensor) for tensor in self._written]

    @functools.cached_property
    def labels(self) -> list[str]:
        """What each of the program's operations runs."""
        return [self.program.describe(i) for i in range(self.program.operations)]

    def kernel(self, tensor: int | None) -> str:
        """What runs the operation that writes a tensor."""
        return self.labels[self._written.index(tensor)]

    @property
    def work(self) -> list[int]:
        """The multiply-adds of each for one image."""
        return [self.program.multiply_adds(i) for i in range(self.program.operations)]

    def _outs(self, units: list[Unit]) -> Sequence[int | None]:
        """A value for what each unit writes; None where one of them is too large."""
        try:
            return self.program.values([unit.operation.target for unit in units if unit.operation])
        except NativeError:
            return [None] * len(units)

    def _add(self, unit: Unit, out: int | None, values: dict[int, int], segment: Segment) -> None:
        operation = unit.operation
        assert operation is not None
        for tensor, shape in zip(operation.inputs, operation.sources, strict=True):
            if tensor in values:
                continue
            channels, height, width = shape
            value = self.program.input(shape)
            self._shapes.append((height, width, channels))
            self._order.append(tensor)
            if not _only_convolutions(segment, tensor):
                inner = self.program.value(shape)
                self.program.to_chw(value, inner)
                self._written.append(None)
                value = inner
            values[tensor] = value
        out = self.program.value(operation.target) if out is None else out
        values[operation.output] = out
        operation.emit(self.program, values, out)
        self._written.append(operation.output)

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
            for tensor, shape in zip(self._order, self._shapes, strict=True)
        ]
        outputs = [
            places[tensor]().reshape(self.batch, *shape)
            for tensor, shape in zip(self.outputs, self._out_shapes, strict=True)
        ]
        return self.program.addresses(inputs, outputs)


class LiteRTStep:
    """A segment that LiteRT runs.

    Args:
        graph: The graph.
        segment: A segment of it.
        threads: How many threads to use.
    """

    def __init__(self, graph: Graph, segment: Segment, threads: int) -> None:
        self.inputs, self.outputs = segment.inputs, segment.outputs
        places = [place for unit in segment.units for place in unit.places]
        self.operators = len(places)
        from secateur.runtime._extract import extract  # with all that writes files

        content = extract(graph, places, segment.inputs, segment.outputs)
        self.bytes = len(content)
        self._litert = _litert.interpreter(model_content=content, num_threads=threads)
        self._litert.allocate_tensors()
        self._in = [entry["index"] for entry in self._litert.get_input_details()]
        self._out = [entry["index"] for entry in self._litert.get_output_details()]

    def input_place(self, tensor: int) -> Place:
        """Where LiteRT wants an input of the segment."""
        return self._litert.tensor(self._in[self.inputs.index(tensor)])

    def output_place(self, tensor: int) -> Place:
        """Where LiteRT puts an output of the segment."""
        return self._litert.tensor(self._out[self.outputs.index(tensor)])

    def run(self, places: Mapping[int, Place], seconds: np.ndarray | None = None) -> None:
        """Copy in what lies elsewhere, and run."""
        start = time.perf_counter()
        for tensor, index in zip(self.inputs, self._in, strict=True):
            target, source = self._litert.tensor(index)(), places[tensor]()
            if source.ctypes.data != target.ctypes.data:
                np.copyto(target, source)
            del target, source  # LiteRT does not run while somebody looks at its memory
        self._litert.invoke()
        if seconds is not None:
            seconds[0] = time.perf_counter() - start


Step = NativeStep | LiteRTStep


def _only_convolutions(segment: Segment, tensor: int) -> bool:
    """Whether one convolution reads an input of a segment and nothing else does."""
    readers = [unit.operation for unit in segment.units if tensor in unit.inputs]
    first = readers[0] if len(readers) == 1 else None
    return (
        isinstance(first, Convolution)
        and first.reads_channels_last
        and first.inputs.count(tensor) == 1
        and first.inputs[0] == tensor
        and tensor not in segment.outputs
    )


def _target(segment: Segment, tensor: int) -> tuple[int, int, int]:
    for unit in segment.units:
        if unit.operation is not None and unit.operation.output == tensor:
            return unit.operation.target
    raise KeyError(tensor)


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
