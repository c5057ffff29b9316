"""The scores of many kernels, counted without a copy of the large ones: see `graph_ranking`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from secateur import _backend

# Scores are counted in rows. A row is a block, since XLA's CPU compiler counts fast when it can first
# add up to 64 bytes lane by lane.
_ROW = (64, 128)
WIDTH = 64 * 128
_PADDING = -1  # below every magnitude

# Kernels of this size on are read where they are, but no more than so many of them: what XLA has to
# compile grows with each.
_LARGE = 1 << 17
_IN_PLACE = 16


class ScoreRows:
    """Magnitudes of kernels as int32, whose order is theirs, in rows of which each has one owner.

    A copy of all scores would be a training step's largest piece of scratch memory, and writing it to
    fresh pages would take longer than counting. So only small kernels, and the ends of large ones that
    fill no row, are copied to a common table; what XLA has to compile for them does not grow with their
    number.

    Args:
        scores: One flat tensor for each kernel.
    """

    def __init__(self, scores: Sequence[Any]) -> None:
        sizes = np.array([s.shape[0] for s in scores])
        large = sorted((i for i, n in enumerate(sizes) if n >= _LARGE), key=lambda i: -sizes[i])
        large = large[:_IN_PLACE]
        small = [i for i in range(len(scores)) if i not in large]
        #: The kernels in the order of everything here: first those that are read in place.
        self.order = [*large, *small]
        self.scores = [scores[i] for i in self.order]
        self.sizes = sizes[self.order]
        self._in_place = len(large)
        whole = self.sizes[: self._in_place] // WIDTH
        self._whole_rows = [int(n) for n in whole]
        copied = [
            s[n * WIDTH :] for s, n in zip(self._large, self._whole_rows, strict=True)
        ] + self.scores[self._in_place :]
        copied_rows = np.array([-(-piece.shape[0] // WIDTH) for piece in copied])
        self._table_owner = np.repeat(np.arange(len(scores)), copied_rows)
        self._table_starts = np.cumsum(copied_rows) - copied_rows
        pieces = [
            _in_rows(_backend.magnitude_bits(piece), int(n))
            for piece, n in zip(copied, copied_rows, strict=True)
            if n
        ]
        self._table: Any = ops.concatenate(pieces) if pieces else None
        #: How many rows each kernel takes.
        self.rows = copied_rows + np.concatenate([whole, np.zeros(len(small), int)]).astype(int)

    @property
    def _large(self) -> list[Any]:
        return self.scores[: self._in_place]

    def count(self, thresholds: Any, turn: Any) -> Any:
        """Returns how many magnitudes of each kernel are >= its threshold, both int32.

        Args:
            thresholds: One for each kernel, in `order`.
            turn: A value that changes from call to call in a loop.
        """
        counts = ops.zeros_like(thresholds)
        if self._in_place:
            sums = []
            for i, (score, n) in enumerate(zip(self._large, self._whole_rows, strict=True)):
                bits = _whole_bits(_backend.not_hoisted(score, turn), n)
                sums.append(ops.sum(_backend.count_rows(bits >= thresholds[i])))
            zeros = [ops.zeros((), "int32")] * (len(self.scores) - self._in_place)
            counts = ops.cast(ops.stack([*sums, *zeros]), "int32")
        if self._table is not None:
            owner = ops.convert_to_tensor(self._table_owner.astype("int32"))
            hits = self._table >= ops.reshape(ops.take(thresholds, owner), (-1, 1, 1))
            in_rows = _backend.count_rows(hits)
            counts = counts + ops.segment_sum(in_rows, owner, len(self.scores))
        return counts

    def count_equal(self, values: Any) -> Any:
        """Returns how many magnitudes equal the kernel's value in each row, kernel after kernel."""
        table: Any = None
        if self._table is not None:
            owner = ops.convert_to_tensor(self._table_owner.astype("int32"))
            equal = ops.equal(self._table, ops.reshape(ops.take(values, owner), (-1, 1, 1)))
            table = _backend.count_rows(equal)
        parts = []
        for i, (score, n) in enumerate(zip(self._large, self._whole_rows, strict=True)):
            parts.append(_backend.count_rows(ops.equal(_whole_bits(score, n), values[i])))
            if self.rows[i] > n:
                parts.append(table[int(self._table_starts[i])][None])
        if self._in_place < len(self.scores):
            parts.append(table[int(self._table_starts[self._in_place]) :])
        return ops.concatenate(parts)

    def take_row(self, row: Any) -> Any:
        """Returns the magnitudes of one row of each kernel, (kernels, WIDTH), -1 beyond its end.

        Args:
            row: The number of a row of each kernel, in the kernel.
        """
        taken = []
        for i, score in enumerate(self._large):
            place = row[i] * WIDTH + ops.arange(WIDTH, dtype="int32")
            last = int(self.sizes[i]) - 1
            bits = _backend.magnitude_bits(ops.take(score, ops.minimum(place, last)))
            taken.append(ops.where(place <= last, bits, _PADDING)[None])
        if self._in_place < len(self.scores):
            starts = self._table_starts[self._in_place :].astype("int32")
            place = row[self._in_place :] + ops.convert_to_tensor(starts)
            rows = ops.take(self._table, place, axis=0)
            taken.append(ops.reshape(rows, (-1, WIDTH)))
        return ops.concatenate(taken)

    def sample(self, number: int) -> Any:
        """Returns `number` magnitudes of each kernel, evenly spaced, as (kernels, number)."""
        # In float64, as the products exceed an int32.
        places = np.floor(np.outer(self.sizes, np.arange(number) / number)).astype("int64")
        taken = [
            _backend.magnitude_bits(ops.take(score, places[i].astype("int32")))[None]
            for i, score in enumerate(self._large)
        ]
        if self._in_place < len(self.scores):
            starts = self._table_starts[self._in_place :, None] * WIDTH
            places = (starts + places[self._in_place :]).astype("int32")
            taken.append(ops.take(ops.reshape(self._table, (-1,)), places))
        return ops.concatenate(taken)


def _whole_bits(score: Any, rows: int) -> Any:
    """The magnitudes in the first rows of a flat kernel, (rows, 64, 128)."""
    return ops.reshape(_backend.magnitude_bits(score)[: rows * WIDTH], (rows, *_ROW))


def _in_rows(bits: Any, rows: int) -> Any:
    missing = rows * WIDTH - bits.shape[0]
    if missing:
        bits = ops.pad(bits, [(0, missing)], constant_values=_PADDING)
    return ops.reshape(bits, (rows, *_ROW))
