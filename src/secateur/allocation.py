"""Allocations: how is the target shared among the layers?"""

import abc
import math
from collections.abc import Sequence
from typing import Any

import keras

Shape = tuple[int, ...]


class Allocation(abc.ABC):
    """Shares a target sparsity among kernels; see `Uniform`, `Global` and `ErdosRenyi`."""

    #: True where all kernels are ranked together, so that no target per kernel exists beforehand.
    joint: bool = False

    @abc.abstractmethod
    def targets(self, shapes: Sequence[Shape], sparsity: float) -> list[float]:
        """Returns each kernel's sparsity; weighted by size, they average to `sparsity`."""

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Allocation":
        """Builds the allocation from what `get_config` returned."""
        return cls(**config)


@keras.saving.register_keras_serializable(package="secateur")
class Uniform(Allocation):
    """The same sparsity for every kernel.

    Example:

    >>> import secateur
    >>> secateur.Uniform().targets([(8, 8), (2, 2)], 0.5)
    [0.5, 0.5]
    """

    def targets(self, shapes: Sequence[Shape], sparsity: float) -> list[float]:
        """Returns `sparsity` for each kernel."""
        return [sparsity] * len(shapes)


@keras.saving.register_keras_serializable(package="secateur")
class Global(Allocation):
    """One threshold over all kernels: the least important weights go, wherever they are.

    Each kernel keeps at least its most important unit, so that no layer is cut off.

    Example:

    >>> import keras, secateur
    >>> model = keras.Sequential(
    ...     [keras.Input((8,)), keras.layers.Dense(8), keras.layers.Dense(2)]
    ... )
    >>> secateur.prune_once(model, 0.5, allocation=secateur.Global()).sparsity
    0.5
    """

    joint = True

    def targets(self, shapes: Sequence[Shape], sparsity: float) -> list[float]:
        """Returns the overall target for each kernel; what each gets follows from the weights."""
        return [sparsity] * len(shapes)


@keras.saving.register_keras_serializable(package="secateur")
class ErdosRenyi(Allocation):
    """More zeros in the larger kernels: density in proportion to (in + out) / (in * out).

    With `kernel` (Erdos-Renyi-Kernel, ERK), the window's sizes count too: the density of a Conv
    kernel is in proportion to (height + width + in + out) / (height * width * in * out). Kernels
    whose density would exceed 1 stay dense, and the others share the rest.

    Args:
        kernel: Whether all axes count, or only the last two.

    Example:

    >>> import secateur
    >>> targets = secateur.ErdosRenyi().targets([(100, 100), (100, 10)], 0.8)
    >>> [round(t, 3) for t in targets]
    [0.858, 0.219]

    Reference:
        U. Evci et al., "Rigging the lottery: making all tickets winners", 2020, section 3 (1).
        https://arxiv.org/abs/1911.11134
    """

    def __init__(self, kernel: bool = True) -> None:
        self.kernel = kernel

    def targets(self, shapes: Sequence[Shape], sparsity: float) -> list[float]:
        """Returns each kernel's sparsity."""
        sizes = [math.prod(shape) for shape in shapes]
        raw = []
        for shape in shapes:
            axes = shape if self.kernel else shape[-2:]
            raw.append(sum(axes) / math.prod(axes))
        wanted = (1.0 - sparsity) * sum(sizes)
        dense: set[int] = set()
        while True:
            rest = [i for i in range(len(shapes)) if i not in dense]
            left = wanted - sum(sizes[i] for i in dense)
            scale = left / sum(raw[i] * sizes[i] for i in rest) if rest else 0.0
            overfull = {i for i in rest if raw[i] * scale > 1.0}
            if not overfull:
                break
            dense |= overfull
        return [0.0 if i in dense else 1.0 - raw[i] * scale for i in range(len(shapes))]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"kernel": self.kernel}
