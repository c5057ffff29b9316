"""What the native library's operations take beside images: shapes, functions, windows."""

import math
from typing import NamedTuple

from secateur.runtime._hand_signatures import CActivation, CEpilogue, CWindow, Function

Shape = tuple[int, int, int]  # channels, height, width


class Activation(NamedTuple):
    """A function of single numbers, such as `Activation(Function.CLAMP, 0, 6)` for relu6."""

    function: Function = Function.IDENTITY
    a: float = 0.0
    b: float = 0.0

    def _c(self) -> CActivation:
        return CActivation(int(self.function), self.a, self.b)


IDENTITY = Activation()
RELU = Activation(Function.CLAMP, 0.0, math.inf)
RELU6 = Activation(Function.CLAMP, 0.0, 6.0)


class Epilogue(NamedTuple):
    """What follows in the same pass: `second(first(result) + residual)`."""

    first: Activation = IDENTITY
    residual: int | None = None
    second: Activation = IDENTITY

    def _c(self) -> CEpilogue:
        residual = -1 if self.residual is None else self.residual
        return CEpilogue(self.first._c(), residual, self.second._c())


class Window(NamedTuple):
    """A window that moves over an image; `padding` is (top, left, bottom, right)."""

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)

    def _c(self) -> CWindow:
        return CWindow(*self.kernel, *self.stride, *self.dilation, *self.padding)


POINTWISE = Window()
