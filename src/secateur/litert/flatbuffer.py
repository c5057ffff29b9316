"""Read and write `.tflite` files as objects, checked on the way in.

`read_model` gives the flatbuffer as objects with the names and attributes of LiteRT's own
(`ai_edge_litert.schema_py_generated.ModelT`), whose lists can be edited, also with objects of that
module; `write_model` turns them back into bytes. What is not edited is kept: names, signatures,
metadata.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from secateur.litert._check import check_model
from secateur.litert._paths import existing
from secateur.litert._unpack import unpack

_IDENTIFIER = b"TFL3"
# The offsets in a flatbuffer are signed numbers of 32 bits.
_MOST_BYTES = 2**31 - 1


def read_model(file: str | os.PathLike[str] | bytes) -> Any:
    """Read a `.tflite` file into objects and check that it makes sense.

    Buffers that the file keeps behind the flatbuffer are moved into it. Every offset, index, shape
    and length is checked, so that code working on the result need not be careful: tensors, buffers
    and operators exist where they are referred to, operators stand in the order they run in, and
    constants are as long as their shapes ask.

    Args:
        file: The path of a `.tflite` file, or its bytes.

    Returns:
        A `ModelT`. Its vectors of numbers are read-only arrays that share the file's memory:
        replace them instead of writing into them.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no `.tflite` file, a damaged one, or one larger than 2 GiB.

    Example:
        >>> model = read_model("model.tflite")  # doctest: +SKIP
        >>> model.subgraphs[0].tensors[0].name  # doctest: +SKIP
        b'serving_default_image:0'

    Reference:
        `tflite/converter/schema/schema.fbs` in google-ai-edge/LiteRT.
    """
    if isinstance(file, bytes):
        return parse(memoryview(file), f"{len(file)} bytes")
    path = _readable(file)
    # numpy asks for large pages, which take half as long to get as many small ones.
    return parse(np.fromfile(path, np.uint8).data.toreadonly(), shown_path(file))


def map_file(file: str | os.PathLike[str]) -> memoryview:
    """The bytes of a `.tflite` file, left where they are.

    As long as any part of them is in use, the file must not be written: they would change, and where
    it becomes shorter, the operating system ends a process that reads them.

    Args:
        file: The path of a `.tflite` file.

    Returns:
        Its bytes, read-only. What is read of them comes from the file at that moment.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is larger than 2 GiB.

    Example:
        >>> parse(map_file("model.tflite"), "model.tflite")  # doctest: +SKIP
    """
    with open(_readable(file), "rb") as opened:
        length = os.fstat(opened.fileno()).st_size
        data = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) if length else b""
    return memoryview(data)


def shown_path(file: str | os.PathLike[str]) -> str:
    """A path for messages."""
    return repr(os.fspath(file))


def parse(data: memoryview, shown: str) -> Any:
    """Read the bytes of a `.tflite` file as `read_model` does.

    Args:
        data: The bytes.
        shown: The file, for messages.

    Raises:
        ValueError: As `read_model`.
    """
    check_identifier(data, shown)
    with blaming_the_file(shown):
        model = unpack(data)
        _inline(model, data)
        check_model(model)
    return model


def check_identifier(data: memoryview, shown: str) -> None:
    """Refuse what is no `.tflite` file.

    Args:
        data: The bytes.
        shown: The file, for messages.

    Raises:
        ValueError: If they are none of one, or too many.
    """
    if len(data) > _MOST_BYTES:
        raise _too_large(f"file={shown}, {len(data)} bytes")
    if data[4:8] != _IDENTIFIER:
        raise ValueError(
            "This is no .tflite file: a flatbuffer with the identifier TFL3 was expected. "
            f"Received: file={shown}"
        )


@contextlib.contextmanager
def blaming_the_file(shown: str) -> Iterator[None]:
    """Turn whatever error a damaged file leads to into one that says so.

    Args:
        shown: The file, for the message.

    Raises:
        ValueError: In place of any error of the block; one that ends in what was received stays.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, ValueError) and "Received: " in str(error):
            raise
        said = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
        raise ValueError(
            f"The .tflite file is damaged or half-written ({said}). Convert or copy it again. "
            f"Received: file={shown}"
        ) from error


def write_model(model: Any) -> bytes:
    """Write a model as the bytes of a `.tflite` file.

    The same model gives the same bytes. Buffers start at multiples of 16 bytes, as kernels expect
    that read them in place; equal names, shapes and quantization parameters are stored once.

    Args:
        model: A `ModelT`, as `read_model` returns it.

    Returns:
        The flatbuffer.

    Raises:
        ValueError: If it would be larger than 2 GiB.

    Example:
        >>> write_model(read_model("model.tflite"))[4:8]  # doctest: +SKIP
        b'TFL3'
    """
    from flatbuffers.builder import BuilderSizeError  # who only reads files needs neither

    from secateur.litert._pack import pack

    content = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    error = _too_large(f"model with {content} bytes of weights")
    if content > _MOST_BYTES:
        raise error
    try:
        return pack(model, _IDENTIFIER, min(content + content // 8 + 65536, _MOST_BYTES))
    except BuilderSizeError as cause:
        raise error from cause


def _readable(file: str | os.PathLike[str]) -> str:
    path = existing(file)
    size = os.path.getsize(path)
    if size > _MOST_BYTES:
        raise _too_large(f"file={shown_path(file)}, {size} bytes")
    return path


def _too_large(received: str) -> ValueError:
    return ValueError(
        "A .tflite file is a flatbuffer, which holds at most 2 GiB. Split the model, or store its "
        f"weights in fewer bytes. Received: {received}"
    )


def _inline(model: Any, data: memoryview) -> None:
    """Move what large files keep behind the flatbuffer into it."""
    for buffer in model.buffers or ():
        if buffer.offset > 1:  # 1 stands in for "not written yet"
            buffer.data = _behind(data, buffer.offset, buffer.size)
        buffer.offset = buffer.size = 0
    for graph in model.subgraphs or ():
        for operator in graph.operators or ():
            if operator.largeCustomOptionsOffset > 1:
                operator.customOptions = _behind(
                    data, operator.largeCustomOptionsOffset, operator.largeCustomOptionsSize
                )
            operator.largeCustomOptionsOffset = operator.largeCustomOptionsSize = 0


def _behind(data: memoryview, offset: int, size: int) -> np.ndarray:
    if offset + size > len(data):
        raise ValueError(f"a buffer ends at byte {offset + size} of {len(data)}")
    return np.frombuffer(data, np.uint8, size, offset) if size else np.zeros(0, np.uint8)
