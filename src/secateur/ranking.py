"""Exactly the k largest of n scores, without sorting.

Scores rank by absolute value; of equal ones the first by index rank higher, as in `top_k`. NaN ranks
highest. The order of the absolute values of float32 numbers is the order of their bits read as
integers, and integers are what both versions compare: the one here with numpy on the host, and
`graph_ranking` with `keras.ops` inside a compiled function. They return the same masks, bit for bit.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from secateur import graph_ranking

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


def largest(scores: Sequence[Any], keep: Sequence[Any], xp: Any) -> list[Any]:
    """Returns a bool mask for each array of scores: exactly `keep` are true, the largest |scores|.

    Args:
        scores: Arrays (numpy) or tensors of any shapes, ranked each by itself.
        keep: How many of each, 1 to its number of scores: ints, or scalar int32 tensors.
        xp: `numpy` to work on the host, `keras.ops` inside a compiled function.

    Example:

    >>> import numpy as np
    >>> from secateur.ranking import largest
    >>> [mask.tolist() for mask in largest([np.array([0.5, -3.0, 0.5, 0.1])], [2], np)]
    [[True, True, False, False]]
    """
    if xp is np:
        return [_host(s, int(k)) for s, k in zip(scores, keep, strict=True)]
    return graph_ranking.largest(scores, keep)


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
        above += int(np.count_nonzero(marked))
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
