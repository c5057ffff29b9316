"""Sparse tensors of the `.tflite` format: only what is not zero, and where it belongs.

A tensor is walked level by level, one level an axis, in any order of the axes; behind them may come
levels within blocks. A dense level visits every place. A CSR level (compressed sparse row) visits
the places in its list `indices`; `segments` says where in that list each visitor's part begins.
Only the values met at the end of a walk are stored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from secateur.litert.sparse_layout import (
    Layout,
    best_layout,
    check_layout,
    index_dtype,
    occupied,
    walk,
)

_DENSE, _CSR = 0, 1
# Sizes in LiteRT are signed numbers of 32 bits.
_MOST_VALUES = 2**31 - 1


class SparseTensor(NamedTuple):
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
            Negative zero counts as zero. Of a tensor of zeros one place is stored all the same,
            because LiteRT takes a constant of no bytes for no constant.
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
    check_layout(layout, dense.shape)
    tree = walk(dense, layout)
    kept = occupied(tree)
    if not kept.any():
        kept[0, 0] = True
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

    dtype = index_dtype(int(numbers.max(initial=0)))
    kind = schema.SparseIndexVector
    number, vector = {
        1: (kind.Uint8Vector, schema.Uint8VectorT()),
        2: (kind.Uint16Vector, schema.Uint16VectorT()),
        4: (kind.Int32Vector, schema.Int32VectorT()),
    }[dtype.itemsize]
    vector.values = numbers.astype(dtype)
    return number, vector
