"""The weights inside a `.tflite` file and their zeros, found without TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from secateur.litert.flatbuffer import read_model
from secateur.litert.graph import DTYPES, INT4, raw, shape, text, values

# The types that hold weights. Other numbers are indices and shapes.
_WEIGHTS = ("float32", "float16", "uint8", "int16", "int8", "float64")


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
    model = read_model(file)
    return [
        info
        for graph in model.subgraphs
        for tensor in graph.tensors or ()
        if (info := tensor_info(model, tensor)) is not None
    ]


def tensor_info(model: Any, tensor: Any) -> TensorInfo | None:
    """Describe one tensor of a file and count its zeros.

    Args:
        model: A `ModelT`.
        tensor: A tensor of it.

    Returns:
        What it is; None where it holds no weights.
    """
    dtype = "int4" if tensor.type == INT4 else DTYPES.get(tensor.type)
    data, dimensions = raw(model, tensor), shape(tensor)
    if dtype not in (*_WEIGHTS, "int4") or data is None or not dimensions:
        return None
    stored = _unpack_int4(data) if dtype == "int4" else values(model, tensor)
    size = int(np.prod(dimensions, dtype=np.int64))
    # A tensor in a sparse encoding stores fewer values; those left out are zero.
    nonzero = int(np.count_nonzero(stored[:size] != _zero_point(tensor)))
    return TensorInfo(text(tensor.name), dimensions, dtype, size, size - nonzero)


def _zero_point(tensor: Any) -> int:
    quantization = tensor.quantization
    if quantization is None or quantization.zeroPoint is None or not len(quantization.zeroPoint):
        return 0
    return int(quantization.zeroPoint[0])


def _unpack_int4(raw: np.ndarray) -> np.ndarray:
    """Two signed numbers a byte, the lower half first."""
    halves = np.stack([raw & 15, raw >> 4], axis=1).ravel().astype(np.int8)
    return np.where(halves > 7, halves - 16, halves)
