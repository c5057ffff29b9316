"""Weights without their zeros, as the native library keeps them until they are packed."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from secateur.runtime import _native
from secateur.runtime._arguments import floats, pointers

# Flags of the library's header.
_KEEP, _MAPPED = 1, 2


class Pruned:
    """What is not zero of some weights, found when somebody asks for it.

    Args:
        weights: The weights; a row is an output channel. They are kept until then.
        keep: Whether to keep what is not zero, however many that are. Otherwise they are only
            counted where leaving out the zeros could not pay.

    Raises:
        NativeError: If there are no rows.
        MemoryError: If there is not enough memory; the properties, too.

    Example:

    >>> import numpy as np
    >>> pruned = Pruned(np.array([[0, 2.5, 0, 0], [0, 0, -1, 0]], "float32"))
    >>> pruned.count, pruned.kept
    (2, True)
    """

    def __init__(self, weights: np.ndarray, keep: bool = False) -> None:
        self._library = _native.library()
        self.handle: int | None = None
        values = floats(weights)
        self.handle = self._library.secateur_prune(
            values.ctypes.data, values.size, len(values), _KEEP if keep else 0
        )
        if not self.handle:
            _native.check(_native.INVALID)
        self._values: np.ndarray | None = values
        self._count: int | None = None

    @classmethod
    def _made(cls, handle: int, values: np.ndarray) -> Pruned:
        """One that the library has made."""
        pruned = cls.__new__(cls)
        pruned._library = _native.library()
        pruned.handle, pruned._values, pruned._count = handle, values, None
        return pruned

    def finish(self) -> None:
        """Find it now, or wait for the thread that is at it; the weights are not needed any more."""
        if self._values is not None:
            found = int(self._library.secateur_pruned_count(self.handle))
            self._count = None if found == _native.INVALID else _native.check(found)
            self._values = None

    @property
    def count(self) -> int | None:
        """How many are not zero; None where one is infinite or no number."""
        self.finish()
        return self._count

    @property
    def kept(self) -> bool:
        """Whether a program takes them."""
        self.finish()
        return bool(self.handle and self._library.secateur_pruned_kept(self.handle))

    def __del__(self) -> None:
        if self.handle is not None:
            self._library.secateur_pruned_free(self.handle)
            self.handle = None


class Ahead:
    """A thread that prunes before anybody asks, so that the caller can do something else meanwhile.

    Raises:
        MemoryError: If there is not enough memory; `prune`, too.

    Example:

    >>> import numpy as np
    >>> ahead = Ahead()
    >>> (pruned,) = ahead.prune([np.array([[0, 2.5, 0, 0], [0, 0, -1, 0]], "float32")])
    >>> pruned.count
    2
    """

    def __init__(self) -> None:
        self._library = _native.library()
        self.handle: int | None = self._library.secateur_ahead_create()
        self._given: list[Any] = []  # lives at least as long as the thread
        if not self.handle:
            raise MemoryError("There is not enough memory.")

    def prune(self, weights: Sequence[np.ndarray]) -> list[Pruned]:
        """Prune some weights, one after the other.

        Args:
            weights: The weights, as for `Pruned`.
        """
        values, count = [floats(each) for each in weights], len(weights)
        made = (ctypes.c_void_p * count)()
        status = self._library.secateur_prune_ahead(
            self.handle,
            count,
            pointers(values),
            (ctypes.c_int64 * count)(*(each.size for each in values)),
            (ctypes.c_int32 * count)(*(len(each) for each in values)),
            0,
            made,
        )
        _native.check(status)
        self._given += values
        return [Pruned._made(handle, each) for handle, each in zip(made, values, strict=True)]

    def prune_columns(self, columns: int | None, file: np.ndarray, mapped: bool) -> None:
        """Prune the kernels of a file for its units, if one of them has zeros.

        Args:
            columns: What the native library has read of it.
            file: Its bytes.
            mapped: Whether it is mapped, so that pages of it may be let go when they were read.
        """
        flags = _MAPPED if mapped else 0
        _native.check(self._library.secateur_prune_columns(self.handle, columns, flags))
        self._given.append(file)

    def pack(self, pruned: Pruned, weights: np.ndarray) -> None:
        """Pack all of these weights for a convolution with one output pixel.

        Args:
            pruned: The weights as they were given to be pruned.
            weights: The same array as then.
        """
        self._given += [pruned, weights]
        _native.check(self._library.secateur_pack_ahead(self.handle, pruned.handle))

    def __del__(self) -> None:
        if self.handle is not None:
            self._library.secateur_ahead_free(self.handle)
            self.handle = None
