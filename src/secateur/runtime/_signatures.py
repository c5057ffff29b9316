"""Structures, columns and function types of `native/secateur.h` that the interpreter needs."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_double, c_int32, c_int64, c_void_p
from typing import Any


class Column:
    """What is said of tensors and operators; no enumeration, as that takes 1 ms to define."""

    INPUTS = 0
    OUTPUTS = 1
    POSITION = 2
    TYPE = 3
    SHAPE_LENGTH = 4
    SHAPE = 5
    SIGNATURE_LENGTH = 6
    SIGNATURE = 7
    NAME_LENGTH = 8
    DATA_BEGIN = 9
    DATA_LENGTH = 10
    FLAGS = 11
    KIND = 12
    READ_LENGTH = 13
    READ = 14
    WRITE_LENGTH = 15
    WRITE = 16
    OPTIONS_TYPE = 17
    OPTIONS = 18
    INFERRED_LENGTH = 19
    INFERRED = 20
    PACKED = 21
    NEEDED = 22
    TARGETS = 23
    WRITER = 24


class UnitColumn:
    """What is said of units."""

    UNITS = 0
    BUILT_WRITTEN = 1
    BUILT_INPUT = 2
    BUILT_SHAPE = 3


class CRates(ctypes.Structure):
    """A `secateur_rates`: how fast one side is; all but those in nanoseconds are counts a nanosecond.

    Args:
        weight: Nanoseconds that each weight of a convolution costs, however few the pixels.
        nonzero: The same where only the weights that are not zero are stored, for each of them.
        dense: Multiply-adds of 1x1 convolutions with all weights.
        windowed: The same of convolutions with larger kernels.
        sparse: The same with the non-zero weights only.
        depthwise: The same of depthwise convolutions.
        image: Values that a convolution writes, or a depthwise one reads, beside its arithmetic.
        stream: Values that simple operations write.
        function: Values that functions such as swish write.
        pool: Values under the windows of poolings.
        call: Nanoseconds that an operation takes at least.
        thread: What each further thread adds to the speed of the first, measured with two.
    """

    _fields_ = tuple(
        (name, c_double)
        for name in (
            *("weight", "nonzero", "dense", "windowed", "sparse", "depthwise"),
            *("image", "stream", "function", "pool", "call", "thread"),
        )
    )


_I, _L, _P = c_int32, c_int64, c_void_p
# Arrays are handed over as addresses; whoever calls keeps them alive.
_INTS = c_void_p

#: Name: (result, arguments), in the order of the header.
SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "secateur_error": (c_char_p, []),
    "secateur_api_version": (_I, []),
    "secateur_isas": (c_char_p, []),
    "secateur_maker": (c_char_p, []),
    "secateur_peak": (c_double, [c_char_p]),
    "secateur_columns_read": (_P, [_P, _L]),
    "secateur_columns_infer": (_I, [_P, _INTS, _L, _INTS, _L, _I]),
    "secateur_columns_set_shapes": (_I, [_P, _INTS, _L, _INTS, _L]),
    "secateur_columns_get": (POINTER(c_int32), [_P, _I, POINTER(c_int64)]),
    "secateur_columns_names": (_P, [_P, POINTER(c_int64)]),
    "secateur_columns_free": (None, [_P]),
    "secateur_ahead_create": (_P, []),
    "secateur_prune_columns": (_I, [_P, _P, _I]),
    "secateur_ahead_free": (None, [_P]),
    "secateur_units_find": (_I, [POINTER(_P), _P, _P, _I]),
    "secateur_units_get": (POINTER(c_int32), [_P, _I, POINTER(c_int64)]),
    "secateur_units_price": (_I, [_P, POINTER(CRates), POINTER(CRates), _I, _P, _P]),
    "secateur_units_build": (_I, [_P, _P, _INTS, _L, _INTS, _L, POINTER(c_int32)]),
    "secateur_units_free": (None, [_P]),
    "secateur_cut": (_I, [_I, _P, _INTS, _P, _L, c_char_p]),
    "secateur_create": (_P, [c_char_p]),
    "secateur_destroy": (None, [_P]),
    "secateur_finalize": (_I, [_P, _I]),
    "secateur_run": (_I, [_P, _P, _P, _I, POINTER(c_double)]),
    "secateur_isa": (c_char_p, [_P]),
    "secateur_operations": (_I, [_P]),
    "secateur_describe": (c_char_p, [_P, _I]),
    "secateur_multiply_adds": (_L, [_P, _I]),
    "secateur_weight_bytes": (_L, [_P]),
    "secateur_arena_bytes": (_L, [_P]),
}
