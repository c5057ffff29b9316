"""Exactly the k largest of n scores, without sorting.

Scores rank by absolute value; of equal ones the first by index rank higher, as in `top_k`. NaN ranks
highest. The order of the absolute values of float32 numbers is the order of their bits read as
integers, and integers are what both versions compare: `_host` with numpy, `_graph` with `keras.ops`
inside a compiled function. They return the same mask, bit for bit.
"""

from typing import Any

import numpy as np
from keras import ops

from secateur import _backend

_ABOVE_ALL = np.int32(0x7FFFFFFF)


def kept(size: int, sparsity: Any, xp: Any) -> Any:
    """Returns how many of `size` units stay: round(size * (1 - sparsity)), at least one.

    In float32 and with halves to even, as tfmot rounds (exact up to 2**24 units).

    Args:
        size: Number of units.
        sparsity: Scalar float32.
        xp: `numpy` or `keras.ops`.
    """
    if xp is np:
        return int(max(np.rint(np.float32(size) * (np.float32(1) - np.float32(sparsity))), 1))
    return ops.cast(ops.maximum(ops.round((1.0 - sparsity) * float(size)), 1.0), "int32")


def largest(scores: Any, keep: Any, xp: Any) -> Any:
    """Returns a bool mask of the shape of `scores` with exactly `keep` true: the largest |scores|.

    Args:
        scores: Array (numpy) or tensor of any shape.
        keep: How many, 1 to the number of scores: an int, or a scalar int32 tensor.
        xp: `numpy` to work on the host, `keras.ops` inside a compiled function.

    Example:

    >>> import numpy as np
    >>> from secateur.ranking import largest
    >>> largest(np.array([0.5, -3.0, 0.5, 0.1]), 2, np).tolist()
    [True, True, False, False]
    """
    return _host(scores, keep) if xp is np else _graph(scores, keep)


# --- on the host ---------------------------------------------------------------------------------

_SAMPLE = 1 << 16
_CHUNK = 1 << 16


def _host(scores: np.ndarray, keep: int) -> np.ndarray:
    """One pass over the scores, in pieces that stay in the cache.

    A sample says between which two values the smallest kept score must lie; the pass marks what is
    above, and collects the few in between, among which a selection decides.
    """
    bits = np.ascontiguousarray(scores, dtype=np.float32).reshape(-1).view(np.int32)
    low, high = _bracket(bits, keep)
    mask = np.empty(bits.size, bool)
    magnitudes = np.empty(min(_CHUNK, bits.size), np.int32)
    indices, values, above = [], [], 0
    for start in range(0, bits.size, _CHUNK):
        chunk = bits[start : start + _CHUNK]
        magnitude = np.bitwise_and(chunk, _ABOVE_ALL, out=magnitudes[: chunk.size])
        marked = mask[start : start + _CHUNK]
        np.greater(magnitude, high, out=marked)
        above += np.count_nonzero(marked)
        index = np.flatnonzero((magnitude >= low) != marked)
        indices.append(index + start)
        values.append(magnitude[index])
    index, value = np.concatenate(indices), np.concatenate(values)
    rest = keep - above
    if not 0 <= rest <= index.size:  # the sample misled: everything is a candidate
        index, value, rest = np.arange(bits.size), bits & _ABOVE_ALL, keep
        mask[:] = False
    mask[index[_largest_candidates(value, rest)]] = True
    return mask.reshape(scores.shape)


def _bracket(bits: np.ndarray, keep: int) -> tuple[int, int]:
    """Two magnitudes between which the keep-th largest lies, almost surely."""
    sample = bits[:: max(1, bits.size // _SAMPLE)] & _ABOVE_ALL
    share = keep / bits.size
    # Four standard deviations of the rank in the sample.
    slack = 4 * np.sqrt(share * (1 - share) * sample.size) + 1
    middle = (1 - share) * sample.size
    at_low, at_high = int(middle - slack), int(middle + slack)
    ranks = [rank for rank in (at_low, at_high) if 0 <= rank < sample.size]
    if ranks:
        sample.partition(ranks)
    low = int(sample[at_low]) if at_low >= 0 else 0
    high = int(sample[at_high]) if at_high < sample.size else int(_ABOVE_ALL)
    return low, high


def _largest_candidates(values: np.ndarray, keep: int) -> np.ndarray:
    """Bool mask of the `keep` largest of `values`; of equal ones the first."""
    if keep == 0:
        return np.zeros(values.size, bool)
    smallest = np.partition(values, values.size - keep)[values.size - keep]
    chosen = values > smallest
    equal = np.flatnonzero(values == smallest)
    chosen[equal[: keep - np.count_nonzero(chosen)]] = True
    return chosen


# --- in a compiled function ----------------------------------------------------------------------

_INTERPOLATIONS = 12


def _graph(scores: Any, keep: Any) -> Any:
    """Searches the smallest kept magnitude by counting how many are at least as large as a guess."""
    shape = tuple(scores.shape)
    bits = ops.reshape(_backend.magnitude_bits(scores), (-1,))
    size = bits.shape[0]
    keep = ops.cast(keep, "int32")
    low, at_low = ops.zeros((), "int32"), ops.full((), size, "int32")
    high, at_high = ops.full((), _ABOVE_ALL, "int32"), ops.zeros((), "int32")
    if size > 8 * _SAMPLE:
        low, at_low, high, at_high = _graph_bracket(bits, keep, low, at_low, high, at_high)
    low, at_low, high, at_high = _search(bits, keep, low, at_low, high, at_high)
    mask = ops.cond(
        ops.equal(at_low, keep),
        lambda: ops.greater_equal(bits, low),
        lambda: _first_of_ties(bits, low, keep - at_high),
    )
    return ops.reshape(mask, shape)


def _graph_bracket(
    bits: Any, keep: Any, low: Any, at_low: Any, high: Any, at_high: Any
) -> tuple[Any, Any, Any, Any]:
    """Narrows (low, high) with a sample, where the counts over all scores confirm it."""
    size = bits.shape[0]
    sample = bits[:: size // _SAMPLE]
    share = ops.cast(keep, "float32") / float(size)
    middle = share * float(sample.shape[0])
    slack = 4.0 * ops.sqrt(middle * (1.0 - share)) + 1.0

    def value_at(rank: Any) -> Any:
        rank = ops.clip(ops.cast(rank, "int32"), 1, sample.shape[0])
        whole = ops.zeros((), "int32"), ops.full((), sample.shape[0], "int32")
        return _search(
            sample, rank, *whole, ops.full((), _ABOVE_ALL, "int32"), ops.zeros((), "int32")
        )[0]

    new_low, new_high = value_at(middle + slack), value_at(middle - slack) + 1
    count_low = _backend.count_true(ops.greater_equal(bits, new_low))
    count_high = _backend.count_true(ops.greater_equal(bits, new_high))
    low_holds, high_holds = count_low >= keep, count_high < keep
    return (
        ops.where(low_holds, new_low, low),
        ops.where(low_holds, count_low, at_low),
        ops.where(high_holds, new_high, high),
        ops.where(high_holds, count_high, at_high),
    )


def _search(
    bits: Any, keep: Any, low: Any, at_low: Any, high: Any, at_high: Any
) -> tuple[Any, Any, Any, Any]:
    """Narrows (low, high) until exactly `keep` are >= low, or no integer is left in between.

    at_low and at_high are the counts of bits >= low and >= high; at_low >= keep > at_high.
    Interpolating between the counts takes a handful of passes on real weights; bisection, after a
    dozen, bounds the number of passes for all others.
    """

    def unfinished(low: Any, at_low: Any, high: Any, at_high: Any, turn: Any) -> Any:
        return ops.logical_and(ops.not_equal(at_low, keep), ops.greater(high - low, 1))

    def narrow(low: Any, at_low: Any, high: Any, at_high: Any, turn: Any) -> tuple[Any, ...]:
        share = ops.cast(at_low - keep, "float32") / ops.cast(at_low - at_high, "float32")
        guess = low + ops.cast(ops.cast(high - low, "float32") * share, "int32")
        middle = low + ops.floor_divide(high - low, 2)
        guess = ops.where(turn < _INTERPOLATIONS, guess, middle)
        guess = ops.clip(guess, low + 1, high - 1)
        count = _backend.count_true(ops.greater_equal(bits, guess))
        enough = count >= keep
        return (
            ops.where(enough, guess, low),
            ops.where(enough, count, at_low),
            ops.where(enough, high, guess),
            ops.where(enough, at_high, count),
            turn + 1,
        )

    turn = ops.zeros((), "int32")
    return ops.while_loop(unfinished, narrow, (low, at_low, high, at_high, turn))[:4]


def _first_of_ties(bits: Any, smallest: Any, wanted: Any) -> Any:
    """Marks all bits above `smallest`, and the first `wanted` that are equal to it.

    Counts the equal ones row by row: whole rows are in or out, and only in the row where the count
    is reached does the place within the row matter.
    """
    size = bits.shape[0]
    width = 1024
    rows = -(-size // width)
    equal = ops.equal(bits, smallest)
    if size % width:
        equal = ops.pad(equal, [(0, rows * width - size)])
    equal = ops.reshape(equal, (rows, width))
    in_row = ops.sum(ops.cast(equal, "int32"), axis=1)
    up_to = ops.cumsum(in_row)
    row = ops.argmax(ops.cast(up_to >= wanted, "int32"))
    rest = wanted - (ops.take(up_to, row) - ops.take(in_row, row))
    last_row = ops.cumsum(ops.cast(ops.take(equal, row, axis=0), "int32")) <= rest
    number = ops.expand_dims(ops.arange(rows, dtype="int32"), 1)
    row = ops.cast(row, "int32")
    inside = ops.logical_or(number < row, ops.logical_and(number == row, last_row))
    first = ops.reshape(ops.logical_and(equal, inside), (-1,))[:size]
    return ops.logical_or(ops.greater(bits, smallest), first)
