"""Enumerations, structures and functions of `native/secateur.h` for programs that are made by hand."""

from __future__ import annotations

import ctypes
import functools
from ctypes import POINTER, c_float, c_int32, c_int64, c_void_p
from enum import IntEnum
from typing import Any

from secateur.runtime import _native


class Function(IntEnum):
    """What is done with each number; what `a` and `b` mean stands in the header."""

    IDENTITY = 0
    CLAMP = 1
    HARD_SWISH = 2
    SIGMOID = 3
    TANH = 4
    SWISH = 5
    ELU = 6
    LEAKY_RELU = 7
    GELU = 8
    GELU_TANH = 9
    ABS = 10
    SQUARE = 11
    EXP = 12
    SQRT = 13
    RSQRT = 14
    NEG = 15
    HARD_SIGMOID = 16
    LINEAR = 17


class Binary(IntEnum):
    """What is done with two numbers."""

    ADD = 0
    SUB = 1
    MUL = 2
    DIV = 3
    MAXIMUM = 4
    MINIMUM = 5
    SQUARED_DIFFERENCE = 6


class Pool(IntEnum):
    """What becomes of the numbers under a window."""

    MAX = 0
    AVERAGE = 1


class Resize(IntEnum):
    """How an image is enlarged or reduced."""

    BILINEAR = 0
    NEAREST = 1


class CActivation(ctypes.Structure):
    """`secateur_activation`."""

    _fields_ = (("function", c_int32), ("a", c_float), ("b", c_float))


class CEpilogue(ctypes.Structure):
    """`secateur_epilogue`."""

    _fields_ = (("first", CActivation), ("residual", c_int32), ("second", CActivation))


class CWindow(ctypes.Structure):
    """`secateur_window`."""

    _fields_ = tuple(
        (name, c_int32)
        for name in (
            *("kernel_height", "kernel_width", "stride_height", "stride_width"),
            *("dilation_height", "dilation_width"),
            *("pad_top", "pad_left", "pad_bottom", "pad_right"),
        )
    )


_I, _L, _P = c_int32, c_int64, c_void_p
# Arrays are handed over as addresses; whoever calls keeps them alive.
_FLOATS = _INTS = c_void_p
_WINDOW, _EPILOGUE = POINTER(CWindow), POINTER(CEpilogue)
_ACTIVATION = POINTER(CActivation)

_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "secateur_prune": (_P, [_FLOATS, _L, _I, _I]),
    "secateur_pruned_count": (_L, [_P]),
    "secateur_pruned_kept": (_I, [_P]),
    "secateur_pruned_free": (None, [_P]),
    "secateur_prune_ahead": (_I, [_P, _I, _P, _P, _P, _I, _P]),
    "secateur_pack_ahead": (_I, [_P, _P]),
    "secateur_input": (_I, [_P, _I, _I, _I]),
    "secateur_output": (_I, [_P, _I, _I, _I]),
    "secateur_value": (_I, [_P, _I, _I, _I]),
    "secateur_constant": (_I, [_P, _I, _I, _I, _FLOATS, _L]),
    "secateur_to_chw": (_I, [_P, _I, _I]),
    "secateur_to_nhwc": (_I, [_P, _I, _I]),
    "secateur_reshape": (_I, [_P, _I, _I]),
    "secateur_conv2d": (_I, [_P, _I, _I, _WINDOW, _FLOATS, _L, _FLOATS, _L, _EPILOGUE, _P]),
    "secateur_sparse_conv2d": (_I, [_P, _I, _I, _WINDOW, _P, _FLOATS, _L, _EPILOGUE]),
    "secateur_depthwise_conv2d": (_I, [_P, _I, _I, _WINDOW, _FLOATS, _L, _FLOATS, _L, _EPILOGUE]),
    "secateur_binary": (_I, [_P, _I, _I, _I, _I, _ACTIVATION]),
    "secateur_unary": (_I, [_P, _I, _I, _ACTIVATION]),
    "secateur_pool": (_I, [_P, _I, _I, _I, _WINDOW, _ACTIVATION]),
    "secateur_mean": (_I, [_P, _I, _I]),
    "secateur_resize": (_I, [_P, _I, _I, _I, _I, _I]),
    "secateur_concat": (_I, [_P, _INTS, _I, _I]),
    "secateur_pad": (_I, [_P, _I, _I, _I, _I, _I, c_float]),
    "secateur_slice": (_I, [_P, _I, _I, _I, _I, _I]),
    "secateur_softmax": (_I, [_P, _I, _I, c_float]),
    "secateur_pack": (_I, [_P]),
}


def library() -> ctypes.CDLL:
    """The native library, with the types of these functions set, too.

    Raises:
        NativeMissingError: If there is none.
    """
    return _declared(_native.library())


@functools.cache
def _declared(loaded: ctypes.CDLL) -> ctypes.CDLL:
    return _native.declare(loaded, _SIGNATURES)
