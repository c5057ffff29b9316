"""The verbs `prune` and `sparsity`."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from secateur import _backend
from secateur.allocation import Allocation, Uniform
from secateur.criteria import Criterion, Magnitude
from secateur.groups import PruningGroup, Target, check_parts
from secateur.optimizer import SparseOptimizer
from secateur.prunable import Candidate, candidates
from secateur.report import PruningReport, Reason, WeightReport
from secateur.schedules import ConstantSparsity, PruningSchedule, check_sparsity
from secateur.selection import Layers, Selected, check_finite, own_targets, select
from secateur.structures import Structure, Unstructured


def prune(
    model: Any,
    schedule: PruningSchedule | None = None,
    *,
    sparsity: float | None = None,
    structure: Structure | None = None,
    criterion: Criterion | None = None,
    allocation: Allocation | None = None,
    layers: Layers = None,
    policy: Any = None,
) -> PruningReport:
    """Makes the training that follows prune the model, by wrapping its optimizer in place.

    Call it after `compile`; then train as before. Nothing is to be added to `fit`, nothing to be
    stripped after it. A model that is being pruned can be pruned again: the new settings replace the
    old ones and their schedule starts at step 0, while weights pruned so far stay pruned until its
    first mask update.

    Args:
        model: A built and compiled `keras.Model`.
        schedule: When to prune, and how much.
        sparsity: Instead of a schedule: this share of zeros from the first update on.
        structure: In what pattern. `Unstructured()` by default.
        criterion: Which weights matter least. `Magnitude()` by default.
        allocation: How the target is shared among the layers. `Uniform()` by default.
        layers: What to prune. None: the kernels of all dense, convolutional, recurrent and attention
            layers, and every matrix of custom layers; not biases, normalization, frozen layers,
            embeddings, and depthwise kernels. Otherwise: a layer (with all inside it), a variable, a
            regular expression searched in the variables' paths, a list of those, or a callable that
            takes a layer. Embeddings and depthwise kernels are pruned if asked for by themselves. A
            dictionary from layers or regular expressions to sparsities gives each its own target,
            to which it follows the schedule in proportion.
        policy: A `PruningPolicy`, which checks the model and narrows the choice.

    Returns:
        A `PruningReport` of what will be pruned, and what not and why.

    Raises:
        ValueError: If the model is not built or compiled, its weights are not finite, an argument is
            out of range, `layers` matches nothing, or a kernel does not fit the structure. The model
            is unchanged then.

    Example:

    >>> import keras, numpy as np, secateur
    >>> model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(8)])
    >>> model.compile("adam", "mse")
    >>> report = secateur.prune(model, secateur.PolynomialDecay(0.5, 0.75, begin_step=0, end_step=4))
    >>> _ = model.fit(np.ones((8, 16)), np.ones((8, 8)), batch_size=2, verbose=0)
    >>> secateur.sparsity(model).sparsity
    0.75
    """
    check_model(model)
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        raise ValueError(
            "The model is not compiled, so there is no optimizer that could prune it. Call "
            "`model.compile(...)` first, or `secateur.prune_once(model, ...)` to prune without "
            f"training. Received: model={model.name!r} with optimizer=None"
        )
    check_parts(structure=structure, criterion=criterion, allocation=allocation)
    schedule = choose_schedule(schedule, sparsity, structure, own_targets(layers))
    check_policy(policy, model)
    selected, left = select(model, layers, policy)
    check_finite(selected)
    group = make_group(model, selected, schedule, structure, criterion, allocation)
    title = f"Pruning {model.name!r} with {_describe(group)}"
    report = make_report(title, selected, left, group)
    check_targets(policy, model, report)
    attach(model, [group])
    return report


def sparsity(model: Any) -> PruningReport:
    """Returns what the model's weights are now, zero by zero.

    Args:
        model: A built model; pruned, stripped, loaded from a file, or never pruned at all.

    Returns:
        A `PruningReport`. Its `pruned` weights are those in the masks of the model's optimizer, or,
        if there are none, all kernels that could be pruned.

    Raises:
        ValueError: If the model is not built.

    Example:

    >>> import keras, secateur
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, kernel_initializer="zeros")])
    >>> secateur.sparsity(model).sparsity
    1.0
    """
    check_model(model)
    found = candidates(model)
    engine = sparse_optimizer(model)
    goals = {}
    if engine is not None:
        owner = {id(t): group for group in engine.groups for t in group.targets or ()}
        goals = {id(kernel): owner[id(t)].goal(t) for t, kernel, _ in engine.pruned()}
    weights = []
    for c in found:
        reason = c.reason
        if id(c.variable) in goals:
            reason = None
        elif goals:
            reason = reason or Reason.NOT_SELECTED
        weights.append(_weight(c, goals.get(id(c.variable)), reason))
    return PruningReport(f"Sparsity of {model.name!r}", weights)


# --- shared with prune_once and the tfmot face -----------------------------------------------------


def sparse_optimizer(model: Any) -> SparseOptimizer | None:
    """Returns the engine in the model's optimizer, or None if the model is not being pruned."""
    optimizer = getattr(model, "optimizer", None)
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    return optimizer if isinstance(optimizer, SparseOptimizer) else None


def attach(model: Any, groups: Sequence[PruningGroup]) -> SparseOptimizer:
    """Wraps the optimizer of a built, compiled model, and builds the masks.

    A `LossScaleOptimizer` stays outside, where `compile` puts it when the model is reloaded. An
    engine that is there already is replaced; what it pruned stays pruned.
    """
    outer = model.optimizer
    scaled = isinstance(outer, keras.optimizers.LossScaleOptimizer)
    inner = outer.inner_optimizer if scaled else outer
    old = inner if isinstance(inner, SparseOptimizer) else None
    with _backend.scope_of(model):
        engine = SparseOptimizer(old.inner_optimizer if old else inner, groups=groups)
        engine.build(model.trainable_variables)
    if old is not None:
        # Not by path: several variables of a subclassed model may have the same.
        masks = {id(kernel): mask for _, kernel, mask in old.pruned()}
        for _, kernel, mask in engine.pruned():
            if id(kernel) in masks:
                mask.assign(masks[id(kernel)])
    config = getattr(model, "_compile_config", None)
    compiled = getattr(model, "compiled", False)  # not where a loop by hand sets the optimizer
    if scaled:
        outer.inner_optimizer = engine
    else:
        model.optimizer = engine
    # A `.keras` file records the arguments of `compile`, not `model.optimizer`. Keras keeps them in
    # a private attribute; where it moved, a reload would lose the masks without a word.
    if compiled and (config is None or "optimizer" not in config.config):
        warnings.warn(
            "This version of Keras does not record the arguments of `compile` where it did: a .keras "
            f"file of the model will not hold its masks. Received: keras={keras.__version__}",
            stacklevel=3,
        )
    elif config is not None and (config.config["optimizer"] is not outer or not scaled):
        config.config["optimizer"] = engine
    # A model that was trained before keeps the step compiled with the old optimizer.
    model.train_function = None
    return engine


def make_group(
    model: Any,
    selected: Sequence[Selected],
    schedule: PruningSchedule,
    structure: Structure | None,
    criterion: Criterion | None,
    allocation: Allocation | None,
) -> PruningGroup:
    """Returns the group for what was selected, with a target for each kernel."""
    structure, allocation = structure or Unstructured(), allocation or Uniform()
    fixed = structure.fixed_sparsity
    other = {i.candidate.path: i.target for i in selected if i.target not in (None, fixed)}
    if fixed is not None and other:
        raise ValueError(
            f"The structure fixes the sparsity at {fixed}. List the layers without targets. "
            f"Received: layers={other}"
        )
    own = any(item.target is not None for item in selected)
    if allocation.joint and (own or fixed is not None):
        raise ValueError(
            f"{type(allocation).__name__} ranks all kernels together, which fits neither targets for "
            "single layers nor a structure that fixes the sparsity. Leave out the one or the other. "
            f"Received: allocation={type(allocation).__name__}(), "
            f"structure={type(structure).__name__}()"
        )
    shapes = [tuple(item.candidate.variable.shape) for item in selected]
    shared = allocation.targets(shapes, schedule.target)
    index = {id(v): i for i, v in enumerate(model.trainable_variables)}
    targets = []
    for item, shape, share in zip(selected, shapes, shared, strict=True):
        c = item.candidate
        structure.check(shape, c.path)
        target = share if item.target is None else item.target
        targets.append(Target(c.path, index[id(c.variable)], shape, target, c.input_axis))
    group = PruningGroup(schedule, structure, criterion or Magnitude(), allocation, targets)
    _warn_if_nearly_nothing_stays(group)
    return group


def make_report(
    title: str,
    selected: Sequence[Selected],
    left: Sequence[Candidate],
    group: PruningGroup,
    notes: Sequence[str] = (),
) -> PruningReport:
    """Returns the report of the selected weights as they are now."""
    weights, sizes, goals = [], [], []
    for item, target in zip(selected, group.targets or (), strict=True):
        goal = group.goal(target)
        weights.append(_weight(item.candidate, goal, None))
        sizes.append(math.prod(target.shape))
        goals.append(group.schedule.target if goal is None else goal)
    weights += [_weight(c, None, c.reason) for c in left]
    overall = sum(g * s for g, s in zip(goals, sizes, strict=True)) / sum(sizes)
    return PruningReport(title, weights, overall, tuple(notes))


def check_model(model: Any) -> None:
    """Raises a ValueError if the model is none of Keras 3, or has no weights yet."""
    if not isinstance(model, keras.Layer):
        raise ValueError(
            "`model` must be a keras.Model (Keras 3). A model of Keras 2 (tf_keras) has to be "
            f"rebuilt with Keras 3 first. Received: model={type(model)}"
        )
    if not model.built or not model.variables:
        raise ValueError(
            "The model has no weights yet. Give it an `Input`, call `model.build(input_shape)`, or "
            f"call it on a batch of data first. Received: model={model.name!r}, built={model.built}"
        )


def check_policy(policy: Any, model: Any) -> None:
    """Raises a ValueError if the policy is none, or refuses the model."""
    if policy is None:
        return
    methods = ("allow_pruning", "ensure_model_supports_pruning")
    if isinstance(policy, type) or not all(hasattr(policy, method) for method in methods):
        raise ValueError(
            "`policy` must be a PruningPolicy, such as secateur.PruneForLatencyOnXNNPack(). "
            f"Received: policy={policy!r}"
        )
    policy.ensure_model_supports_pruning(model)


def check_targets(policy: Any, model: Any, report: PruningReport) -> None:
    """Lets the policy, if it wants to, look at what the weights are pruned to."""
    check = getattr(policy, "check_targets", None)
    if check is not None:
        check(model, report)


def choose_schedule(
    schedule: Any, sparsity: float | None, structure: Structure | None, own: dict[Any, float]
) -> PruningSchedule:
    """Returns the schedule that the arguments of a verb ask for; a ValueError says what is missing."""
    fixed = structure.fixed_sparsity if structure is not None else None
    if schedule is not None and sparsity is not None:
        raise ValueError(
            "Give `schedule` or `sparsity`, not both: a schedule holds its own sparsity. "
            f"Received: schedule={schedule}, sparsity={sparsity}"
        )
    if schedule is not None:
        if not isinstance(schedule, PruningSchedule):
            raise ValueError(
                "`schedule` must be a PruningSchedule, such as secateur.PolynomialDecay(...). For a "
                f"constant sparsity write `sparsity=`. Received: schedule={schedule!r}"
            )
        return schedule
    if fixed is not None:
        if sparsity is not None and sparsity != fixed:
            raise ValueError(
                f"The structure fixes the sparsity at {fixed}. Leave `sparsity` out. "
                f"Received: sparsity={sparsity}"
            )
        sparsity = fixed
    if sparsity is None and own:
        sparsity = max(own.values())
    if sparsity is None:
        raise ValueError(
            "How much is to be pruned? Give `sparsity=0.8`, or a schedule such as "
            "secateur.PolynomialDecay(0.0, 0.8, begin_step=0, end_step=1000). "
            "Received: schedule=None, sparsity=None"
        )
    return ConstantSparsity(check_sparsity(sparsity, "sparsity"), begin_step=0)


def _warn_if_nearly_nothing_stays(group: PruningGroup) -> None:
    if group.structure.fixed_sparsity is not None or group.allocation.joint:
        return
    for target in group.targets or ():
        size, goal = math.prod(target.shape), target.sparsity or 0.0
        if goal > 0 and size > 1 and round(size * (1 - goal)) < 1:
            warnings.warn(
                f"A sparsity of {goal:.4g} leaves nothing of the {size} weights of {target.path!r}; "
                "one of them is kept. Choose a lower target for this layer with `layers=`, or leave "
                "it out.",
                stacklevel=4,
            )


def _weight(candidate: Candidate, target: float | None, reason: str | None) -> WeightReport:
    variable = candidate.variable
    value = ops.convert_to_numpy(ops.cast(variable, "float32"))
    zeros = int(value.size - np.count_nonzero(value))
    kind = type(candidate.layer).__name__
    return WeightReport(candidate.path, kind, tuple(variable.shape), zeros, target, reason)


def _describe(group: PruningGroup) -> str:
    parts = (group.schedule, group.structure, group.criterion, group.allocation)
    return ", ".join(
        f"{type(part).__name__}({', '.join(f'{k}={v}' for k, v in part.get_config().items())})"
        for part in parts
    )
