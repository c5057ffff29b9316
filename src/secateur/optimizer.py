"""The engine: an optimizer that wraps another one and keeps its weights exactly sparse."""

import dataclasses
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from secateur import _backend
from secateur.allocation import Allocation
from secateur.criteria import Criterion
from secateur.groups import PruningGroup, Target
from secateur.schedules import PruningSchedule
from secateur.structures import Structure

_STEP_KEY = "pruning_step"


@keras.saving.register_keras_serializable(package="secateur")
class SparseOptimizer(keras.optimizers.Optimizer):
    """Wraps an optimizer; holds a bool mask for each pruned kernel and applies it after each update.

    Each call of `apply` (1) updates the masks if the schedule says so, from the weights as they are,
    (2) lets the wrapped optimizer update all variables, (3) sets the pruned weights back to zero. So
    weights are exactly sparse after every step, and the masks and the step are saved and restored
    with the optimizer. `secateur.prune` makes one; make it by hand to pass it to `compile`.

    Inside, it is an ordinary Keras optimizer: learning-rate schedules and callbacks, gradient
    accumulation, EMA and `scale_loss` are those of the wrapped optimizer. For mixed precision it
    stands inside the `LossScaleOptimizer`, as Keras puts it there by itself. A step is an update of
    the wrapped optimizer: micro-batches of gradient accumulation do not count.

    Args:
        inner_optimizer: The `keras.optimizers.Optimizer` to wrap, or its name.
        schedule: When to update the masks and to what sparsity.
        structure: In what pattern. `Unstructured()` by default.
        criterion: Which weights matter least. `Magnitude()` by default.
        allocation: How the target is shared among the kernels. `Uniform()` by default.
        groups: Instead of the four above, `PruningGroup`s with settings and kernels of their own.
        name: Name of the optimizer.

    Raises:
        ValueError: If neither or both of `schedule` and `groups` are given; when built, if a kernel
            of a group is not there, or does not fit the structure.

    Example:

    >>> import keras, numpy as np, secateur
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> schedule = secateur.ConstantSparsity(0.75, begin_step=0)
    >>> model.compile(secateur.SparseOptimizer("sgd", schedule), loss="mse")
    >>> _ = model.fit(np.ones((2, 8)), np.ones((2, 4)), verbose=0)
    >>> secateur.sparsity(model).sparsity
    0.75

    Reference:
        J. H. Lee et al., "JaxPruner: a concise library for sparsity research", 2023, section 3, for
        masks that live in the optimizer. https://arxiv.org/abs/2304.14082
    """

    def __init__(
        self,
        inner_optimizer: Any,
        schedule: PruningSchedule | None = None,
        structure: Structure | None = None,
        criterion: Criterion | None = None,
        allocation: Allocation | None = None,
        groups: Sequence[PruningGroup] | None = None,
        name: str | None = None,
    ) -> None:
        if (schedule is None) == (groups is None):
            raise ValueError(
                "Give either `schedule` (with structure, criterion and allocation) or `groups`. "
                f"Received: schedule={schedule}, groups={groups}"
            )
        super().__init__(learning_rate=0.0, name=name)
        self.inner_optimizer = keras.optimizers.get(inner_optimizer)
        if schedule is not None:
            groups = [PruningGroup(schedule, structure, criterion, allocation)]
        self._groups = tuple(groups or ())
        self._mask_indices: tuple[tuple[int, ...], ...] = ()

    # --- state ---------------------------------------------------------------------------------

    def build(self, variables: Sequence[Any]) -> None:
        """Creates the masks, all true, and builds the wrapped optimizer if it is not built.

        Args:
            variables: The model's trainable variables.
        """
        if self.built:
            return
        variables = list(variables)
        groups = tuple(_resolve(group, variables) for group in self._groups)
        if not self.inner_optimizer.built:
            self.inner_optimizer.build(variables)
        self._groups = groups
        self.pruning_step = self.add_variable(
            (), "zeros", "int32", aggregation="only_first_replica", name=_STEP_KEY
        )
        masks, indices = [], []
        for group in groups:
            start = len(masks)
            for target in group.targets or ():
                kernel = variables[target.index]
                mask = self.add_variable(
                    kernel.shape,
                    "ones",
                    "bool",
                    aggregation="only_first_replica",
                    layout=getattr(kernel, "_layout", None),
                    name=target.path.replace("/", "_") + "_mask",
                )
                masks.append(mask)
            indices.append(tuple(range(start, len(masks))))
        self._masks = masks
        self._mask_indices = tuple(indices)
        super().build(variables)

    @property
    def variables(self) -> list[Any]:
        """The step, the masks, and the wrapped optimizer's variables."""
        return super().variables + self.inner_optimizer.variables

    @property
    def groups(self) -> tuple[PruningGroup, ...]:
        """The pruning groups; their targets are known once the optimizer is built."""
        return self._groups

    @property
    def step(self) -> int:
        """The number of updates since pruning began. Not for use in a compiled function."""
        return int(ops.convert_to_numpy(self.pruning_step)) if self.built else 0

    @property
    def masks(self) -> dict[str, Any]:
        """The bool mask variables by their kernels' paths; True is a weight that stays."""
        return {target.path: mask for target, _, mask in self.pruned()}

    def pruned(self) -> list[tuple[Target, Any, Any]]:
        """Returns (target, kernel, mask) for every pruned kernel; empty before the build."""
        if not self.built:
            return []
        return [
            (target, self._trainable_variables[target.index], self._masks[i])
            for group, indices in zip(self._groups, self._mask_indices, strict=True)
            for target, i in zip(group.targets or (), indices, strict=True)
        ]

    # --- training ------------------------------------------------------------------------------

    def apply(self, grads: Sequence[Any], trainable_variables: Iterable[Any] | None = None) -> None:
        """Updates the masks if due, applies the gradients, and projects the weights.

        Args:
            grads: Gradients, one for each variable.
            trainable_variables: The variables. May be left out once the optimizer is built.
        """
        if len(grads) == 0:
            return
        if trainable_variables is not None:
            trainable_variables = list(trainable_variables)
        if not self.built:
            if trainable_variables is None:
                raise ValueError(
                    "The optimizer is not built. Pass `trainable_variables`, or call "
                    "`optimizer.build(model.trainable_variables)` first. "
                    "Received: trainable_variables=None"
                )
            self.build(trainable_variables)
        self._update_masks()
        # A new tensor: PyTorch's would change with the variable.
        before = ops.add(self.inner_optimizer.iterations, 0)
        self.inner_optimizer.apply(grads, trainable_variables)
        self.project()
        self._count(ops.subtract(self.inner_optimizer.iterations, before))

    def advance(self) -> None:
        """Counts one update that another optimizer made, as `apply` does for its own.

        For loops that apply gradients with an optimizer of their own: call it after each update.
        """
        self._update_masks()
        self.project()
        self._count(1)

    def project(self) -> None:
        """Sets the pruned weights, and the averages that the wrapped optimizer keeps, to zero."""
        pairs = []
        for target, kernel, mask in self.pruned():
            pairs.append((kernel, mask))
            pairs += [(copy, mask) for copy in _weight_copies(self.inner_optimizer, kernel, target)]
        _backend.project(pairs)

    def _update_masks(self) -> None:
        concrete = _backend.concrete(self.pruning_step)
        step = self.pruning_step.value if concrete is None else int(concrete)
        for group, indices in zip(self._groups, self._mask_indices, strict=True):
            due, sparsity = _due(group.schedule, step)
            kernels = [self._trainable_variables[t.index] for t in group.targets or ()]
            masks = [self._masks[i] for i in indices]
            _backend.update_masks(due, kernels, masks, sparsity, group.compute_masks)

    def _count(self, updates: Any) -> None:
        self.pruning_step.assign(ops.add(self.pruning_step, ops.cast(updates, "int32")))

    def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
        """Lets the wrapped optimizer finish (EMA), prunes the result, and warns if cut short."""
        self.inner_optimizer.finalize_variable_values(var_list)
        self.project()
        for group in self._groups:
            last, step = group.schedule.last_step, self.step
            if last is not None and step < last:
                reached = group.schedule(step)[1] if step else 0.0
                warnings.warn(
                    f"Training ended at step {step} of a pruning schedule that runs to step {last}: "
                    f"sparsity is to reach {group.schedule.target:.4g} and stands near "
                    f"{float(reached):.4g}. Train {last - step} more steps, or give the schedule an "
                    "end that the training reaches.",
                    stacklevel=2,
                )

    # --- what the wrapped optimizer decides ------------------------------------------------------

    @property
    def iterations(self) -> Any:
        """The wrapped optimizer's number of updates."""
        return self.inner_optimizer.iterations

    @property
    def learning_rate(self) -> Any:
        """The wrapped optimizer's learning rate."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.inner_optimizer.learning_rate = value

    def scale_loss(self, loss: Any) -> Any:
        """Scales the loss as the wrapped optimizer does."""
        return self.inner_optimizer.scale_loss(loss)

    # --- saving ----------------------------------------------------------------------------------

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Sets all `variables`, in their order."""
        if not self.built:
            raise ValueError(
                "The optimizer has no weights before it is built. Call "
                "`optimizer.build(model.trainable_variables)` first."
            )
        for variable, weight in zip(self.variables, weights, strict=True):
            variable.assign(weight)

    def save_own_variables(self, store: Any) -> None:
        """Saves the step and the masks, eight weights a byte; the wrapped optimizer saves its own."""
        if not self.built:
            return
        store[_STEP_KEY] = np.int64(self.step)
        for i, mask in enumerate(self._masks):
            store[f"mask_{i}"] = np.packbits(ops.convert_to_numpy(mask).reshape(-1))

    def load_own_variables(self, store: Any) -> None:
        """Restores the step and the masks; a damaged state is refused before anything changes."""
        keys = set(store.keys())
        if _STEP_KEY not in keys:
            warnings.warn(
                f"The checkpoint holds no pruning state: optimizer {self.name!r} keeps its masks and "
                "its step, and applies the masks at the next update.",
                stacklevel=2,
            )
            return
        if not self.built:
            warnings.warn(
                f"Optimizer {self.name!r} is not built, so the checkpoint's pruning state was not "
                "restored. Call `optimizer.build(model.trainable_variables)` before loading.",
                stacklevel=2,
            )
            return
        packed = {key: np.asarray(store[key]) for key in keys}
        step, masks = _unpack(packed, [tuple(mask.shape) for mask in self._masks])
        self.pruning_step.assign(step)
        for mask, value in zip(self._masks, masks, strict=True):
            mask.assign(value)

    def get_config(self) -> dict[str, Any]:
        """Returns the name, the wrapped optimizer and the groups."""
        return {
            "name": self.name,
            "inner_optimizer": keras.saving.serialize_keras_object(self.inner_optimizer),
            "groups": [group.get_config() for group in self._groups],
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> "SparseOptimizer":
        """Builds the optimizer from what `get_config` returned."""
        inner = keras.saving.deserialize_keras_object(
            config["inner_optimizer"], custom_objects=custom_objects
        )
        groups = [PruningGroup.from_config(g, custom_objects) for g in config["groups"]]
        return cls(inner, groups=groups, name=config["name"])


def _due(schedule: PruningSchedule, step: Any) -> tuple[Any, Any]:
    """Whether the update after `step` updates has a mask update, and to what sparsity.

    The first update of all covers step 0 as well, which lies before it.
    """
    due, sparsity = schedule(step + 1)
    if isinstance(step, int):
        due = bool(due)
        if step == 0 and not due and bool(schedule(0)[0]):
            return True, schedule(0)[1]
        return due, sparsity
    due_at_0, sparsity_at_0 = schedule(0)
    if isinstance(due_at_0, bool | np.bool_) and not due_at_0:
        return due, sparsity
    first = ops.logical_and(ops.equal(step, 0), due_at_0)
    return ops.logical_or(due, first), ops.where(due, sparsity, sparsity_at_0)


def _resolve(group: PruningGroup, variables: Sequence[Any]) -> PruningGroup:
    """Returns the group with its targets found, and checked, among the variables."""
    if group.targets is None:
        targets = [
            Target(_path(v), i, tuple(v.shape))
            for i, v in enumerate(variables)
            if v.name.endswith("kernel") and "depthwise" not in _path(v) and len(v.shape) > 1
        ]
    else:
        targets = [_find(target, variables) for target in group.targets]
    for target in targets:
        group.structure.check(target.shape, target.path)
    return PruningGroup(
        group.schedule, group.structure, group.criterion, group.allocation, targets
    )


def _find(target: Target, variables: Sequence[Any]) -> Target:
    def fits(i: int) -> bool:
        return tuple(variables[i].shape) == target.shape

    if target.index < len(variables) and fits(target.index):
        return dataclasses.replace(target, path=_path(variables[target.index]))
    # The order may have changed where layers were frozen since; then the path tells.
    for i, variable in enumerate(variables):
        if _path(variable) == target.path and fits(i):
            return dataclasses.replace(target, index=i)
    raise ValueError(
        f"The kernel {target.path!r} of shape {target.shape}, which is to be pruned, is not among the "
        "variables the optimizer is built with. Call `secateur.prune` again after changing a model. "
        f"Received: variables={[(_path(v), tuple(v.shape)) for v in variables]}"
    )


def _path(variable: Any) -> str:
    return str(getattr(variable, "path", variable.name))


def _weight_copies(optimizer: Any, kernel: Any, target: Target) -> list[Any]:
    """Returns the optimizer's own copies of a kernel, which would bring pruned weights back.

    EMA writes its averages into the model at the end; ScheduleFreeAdamW computes the weights from a
    sequence it keeps as `momentum`.
    """
    copies = []
    for inner in [optimizer, *getattr(optimizer, "optimizers", [])]:
        lists = []
        if getattr(inner, "use_ema", False):
            lists.append(inner._model_variables_moving_average)
        if isinstance(inner, keras.optimizers.ScheduleFreeAdamW):
            lists.append(inner._momentums)
        if lists:
            known = inner._trainable_variables_indices.get(inner._var_key(kernel))
            copies += [] if known is None else [values[known] for values in lists]
    return [copy for copy in copies if copy is not None]


def _unpack(
    packed: dict[str, np.ndarray], shapes: Sequence[tuple[int, ...]]
) -> tuple[int, list[np.ndarray]]:
    def damaged(what: str, received: str) -> ValueError:
        return ValueError(
            f"The checkpoint's pruning state does not fit this model, or is damaged: {what}. Nothing "
            "of it was restored. Load it into the model it was saved from, pruned with the same "
            f"layers, or use an earlier checkpoint. Received: {received}"
        )

    step = packed.pop(_STEP_KEY)
    if step.shape != () or not np.issubdtype(step.dtype, np.integer) or step < 0:
        raise damaged("the step is no integer >= 0", f"{_STEP_KEY}={step}")
    if sorted(packed) != sorted(f"mask_{i}" for i in range(len(shapes))):
        raise damaged(f"expected {len(shapes)} masks", f"keys={sorted(packed)}")
    masks = []
    for i, shape in enumerate(shapes):
        bits, size = packed[f"mask_{i}"], int(np.prod(shape))
        if bits.dtype != np.uint8 or bits.shape != (-(-size // 8),):
            raise damaged(
                f"mask {i} has {size} weights", f"mask_{i}={bits.dtype} of shape {bits.shape}"
            )
        masks.append(np.unpackbits(bits, count=size).astype(bool).reshape(shape))
    return int(step), masks
