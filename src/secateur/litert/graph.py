"""Small questions to the object form of a `.tflite` file, which `read_model` returns."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from secateur.litert._schema import class_of, operator_name

#: The numpy dtype of each tensor type that holds whole bytes a value, by its number in the schema.
DTYPES = {
    0: "float32",
    1: "float16",
    2: "int32",
    3: "uint8",
    4: "int64",
    6: "bool",
    7: "int16",
    8: "complex64",
    9: "int8",
    10: "float64",
    11: "complex128",
    12: "uint64",
    15: "uint32",
    16: "uint16",
}
FLOAT32, FLOAT16, INT32, INT8, INT4 = 0, 1, 2, 9, 17

#: The bits of each type that packs several values into a byte, or that numpy does not know.
_BITS = {17: 4, 18: 16, 19: 2, 20: 4, 21: 8, 22: 8}

# Operators up to this number are also named by a field of one byte, which old readers look at.
_DEPRECATED_LIMIT = 127


def text(name: bytes | str | None) -> str:
    """A name in a file as a string; the schema's objects hold bytes."""
    return name.decode(errors="replace") if isinstance(name, bytes) else name or ""


@functools.cache
def bits(tensor_type: int) -> int | None:
    """How many bits a value of a tensor type takes; None where that is not fixed, as for strings."""
    dtype = DTYPES.get(tensor_type)
    return np.dtype(dtype).itemsize * 8 if dtype else _BITS.get(tensor_type)


def opcode(model: Any, operator: Any) -> int:
    """The number of an operator's kind, one of `BuiltinOperator` in the schema."""
    return builtin(model.operatorCodes[operator.opcodeIndex])


def builtin(code: Any) -> int:
    """The same of an operator code."""
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


def opcode_name(model: Any, operator: Any) -> str:
    """The kind of an operator as its name in the schema, "CONV_2D"; that of a custom one as text."""
    return code_name(model.operatorCodes[operator.opcodeIndex])


def opcode_names(model: Any) -> list[str]:
    """The same for each kind of operators that a file has, in the order of `opcodeIndex`."""
    return [code_name(code) for code in model.operatorCodes]


def code_name(code: Any) -> str:
    """The same of an operator code."""
    kind = operator_name(builtin(code))
    return text(code.customCode) if kind == "CUSTOM" else kind


def indices(numbers: Iterable[int] | None) -> list[int]:
    """The tensor numbers of an operator or graph as a list, optional ones that are left out too.

    Example:
        >>> indices(np.array([0, 3, -1], "int32"))
        [0, 3, -1]
    """
    if numbers is None:
        return []
    return numbers.tolist() if isinstance(numbers, np.ndarray) else [int(n) for n in numbers]


def shape(tensor: Any) -> tuple[int, ...]:
    """The shape of a tensor, 1 where a dimension is open."""
    return tuple(indices(tensor.shape))


def raw(model: Any, tensor: Any) -> np.ndarray | None:
    """The bytes of a constant tensor; None where it is filled when the model runs."""
    data = model.buffers[tensor.buffer].data
    return None if data is None or not len(data) else np.asarray(data, np.uint8)


def is_constant(model: Any, tensor: Any) -> bool:
    """Whether a tensor's values are in the file."""
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def values(model: Any, tensor: Any) -> np.ndarray:
    """The values of a constant tensor as they are stored, a row; sparse ones are not decoded.

    Args:
        model: The file.
        tensor: A constant tensor of it, of a type in `DTYPES`.

    Returns:
        A read-only array of one dimension.
    """
    data = raw(model, tensor)
    if data is None:
        raise ValueError(f"The tensor is no constant. Received: name={text(tensor.name)!r}")
    return typed(data, tensor.type)


def shaped(stored: np.ndarray, dims: tuple[int, ...], sparsity: Any = None) -> np.ndarray:
    """The values of a constant in its shape.

    Args:
        stored: The values as the file holds them, a row.
        dims: The shape.
        sparsity: How they are encoded, a `SparsityParametersT`; None where they are all there.

    Returns:
        An array of that shape.
    """
    if sparsity is not None:
        from secateur.litert.sparse_encoding import decode  # few files need it

        return decode(stored, sparsity, dims)
    return stored[: math.prod(dims)].reshape(dims)


def typed(data: np.ndarray, tensor_type: int) -> np.ndarray:
    """Bytes as values of a type in `DTYPES`; what is left of them is left out."""
    dtype = np.dtype(DTYPES[tensor_type])
    return data[: len(data) // dtype.itemsize * dtype.itemsize].view(dtype)


def producers(graph: Any) -> dict[int, int]:
    """The operator, by its place, that writes each tensor."""
    return {
        tensor: place
        for place, operator in enumerate(graph.operators or ())
        for tensor in indices(operator.outputs)
        if tensor >= 0
    }


def consumers(graph: Any) -> dict[int, list[int]]:
    """The operators, by their places, that read each tensor; one that reads it twice counts twice."""
    found: dict[int, list[int]] = {}
    for place, operator in enumerate(graph.operators or ()):
        for tensor in indices(operator.inputs):
            if tensor >= 0:
                found.setdefault(tensor, []).append(place)
    return found


def add_opcode(model: Any, builtin: int, version: int, exactly: bool = False) -> int:
    """The place of an operator kind in the file's list of kinds, added where it is not there yet.

    Args:
        model: The file; its list grows.
        builtin: The kind's number, of `BuiltinOperator`.
        version: The least version that has what the operator needs.
        exactly: Whether no other version will do.

    Returns:
        The `opcodeIndex` for operators of that kind.
    """
    for place, code in enumerate(model.operatorCodes):
        kind = max(code.builtinCode, code.deprecatedBuiltinCode)
        if kind == builtin and (
            code.version == version or (code.version > version and not exactly)
        ):
            return place
    code = class_of("OperatorCode")()
    code.builtinCode = builtin
    code.deprecatedBuiltinCode = min(builtin, _DEPRECATED_LIMIT)
    code.version = version
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def add_buffer(model: Any, content: np.ndarray) -> int:
    """Add a buffer with an array's bytes; return its number."""
    buffer = class_of("Buffer")()
    buffer.data = np.frombuffer(np.ascontiguousarray(content).tobytes(), np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1
