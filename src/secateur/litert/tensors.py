"""The weights inside a `.tflite` file, read from the flatbuffer without TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from secateur.litert.sizes import read_bytes

# The tensor types that hold weights, by their number in the schema; int4 is unpacked by hand.
_DTYPES = {0: "float32", 1: "float16", 3: "uint8", 7: "int16", 9: "int8", 10: "float64"}
_INT4 = 17


@dataclass(frozen=True)
class TensorInfo:
    """One weight tensor of a file.

    Args:
        name: Its name in the file.
        shape: Its shape.
        dtype: How it is stored, as "float32" or "int8".
        size: The number of its weights.
        zeros: How many of them are zero.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    size: int
    zeros: int

    @property
    def sparsity(self) -> float:
        """The share of zeros, 0 to 1."""
        return self.zeros / self.size if self.size else 0.0

    @property
    def is_kernel(self) -> bool:
        """Whether this is a matrix or larger: what pruning works on."""
        return len(self.shape) > 1

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values for JSON."""
        return {**asdict(self), "shape": list(self.shape), "sparsity": self.sparsity}


def kernel_sparsity(tensors: Sequence[TensorInfo]) -> float:
    """The share of zeros over all kernels: tensors of two or more axes.

    Args:
        tensors: The tensors of a file.

    Returns:
        0 to 1; 0 where there is no kernel.

    Example:
        >>> kernel_sparsity([
        ...     TensorInfo("kernel", (4, 2), "float32", size=8, zeros=6),
        ...     TensorInfo("bias", (2,), "float32", size=2, zeros=2),
        ... ])
        0.75
    """
    kernels = [tensor for tensor in tensors if tensor.is_kernel]
    size = sum(tensor.size for tensor in kernels)
    return sum(tensor.zeros for tensor in kernels) / size if size else 0.0


def read_tensors(file: str | os.PathLike[str] | bytes) -> list[TensorInfo]:
    """List the weights of a `.tflite` file with their zeros, needing neither Keras nor TensorFlow.

    Args:
        file: The path of a `.tflite` file, or its bytes.

    Returns:
        Its constant tensors of numbers, those of indices and shapes left out, in the file's
        order. A quantized weight counts as zero where it stands for the number zero.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no `.tflite` file, or a damaged one.

    Example:
        >>> read_tensors("model.tflite")  # doctest: +SKIP
        [TensorInfo(name='dense/MatMul', shape=(10, 4), dtype='float32', size=40, zeros=32)]
    """
    data = file if isinstance(file, bytes) else read_bytes(file)
    shown = f"{len(data)} bytes" if isinstance(file, bytes) else repr(os.fspath(file))
    if data[4:8] != b"TFL3":
        raise ValueError(
            "This is no .tflite file: a flatbuffer with the identifier TFL3 was expected. "
            f"Received: file={shown}"
        )
    from ai_edge_litert import schema_py_generated as schema

    try:
        model = schema.Model.GetRootAs(data, 0)
        return [
            info
            for graph in map(model.Subgraphs, range(model.SubgraphsLength()))
            for tensor in map(graph.Tensors, range(graph.TensorsLength()))
            if (info := _weight(model, tensor)) is not None
        ]
    except Exception as error:  # a damaged flatbuffer fails in many ways
        raise ValueError(
            f"The .tflite file is damaged or half-written ({type(error).__name__}: {error}). "
            f"Convert the model again. Received: file={shown}"
        ) from error


def _weight(model: Any, tensor: Any) -> TensorInfo | None:
    """Count the zeros of one tensor, or return None where it holds no weights."""
    buffer = model.Buffers(tensor.Buffer())
    if tensor.Type() not in (*_DTYPES, _INT4) or not tensor.ShapeLength():
        return None
    if not buffer.DataLength():  # filled when the model runs
        return None
    shape = tuple(int(length) for length in tensor.ShapeAsNumpy())
    dtype = _DTYPES.get(tensor.Type(), "int4")
    raw = buffer.DataAsNumpy()
    values = _unpack_int4(raw) if dtype == "int4" else np.frombuffer(raw.tobytes(), dtype)
    size = int(np.prod(shape, dtype=np.int64))
    name = tensor.Name().decode()
    if values.size < size and tensor.Sparsity() is None:
        raise ValueError(f"tensor {name!r} lacks {size - values.size} of its {size} values")
    # A tensor in a sparse encoding stores fewer values; those left out are zero.
    nonzero = int(np.count_nonzero(values[:size] != _zero_point(tensor)))
    return TensorInfo(name, shape, dtype, size, size - nonzero)


def _zero_point(tensor: Any) -> int:
    quantization = tensor.Quantization()
    if quantization is None or not quantization.ZeroPointLength():
        return 0
    return int(quantization.ZeroPoint(0))


def _unpack_int4(raw: np.ndarray) -> np.ndarray:
    """Two signed numbers a byte, the lower half first."""
    halves = np.stack([raw & 15, raw >> 4], axis=1).ravel().astype(np.int8)
    return np.where(halves > 7, halves - 16, halves)
