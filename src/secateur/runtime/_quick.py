"""What is common in `.tflite` files, read as columns by the native library.

Most of the time that it takes to read a file into objects goes into its tensors and operators, of
which a network has hundreds. What is rare is left to that reader.
"""

from __future__ import annotations

import copy
import ctypes
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from secateur.litert._columns import Columns, Dims
from secateur.litert._schema import fields_of, operator_name
from secateur.litert._unpack import Reader
from secateur.litert.graph import text
from secateur.runtime import _native
from secateur.runtime._ahead import Ahead
from secateur.runtime._arguments import numbers_of
from secateur.runtime._signatures import Column

_VARIABLE, _QUANTIZED, _SPARSE = 1, 2, 4


class Read(NamedTuple):
    """What is found in a file.

    Args:
        head: Gives a `ModelT` without its subgraph and buffers.
        columns: The subgraph.
        ahead: Who prunes its kernels, where that is asked for.
    """

    head: Callable[[], Any]
    columns: Columns
    ahead: Ahead | None


def read_quickly(data: memoryview, prune: bool = False, mapped: bool = False) -> Read | None:
    """Read a file of one subgraph with nothing unusual in it, and check it.

    Args:
        data: The file; its bytes are read-only.
        prune: Whether another thread shall prune the kernels of convolutions from now on.
        mapped: Whether the file is mapped.

    Returns:
        What is in it, which shares the memory of `data`. None where the file should be read into
        objects: where there is no native library, and where `check_model` or `check_sound` would
        find something wrong, so that there is one place that says what.
    """
    if not _native.available():
        return None
    try:
        return _read(data, prune, mapped)
    except Exception:  # whatever it is, the reader of objects finds it again and says what it was
        return None


def _read(data: memoryview, prune: bool, mapped: bool) -> Read:
    found, reader = NativeColumns(data), Reader(data)
    ahead = Ahead() if prune else None
    if ahead is not None:
        ahead.prune_columns(found.handle, found.memory, mapped)
    return Read(lambda: _head(reader), _columns(reader, found), ahead)


def _head(reader: Reader) -> Any:
    apart = ("subgraphs", "buffers")
    head = reader.shallow("Model", reader.unsigned(0), apart)
    head.subgraphs = head.buffers = None
    return head


class NativeColumns:
    """What the native library finds, and goes on reading.

    Args:
        data: The file.

    Raises:
        ValueError: If something is wrong with it, or rare.

    Attributes:
        handle: What the library calls it.
        memory: The bytes of the file.
    """

    handle: int | None = None

    def __init__(self, data: memoryview) -> None:
        self._library = _native.library()
        self.memory = np.frombuffer(data, np.uint8)
        address: int = self.memory.__array_interface__["data"][0]
        self.handle = self._library.secateur_columns_read(address, len(data))
        if not self.handle:
            _native.check(_native.INVALID)

    def __del__(self) -> None:
        if self.handle:
            self._library.secateur_columns_free(self.handle)
            self.handle = None

    def column(self, name: int) -> list[int]:
        """One of the columns."""
        length = ctypes.c_int64()
        return self._library.secateur_columns_get(self.handle, name, length)[: length.value]

    def names(self) -> bytes:
        """The names of all tensors, one behind the other."""
        length = ctypes.c_int64()
        return ctypes.string_at(
            self._library.secateur_columns_names(self.handle, length), length.value
        )

    def lists(self, lengths: int, numbers: int, make: type = list) -> Parts:
        """A list, or something like it, for each tensor or operator."""
        return Parts(self.column(lengths), self.column(numbers), make)

    def writers(self) -> dict[int, int]:
        """The operator that writes each tensor."""
        places = enumerate(self.column(Column.WRITER))
        return {tensor: place for tensor, place in places if place >= 0}

    def targets(self) -> dict[int, list[int]]:
        """For reshapes whose targets are computed, and known all the same: [-1, ...], by place."""
        rest = iter(self.column(Column.TARGETS))
        return {place: [next(rest) for _ in range(next(rest))] for place in rest}

    def infer(self, given: Sequence[Dims], believed: Sequence[int], known: int) -> Parts | None:
        """Find the shapes of all tensors for other shapes of the inputs.

        Args:
            given: The shapes of the inputs, in their order.
            believed: Operators, in their order, of which what the file says is believed where there is
                no rule.
            known: The place from which on what operators write is not known.

        Returns:
            The shapes, None for those of other tensors. None as a whole where there is no rule
            for an operator that is needed, or it does not take such inputs.
        """
        numbers = numbers_of(n for dims in given for n in (len(dims), *dims))
        places = numbers_of(believed)
        status = self._library.secateur_columns_infer(self.handle, *numbers, *places, known)
        if status == _native.INVALID:
            return None
        _native.check(status)
        return self.lists(Column.INFERRED_LENGTH, Column.INFERRED, tuple)

    def set_shapes(self, shapes: Sequence[Dims | None]) -> None:
        """Say the shapes of all tensors, where somebody else has found them."""
        lengths = numbers_of(-1 if dims is None else len(dims) for dims in shapes)
        words = numbers_of(n for dims in shapes for n in dims or ())
        set_shapes = self._library.secateur_columns_set_shapes
        _native.check(set_shapes(self.handle, *lengths, *words))


def _columns(reader: Reader, found: NativeColumns) -> Columns:
    flags = found.column(Column.FLAGS)

    def flagged(wanted: int) -> set[int]:
        return {i for i, flag in enumerate(flags) if flag & wanted}

    def tensor() -> Callable[[int], Any]:
        positions = found.column(Column.POSITION)
        return lambda number: reader.table("Tensor", positions[number])

    def name() -> Callable[[int], str]:
        names = found.names()  # a copy, and not the file
        ends = [*itertools.accumulate(found.column(Column.NAME_LENGTH), initial=0)]
        return lambda number: text(names[ends[number] : ends[number + 1]])

    def data() -> Callable[[int], memoryview]:
        begins = found.column(Column.DATA_BEGIN)
        sizes = found.column(Column.DATA_LENGTH)
        return lambda number: reader.data[begins[number] : begins[number] + sizes[number]]

    return Columns(
        types=lambda: found.column(Column.TYPE),
        shapes=lambda: found.lists(Column.SHAPE_LENGTH, Column.SHAPE, tuple),
        signatures=lambda: found.lists(Column.SIGNATURE_LENGTH, Column.SIGNATURE, tuple),
        sizes=lambda: found.column(Column.DATA_LENGTH),
        variables=lambda: flagged(_VARIABLE),
        quantized=lambda: flagged(_QUANTIZED),
        sparse=lambda: flagged(_SPARSE),
        kinds=lambda: [*map(operator_name, found.column(Column.KIND))],
        reads=lambda: found.lists(Column.READ_LENGTH, Column.READ),
        writes=lambda: found.lists(Column.WRITE_LENGTH, Column.WRITE),
        options=lambda: _Options(reader, found),
        inputs=lambda: found.column(Column.INPUTS),
        outputs=lambda: found.column(Column.OUTPUTS),
        tensor=tensor,
        name=name,
        data=data,
        native=lambda: found,
    )


class Parts(Sequence[Any]):
    """Lists of numbers one behind the other, each made when it is asked for.

    Args:
        lengths: How long each is, -1 where there is none.
        numbers: All of them.
        make: What is made of each, such as a tuple.
    """

    def __init__(self, lengths: list[int], numbers: list[int], make: type) -> None:
        self._lengths, self._numbers, self._make = lengths, numbers, make
        self._ends = [*itertools.accumulate([n if n > 0 else 0 for n in lengths], initial=0)]
        self._others: Mapping[int, Any] = {}

    def but(self, others: Mapping[int, Any]) -> Parts:
        """The same with some others in their places, or behind the last one."""
        parts = copy.copy(self)
        parts._others = others
        return parts

    def __len__(self) -> int:
        return max(len(self._lengths), 1 + max(self._others, default=-1))

    def __getitem__(self, number: Any) -> Any:
        if number in self._others:
            return self._others[number]
        if number < 0:  # a tensor that is left out
            raise IndexError(number)
        if self._lengths[number] < 0:
            return None
        return self._make(self._numbers[self._ends[number] : self._ends[number + 1]])


class _Options(Sequence[Any]):
    """The options of operators, each read when it is asked for."""

    def __init__(self, reader: Reader, found: NativeColumns) -> None:
        (self._field,) = (f for f in fields_of("Operator") if f.name == "builtinOptions")
        self._reader = reader
        self._kinds, self._places = map(found.column, (Column.OPTIONS_TYPE, Column.OPTIONS))

    def __len__(self) -> int:
        return len(self._kinds)

    def __getitem__(self, place: Any) -> Any:
        position = self._places[place]
        if position < 0:
            return None
        return self._reader.union(self._field, position, self._kinds[place])
