"""Programs of the native library, with numpy arrays in and out.

`native/secateur.h` says what programs, values and operations are.
"""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from secateur.runtime import _native
from secateur.runtime._arguments import check_shapes, pointers

Addresses = tuple[Any, Any]  # of inputs and outputs


class Program:
    """Operations on channel-major images, made once and run many times.

    Args:
        isa: The instruction set, one of `isas()`. By default what the environment variable
            `SECATEUR_ISA` says, or the best that this processor has.

    Raises:
        NativeMissingError: If the native library is not there.
        NativeError: If `isa` is none of this machine's; by all methods, if an argument is wrong.
    """

    handle: int | None = None

    def __init__(self, isa: str | None = None) -> None:
        self._library = _native.library()
        handle = self._library.secateur_create(None if isa is None else isa.encode())
        if not handle:
            _native.check(_native.INVALID)
        self.handle = handle
        #: The shapes of what goes in and comes out: height, width, channels.
        self.in_shapes: list[tuple[int, int, int]] = []
        self.out_shapes: list[tuple[int, int, int]] = []
        self._batch = 0

    def __del__(self) -> None:
        if self.handle is not None:
            self._library.secateur_destroy(self.handle)
            self.handle = None

    def _call(self, name: str, *arguments: Any) -> int:
        return _native.check(getattr(self._library, f"secateur_{name}")(self.handle, *arguments))

    def set_ends(self, shapes: list[tuple[int, int, int]], inputs: int) -> None:
        """Say what was added elsewhere: height, width, channels of so many inputs, and of outputs."""
        self.in_shapes, self.out_shapes = shapes[:inputs], shapes[inputs:]

    # -- running --

    def finalize(self, batch: int = 1) -> None:
        """Packs, and plans the memory; may be called again with another batch."""
        self._call("finalize", batch)
        self._batch = batch

    def addresses(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> Addresses:
        """Where to read and write, for `run_at`; the arrays are not kept alive."""
        check_shapes("inputs", inputs, [(self._batch, *s) for s in self.in_shapes])
        check_shapes("outputs", outputs, [(self._batch, *s) for s in self.out_shapes])
        return pointers(inputs), pointers(outputs)

    def run_at(
        self, addresses: Addresses, threads: int = 1, seconds: np.ndarray | None = None
    ) -> None:
        """Runs all operations on arrays that are still where they were.

        Args:
            addresses: Where they were.
            threads: Number of threads, the caller's included.
            seconds: Gets the time of each operation: float64, one number an operation.
        """
        times = None
        if seconds is not None:
            check_shapes("seconds", [seconds], [(self.operations,)], "float64")
            times = seconds.ctypes.data_as(ctypes.POINTER(ctypes.c_double))
        self._call("run", *addresses, threads, times)

    # -- what it is --

    @property
    def isa(self) -> str:
        """The instruction set it runs on."""
        return self._library.secateur_isa(self.handle).decode()

    @property
    def operations(self) -> int:
        """How many operations there are."""
        return self._call("operations")

    def describe(self, index: int) -> str:
        """What operation `index` runs."""
        text = self._library.secateur_describe(self.handle, index)
        if text is None:
            _native.check(_native.INVALID)
        return text.decode()

    def multiply_adds(self, index: int) -> int:
        """How many multiply-adds operation `index` does for one image."""
        return self._call("multiply_adds", index)

    @property
    def weight_bytes(self) -> int:
        """Memory that packed weights take."""
        return self._call("weight_bytes")

    @property
    def arena_bytes(self) -> int:
        """Memory that values take."""
        return self._call("arena_bytes")


def isas() -> list[str]:
    """Instruction sets that this build has and this processor runs, best first."""
    return _native.library().secateur_isas().decode().split(",")


def maker() -> str:
    """Who made this processor, as far as it matters: "amd", or ""."""
    return _native.library().secateur_maker().decode()


def peak(isa: str) -> float:
    """Billions of multiply-adds a second that one thread reaches in registers, measured now."""
    measured = _native.library().secateur_peak(isa.encode())
    if measured < 0:
        _native.check(_native.INVALID)
    return measured
