"""The verb `prune_once`: prune without training."""

from typing import Any

import keras
import numpy as np

from secateur import _backend
from secateur.allocation import Allocation
from secateur.batch_norm import recalibrate_batch_norm
from secateur.criteria import Criterion
from secateur.groups import check_parts
from secateur.pruning import (
    check_model,
    check_policy,
    check_targets,
    choose_schedule,
    make_group,
    make_report,
)
from secateur.report import PruningReport
from secateur.selection import Layers, check_finite, own_targets, select
from secateur.structures import Structure


def prune_once(
    model: Any,
    sparsity: float | None = None,
    *,
    structure: Structure | None = None,
    criterion: Criterion | None = None,
    allocation: Allocation | None = None,
    layers: Layers = None,
    policy: Any = None,
    data: Any = None,
    batch_size: int = 32,
) -> PruningReport:
    """Prunes the weights as they are, at once and without training.

    Args:
        model: A built `keras.Model`. It need not be compiled.
        sparsity: The share of weights to set to zero, in [0, 1). May be left out where the structure
            (`MByN`) or `layers` gives it.
        structure: In what pattern. `Unstructured()` by default.
        criterion: Which weights matter least. `Magnitude()` by default.
        allocation: How the target is shared among the layers. `Uniform()` by default.
        layers: What to prune, as in `secateur.prune`.
        policy: A `PruningPolicy`, which checks the model and narrows the choice.
        data: Inputs without labels, an array or an iterable of batches, a few hundred samples: the
            statistics of batch-normalization layers are computed anew from them, which undoes much
            of what pruning does to the accuracy.
        batch_size: Samples in a batch, where `data` is an array.

    Returns:
        A `PruningReport` of what the weights are now.

    Raises:
        ValueError: As `secateur.prune`. The model is unchanged then.

    Example:

    >>> import keras, secateur
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> secateur.prune_once(model, 0.75).sparsity
    0.75

    Reference:
        For the statistics: I. Hubara et al., "Accurate post training quantization with small
        calibration sets", 2021, section 3.3. https://arxiv.org/abs/2006.10518
    """
    check_model(model)
    check_parts(structure=structure, criterion=criterion, allocation=allocation)
    schedule = choose_schedule(None, sparsity, structure, own_targets(layers))
    check_policy(policy, model)
    selected, left = select(model, layers, policy)
    check_finite(selected)
    group = make_group(model, selected, schedule, structure, criterion, allocation)
    kernels = [item.candidate.variable for item in selected]
    weights = [_backend.to_float32(kernel) for kernel in kernels]
    masks = group.compute_masks(weights, np.float32(schedule.target), np)
    before = [keras.ops.convert_to_numpy(kernel) for kernel in kernels]
    for kernel, mask, value in zip(kernels, masks, before, strict=True):
        kernel.assign(np.where(mask, value, np.zeros((), value.dtype)))
    notes = []
    if data is not None:
        try:
            notes = [_recalibrate(model, data, batch_size)]
        except BaseException:
            for kernel, value in zip(kernels, before, strict=True):
                kernel.assign(value)
            raise
    report = make_report(f"Pruned {model.name!r} at once", selected, left, group, notes)
    check_targets(policy, model, report)
    return report


def _recalibrate(model: Any, data: Any, batch_size: int) -> str:
    count = recalibrate_batch_norm(model, data, batch_size)
    if count:
        return f"the statistics of {count} batch-normalization layers were computed anew"
    return "`data` was not used: there is no batch-normalization layer that is not frozen"
