"""Check that a flatbuffer's tables, vectors and strings lie within it, before anything follows them.

The reader that `ai_edge_litert` generates from the schema trusts what it reads: one flipped bit in
the length of a vector makes it build billions of objects. As in the C++ verifier, every offset is
checked and the number of tables is bounded.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

# A flatbuffer counts tables from 1, C++ gives up at the same number.
_MOST_TABLES = 1_000_000


@dataclass(frozen=True)
class _Scalar:
    width: int


@dataclass(frozen=True)
class _Vector:
    """A vector of scalars of `width` bytes; a string is one of bytes."""

    width: int


@dataclass(frozen=True)
class _Table:
    """One table; `name` "" where only its own bounds are checked, as for an operator's options."""

    name: str


@dataclass(frozen=True)
class _Tables:
    """A vector of tables."""

    name: str


_Field = _Scalar | _Vector | _Table | _Tables
_byte, _int, _long = _Scalar(1), _Scalar(4), _Scalar(8)
_text, _bytes, _ints, _floats, _longs = _Vector(1), _Vector(1), _Vector(4), _Vector(4), _Vector(8)
_anything = _Table("")

# The fields of each table of the schema in its order; a union is two: its type and its table.
_SCHEMA: dict[str, tuple[_Field, ...]] = {
    "": (),
    "Model": (
        _int,
        _Tables("OperatorCode"),
        _Tables("SubGraph"),
        _text,
        _Tables("Buffer"),
        _ints,
        _Tables("Metadata"),
        _Tables("SignatureDef"),
        _Tables("ExternalBufferGroup"),
        _Tables("ExternalBuffer"),
    ),
    "OperatorCode": (_byte, _text, _int, _int),
    "SubGraph": (_Tables("Tensor"), _ints, _ints, _Tables("Operator"), _text, _int),
    "Tensor": (
        _ints,
        _byte,
        _int,
        _text,
        _Table("Quantization"),
        _byte,
        _Table("Sparsity"),
        _ints,
        _byte,
        _Tables("VariantSubType"),
        _int,
    ),
    "Quantization": (_floats, _floats, _floats, _longs, _byte, _anything, _int),
    "Sparsity": (_ints, _ints, _Tables("Dimension")),
    "Dimension": (_byte, _int, _byte, _anything, _byte, _anything),
    "VariantSubType": (_ints, _byte, _byte),
    "Operator": (
        _int,
        _ints,
        _ints,
        _byte,
        _anything,
        _bytes,
        _byte,
        _bytes,
        _ints,
        _long,
        _long,
        _byte,
        _anything,
        _int,
    ),
    "Buffer": (_bytes, _long, _long),
    "ExternalBufferGroup": (_text,),
    "ExternalBuffer": (_int, _int, _long, _long, _text),
    "Metadata": (_text, _int),
    "TensorMap": (_text, _int),
    "SignatureDef": (_Tables("TensorMap"), _Tables("TensorMap"), _text, _Scalar(0), _int),
}


def verify(data: bytes) -> None:
    """Check that all tables, vectors and strings of a `.tflite` file lie within it.

    Args:
        data: The file.

    Raises:
        ValueError: If one does not, or if there are more than the file can hold.
    """
    _Verifier(data).model()


class _Verifier:
    def __init__(self, data: bytes) -> None:
        self._data = data
        # A table takes 4 bytes and the offset to it 4 more, unless tables are shared.
        self._tables_left = min(len(data) // 4 + 16, _MOST_TABLES)
        self._bytes_left = 4 * len(data) + 65536

    def model(self) -> None:
        self._table("Model", self._unsigned(0))

    def _table(self, name: str, position: int) -> None:
        self._tables_left -= 1
        if self._tables_left < 0:
            raise ValueError("it has more tables than a file of its size can hold")
        vtable = position - self._read("<i", position)
        length, size = self._read("<H", vtable), self._read("<H", vtable + 2)
        if length < 4 or length % 2 or size < 4:
            raise ValueError(f"table {name or 'of options'} at byte {position} is malformed")
        self._within(vtable, length)
        self._within(position, size)
        if not name:
            fields: list[int] = [self._read("<H", vtable + i) for i in range(4, length, 2)]
            if any(offset >= size for offset in fields):
                raise ValueError(f"a field lies outside of its table at byte {position}")
            return
        for index, field in enumerate(_SCHEMA[name]):
            slot = 4 + 2 * index
            offset = self._read("<H", vtable + slot) if slot < length else 0
            if offset:
                width = field.width if isinstance(field, _Scalar) else 4
                if offset + width > size:
                    raise ValueError(f"field {index} lies outside of its table at {position}")
                self._field(field, position + offset)

    def _field(self, field: _Field, position: int) -> None:
        if isinstance(field, _Scalar):
            return
        target = position + self._unsigned(position)
        if isinstance(field, _Table):
            self._table(field.name, target)
            return
        count = self._unsigned(target)
        width = field.width if isinstance(field, _Vector) else 4
        self._within(target + 4, count * width)
        self._bytes_left -= count * width
        if self._bytes_left < 0:
            raise ValueError("its vectors are longer than a file of its size can hold")
        if isinstance(field, _Tables):
            for place in range(target + 4, target + 4 + 4 * count, 4):
                self._table(field.name, place + self._unsigned(place))

    def _unsigned(self, position: int) -> int:
        return self._read("<I", position)

    def _read(self, layout: str, position: int) -> int:
        self._within(position, struct.calcsize(layout))
        return int(struct.unpack_from(layout, self._data, position)[0])

    def _within(self, position: int, length: int) -> None:
        if position < 0 or position + length > len(self._data):
            raise ValueError(
                f"it points to byte {position + length} of {len(self._data)}, past its end"
                if position >= 0
                else "it points to before its beginning"
            )
