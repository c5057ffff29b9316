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
        self._bytes: dict[int, np.ndarray] = {}
        self._arrays: dict[int, np.ndarray] = {}
        for tensor, (dims, dtype) in shapes.items():
            size = math.prod(dims) * dtype.itemsize
            whole = np.zeros(size + _ALIGNMENT, np.uint8)
            start = -whole.__array_interface__["data"][0] % _ALIGNMENT
            self._bytes[tensor] = whole
            self._arrays[tensor] = whole[start : start + size].view(dtype).reshape(dims)

    def __contains__(self, tensor: int) -> bool:
        return tensor in self._arrays

    def array(self, tensor: int) -> np.ndarray:
        """The array of a tensor; who keeps it is seen by `in_use`."""
        return self._arrays[tensor].view()

    def in_use(self) -> bool:
        """Whether anybody keeps a part of an array."""
        # Known to: the dictionary, the loop's variable, the function that counts, and the array here.
        return any(sys.getrefcount(whole) > 4 for whole in self._bytes.values())
