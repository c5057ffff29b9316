"""How sparse tensors of the `.tflite` format are laid out, and which layout takes the fewest bytes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

# Lengths of blocks that are tried; kernels know 4, and short ones halve the width of an index.
_BLOCKS = (2, 4, 8, 16)


class Layout(NamedTuple):
    """How a tensor is walked: all axes dense but one.

    Args:
        order: The axes from the outermost to the innermost.
        compressed: The axis that is compressed. Axes behind it in the order are stored whole
            where anything in them is not zero.
        blocks: Pairs of an axis and the length of its blocks, which are innermost, stored whole,
            and sorted by axis.
    """

    order: tuple[int, ...]
    compressed: int
    blocks: tuple[tuple[int, int], ...] = ()

    def __str__(self) -> str:
        shape = "x".join(str(length) for _, length in self.blocks)
        inner = self.order[self.order.index(self.compressed) + 1 :]
        whole = f", axes {', '.join(map(str, inner))} whole" if inner else ""
        return f"CSR on axis {self.compressed}{whole}" + (f", blocks of {shape}" if shape else "")


def best_layout(dense: np.ndarray) -> Layout:
    """Find the layout that takes the fewest bytes.

    Every axis is tried as the compressed one, with any of the other axes stored whole behind it, and
    with small blocks along one axis.

    Args:
        dense: The tensor.

    Returns:
        The layout; of equally small ones the first, which is CSR on the last axis if it is one.
    """
    nonzero = dense != 0

    def size(layout: Layout) -> int:
        kept = int(np.count_nonzero(occupied(walk(nonzero, layout))))
        return encoded_size(dense.shape, max(kept, 1), layout, dense.itemsize)

    return min(_layouts(dense.shape), key=size)


def encoded_size(shape: Sequence[int], kept: int, layout: Layout, itemsize: int) -> int:
    """The bytes of values, segments and indices where `kept` groups are stored, of any values."""
    rows, length, group = _extents(shape, layout)
    widths = index_dtype(kept).itemsize * (rows + 1) + index_dtype(length - 1).itemsize * kept
    return widths + kept * group * itemsize


def check_layout(layout: Layout, shape: Sequence[int]) -> None:
    """Raise a ValueError where a layout does not fit a shape."""
    rank = len(shape)
    axes = [axis for axis, _ in layout.blocks]
    fits = (
        sorted(layout.order) == list(range(rank))
        and layout.compressed in layout.order
        and axes == sorted(set(axes))
        and all(
            0 <= axis < rank and size > 0 and shape[axis] % size == 0
            for axis, size in layout.blocks
        )
    )
    if not fits or not math.prod(shape):
        raise ValueError(
            "The layout does not fit the tensor: the order must name each axis once, and blocks must "
            f"divide their axes. Received: layout={layout!r}, shape={tuple(shape)}"
        )


def walk(tensor: np.ndarray, layout: Layout) -> np.ndarray:
    """The tensor as (visitors of the CSR level, its places, values of each place)."""
    sizes = dict(layout.blocks)
    split: list[int] = []
    outer, inner = {}, {}
    for axis, length in enumerate(tensor.shape):
        outer[axis] = len(split)
        split.append(length // sizes.get(axis, 1))
        if axis in sizes:
            inner[axis] = len(split)
            split.append(sizes[axis])
    order = [*(outer[axis] for axis in layout.order), *(inner[axis] for axis in sizes)]
    return tensor.reshape(split).transpose(order).reshape(_extents(tensor.shape, layout))


def occupied(tree: np.ndarray) -> np.ndarray:
    """Which places hold anything that is not zero."""
    return tree[:, :, 0] != 0 if tree.shape[2] == 1 else np.any(tree != 0, axis=2)


def _extents(shape: Sequence[int], layout: Layout) -> tuple[int, int, int]:
    """The visitors of the CSR level, its places, and the values of each place."""
    sizes = dict(layout.blocks)
    lengths = [shape[axis] // sizes.get(axis, 1) for axis in layout.order]
    place = layout.order.index(layout.compressed)
    group = math.prod(lengths[place + 1 :]) * math.prod(sizes.values())
    return math.prod(lengths[:place]), lengths[place], group


def index_dtype(largest: int) -> np.dtype:
    """The narrowest of the format's three types of indices that holds a number."""
    return np.dtype("uint8" if largest < 2**8 else "uint16" if largest < 2**16 else "int32")


def _layouts(shape: Sequence[int]) -> Iterator[Layout]:
    """The layouts that are worth a try, the plainest first."""
    rank = len(shape)
    axes = [axis for axis in range(rank) if shape[axis] > 1] or [rank - 1]
    for compressed in reversed(axes):
        others = [axis for axis in axes if axis != compressed]
        for number in range(len(others) + 1):
            for inner in itertools.combinations(others, number):
                outer = [axis for axis in range(rank) if axis not in (compressed, *inner)]
                order = (*outer, compressed, *inner)
                yield Layout(order, compressed)
                for axis in axes if not inner else ():
                    for length in _BLOCKS:
                        if shape[axis] % length == 0:
                            yield Layout(order, compressed, ((axis, length),))
