"""Structures: in what pattern are weights pruned?

A structure cuts a kernel into units that live or die together. `pool` gives each unit a score,
`expand` turns a decision per unit into a mask of the kernel's shape. Both take `xp`, which is
`numpy` on the host and `keras.ops` inside a compiled function; the two agree.
"""

import abc
import math
from typing import Any

import keras
import numpy as np

Shape = tuple[int, ...]


class Structure(abc.ABC):
    """The pattern in which weights are pruned; see `Unstructured`, `Block` and `MByN`."""

    #: The share of zeros, where the pattern itself fixes it; None where a schedule decides.
    fixed_sparsity: float | None = None

    def check(self, shape: Shape, path: str) -> None:
        """Raises a ValueError if a kernel of this shape can't be pruned in this pattern."""
        return

    @abc.abstractmethod
    def pool(self, scores: Any, input_axis: int, xp: Any) -> Any:
        """Returns one score a unit.

        Args:
            scores: Scores of the kernel's shape.
            input_axis: The kernel's axis of input channels.
            xp: `numpy` or `keras.ops`.
        """

    @abc.abstractmethod
    def expand(self, units: Any, shape: Shape, input_axis: int, xp: Any) -> Any:
        """Returns the bool mask of `shape` for the bool `units`, in the shape `pool` returned."""

    def unit_sizes(self, shape: Shape) -> np.ndarray | None:
        """Returns the number of weights in each unit, flat; None if all have the same."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Structure":
        """Builds the structure from what `get_config` returned."""
        return cls(**config)


@keras.saving.register_keras_serializable(package="secateur")
class Unstructured(Structure):
    """Each weight by itself.

    Example:

    >>> import keras, secateur
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> secateur.prune_once(model, 0.75, structure=secateur.Unstructured()).sparsity
    0.75
    """

    def pool(self, scores: Any, input_axis: int, xp: Any) -> Any:
        """Returns the scores as they are."""
        return scores

    def expand(self, units: Any, shape: Shape, input_axis: int, xp: Any) -> Any:
        """Returns the units as they are."""
        return units


@keras.saving.register_keras_serializable(package="secateur")
class Block(Structure):
    """Rectangular blocks that are pruned as a whole.

    A shape of length r covers the last r axes of a kernel; on the axes before them a block is 1
    long. So `Block((4, 1))` takes 4 input channels of one output channel in a Dense kernel
    (in, out) and, at each position of the window, in a Conv kernel (height, width, in, out). Where
    a kernel is no multiple of the block, the blocks at its end are smaller, and the number of
    pruned blocks is chosen so that the share of zeros comes as near to the target as whole blocks
    allow.

    Args:
        shape: Sizes of a block along the kernel's last axes.
        pooling: How the scores of a block become one: "AVG" or "MAX" of their absolute values.

    Raises:
        ValueError: If a size is below 1 or `pooling` is neither; and in `prune`, if a block is larger
            than a kernel or has more axes.

    Example:

    >>> import keras, secateur
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> secateur.prune_once(model, 0.5, structure=secateur.Block((4, 1))).sparsity
    0.5

    Reference:
        S. Narang et al., "Block-sparse recurrent neural networks", 2017, section 3.1.
        https://arxiv.org/abs/1711.02782
    """

    def __init__(self, shape: Shape, pooling: str = "AVG") -> None:
        sizes = tuple(shape) if isinstance(shape, list | tuple) else ()
        if not sizes or not all(isinstance(s, int | np.integer) and s >= 1 for s in sizes):
            raise ValueError(
                "`shape` must be a tuple of positive integers, the sizes of a block along the last "
                f"axes of a kernel, such as (4, 1). Received: shape={shape!r}"
            )
        if pooling not in ("AVG", "MAX"):
            raise ValueError(f"`pooling` must be 'AVG' or 'MAX'. Received: pooling={pooling!r}")
        self.shape = tuple(int(s) for s in sizes)
        self.pooling = pooling

    def check(self, shape: Shape, path: str) -> None:
        """Raises a ValueError if the block does not fit into a kernel of this shape."""
        too_long = len(self.shape) > len(shape)
        if too_long or any(b > s for b, s in zip(self._full(shape), shape, strict=True)):
            raise ValueError(
                f"The block is larger than the kernel {path!r} of shape {shape}. Use a smaller "
                "block, or leave the layer out with `layers=`. "
                f"Received: shape={self.shape}"
            )

    def _full(self, shape: Shape) -> Shape:
        """The block's sizes along every axis of the kernel."""
        return (1,) * (len(shape) - len(self.shape)) + self.shape

    def _grid(self, shape: Shape) -> Shape:
        """The number of blocks along each axis."""
        return tuple(-(-s // b) for s, b in zip(shape, self._full(shape), strict=True))

    def unit_sizes(self, shape: Shape) -> np.ndarray | None:
        """Returns the number of weights in each block, or None if all blocks are whole."""
        block = self._full(shape)
        if all(s % b == 0 for s, b in zip(shape, block, strict=True)):
            return None
        sizes = np.ones((), np.int64)
        for s, b in zip(shape, block, strict=True):
            along = np.full(-(-s // b), b)
            along[-1] = s - b * (len(along) - 1)
            sizes = np.multiply.outer(sizes, along)
        return sizes.reshape(-1)

    def pool(self, scores: Any, input_axis: int, xp: Any) -> Any:
        """Returns the mean or the maximum of the absolute scores of each block."""
        shape = tuple(scores.shape)
        block, grid = self._full(shape), self._grid(shape)
        scores = xp.abs(scores)
        padding = [(0, g * b - s) for g, b, s in zip(grid, block, shape, strict=True)]
        if any(after for _, after in padding):
            scores = xp.pad(scores, padding)
        split = xp.reshape(scores, [n for pair in zip(grid, block, strict=True) for n in pair])
        axes = tuple(range(1, 2 * len(shape), 2))
        if self.pooling == "MAX":
            return xp.max(split, axis=axes)
        sizes = self.unit_sizes(shape)
        if sizes is None:
            return xp.sum(split, axis=axes) / math.prod(block)
        return xp.sum(split, axis=axes) / xp.array(sizes.reshape(grid), dtype="float32")

    def expand(self, units: Any, shape: Shape, input_axis: int, xp: Any) -> Any:
        """Returns the mask in which each block has the value of its unit."""
        mask = units
        for axis, size in enumerate(self._full(shape)):
            if size > 1:
                mask = xp.repeat(mask, size, axis=axis)
        return mask[tuple(slice(s) for s in shape)]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"shape": list(self.shape), "pooling": self.pooling}


@keras.saving.register_keras_serializable(package="secateur")
class MByN(Structure):
    """At least m zeros in every n consecutive weights along the axis of input channels.

    Groups run along the input channels of each output channel: axis -2 of a Dense or Conv kernel,
    -1 of a ConvTranspose kernel, the last summed axis of an EinsumDense kernel. Where the number of
    input channels is no multiple of n, the missing weights of the last group count as zeros. The
    pattern fixes the sparsity at m / n; a schedule only says when the masks are updated.

    Args:
        m: Zeros in each group.
        n: Weights in each group.

    Raises:
        ValueError: If not 0 < m < n.

    Example:

    >>> import keras, secateur
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> secateur.prune_once(model, structure=secateur.MByN(2, 4)).sparsity
    0.5

    Reference:
        A. Mishra et al., "Accelerating sparse deep neural networks", 2021, section 3.
        https://arxiv.org/abs/2104.08378
    """

    def __init__(self, m: int, n: int) -> None:
        integers = all(isinstance(v, int | np.integer) for v in (m, n))
        if not integers or not 0 < m < n:
            raise ValueError(
                "m must be an integer above 0 and smaller than n: m of every n weights become zero. "
                f"Received: m={m!r}, n={n!r}"
            )
        self.m = int(m)
        self.n = int(n)
        self.fixed_sparsity = self.m / self.n

    def pool(self, scores: Any, input_axis: int, xp: Any) -> Any:
        """Returns the bool units themselves: the choice is made within each group."""
        groups = self._grouped(xp.abs(scores), input_axis, xp)
        members = [groups[..., i] for i in range(self.n)]
        kept = []
        for i, score in enumerate(members):
            # How many of the group rank higher: the larger ones, and of equal ones the earlier.
            higher = [
                (other >= score if j < i else other > score)
                for j, other in enumerate(members)
                if j != i
            ]
            rank = sum(h.astype("int32") if xp is np else xp.cast(h, "int32") for h in higher)
            kept.append(rank < self.n - self.m)
        return xp.stack(kept, axis=-1)

    def _grouped(self, scores: Any, input_axis: int, xp: Any) -> Any:
        scores = xp.moveaxis(scores, input_axis, -1)
        missing = -scores.shape[-1] % self.n
        if missing:
            scores = xp.pad(scores, [(0, 0)] * (len(scores.shape) - 1) + [(0, missing)])
        return xp.reshape(scores, (*scores.shape[:-1], scores.shape[-1] // self.n, self.n))

    def expand(self, units: Any, shape: Shape, input_axis: int, xp: Any) -> Any:
        """Returns the groups' members in the kernel's layout."""
        channels = units.shape[-2] * self.n
        mask = xp.reshape(units, (*units.shape[:-2], channels))[..., : shape[input_axis]]
        return xp.moveaxis(mask, -1, input_axis)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"m": self.m, "n": self.n}
