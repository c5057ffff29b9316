"""From the wrappers in a model to the engine in its optimizer."""

import json
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from secateur import _backend, pruning
from secateur.groups import PruningGroup, Target
from secateur.optimizer import SparseOptimizer
from secateur.prunable import Candidate
from secateur.selection import Selected, check_finite
from secateur.tfmot import registry
from secateur.tfmot.wrapper import PruneLowMagnitude


def collect(model: Any) -> list[PruneLowMagnitude]:
    """Returns the wrappers in a model, wherever they are, each once."""
    return [w for w in model._flatten_layers() if isinstance(w, PruneLowMagnitude)]


def attach(model: Any, wrappers: Sequence[PruneLowMagnitude], by_hand: bool) -> Any:
    """Lets the model's optimizer prune as the wrappers say; returns the engine.

    An engine that is there with the same settings stays. Otherwise the step and the masks move from
    the old engine, which the wrappers remember where the model was compiled anew, into the new one.
    """
    groups = _groups(model, wrappers)
    engine = pruning.sparse_optimizer(model)
    if groups and (engine is None or _settings(engine.groups) != _settings(groups)):
        _check_finite(groups, model)
        step, masks = _memory(engine, wrappers)
        compiled = getattr(model, "train_function", None)
        engine = pruning.attach(model, groups)
        engine.pruning_step.assign(step)
        for _, kernel, mask in engine.pruned():
            if id(kernel) in masks:
                mask.assign(masks[id(kernel)])
        if compiled is not None:
            model.make_train_function()
    elif engine is not None and not engine.built:  # just loaded from an .h5 file
        with _backend.scope_of(model):
            engine.build(model.trainable_variables)
    known = {id(kernel) for _, kernel, _ in engine.pruned()} if engine is not None else set()
    for wrapper in wrappers:
        # A layer that is frozen for now keeps its engine, and so its masks.
        own = {id(v) for v in wrapper.prunable_weights}
        moves = wrapper.pruning_state.engine is None or own & known
        attended = by_hand or not wrapper.layer.built
        wrapper.pruning_state.connect(model, engine if moves else None, attended)
        wrapper.pruning_state.hand_over(wrapper.prunable_weights, wrapper.name)
    return engine


def _groups(model: Any, wrappers: Sequence[PruneLowMagnitude]) -> list[PruningGroup]:
    """Returns one group for each distinct setting, in the order of the wrappers."""
    index = {id(v): i for i, v in enumerate(model.trainable_variables)}
    owners: dict[int, tuple[Any, int, PruneLowMagnitude]] = {}
    for wrapper in wrappers:
        if wrapper.layer.built:
            for variable, axis in registry.prunable_weights(wrapper.layer):
                if id(variable) in index:
                    owners[id(variable)] = (variable, axis, wrapper)  # an inner wrapper decides
    parts: dict[str, tuple[Any, Any, list[Target]]] = {}
    for variable, axis, wrapper in owners.values():
        shape = tuple(variable.shape)
        schedule, structure = wrapper.pruning_schedule, wrapper.structure_for(shape)
        key = json.dumps([_described(schedule), _described(structure)], default=str)
        _, _, targets = parts.setdefault(key, (schedule, structure, []))
        targets.append(Target(variable.path, index[id(variable)], shape, None, axis))
    return [
        PruningGroup(schedule, structure, targets=targets)
        for schedule, structure, targets in parts.values()
    ]


def _check_finite(groups: Sequence[PruningGroup], model: Any) -> None:
    targets = [target for group in groups for target in group.targets or ()]
    weights = [model.trainable_variables[target.index] for target in targets]
    check_finite([Selected(Candidate(None, weight, None)) for weight in weights])


def _settings(groups: Sequence[PruningGroup]) -> list[Any]:
    return [
        (
            json.dumps([_described(g.schedule), _described(g.structure)], default=str),
            [(t.index, t.shape, t.input_axis, t.sparsity) for t in g.targets or ()],
        )
        for g in groups
    ]


def _described(part: Any) -> Any:
    return keras.saving.serialize_keras_object(part)


def _memory(
    engine: SparseOptimizer | None, wrappers: Sequence[PruneLowMagnitude]
) -> tuple[int, dict[int, np.ndarray]]:
    """Returns the step, and the masks by the ids of their kernels, as far as pruning has come."""
    engines = [w.pruning_state.engine for w in wrappers] + [engine]
    step, masks = 0, {}
    for known in [e for e in reversed(engines) if e is not None]:
        step = known.step
        for _, kernel, mask in known.pruned():
            masks[id(kernel)] = ops.convert_to_numpy(mask)
    return step, masks


def apply_masks(model: Any) -> None:
    """Sets the pruned weights of a model to zero, whatever was done to them after the last step."""
    wrappers = collect(model)
    engines = [w.pruning_state.engine for w in wrappers] + [pruning.sparse_optimizer(model)]
    for engine in {id(e): e for e in engines if e is not None}.values():
        engine.project()
    for wrapper in wrappers:
        saved, weights = wrapper.pruning_state.saved, wrapper.prunable_weights
        if saved is not None:
            for weight, mask in zip(weights, saved.unpack(weights, wrapper.name), strict=True):
                weight.assign(np.where(mask, ops.convert_to_numpy(weight), 0))
