"""Weights without their zeros for programs that are made by hand."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from secateur.runtime import _hand_signatures, _native
from secateur.runtime._ahead import Ahead
from secateur.runtime._arguments import floats, pointers

_KEEP = 1  # a flag of the library's header


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

    handle: int | None = None

    def __init__(self, weights: np.ndarray, keep: bool = False) -> None:
        self._library = _hand_signatures.library()
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
        pruned._library = _hand_signatures.library()
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


class Pruner(Ahead):
    """A thread that prunes arrays, too.

    Raises:
        MemoryError: If there is not enough memory; `prune`, too.

    Example:

    >>> import numpy as np
    >>> pruner = Pruner()
    >>> (pruned,) = pruner.prune([np.array([[0, 2.5, 0, 0], [0, 0, -1, 0]], "float32")])
    >>> pruned.count
    2
    """

    def __init__(self) -> None:
        _hand_signatures.library()
        super().__init__()

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
        self.given += values
        return [Pruned._made(handle, each) for handle, each in zip(made, values, strict=True)]

    def pack(self, pruned: Pruned, weights: np.ndarray) -> None:
        """Pack all of these weights for a convolution with one output pixel.

        Args:
            pruned: The weights as they were given to be pruned.
            weights: The same array as then.
        """
        self.given += [pruned, weights]
        _native.check(self._library.secateur_pack_ahead(self.handle, pruned.handle))
