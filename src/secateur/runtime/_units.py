"""A graph as units: groups of operators that run together, natively as one operation or in LiteRT."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence

from secateur.runtime import _native
from secateur.runtime._arguments import numbers_of
from secateur.runtime._program import Program
from secateur.runtime._reading import Graph
from secateur.runtime._reasons import NATIVE_REASONS
from secateur.runtime._signatures import CRates, UnitColumn

_NATIVE, _DEPTHWISE, _SPARSE = 1, 2, 4


class Unit:
    """Operators that run together.

    Args:
        number: Its place among the units.
        places: The operators, in their order.
        inputs: The tensors they read from elsewhere, constants left out.
        outputs: The tensors they write that others read.
        native: Whether they can run natively.
        reason: Why they can run only in LiteRT, one of `Reason`, or "".
        zeros: The share of zeros among their weights; None without any.
        depthwise: Whether they are a depthwise convolution.

    Attributes:
        sparse: Whether they leave zeros out, natively; known with their costs.
    """

    __slots__ = (
        *("number", "places", "inputs", "outputs", "native", "reason", "zeros", "depthwise"),
        "sparse",
    )

    def __init__(
        self,
        number: int,
        places: list[int],
        inputs: list[int],
        outputs: list[int],
        native: bool = True,
        reason: str = "",
        zeros: float | None = None,
        depthwise: bool = False,
    ) -> None:
        self.number, self.places, self.inputs, self.outputs = number, places, inputs, outputs
        self.native, self.reason, self.zeros = native, reason, zeros
        self.depthwise, self.sparse = depthwise, False


class Refused(Exception):
    """The native library does not take a unit; the arguments are the unit and what it said."""


class Units:
    """The operators of a graph as units, in an order in which they can run.

    Operators that only unpack constants, and those whose results nobody needs, are in none. Which
    operators are one unit, and what they need to be to run natively, the native library knows.

    Args:
        graph: The graph with its shapes.

    Raises:
        MemoryError: If there is not enough memory; by methods, too.
    """

    def __init__(self, graph: Graph) -> None:
        self._library = _native.library()
        self._graph = graph  # the native library reads what it holds
        self._handle: int | None = None
        handle = ctypes.c_void_p()
        _native.check(
            self._library.secateur_units_find(
                ctypes.byref(handle),
                graph.native.handle,
                None if graph.ahead is None else graph.ahead.handle,
                graph.known,
            )
        )
        self._handle = handle.value
        self.all = self._read()

    def __del__(self) -> None:
        if self._handle is not None:
            self._library.secateur_units_free(self._handle)
            self._handle = None

    def _column(self, name: int) -> list[int]:
        length = ctypes.c_int64()
        return self._library.secateur_units_get(self._handle, name, length)[: length.value]

    def _lists(self, lengths: int, numbers: int) -> list[list[int]]:
        ends = itertools.accumulate(self._column(lengths), initial=0)
        flat = self._column(numbers)
        return [flat[begin:end] for begin, end in itertools.pairwise(ends)]

    def _read(self) -> list[Unit]:
        columns = zip(
            self._lists(UnitColumn.PLACES, UnitColumn.PLACE),
            self._lists(UnitColumn.INPUTS, UnitColumn.INPUT),
            self._lists(UnitColumn.OUTPUTS, UnitColumn.OUTPUT),
            *map(
                self._column,
                (UnitColumn.REASON, UnitColumn.FLAGS, UnitColumn.WEIGHTS, UnitColumn.NONZEROS),
            ),
            strict=True,
        )
        return [
            Unit(
                *(number, places, inputs, outputs),
                *(bool(flags & _NATIVE), NATIVE_REASONS[reason]),
                1 - nonzeros / weights if weights else None,
                bool(flags & _DEPTHWISE),
            )
            for number, (places, inputs, outputs, reason, flags, weights, nonzeros) in enumerate(
                columns
            )
        ]

    def price(
        self, native: CRates, litert: CRates, threads: int
    ) -> tuple[list[float], list[float]]:
        """Find what each unit is thought to cost, and which leave out their zeros.

        Args:
            native: How fast the native library is.
            litert: How fast LiteRT is.
            threads: How many threads run.

        Returns:
            Nanoseconds natively, infinite where it cannot run there, and in LiteRT.
        """
        count = len(self.all)
        natively, in_litert = (ctypes.c_double * count)(), (ctypes.c_double * count)()
        price = self._library.secateur_units_price
        _native.check(price(self._handle, native, litert, threads, natively, in_litert))
        for unit, flags in zip(self.all, self._column(UnitColumn.FLAGS), strict=True):
            unit.sparse = bool(flags & _SPARSE)
        return natively[:], in_litert[:]

    def build(
        self, program: Program, units: Sequence[Unit], outputs: Sequence[int]
    ) -> tuple[list[int], list[int]]:
        """Add some units to a program, with inputs and outputs.

        Args:
            program: An empty program.
            units: The units, in an order in which they can run.
            outputs: The tensors that the program shall give.

        Returns:
            The tensors that the program takes, and the one that each of its operations writes, -1
            where it only changes a layout.

        Raises:
            Refused: If the program does not take a unit; it is of no use then.
        """
        members, wanted = numbers_of(unit.number for unit in units), numbers_of(outputs)
        failed = ctypes.c_int32()
        build = self._library.secateur_units_build
        arguments = self._handle, program.handle, *members, *wanted
        try:
            _native.check(build(*arguments, failed))
        except _native.NativeError as error:
            if failed.value < 0:
                raise
            raise Refused(self.all[failed.value], str(error)) from error
        inputs, written = (
            self._column(UnitColumn.BUILT_INPUT),
            self._column(UnitColumn.BUILT_WRITTEN),
        )
        flat = iter(self._column(UnitColumn.BUILT_SHAPE))
        program.set_ends(list(zip(flat, flat, flat, strict=True)), len(inputs))
        return inputs, written
