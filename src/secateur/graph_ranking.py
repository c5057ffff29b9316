"""Exactly the k largest of n scores inside a compiled function: see `ranking`.

All kernels are searched at once, as one array with a threshold for each kernel, so that what XLA has
to compile does not grow with the number of layers.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

from secateur import _backend

_ABOVE_ALL = 0x7FFFFFFF
_PADDING = -1  # below every magnitude
_SAMPLE = 4096
_INTERPOLATIONS = 12

# A kernel takes whole rows of the common array. A row is a block, since XLA's CPU compiler counts
# fast when it can first add up to 64 bytes lane by lane.
_ROW = (64, 128)
_WIDTH = 64 * 128


def largest(scores: Sequence[Any], keep: Sequence[Any]) -> list[Any]:
    """Returns the masks of `ranking.largest`."""
    shapes = [tuple(s.shape) for s in scores]
    sizes = [int(np.prod(shape)) for shape in shapes]
    rows = [-(-size // _WIDTH) for size in sizes]
    ends = np.cumsum(rows)
    # Which kernel each row belongs to.
    owner = ops.convert_to_tensor(np.repeat(np.arange(len(rows)), rows).astype("int32"))
    bits = [
        _in_rows(ops.reshape(_backend.magnitude_bits(s), (-1,)), n)
        for s, n in zip(scores, rows, strict=True)
    ]
    table = bits[0] if len(bits) == 1 else ops.concatenate(bits)
    wanted = ops.stack([ops.cast(k, "int32") for k in keep])

    def count(thresholds: Any) -> Any:
        hits = ops.greater_equal(table, _per_row(thresholds, owner))
        return ops.segment_sum(_backend.count_rows(hits), owner, len(rows))

    bracket = _bracket(table, sizes, ends - rows, wanted, count)
    low, at_low, _, at_high = _search(count, wanted, *bracket)
    mask = ops.cond(
        ops.all(ops.equal(at_low, wanted)),
        lambda: ops.greater_equal(table, _per_row(low, owner)),
        lambda: _with_ties(table, owner, ends, low, at_low, wanted, wanted - at_high),
    )
    mask = ops.reshape(mask, (-1,))
    starts = (ends - rows) * _WIDTH
    return [
        ops.reshape(mask[start : start + size], shape)
        for start, size, shape in zip(starts.tolist(), sizes, shapes, strict=True)
    ]


def _in_rows(bits: Any, rows: int) -> Any:
    missing = rows * _WIDTH - bits.shape[0]
    if missing:
        bits = ops.pad(bits, [(0, missing)], constant_values=_PADDING)
    return ops.reshape(bits, (rows, *_ROW))


def _per_row(values: Any, owner: Any) -> Any:
    """Gives each row the value of its kernel, in a shape that broadcasts."""
    return ops.reshape(ops.take(values, owner), (-1, 1, 1))


State = tuple[Any, Any, Any, Any]


def _whole(wanted: Any, sizes: Any) -> State:
    """(low, count at low, high, count at high) before anything is known."""
    zeros = ops.zeros_like(wanted)
    return zeros, zeros + sizes, zeros + _ABOVE_ALL, zeros


def _bracket(
    table: Any,
    sizes: Sequence[int],
    starts: np.ndarray,
    wanted: Any,
    count: Callable[[Any], Any],
) -> State:
    """Brackets the smallest kept magnitude by a sample, where the counts over all confirm it."""
    all_sizes = ops.convert_to_tensor(np.asarray(sizes, "int32"))
    whole = _whole(wanted, all_sizes)
    if max(sizes) <= 8 * _SAMPLE:
        return whole
    # Evenly spaced; in float64, as the products exceed an int32.
    spaced = np.floor(np.outer(sizes, np.arange(_SAMPLE) / _SAMPLE)).astype("int64")
    places = (starts[:, None] * _WIDTH + spaced).astype("int32")
    sample = ops.take(ops.reshape(table, (-1,)), ops.convert_to_tensor(places))

    def count_sample(thresholds: Any) -> Any:
        hits = ops.greater_equal(sample, ops.expand_dims(thresholds, 1))
        return ops.sum(ops.cast(hits, "int32"), axis=1)

    share = ops.cast(wanted, "float32") / ops.cast(all_sizes, "float32")
    middle = share * _SAMPLE
    # Four standard deviations of the rank in the sample.
    slack = 4.0 * ops.sqrt(middle * (1.0 - share)) + 1.0

    def value_at(rank: Any) -> Any:
        rank = ops.clip(ops.cast(rank, "int32"), 1, _SAMPLE)
        return _search(count_sample, rank, *_whole(rank, _SAMPLE))[0]

    low, high = value_at(middle + slack), value_at(middle - slack) + 1
    at_low, at_high = count(low), count(high)
    low_holds, high_holds = at_low >= wanted, at_high < wanted
    return (
        ops.where(low_holds, low, whole[0]),
        ops.where(low_holds, at_low, whole[1]),
        ops.where(high_holds, high, whole[2]),
        ops.where(high_holds, at_high, whole[3]),
    )


def _search(
    count: Callable[[Any], Any], wanted: Any, low: Any, at_low: Any, high: Any, at_high: Any
) -> State:
    """Narrows (low, high) until `wanted` magnitudes are >= low, or no integer is left in between.

    at_low and at_high are the counts of magnitudes >= low and >= high; at_low >= wanted > at_high.
    Interpolating between the counts takes a handful of passes on real weights; bisection, after a
    dozen, bounds the number of passes for all others.
    """

    def open_(low: Any, at_low: Any, high: Any) -> Any:
        return ops.logical_and(ops.not_equal(at_low, wanted), ops.greater(high - low, 1))

    def unfinished(low: Any, at_low: Any, high: Any, at_high: Any, turn: Any) -> Any:
        return ops.any(open_(low, at_low, high))

    def narrow(low: Any, at_low: Any, high: Any, at_high: Any, turn: Any) -> tuple[Any, ...]:
        share = ops.cast(at_low - wanted, "float32") / ops.cast(at_low - at_high, "float32")
        guess = low + ops.cast(ops.cast(high - low, "float32") * share, "int32")
        middle = low + ops.floor_divide(high - low, 2)
        guess = ops.where(turn < _INTERPOLATIONS, guess, middle)
        guess = ops.clip(guess, low + 1, ops.maximum(high - 1, low + 1))
        hits = count(guess)
        moving = open_(low, at_low, high)
        up = ops.logical_and(moving, hits >= wanted)
        down = ops.logical_and(moving, hits < wanted)
        return (
            ops.where(up, guess, low),
            ops.where(up, hits, at_low),
            ops.where(down, guess, high),
            ops.where(down, hits, at_high),
            turn + 1,
        )

    turn = ops.zeros((), "int32")
    return ops.while_loop(unfinished, narrow, (low, at_low, high, at_high, turn))[:4]


def _with_ties(
    table: Any, owner: Any, ends: np.ndarray, low: Any, at_low: Any, wanted: Any, rest: Any
) -> Any:
    """The mask where several scores equal the smallest kept one: the first `rest` of them stay.

    Counts the equal ones row by row: whole rows are in or out, and only in the row where a kernel's
    count is reached does the place within the row matter.
    """
    rows = table.shape[0]
    smallest = _per_row(low, owner)
    equal = ops.reshape(ops.equal(table, smallest), (rows, _WIDTH))
    in_row = ops.sum(ops.cast(equal, "int32"), axis=1)
    up_to = ops.cumsum(in_row)
    last = ops.convert_to_tensor((ends - 1).astype("int32"))
    before_kernel = ops.concatenate([ops.zeros((1,), "int32"), ops.take(up_to, last)[:-1]])
    up_to = up_to - ops.take(before_kernel, owner)
    reached = ops.cast(up_to < ops.take(rest, owner), "int32")
    first_rows = ops.convert_to_tensor((np.concatenate([[0], ends[:-1]])).astype("int32"))
    row = ops.minimum(first_rows + ops.segment_sum(reached, owner, len(ends)), last)
    left = rest - (ops.take(up_to, row) - ops.take(in_row, row))
    places = ops.cumsum(ops.cast(ops.take(equal, row, axis=0), "int32"), axis=1)
    within = places <= ops.expand_dims(left, 1)
    number = ops.arange(rows, dtype="int32")
    reached_in = ops.take(row, owner)
    in_place = ops.logical_and(
        ops.expand_dims(number == reached_in, 1), ops.take(within, owner, axis=0)
    )
    inside = ops.logical_or(ops.expand_dims(number < reached_in, 1), in_place)
    first = ops.reshape(ops.logical_and(equal, inside), table.shape)
    with_first = ops.logical_or(ops.greater(table, smallest), first)
    untied = ops.take(ops.equal(at_low, wanted), owner)
    return ops.where(
        ops.reshape(untied, (-1, 1, 1)), ops.greater_equal(table, smallest), with_first
    )
