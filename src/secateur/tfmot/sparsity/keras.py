"""The counterpart of `tfmot.sparsity.keras`: the same 11 names."""

from secateur.policies import PruneForLatencyOnXNNPack, PruningPolicy
from secateur.tfmot.callbacks import PruningSummaries, UpdatePruningStep
from secateur.tfmot.prune import prune_low_magnitude, prune_scope, strip_pruning
from secateur.tfmot.registry import PrunableLayer
from secateur.tfmot.schedules import ConstantSparsity, PolynomialDecay, PruningSchedule

__all__ = [
    "ConstantSparsity",
    "PolynomialDecay",
    "PrunableLayer",
    "PruneForLatencyOnXNNPack",
    "PruningPolicy",
    "PruningSchedule",
    "PruningSummaries",
    "UpdatePruningStep",
    "prune_low_magnitude",
    "prune_scope",
    "strip_pruning",
]
