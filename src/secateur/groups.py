"""A pruning group: some kernels, and the schedule, structure, criterion and allocation they share."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from secateur import ranking
from secateur.allocation import Allocation, Uniform
from secateur.criteria import Criterion, Magnitude
from secateur.schedules import PruningSchedule
from secateur.structures import Structure, Unstructured


@dataclasses.dataclass(frozen=True)
class Target:
    """One kernel to prune.

    Args:
        path: The variable's path, such as "sequential/dense/kernel".
        index: Its place among the model's trainable variables.
        shape: Its shape.
        sparsity: The share of zeros at the schedule's end; None for the schedule's own target.
        input_axis: The axis of input channels, along which `MByN` groups weights.
    """

    path: str
    index: int
    shape: tuple[int, ...]
    sparsity: float | None = None
    input_axis: int = -2

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Target":
        """Builds the target from its dictionary."""
        return cls(**{**config, "shape": tuple(config["shape"])})


_PARTS = {
    "schedule": (PruningSchedule, "secateur.PolynomialDecay(0.0, 0.8, 0, 1000)"),
    "structure": (Structure, "secateur.Block((4, 1))"),
    "criterion": (Criterion, "secateur.Magnitude()"),
    "allocation": (Allocation, "secateur.Global()"),
}


def check_parts(**parts: Any) -> None:
    """Raises a ValueError that names a part which is neither None nor an object of its kind."""
    for name, part in parts.items():
        kind, example = _PARTS[name]
        if part is not None and not isinstance(part, kind):
            raise ValueError(
                f"`{name}` must be a secateur.{kind.__name__}, such as {example}. "
                f"Received: {name}={part!r}"
            )


class PruningGroup:
    """Kernels that share a schedule, a structure, a criterion and an allocation.

    Args:
        schedule: When to update the masks, and to what sparsity.
        structure: In what pattern. `Unstructured()` by default.
        criterion: Which weights matter least. `Magnitude()` by default.
        allocation: How the target is shared among the kernels. `Uniform()` by default.
        targets: The kernels. None: every trainable variable whose name ends in "kernel", except
            depthwise ones, chosen when the optimizer is built.
    """

    def __init__(
        self,
        schedule: PruningSchedule,
        structure: Structure | None = None,
        criterion: Criterion | None = None,
        allocation: Allocation | None = None,
        targets: Sequence[Target] | None = None,
    ) -> None:
        check_parts(
            schedule=schedule, structure=structure, criterion=criterion, allocation=allocation
        )
        self.schedule = schedule
        self.structure = structure or Unstructured()
        self.criterion = criterion or Magnitude()
        self.allocation = allocation or Uniform()
        self.targets = None if targets is None else tuple(targets)

    def compute_masks(self, weights: Sequence[Any], sparsity: Any, xp: Any) -> list[Any]:
        """Returns a bool mask for each of the targets' weights.

        Args:
            weights: The targets' values, float32.
            sparsity: What the schedule says, a scalar float32.
            xp: `numpy` on the host, `keras.ops` inside a compiled function.
        """
        assert self.targets is not None
        axes = [t.input_axis for t in self.targets]
        units = [
            self.structure.pool(self.criterion.score(weight), axis, xp)
            for weight, axis in zip(weights, axes, strict=True)
        ]
        if self.structure.fixed_sparsity is not None:
            chosen = units
        elif self.allocation.joint:
            chosen = self._choose_jointly(units, sparsity, xp)
        else:
            chosen = self._choose(units, sparsity, xp)
        return [
            self.structure.expand(unit, target.shape, target.input_axis, xp)
            for unit, target in zip(chosen, self.targets, strict=True)
        ]

    def goal(self, target: Target) -> float | None:
        """Returns a kernel's sparsity at the schedule's end; None where kernels share one goal."""
        if self.allocation.joint:
            return None
        if self.structure.fixed_sparsity is not None:
            return self.structure.fixed_sparsity
        return self.schedule.target if target.sparsity is None else target.sparsity

    def sparsity_of(self, target: Target, sparsity: Any) -> Any:
        """Returns a kernel's sparsity when the schedule says `sparsity`.

        A kernel with a target of its own follows the schedule in proportion, so that it arrives
        when the schedule does.
        """
        if target.sparsity is None:
            return sparsity
        end = self.schedule.target
        if end == 0.0 or target.sparsity == end:
            return sparsity
        return (sparsity / float(np.float32(end))) * float(np.float32(target.sparsity))

    def _choose(self, units: Sequence[Any], sparsity: Any, xp: Any) -> list[Any]:
        assert self.targets is not None
        goals = [self.sparsity_of(target, sparsity) for target in self.targets]
        sizes = [self.structure.unit_sizes(target.shape) for target in self.targets]
        equal = [i for i, s in enumerate(sizes) if s is None]
        keep = [ranking.kept(math.prod(units[i].shape), goals[i], xp) for i in equal]
        masks = ranking.largest([units[i] for i in equal], keep, xp) if equal else []
        chosen = dict(zip(equal, masks, strict=True))
        return [
            chosen[i] if size is None else _nearest(units[i], size, goals[i], xp)
            for i, size in enumerate(sizes)
        ]

    def _choose_jointly(self, units: Sequence[Any], sparsity: Any, xp: Any) -> list[Any]:
        assert self.targets is not None
        flat = [xp.reshape(unit, (-1,)) for unit in units]
        # The best unit of each kernel outranks everything.
        flat = [_with_best_first(scores, xp) for scores in flat]
        scores = xp.concatenate(flat)
        sizes = [self.structure.unit_sizes(t.shape) for t in self.targets]
        if any(s is not None for s in sizes):
            whole = [
                s if s is not None else np.full(f.shape[0], math.prod(t.shape) // f.shape[0])
                for s, f, t in zip(sizes, flat, self.targets, strict=True)
            ]
            chosen = _nearest(scores, np.concatenate(whole), sparsity, xp, at_least=len(flat))
        else:
            keep = ranking.kept(scores.shape[0], sparsity, xp)
            keep = max(keep, len(flat)) if xp is np else ops.maximum(keep, len(flat))
            chosen = ranking.largest([scores], [keep], xp)[0]
        ends = np.cumsum([f.shape[0] for f in flat])
        parts = [chosen[e - f.shape[0] : e] for e, f in zip(ends, flat, strict=True)]
        return [xp.reshape(p, unit.shape) for p, unit in zip(parts, units, strict=True)]

    def get_config(self) -> dict[str, Any]:
        """Returns a dictionary that JSON can hold."""
        serialize = keras.saving.serialize_keras_object
        return {
            "schedule": serialize(self.schedule),
            "structure": serialize(self.structure),
            "criterion": serialize(self.criterion),
            "allocation": serialize(self.allocation),
            "targets": None
            if self.targets is None
            else [dataclasses.asdict(t) | {"shape": list(t.shape)} for t in self.targets],
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> "PruningGroup":
        """Builds the group from what `get_config` returned."""
        parts = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects=custom_objects)
            for name in ("schedule", "structure", "criterion", "allocation")
        }
        targets = config["targets"]
        if targets is not None:
            targets = [Target.from_config(t) for t in targets]
        return cls(**parts, targets=targets)


def _with_best_first(scores: Any, xp: Any) -> Any:
    scores = xp.abs(scores)
    best = xp.argmax(scores)
    index = xp.arange(scores.shape[0])
    return xp.where(index == best, np.float32(np.inf), scores)


def _nearest(units: Any, sizes: np.ndarray, sparsity: Any, xp: Any, at_least: int = 1) -> Any:
    """Keeps the best units, as many as bring the share of zeros nearest to `sparsity`.

    For units of different sizes, of which there are far fewer than weights: sorting is cheap here.
    """
    scores = xp.reshape(units, (-1,))
    if xp is np:
        order = np.argsort(-scores, kind="stable")
        kept_sizes = np.cumsum(sizes[order], dtype=np.float32)
        wanted = np.float32(sizes.sum()) * (np.float32(1) - sparsity)
        keep = max(int(np.argmin(np.abs(kept_sizes - wanted))) + 1, at_least)
        mask = np.zeros(scores.size, bool)
        mask[order[:keep]] = True
        return mask.reshape(units.shape)
    order = ops.argsort(-scores)
    kept_sizes = ops.cumsum(ops.take(ops.convert_to_tensor(sizes.astype("float32")), order))
    wanted = float(sizes.sum()) * (1.0 - sparsity)
    keep = ops.cast(ops.argmin(ops.abs(kept_sizes - wanted)), "int32") + 1
    return ops.reshape(ops.argsort(order) < ops.maximum(keep, at_least), units.shape)
