"""A graph as units: groups of operators that run together, natively as one operation or in LiteRT."""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from secateur.runtime import _native
from secateur.runtime._arguments import numbers_of
from secateur.runtime._program import Program
from secateur.runtime._reading import Graph
from secateur.runtime._reasons import NATIVE_REASONS
from secateur.runtime._signatures import CRates, UnitColumn

_DEPTHWISE, _SPARSE = 2, 4


class Unit:
    """Operators that run together.

    Args:
        number: Its place among the units.
        places: The operators, in their order.
        inputs: The tensors they read from elsewhere, constants left out.
        outputs: The tensors they write that others read.
        reason: Why they can run only in LiteRT, one of `Reason`, or "".
        zeros: The share of zeros among their weights; None without any.
        depthwise: Whether they are a depthwise convolution.
        sparse: Whether they leave zeros out, natively; known with their costs.
    """

    __slots__ = "depthwise", "inputs", "number", "outputs", "places", "reason", "sparse", "zeros"

    def __init__(
        self,
        number: int,
        places: list[int],
        inputs: list[int],
        outputs: list[int],
        reason: str = "",
        zeros: float | None = None,
        depthwise: bool = False,
        sparse: bool = False,
    ) -> None:
        self.number, self.places, self.inputs, self.outputs = number, places, inputs, outputs
        self.reason, self.zeros, self.depthwise, self.sparse = reason, zeros, depthwise, sparse


class Refused(Exception):
    """The native library does not take a unit; the arguments are its number and what was said."""


class UnitList(Sequence[Unit]):
    """Units, made when one of them is first asked for: to run them all natively takes none.

    Args:
        count: How many they are.
        numbers: What the native library says of them.
    """

    def __init__(self, count: int, numbers: list[int]) -> None:
        self._count, self._numbers = count, numbers

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: Any) -> Any:
        return self._made[number]

    def __iter__(self) -> Iterator[Unit]:
        return iter(self._made)  # a sequence's own way asks for one after the other

    @functools.cached_property
    def _made(self) -> list[Unit]:
        numbers = iter(self._numbers)
        return [_unit(number, numbers) for number in range(self._count)]


def _unit(number: int, numbers: Iterator[int]) -> Unit:
    """A unit of what is said of it; it has as many operators, inputs and outputs as are said before."""
    reason, flags, weights, nonzeros, *lengths = itertools.islice(numbers, 7)
    places, inputs, outputs = (list(itertools.islice(numbers, length)) for length in lengths)
    zeros = 1 - nonzeros / weights if weights else None
    kinds = bool(flags & _DEPTHWISE), bool(flags & _SPARSE)
    return Unit(number, places, inputs, outputs, NATIVE_REASONS[reason], zeros, *kinds)


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
        ahead = None if graph.ahead is None else graph.ahead.handle
        find = self._library.secateur_units_find
        self._count = _native.check(find(handle, graph.native.handle, ahead, graph.known))
        self._handle = handle.value

    def __del__(self) -> None:
        if self._handle is not None:
            self._library.secateur_units_free(self._handle)
            self._handle = None

    def _column(self, name: int) -> list[int]:
        length = ctypes.c_int64()
        return self._library.secateur_units_get(self._handle, name, length)[: length.value]

    def described(self) -> UnitList:
        """What they are, for who does not keep the file."""
        return UnitList(self._count, self._column(UnitColumn.UNITS))

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
        costs = ctypes.c_double * self._count
        natively, in_litert = costs(), costs()
        price = self._library.secateur_units_price
        _native.check(price(self._handle, native, litert, threads, natively, in_litert))
        return natively[:], in_litert[:]

    def build(
        self, program: Program, numbers: Iterable[int], outputs: Sequence[int]
    ) -> tuple[list[int], list[int]]:
        """Add some units to a program, with inputs and outputs.

        Args:
            program: An empty program.
            numbers: Which, in an order in which they can run.
            outputs: The tensors that the program shall give.

        Returns:
            The tensors that the program takes, and the one that each of its operations writes, -1
            where it only changes a layout.

        Raises:
            Refused: If the program does not take a unit; it is of no use then.
        """
        members, wanted = numbers_of(numbers), numbers_of(outputs)
        failed = ctypes.c_int32()
        build = self._library.secateur_units_build
        arguments = self._handle, program.handle, *members, *wanted
        try:
            _native.check(build(*arguments, failed))
        except _native.NativeError as error:
            if failed.value < 0:
                raise
            raise Refused(failed.value, str(error)) from error
        inputs, written = map(self._column, (UnitColumn.BUILT_INPUT, UnitColumn.BUILT_WRITTEN))
        flat = iter(self._column(UnitColumn.BUILT_SHAPE))
        program.set_ends(list(zip(flat, flat, flat, strict=True)), len(inputs))
        return inputs, written
