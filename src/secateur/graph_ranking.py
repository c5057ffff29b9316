"""Exactly the k largest of n scores inside a compiled function: see `ranking`.

All kernels are searched at once, with a threshold for each, in one loop.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

from secateur import _backend
from secateur._score_rows import WIDTH, ScoreRows

_ABOVE_ALL = 0x7FFFFFFF
_SAMPLE = 4096
_INTERPOLATIONS = 12


def largest(scores: Sequence[Any], keep: Sequence[Any]) -> list[Any]:
    """Returns the masks of `ranking.largest`."""
    rows = ScoreRows([ops.reshape(s, (-1,)) for s in scores])
    wanted = ops.stack([ops.cast(keep[i], "int32") for i in rows.order])
    low, at_low, _, at_high = _search(rows.count, wanted, *_bracket(rows, wanted))
    last = ops.cond(
        ops.all(ops.equal(at_low, wanted)),
        lambda: ops.zeros_like(wanted) + _ABOVE_ALL,
        lambda: _last_tied(rows, low, at_low, wanted, wanted - at_high),
    )
    masks: list[Any] = [None] * len(scores)
    for place, i in enumerate(rows.order):
        bits = _backend.magnitude_bits(rows.scores[place])
        tied = ops.logical_and(
            ops.equal(bits, low[place]), ops.arange(bits.shape[0], dtype="int32") <= last[place]
        )
        masks[i] = ops.reshape(ops.logical_or(bits > low[place], tied), scores[i].shape)
    return masks


State = tuple[Any, Any, Any, Any]


def _whole(wanted: Any, sizes: Any) -> State:
    """(low, count at low, high, count at high) before anything is known."""
    zeros = ops.zeros_like(wanted)
    return zeros, zeros + sizes, zeros + _ABOVE_ALL, zeros


def _bracket(rows: ScoreRows, wanted: Any) -> State:
    """Brackets the smallest kept magnitude by a sample, where the counts over all confirm it."""
    sizes = ops.convert_to_tensor(rows.sizes.astype("int32"))
    whole = _whole(wanted, sizes)
    if max(rows.sizes) <= 8 * _SAMPLE:
        return whole
    sample = rows.sample(_SAMPLE)

    def count_sample(thresholds: Any, turn: Any) -> Any:
        hits = ops.greater_equal(sample, ops.expand_dims(thresholds, 1))
        return ops.sum(ops.cast(hits, "int32"), axis=1)

    share = ops.cast(wanted, "float32") / ops.cast(sizes, "float32")
    middle = share * _SAMPLE
    # Four standard deviations of the rank in the sample.
    slack = 4.0 * ops.sqrt(middle * (1.0 - share)) + 1.0

    def value_at(rank: Any) -> Any:
        rank = ops.clip(ops.cast(rank, "int32"), 1, _SAMPLE)
        return _search(count_sample, rank, *_whole(rank, _SAMPLE))[0]

    low, high = value_at(middle + slack), value_at(middle - slack) + 1
    at_low, at_high = rows.count(low, -2), rows.count(high, -1)
    low_holds, high_holds = at_low >= wanted, at_high < wanted
    return (
        ops.where(low_holds, low, whole[0]),
        ops.where(low_holds, at_low, whole[1]),
        ops.where(high_holds, high, whole[2]),
        ops.where(high_holds, at_high, whole[3]),
    )


def _search(
    count: Callable[[Any, Any], Any], wanted: Any, low: Any, at_low: Any, high: Any, at_high: Any
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
        hits = count(guess, turn)
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


def _last_tied(rows: ScoreRows, low: Any, at_low: Any, wanted: Any, rest: Any) -> Any:
    """The place of the last score that stays, of those that equal the smallest kept one.

    Where several do, the first `rest` of them stay. Counts them row by row, and looks for the place
    only in the row in which the count is reached.
    """
    ends = np.cumsum(rows.rows)
    owner = ops.convert_to_tensor(np.repeat(np.arange(len(ends)), rows.rows).astype("int32"))
    in_row = rows.count_equal(low)
    up_to = ops.cumsum(in_row)
    last = ops.convert_to_tensor((ends - 1).astype("int32"))
    before_kernel = ops.concatenate([ops.zeros((1,), "int32"), ops.take(up_to, last)[:-1]])
    up_to = up_to - ops.take(before_kernel, owner)
    reached = ops.cast(up_to < ops.take(rest, owner), "int32")
    row = ops.segment_sum(reached, owner, len(ends))
    first = ops.convert_to_tensor((ends - rows.rows).astype("int32"))
    at = ops.minimum(first + row, last)
    left = rest - (ops.take(up_to, at) - ops.take(in_row, at))
    equal = ops.equal(rows.take_row(at - first), ops.expand_dims(low, 1))
    number = ops.cumsum(ops.cast(equal, "int32"), axis=1)
    kept = ops.logical_and(equal, number <= ops.expand_dims(left, 1))
    within = ops.max(ops.where(kept, ops.arange(WIDTH, dtype="int32"), -1), axis=1)
    return ops.where(ops.equal(at_low, wanted), _ABOVE_ALL, (at - first) * WIDTH + within)
