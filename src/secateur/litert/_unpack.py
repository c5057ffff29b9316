"""Read the tables of a flatbuffer into objects, and trust none of its offsets.

The reader that LiteRT's package generates from the schema follows whatever it finds: one flipped bit
in the length of a vector makes it build billions of objects. It also asks each table for each field
anew, which takes most of the time of loading a model. Here every offset is checked as in the C++
verifier, the number of tables is bounded, and tables of one layout are read by one `struct`.
"""

import functools
import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from secateur.litert._schema import Field, class_of, dtype_of, fields_of, members

# A flatbuffer counts tables from 1, C++ gives up at the same number.
_MOST_TABLES = 1_000_000


def unpack(data: memoryview) -> Any:
    """Read a `.tflite` file into objects.

    Args:
        data: The file; its bytes are read-only.

    Returns:
        A `ModelT`, whose vectors of numbers are arrays that share the memory of `data`.

    Raises:
        ValueError: If a table, vector or string does not lie within the file, or if there are more
            than it can hold.
    """
    reader = Reader(data)
    return reader.table("Model", reader.unsigned(0))


_Read = Callable[["Reader", int, dict[str, Any]], Any]


class _Layout(NamedTuple):
    """Where the fields of tables are that share a vtable.

    Args:
        make: The class of objects for such tables.
        defaults: Their attributes at first.
        size: The bytes that each takes itself.
        unpack: Reads the values of all fields at once, in the order of their places.
        fields: Of each field that is there, in the order of the schema: its name, which of the
            values it is, its place in the table, and how to read what it points to.
    """

    make: type
    defaults: dict[str, Any]
    size: int
    unpack: Callable[[memoryview, int], tuple[Any, ...]]
    fields: tuple[tuple[str, int, int, _Read | None], ...]


class Reader:
    """Follows the offsets of a file, each of which it checks.

    Args:
        data: The file.
    """

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self._length = len(data)
        # A table takes 4 bytes and the offset to it 4 more, unless tables are shared.
        self._tables_left = min(len(data) // 4 + 16, _MOST_TABLES)
        self._bytes_left = 4 * len(data) + 65536
        self._layouts: dict[tuple[str, int], _Layout] = {}
        self._numbers: dict[tuple[str, bytes, bytes], dict[str, Any]] = {}

    def table(self, kind: str, position: int) -> Any:
        """Read a table, and all that it points to."""
        make, defaults, size, unpack_from, fields = self.lay_out(kind, self._vtable(position))
        self.within(position, size)
        values = unpack_from(self.data, position)
        found: Any = object.__new__(make)  # a third of the time that its own constructor takes
        found.__dict__ = parts = defaults.copy()
        for name, index, offset, read in fields:
            value = values[index]
            parts[name] = value if read is None else read(self, position + offset + value, parts)
        return found

    def shallow(self, kind: str, position: int, apart: Sequence[str]) -> Any:
        """Read a table without what some of its fields point to: of these, where it is."""
        make, _, size, unpack_from, fields = self.lay_out(kind, self._vtable(position))
        self.within(position, size)
        values, found = unpack_from(self.data, position), make()
        parts = vars(found)
        for name, index, offset, read in fields:
            target = position + offset + values[index]
            if name in apart:
                parts[name] = target
            else:
                parts[name] = values[index] if read is None else read(self, target, parts)
        return found

    def _vtable(self, position: int) -> int:
        self.count(1)
        self.within(position, 4)
        return position - _SIGNED(self.data, position)[0]

    def count(self, tables: int) -> None:
        """Refuse more tables than a file of its size can hold."""
        self._tables_left -= tables
        if self._tables_left < 0:
            raise ValueError("it has more tables than a file of its size can hold")

    def spend(self, size: int) -> None:
        """Refuse vectors of more bytes than a file of its size can hold."""
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise ValueError("its vectors are longer than a file of its size can hold")

    def lay_out(self, kind: str, vtable: int) -> _Layout:
        """Where the fields of tables of a kind are that share a vtable."""
        layout = self._layouts.get((kind, vtable))
        if layout is None:
            layout = self._layouts[kind, vtable] = self._lay_out(kind, vtable)
        return layout

    def places(self, vtable: int) -> tuple[int, tuple[int, ...]]:
        """The size of the tables of a vtable, and the place in them of each field, 0 for none."""
        self.within(vtable, 4)
        length, size = _SHORTS(self.data, vtable)
        if length < 4 or length % 2 or size < 4:
            raise ValueError(f"the layout of tables at byte {vtable} is malformed")
        self.within(vtable, length)
        return size, struct.unpack_from(f"<{length // 2 - 2}H", self.data, vtable + 4)

    def _lay_out(self, kind: str, vtable: int) -> _Layout:
        size, places = self.places(vtable)
        # Fields that the schema does not name are of a later version than it.
        known = zip(places, fields_of(kind), strict=False)
        slots = [(place, field) for place, field in known if place and field.name]
        letters, end = "<", 0
        values: dict[int, int] = {}  # which of the values is at a place
        for place, field in sorted(slots):
            letter = field.what if field.how == "number" else "I"
            width = struct.calcsize(letter)
            if place < end or place + width > size:
                raise ValueError(f"the layout of tables at byte {vtable} is malformed")
            letters += f"{place - end}x{letter}"
            values[place] = len(values)
            end = place + width
        fields = tuple(
            (field.name, values[place], place, None if field.how == "number" else _reader(field))
            for place, field in slots
        )
        make = class_of(kind)
        return _Layout(make, make.defaults, size, struct.Struct(letters).unpack_from, fields)

    def vector(self, position: int, width: int) -> int:
        """The length of a vector whose elements take `width` bytes each."""
        self.within(position, 4)
        count: int = _UNSIGNED(self.data, position)[0]
        size = count * width
        self.within(position + 4, size)
        self.spend(size)
        return count

    def text(self, position: int, _: dict[str, Any]) -> bytes:
        """A string."""
        start = position + 4
        return bytes(self.data[start : start + self.vector(position, 1)])

    def tables(self, kind: str, position: int, _: dict[str, Any]) -> list[Any]:
        """A vector of tables."""
        count = self.vector(position, 4)
        offsets = struct.unpack_from(f"<{count}I", self.data, position + 4)
        first = position + 4
        return [self.table(kind, first + 4 * i + offset) for i, offset in enumerate(offsets)]

    def union(self, field: Field, position: int, number: int) -> Any:
        """A table of the kind that a number says.

        Operators of a kind mostly have the same options, so that those of numbers are kept.
        """
        kind = members(field.what).get(number)
        vtable = self._vtable(position)
        size, places = self.places(vtable)
        self.within(position, size)
        if kind is None:
            if any(place >= size for place in places):
                raise ValueError(f"a field lies outside of its table at byte {position}")
            make = _rare(field.what).get(number)
            return None if make is None else make.InitFromBuf(self.data, position)
        end = vtable + 4 + 2 * len(places)
        key = kind, bytes(self.data[position + 4 : position + size]), bytes(self.data[vtable:end])
        if key in self._numbers:
            return class_of(kind)(**self._numbers[key])
        found = self.table(kind, position)
        if are_numbers(found):
            self._numbers[key] = vars(found).copy()
        return found

    def unsigned(self, position: int) -> int:
        """An offset or length."""
        self.within(position, 4)
        return _UNSIGNED(self.data, position)[0]

    def within(self, position: int, length: int) -> None:
        """Refuse what is not in the file."""
        if position < 0 or position + length > self._length:
            raise ValueError(
                f"it points to byte {position + length} of {self._length}, past its end"
                if position >= 0
                else "it points to before its beginning"
            )


def are_numbers(options: Any) -> bool:
    """Whether options say nothing but numbers, so that equal ones may be read once."""
    return all(isinstance(value, int | float) for value in vars(options).values())


_SIGNED, _UNSIGNED = struct.Struct("<i").unpack_from, struct.Struct("<I").unpack_from
_SHORTS = struct.Struct("<HH").unpack_from


@functools.cache
def _reader(field: Field) -> _Read:
    """How to read what a field points to."""
    if field.how == "numbers":
        dtype = dtype_of(field.what)
        return lambda reader, position, _: np.frombuffer(
            reader.data, dtype, reader.vector(position, dtype.itemsize), position + 4
        )
    if field.how == "table":
        return lambda reader, position, _: reader.table(field.what, position)
    if field.how == "tables":
        return lambda reader, position, parts: reader.tables(field.what, position, parts)
    if field.how == "union":
        chooser = f"{field.name}Type"
        return lambda reader, position, parts: reader.union(field, position, parts[chooser])
    return Reader.text


@functools.cache
def _rare(union: str) -> dict[int, Any]:
    """LiteRT's class for each number that chooses a table of a union."""
    from ai_edge_litert import schema_py_generated as schema

    names = vars(getattr(schema, union)).items()
    return {
        number: getattr(schema, f"{name}T") for name, number in names if name[0] != "_" and number
    }
