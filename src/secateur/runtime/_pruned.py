"""Weights without their zeros, as the native library keeps them until they are packed."""

from __future__ import annotations

import math

import numpy as np

from secateur.runtime import _native
from secateur.runtime._arguments import floats


class Pruned:
    """What is not zero of some weights.

    Args:
        weights: The weights; a row is an output channel.
        keep: Whether to keep what is not zero, however many that are. Otherwise they are only
            counted where leaving out the zeros could not pay.

    Raises:
        NativeError: If there are no rows, or not enough memory.

    Example:

    >>> import numpy as np
    >>> pruned = Pruned(np.array([[0, 2.5, 0, 0], [0, 0, -1, 0]], "float32"))
    >>> pruned.count, pruned.kept
    (2, True)
    """

    def __init__(self, weights: np.ndarray, keep: bool = False) -> None:
        self._library = _native.library()
        self.handle: int | None = None
        values = floats(weights).reshape(len(weights), math.prod(weights.shape[1:]))
        self.handle = self._library.secateur_prune(
            values.ctypes.data, values.size, len(values), keep
        )
        if not self.handle:
            _native.check(_native.INVALID)
        found = int(self._library.secateur_pruned_count(self.handle))
        #: How many are not zero; None where one is infinite or no number.
        self.count = None if found < 0 else found
        #: Whether a program takes them.
        self.kept = bool(self._library.secateur_pruned_kept(self.handle))

    def __del__(self) -> None:
        if self.handle is not None:
            self._library.secateur_pruned_free(self.handle)
            self.handle = None
