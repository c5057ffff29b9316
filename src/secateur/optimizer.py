"""The engine: an optimizer that wraps another one and keeps its weights exactly sparse."""

import math
import sys
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from secateur import _backend, checkpoint
from secateur.allocation import Allocation
from secateur.criteria import Criterion
from secateur.groups import PruningGroup, Target
from secateur.inner import updates_of, weight_copies
from secateur.matching import path_of, resolve
from secateur.schedules import PruningSchedule, due_after
from secateur.structures import Structure

#: From this many pruned weights on, compiling the update with XLA pays on TensorFlow's CPU.
_WORTH_COMPILING = 1 << 20


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
        jit_compile: On TensorFlow's CPU, whether the update and the projection are compiled by XLA
            as one, which is faster for large models and takes a second or more to compile. None: if
            a million weights or more are pruned. What is compiled by XLA or run eagerly as a whole
            is not concerned, nor are GPUs, `tf.distribute`, JAX and PyTorch.
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
        jit_compile: bool | None = None,
        name: str | None = None,
    ) -> None:
        if (schedule is None) == (groups is None):
            raise ValueError(
                "Give either `schedule` (with structure, criterion and allocation) or `groups`. "
                f"Received: schedule={schedule}, groups={groups}"
            )
        super().__init__(learning_rate=0.0, name=name)
        self.inner_optimizer = keras.optimizers.get(inner_optimizer)
        self.jit_compile = jit_compile
        if schedule is not None:
            groups = [PruningGroup(schedule, structure, criterion, allocation)]
        self._groups = tuple(groups or ())
        self._mask_indices: tuple[tuple[int, ...], ...] = ()
        self._saved_variable_count: int | None = None
        self._saved_weights: Sequence[Any] | None = None

    # --- state ---------------------------------------------------------------------------------

    def build(self, variables: Sequence[Any]) -> None:
        """Creates the masks, all true, and builds the wrapped optimizer if it is not built.

        Args:
            variables: The model's trainable variables.
        """
        variables = list(variables)
        # Keras' reader of .h5 files builds with no variables at all, before the real build.
        if self.built or not variables:
            return
        in_place = self._saved_variable_count in (None, len(variables))
        groups = tuple(resolve(group, variables, in_place) for group in self._groups)
        if not self.inner_optimizer.built:
            self.inner_optimizer.build(variables)
        self._groups = groups
        self.pruning_step = self.add_variable(
            (), "zeros", "int32", aggregation="only_first_replica", name=checkpoint.STEP_KEY
        )
        masks: list[Any] = []
        indices: list[tuple[int, ...]] = []
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
        if self._saved_weights is not None:
            self.set_weights(self._saved_weights)
            self._saved_weights = None

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
        self._check_known(grads, trainable_variables)
        _backend.uncompiled(self._apply, grads, trainable_variables)

    def _apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None) -> None:
        self._update_masks()
        # A new tensor: PyTorch's would change with the variable.
        before = ops.add(updates_of(self.inner_optimizer), 0)

        def update(grads: Sequence[Any]) -> None:
            self.inner_optimizer.apply(grads, trainable_variables)
            self.project()

        _backend.run_update(update, grads, self._compiles())
        self._count(ops.subtract(updates_of(self.inner_optimizer), before))

    def _compiles(self) -> bool:
        if self.jit_compile is None:
            return (
                sum(math.prod(target.shape) for target, _, _ in self.pruned()) >= _WORTH_COMPILING
            )
        return self.jit_compile

    def _check_known(self, grads: Sequence[Any], variables: Sequence[Any] | None) -> None:
        """Raises what the wrapped optimizer would raise, but before the masks change."""
        known = self._trainable_variables
        if len(grads) != len(known if variables is None else variables):
            raise ValueError(
                "There must be one gradient for each variable. Received: "
                f"{len(grads)} gradients, {len(known if variables is None else variables)} variables"
            )
        unknown = [
            v for v in variables or () if self._var_key(v) not in self._trainable_variables_indices
        ]
        if unknown:
            raise ValueError(
                f"Unknown variable: {path_of(unknown[0])!r} is none of those the optimizer was built "
                "with. Call `compile` and `secateur.prune` again after changing a model. "
                f"Received: trainable_variables={[path_of(v) for v in variables or ()]}"
            )

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
        for _, kernel, mask in self.pruned():
            pairs.append((kernel, mask))
            pairs += [(copy, mask) for copy in weight_copies(self.inner_optimizer, kernel)]
        _backend.project(pairs)

    def _update_masks(self) -> None:
        concrete = _backend.concrete(self.pruning_step)
        step = self.pruning_step.value if concrete is None else int(concrete)
        for group, indices in zip(self._groups, self._mask_indices, strict=True):
            due, sparsity = due_after(group.schedule, step)
            kernels = [self._trainable_variables[t.index] for t in group.targets or ()]
            masks = [self._masks[i] for i in indices]
            _backend.update_masks(due, kernels, masks, sparsity, group.compute_masks)

    def _count(self, updates: Any) -> None:
        self.pruning_step.assign(ops.add(self.pruning_step, ops.cast(updates, "int32")))

    def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
        """Lets the wrapped optimizer finish (EMA), prunes the result, and warns if cut short."""
        failed = sys.exc_info()[1] is not None
        try:
            self.inner_optimizer.finalize_variable_values(var_list)
            self.project()
        except Exception:
            # On JAX, Keras comes here even where a training step failed, and the variables may hold
            # no values then. The error that tells why is on its way.
            if not failed:
                raise
        if not failed:
            self._warn_if_cut_short()

    def _warn_if_cut_short(self) -> None:
        for group, indices in zip(self._groups, self._mask_indices, strict=False):
            last, step = group.schedule.last_step, self.step
            if last is not None and step < last and indices:
                masks = [ops.convert_to_numpy(self._masks[i]) for i in indices]
                kept = sum(np.count_nonzero(mask) for mask in masks)
                warnings.warn(
                    f"Training ended at step {step} of a pruning schedule that runs to step {last}: "
                    f"sparsity is to reach {group.schedule.target:.4g} and stands at "
                    f"{1 - kept / sum(mask.size for mask in masks):.4g}. Train {last - step} more "
                    "steps, or give the schedule an end that the training reaches.",
                    stacklevel=3,
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

    # Two names by which the SwapEMAWeights callback looks for averages inside a LossScaleOptimizer.

    @property
    def optimizers(self) -> Any:
        """The wrapped MultiOptimizer's optimizers."""
        return self.inner_optimizer.optimizers

    @property
    def _model_variables_moving_average(self) -> Any:
        return self.inner_optimizer._model_variables_moving_average

    def scale_loss(self, loss: Any) -> Any:
        """Scales the loss as the wrapped optimizer does."""
        return self.inner_optimizer.scale_loss(loss)

    # --- saving ----------------------------------------------------------------------------------

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Sets all `variables`, in their order; before the build, with the build."""
        if not self.built:
            self._saved_weights = [np.array(weight) for weight in weights]
            return
        shapes = [tuple(variable.shape) for variable in self.variables]
        if [tuple(weight.shape) for weight in weights] != shapes:
            raise ValueError(
                f"The weights do not fit the optimizer: there should be {len(shapes)}, of shapes "
                f"{shapes}. Received: weights of shapes {[tuple(w.shape) for w in weights]}"
            )
        with _backend.outside_graphs():
            for variable, weight in zip(self.variables, weights, strict=True):
                variable.assign(weight)

    def save_own_variables(self, store: Any) -> None:
        """Saves the step and the masks, eight weights a byte; the wrapped optimizer saves its own."""
        if not self.built:
            return
        masks = [ops.convert_to_numpy(mask) for mask in self._masks]
        for key, value in checkpoint.pack(self.step, masks).items():
            store[key] = value

    def load_own_variables(self, store: Any) -> None:
        """Restores the step and the masks; a damaged state is refused before anything changes."""
        keys = set(store.keys())
        if checkpoint.STEP_KEY not in keys:
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
        step, masks = checkpoint.unpack(packed, [tuple(mask.shape) for mask in self._masks])
        self.pruning_step.assign(step)
        for mask, value in zip(self._masks, masks, strict=True):
            mask.assign(value)

    def get_config(self) -> dict[str, Any]:
        """Returns the name, the wrapped optimizer, the groups, and how many variables there are."""
        count = len(self._trainable_variables) if self.built else self._saved_variable_count
        return {
            "name": self.name,
            "inner_optimizer": keras.saving.serialize_keras_object(self.inner_optimizer),
            "groups": [group.get_config() for group in self._groups],
            "jit_compile": self.jit_compile,
            "variable_count": count,
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
        optimizer = cls(
            inner, groups=groups, jit_compile=config.get("jit_compile"), name=config["name"]
        )
        optimizer._saved_variable_count = config.get("variable_count")
        return optimizer
