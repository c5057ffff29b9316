"""A thread of the native library that works before anybody needs the result."""

from __future__ import annotations

from typing import Any

import numpy as np

from secateur.runtime import _native

_MAPPED = 2  # a flag of the library's header


class Ahead:
    """Prunes the kernels of a file, while the caller goes on; ends with this object.

    Raises:
        MemoryError: If there is not enough memory.
    """

    handle: int | None = None

    def __init__(self) -> None:
        self._library = _native.library()
        self.handle = self._library.secateur_ahead_create()
        #: What lives at least as long as the thread.
        self.given: list[Any] = []
        #: Whether a kernel has zeros enough for a model to be worth a closer look.
        self.found = False
        if not self.handle:
            raise MemoryError("There is not enough memory.")

    def prune_columns(self, columns: int | None, file: np.ndarray, mapped: bool) -> None:
        """Prune the kernels of a file for its units, if one of them has zeros.

        Args:
            columns: What the native library has read of it.
            file: Its bytes.
            mapped: Whether it is mapped, so that pages of it may be let go when they were read.
        """
        flags = _MAPPED if mapped else 0
        count = self._library.secateur_prune_columns(self.handle, columns, flags)
        self.found = _native.check(count) > 0
        self.given.append(file)

    def __del__(self) -> None:
        if self.handle is not None:
            self._library.secateur_ahead_free(self.handle)
            self.handle = None
