"""Sparse tensors of the `.tflite` format: only what is not zero, and where it belongs.

A tensor is walked level by level, one level an axis, in any order of the axes; behind them may come
levels within blocks. A dense level visits every place. A CSR level (compressed sparse row) visits
the places in its list `indices`; `segments` says where in that list each visitor's part begins.
Only the values met at the end of a walk are stored.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_DENSE, _CSR = 0, 1
# Lengths of blocks that are tried; kernels know 4, and short ones halve the width of an index.
_BLOCKS = (2, 4, 8, 16)
# Sizes in LiteRT are signed numbers of 32 bits.
_MOST_VALUES = 2**31 - 1


@dataclass(frozen=True)
class Layout:
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


@dataclass(frozen=True)
class SparseTensor:
    """A tensor in its sparse encoding.

    Args:
        values: The stored values, a row.
        parameters: Where they belong, a `SparsityParametersT` of the schema.
        layout: How they were laid out.
    """

    values: np.ndarray
    parameters: Any
    layout: Layout

    @property
    def nbytes(self) -> int:
        """The bytes of values, segments and indices."""
        return int(self.values.nbytes) + sum(
            part.values.nbytes
            for level in self.parameters.dimMetadata
            for part in (level.arraySegments, level.arrayIndices)
            if part is not None
        )


def encode(dense: np.ndarray, layout: Layout | None = None) -> SparseTensor:
    """Encode a tensor without its zeros.

    Args:
        dense: The tensor, of one axis or more; float32, float16 or int8 where LiteRT shall read it.
            Negative zero counts as zero.
        layout: How to lay it out; by default as takes the fewest bytes.

    Returns:
        The stored values and their `SparsityParametersT`.

    Raises:
        ValueError: If the layout does not fit the tensor.

    Example:
        >>> import numpy as np
        >>> sparse = encode(np.array([[0, 5], [0, 0], [7, 0]], "float32"))
        >>> sparse.values
        array([5., 7.], dtype=float32)
        >>> decode(sparse.values, sparse.parameters, (3, 2))
        array([[0., 5.],
               [0., 0.],
               [7., 0.]], dtype=float32)

    Reference:
        `SparsityParameters` in `schema.fbs`; the format is that of TACO, https://doi.org/10.1145/3133901.
    """
    dense = np.asarray(dense)
    if layout is None:
        layout = best_layout(dense)
    _check_layout(layout, dense.shape)
    tree = _walk(dense, layout)
    kept = _any(tree)
    segments = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
    indices = np.nonzero(kept)[1]
    return SparseTensor(
        tree[kept].reshape(-1), _parameters(dense.shape, layout, segments, indices), layout
    )


def decode(values: np.ndarray, parameters: Any, shape: Sequence[int]) -> np.ndarray:
    """Give a sparse tensor its zeros back.

    Args:
        values: The stored values, a row.
        parameters: Where they belong, a `SparsityParametersT`.
        shape: The shape of the whole tensor.

    Returns:
        The dense tensor, of the dtype of `values`.

    Raises:
        ValueError: If the parameters contradict themselves, the shape, or the number of values, as
            in a damaged file.
    """
    places = check_sparsity(parameters, shape, len(values))
    dense = np.zeros(math.prod(shape), values.dtype)
    dense[places] = values
    return dense.reshape(tuple(shape))


def encoded_size(shape: Sequence[int], kept: int, layout: Layout, itemsize: int) -> int:
    """The bytes of values, segments and indices where `kept` groups are stored, of any values."""
    rows, length, group = _extents(shape, layout)
    widths = _width(kept).itemsize * (rows + 1) + _width(length - 1).itemsize * kept
    return widths + kept * group * itemsize


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
        kept = int(np.count_nonzero(_any(_walk(nonzero, layout))))
        return encoded_size(dense.shape, kept, layout, dense.itemsize)

    return min(_layouts(dense.shape), key=size)


def check_sparsity(parameters: Any, shape: Sequence[int], count: int) -> np.ndarray:
    """Check a sparse encoding, so that no runtime reads or writes outside of its arrays.

    Args:
        parameters: A `SparsityParametersT`.
        shape: The shape of the whole tensor.
        count: The number of stored values.

    Returns:
        The place of each stored value in the flattened tensor.

    Raises:
        ValueError: If it contradicts itself, the shape, or the number of values.
    """
    order, blocked, strides = _levels(parameters, shape)
    total = math.prod(shape)
    places = np.zeros(1, np.int64)
    for axis, level in zip(order, parameters.dimMetadata, strict=True):
        if level.format == _DENSE:
            if level.denseSize != blocked[axis]:
                raise ValueError(f"a level has {level.denseSize} places, not {blocked[axis]}")
            if len(places) * blocked[axis] > total:
                raise ValueError(f"more than {total} values are stored sparsely")
            steps = np.arange(blocked[axis]) * strides[axis]
            places = (places[:, None] + steps).reshape(-1)
        elif level.format == _CSR and axis < len(shape):
            counts, indices = _csr(level, len(places), blocked[axis])
            if len(indices) > total:
                raise ValueError(f"more than {total} values are stored sparsely")
            places = np.repeat(places, counts) + indices * strides[axis]
        else:
            raise ValueError(f"a level has the unknown or misplaced format {level.format}")
    if len(places) != count:
        raise ValueError(f"{len(places)} values are described and {count} stored")
    return places


def _csr(level: Any, visitors: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """How many places each visitor of a CSR level has, and which."""
    segments, indices = _numbers(level.arraySegments), _numbers(level.arrayIndices)
    counts = np.diff(segments)
    if len(segments) != visitors + 1 or segments[0] or (counts < 0).any():
        raise ValueError(f"{visitors + 1} rising segments from 0 were expected in a level")
    if segments[-1] != len(indices):
        raise ValueError(f"segments end at {segments[-1]} where {len(indices)} indices are")
    if ((indices < 0) | (indices >= length)).any():
        raise ValueError(f"an index lies outside of an axis of length {length}")
    return counts, indices


def _levels(
    parameters: Any, shape: Sequence[int]
) -> tuple[list[int], dict[int, int], dict[int, int]]:
    """The order of the levels, and the length and stride of each, by its number in the order."""
    rank, total = len(shape), math.prod(shape)
    order = [int(axis) for axis in parameters.traversalOrder]
    mapped = [] if parameters.blockMap is None else [int(axis) for axis in parameters.blockMap]
    levels = list(parameters.dimMetadata)
    if not 0 < total <= _MOST_VALUES:
        raise ValueError(f"a sparse tensor of {total} values was met")
    if sorted(order[:rank]) != list(range(rank)) or order[rank:] != list(
        range(rank, rank + len(mapped))
    ):
        raise ValueError(f"the order {order} is not one of {rank} axes and {len(mapped)} blocks")
    if len(levels) != len(order):
        raise ValueError(f"{len(order)} levels were expected, not {len(levels)}")
    if mapped != sorted(set(mapped)) or not set(mapped) <= set(range(rank)):
        raise ValueError(f"the blocks' axes {mapped} are not rising ones below {rank}")
    strides = {axis: math.prod(shape[axis + 1 :]) for axis in range(rank)}
    lengths = {axis: int(length) for axis, length in enumerate(shape)}
    for level, axis in zip(range(rank, rank + len(mapped)), mapped, strict=True):
        size = int(levels[level].denseSize)
        if size < 1 or shape[axis] % size:
            raise ValueError(f"blocks of {size} do not divide an axis of length {shape[axis]}")
        lengths[level], strides[level] = size, strides[axis]
        lengths[axis] //= size
        strides[axis] *= size
    return order, lengths, strides


def _numbers(vector: Any) -> np.ndarray:
    if vector is None or vector.values is None:
        return np.zeros(0, np.int64)
    return np.asarray(vector.values, np.int64)


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


def _check_layout(layout: Layout, shape: Sequence[int]) -> None:
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


def _walk(tensor: np.ndarray, layout: Layout) -> np.ndarray:
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


def _any(tree: np.ndarray) -> np.ndarray:
    """Which places hold anything that is not zero."""
    return tree[:, :, 0] != 0 if tree.shape[2] == 1 else np.any(tree != 0, axis=2)


def _extents(shape: Sequence[int], layout: Layout) -> tuple[int, int, int]:
    """The visitors of the CSR level, its places, and the values of each place."""
    sizes = dict(layout.blocks)
    lengths = [shape[axis] // sizes.get(axis, 1) for axis in layout.order]
    place = layout.order.index(layout.compressed)
    group = math.prod(lengths[place + 1 :]) * math.prod(sizes.values())
    return math.prod(lengths[:place]), lengths[place], group


def _parameters(
    shape: Sequence[int], layout: Layout, segments: np.ndarray, indices: np.ndarray
) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    sizes = dict(layout.blocks)
    parameters = schema.SparsityParametersT()
    rank = len(shape)
    parameters.traversalOrder = np.array([*layout.order, *range(rank, rank + len(sizes))], np.int32)
    if sizes:
        parameters.blockMap = np.array(list(sizes), np.int32)
    parameters.dimMetadata = []
    for axis in layout.order:
        level = schema.DimensionMetadataT()
        if axis == layout.compressed:
            level.format = _CSR
            level.arraySegmentsType, level.arraySegments = _vector(segments)
            level.arrayIndicesType, level.arrayIndices = _vector(indices)
        else:
            level.denseSize = shape[axis] // sizes.get(axis, 1)
        parameters.dimMetadata.append(level)
    for size in sizes.values():
        level = schema.DimensionMetadataT()
        level.denseSize = size
        parameters.dimMetadata.append(level)
    return parameters


def _vector(numbers: np.ndarray) -> tuple[int, Any]:
    """Numbers in the narrowest of the three types that the format has for them."""
    from ai_edge_litert import schema_py_generated as schema

    dtype = _width(int(numbers.max(initial=0)))
    kind = schema.SparseIndexVector
    number, vector = {
        1: (kind.Uint8Vector, schema.Uint8VectorT()),
        2: (kind.Uint16Vector, schema.Uint16VectorT()),
        4: (kind.Int32Vector, schema.Int32VectorT()),
    }[dtype.itemsize]
    vector.values = numbers.astype(dtype)
    return number, vector


def _width(largest: int) -> np.dtype:
    return np.dtype("uint8" if largest < 2**8 else "uint16" if largest < 2**16 else "int32")
