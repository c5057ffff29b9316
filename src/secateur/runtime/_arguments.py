"""Numpy arrays as the native library's functions take them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

import numpy as np

from secateur.runtime import _native


def floats(array: np.ndarray) -> np.ndarray:
    """An array as the library takes numbers."""
    return np.ascontiguousarray(array, "float32")


def ints(array: np.ndarray) -> np.ndarray:
    """An array as the library takes indices; an error where one does not fit 32 bits."""
    found = np.asarray(array)
    if found.size and (found.min() < -(2**31) or found.max() >= 2**31):
        raise _native.NativeError(
            f"Indices must fit 32 bits. Received: from {found.min()} to {found.max()}"
        )
    return np.ascontiguousarray(found, "int32")


def numbers_of(numbers: Iterable[int]) -> tuple[bytes, int]:
    """Some numbers that fit 32 bits, as the library takes them, and how many they are."""
    found = [*numbers]
    return struct.pack(f"{len(found)}i", *found), len(found)


def pointer_and_count(array: np.ndarray | None) -> tuple[int | None, int]:
    """Where an array is, and how many numbers it has; nowhere and none without one."""
    return (None, 0) if array is None else (array.ctypes.data, array.size)


def pointers(arrays: Sequence[np.ndarray]) -> bytes:
    """Where arrays are, as the library takes addresses."""
    found = (array.__array_interface__["data"][0] for array in arrays)
    return struct.pack(f"{len(arrays)}P", *found)


def check_shapes(
    name: str,
    arrays: Sequence[np.ndarray],
    shapes: Sequence[tuple[int, ...]],
    dtype: str = "float32",
) -> None:
    """Raise a NativeError unless arrays have the shapes and the type that the library is to use."""
    fits = len(arrays) == len(shapes) and all(
        a.shape == s and a.dtype == dtype and a.flags.c_contiguous
        for a, s in zip(arrays, shapes, strict=True)
    )
    if not fits:
        raise _native.NativeError(
            f"The {name} must be C-contiguous {dtype} arrays of the shapes {list(shapes)}. "
            f"Received: {name}={[(a.shape, str(a.dtype)) for a in arrays]}"
        )
