"""Write the object form of a `.tflite` file, each equal string, vector and table once."""

from __future__ import annotations

import struct
from copy import copy
from typing import Any

import flatbuffers
import numpy as np

from secateur.litert._schema import Field, dtype_of, fields_of

# What kernels expect that read weights where they lie in the file.
_ALIGNMENT = 16


def pack(model: Any, identifier: bytes, size: int) -> bytes:
    """Write a model.

    Shapes and channel-wise zero points recur from tensor to tensor, and a flatbuffer may point to
    the same place more than once.

    Args:
        model: A `ModelT`.
        identifier: The four letters that name the format.
        size: About how long it will be; a wrong guess costs only time.

    Returns:
        The flatbuffer.
    """
    builder = _Builder(size)
    tables: dict[Any, Any] = {}
    model = copy(model)
    model.buffers = [_Buffer(buffer.data) for buffer in model.buffers]
    model.subgraphs = [copy(graph) for graph in model.subgraphs]
    for graph in model.subgraphs:
        each = {id(tensor): tensor for tensor in graph.tensors or ()}
        once = {key: _Once("Tensor", _tensor(tensor, tables)) for key, tensor in each.items()}
        graph.tensors = [once[id(tensor)] for tensor in graph.tensors or ()]
    builder.Finish(pack_table(builder, "Model", model), file_identifier=identifier)
    return bytes(builder.Output())


def pack_table(builder: flatbuffers.Builder, kind: str, table: Any) -> int:
    """Write a table, behind all that it points to.

    Args:
        builder: Where to.
        kind: The table's kind.
        table: An object with an attribute for each field.

    Returns:
        Where it is.
    """
    fields = [
        (i, field, getattr(table, field.name))
        for i, field in enumerate(fields_of(kind))
        if field.name
    ]
    values = [
        (i, field, value if field.how == "number" else _target(builder, field, value))
        for i, field, value in fields
        if value is not None
    ]
    builder.StartObject(len(fields_of(kind)))
    for i, field, value in values:
        if field.how == "number":
            getattr(builder, f"Prepend{_NUMBERS[field.what]}Slot")(i, value, field.default)
        else:
            builder.PrependUOffsetTRelativeSlot(i, value, 0)
    return int(builder.EndObject())


def _target(builder: flatbuffers.Builder, field: Field, value: Any) -> int:
    """Write what a field points to; return where it is."""
    if field.how == "numbers":
        return int(builder.CreateNumpyVector(np.asarray(value, dtype_of(field.what))))
    if field.how == "text":
        return int(builder.CreateString(value))
    if field.how == "tables":
        return _offsets(builder, [_pack_one(builder, field.what, table) for table in value])
    if field.how == "table":
        return _pack_one(builder, field.what, value)
    return int(value.Pack(builder))  # of a union: its class knows its kind


def _offsets(builder: flatbuffers.Builder, places: list[int]) -> int:
    """Write a vector of offsets, all at once, as the builder would write one after the other."""
    builder.StartVector(4, len(places), 4)
    # Places are counted from the end of the buffer, which is written from its end.
    own = builder.Offset() + 4 * len(places)  # of the first
    builder.head -= 4 * len(places)
    offsets = (own - 4 * i - place for i, place in enumerate(places))
    struct.pack_into(f"<{len(places)}I", builder.Bytes, builder.head, *offsets)
    return int(builder.EndVector())


def _pack_one(builder: flatbuffers.Builder, kind: str, table: Any) -> int:
    if isinstance(table, _Once | _Buffer):
        return table.Pack(builder)
    return pack_table(builder, kind, table)


_NUMBERS = {
    **{"b": "Int8", "B": "Uint8", "?": "Bool", "i": "Int32", "I": "Uint32", "q": "Int64"},
    **{"Q": "Uint64", "f": "Float32"},
}


class _Builder(flatbuffers.Builder):
    """A builder that writes equal strings and vectors of numbers once."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._known: dict[Any, int] = {}

    def CreateString(self, s: Any, encoding: str = "utf-8", errors: str = "strict") -> int:
        content = s.encode(encoding, errors) if isinstance(s, str) else bytes(s)
        if content not in self._known:
            self._known[content] = super().CreateString(content)
        return self._known[content]

    def CreateNumpyVector(self, x: np.ndarray) -> int:
        key = (x.dtype.str, x.tobytes())
        if key not in self._known:
            self._known[key] = super().CreateNumpyVector(x)
        return self._known[key]


class _Buffer:
    """A buffer that packs itself aligned, which the generated class forgets to do."""

    def __init__(self, data: Any) -> None:
        self.data = None if data is None else np.asarray(data, np.uint8)

    def Pack(self, builder: Any) -> int:
        vector = None
        if self.data is not None:
            size = len(self.data)
            builder.StartVector(1, size, _ALIGNMENT)
            builder.head -= size
            builder.Bytes[builder.head : builder.head + size] = self.data.tobytes()
            vector = builder.EndVector()
        builder.StartObject(len(fields_of("Buffer")))
        if vector is not None:
            builder.PrependUOffsetTRelativeSlot(0, vector, 0)
        return int(builder.EndObject())


class _Once:
    """A table that is written when it is met first."""

    def __init__(self, kind: str, table: Any) -> None:
        self._kind, self._table = kind, table
        self._place: int | None = None

    def Pack(self, builder: Any) -> int:
        if self._place is None:
            self._place = pack_table(builder, self._kind, self._table)
        return self._place


def _tensor(tensor: Any, tables: dict[Any, Any]) -> Any:
    tensor = copy(tensor)
    found = tensor.quantization
    if found is not None and found.details is None:
        parts = (found.min, found.max, found.scale, found.zeroPoint)
        key = tuple(None if part is None else np.asarray(part).tobytes() for part in parts)
        once = _Once("QuantizationParameters", found)
        tensor.quantization = tables.setdefault((*key, found.quantizedDimension), once)
    return tensor
