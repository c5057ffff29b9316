"""Arrays that callers may look at, as LiteRT gives them out."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping

import numpy as np

from secateur.litert._columns import Dims

_ALIGNMENT = 64


class Memory:
    """An array for each of some tensors, all 0 at first.

    Args:
        shapes: Their shapes and dtypes by their numbers.

    Raises:
        MemoryError: If there is not so much.
    """

    def __init__(self, shapes: Mapping[int, tuple[Dims, np.dtype]]) -> None:
        self._bytes = {
            tensor: np.zeros(math.prod(dims) * dtype.itemsize + _ALIGNMENT, np.uint8)
            for tensor, (dims, dtype) in shapes.items()
        }
        self._arrays = {
            tensor: _aligned(self._bytes[tensor], dims, dtype)
            for tensor, (dims, dtype) in shapes.items()
        }
        self._unused = self._references()

    def __contains__(self, tensor: int) -> bool:
        return tensor in self._arrays

    def array(self, tensor: int) -> np.ndarray:
        """The array of a tensor; who keeps it is seen by `in_use`."""
        return self._arrays[tensor].view()

    def in_use(self) -> bool:
        """Whether anybody keeps a part of an array."""
        return self._references() != self._unused

    def _references(self) -> list[int]:
        """How many know of each array's bytes, which views of it refer to; who asks is among them."""
        return [sys.getrefcount(whole) for whole in self._bytes.values()]


def _aligned(whole: np.ndarray, dims: Dims, dtype: np.dtype) -> np.ndarray:
    """The part of some bytes that begins where vectors are read fastest."""
    start = -whole.__array_interface__["data"][0] % _ALIGNMENT
    size = len(whole) - _ALIGNMENT
    return whole[start : start + size].view(dtype).reshape(dims)
