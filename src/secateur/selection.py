"""Which weights of a model a call prunes: `layers=`, per-layer targets, and the policy."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from secateur.prunable import Candidate, candidates
from secateur.report import Reason
from secateur.schedules import check_sparsity

#: What `layers=` takes.
Layers = None | str | Any | Sequence[Any] | Callable[[Any], bool] | Mapping[Any, float]


@dataclasses.dataclass(frozen=True)
class Selected:
    """A candidate, and its own target if one was given."""

    candidate: Candidate
    target: float | None = None


def select(
    model: Any, layers: Layers = None, policy: Any = None
) -> tuple[list[Selected], list[Candidate]]:
    """Returns (what to prune, what to leave alone with its reason), in the model's order.

    Args:
        model: A built model.
        layers: None for every prunable kernel; or what to prune: a layer (with all inside it), a
            variable, a regular expression searched in the paths of variables, a list of those, a
            callable that takes a layer and returns a bool, or a dictionary that maps layers,
            variables or regular expressions to a sparsity each.
        policy: A `PruningPolicy`; narrows the choice further.

    Raises:
        ValueError: If an entry matches nothing, or nothing prunable.
    """
    found = candidates(model)
    wanted = _wanted(found, layers)
    selected, left = [], []
    for candidate in found:
        entry = wanted.get(id(candidate.variable))
        if entry is None:
            left.append(_because(candidate, candidate.reason or Reason.NOT_SELECTED))
        elif policy is not None and not policy.allow_pruning(candidate.layer):
            left.append(_because(candidate, Reason.POLICY))
        else:
            selected.append(Selected(candidate, entry.target))
    if not selected:
        raise ValueError(
            "There is nothing to prune. Found: "
            + ("; ".join(f"{c.path} ({c.reason})" for c in left) or "no weights at all")
            + f". Received: layers={layers!r}, policy={policy!r}"
        )
    return selected, left


def own_targets(layers: Layers) -> dict[Any, float]:
    """Returns the targets of single layers in `layers=`, checked; empty if it gives none."""
    if not isinstance(layers, Mapping):
        return {}
    return {key: check_sparsity(t, f"layers[{key!r}]") for key, t in layers.items()}


def check_finite(selected: Sequence[Selected]) -> None:
    """Raises a ValueError if a weight that is to be pruned is NaN or infinite."""
    for item in selected:
        value = ops.convert_to_numpy(ops.cast(item.candidate.variable, "float32"))
        bad = int(np.size(value) - np.count_nonzero(np.isfinite(value)))
        if bad:
            raise ValueError(
                f"The weight {item.candidate.path!r} holds {bad} values that are NaN or infinite, so "
                "its weights cannot be ranked. Training has diverged: go back to a checkpoint from "
                f"before, or lower the learning rate. Received: {item.candidate.path}="
                f"{value.reshape(-1)[~np.isfinite(value.reshape(-1))][0]}"
            )


def _because(candidate: Candidate, reason: str) -> Candidate:
    return dataclasses.replace(candidate, reason=reason)


def _wanted(found: Sequence[Candidate], layers: Layers) -> dict[int, Selected]:
    """Returns what to prune by the id of its variable; the first entry that matches decides."""
    if layers is None:
        return {id(c.variable): Selected(c) for c in found if c.reason is None}
    entries: list[tuple[Any, float | None]]
    if isinstance(layers, Mapping):
        entries = list(own_targets(layers).items())
    elif isinstance(layers, list | tuple | set):
        entries = [(key, None) for key in layers]
    else:
        entries = [(layers, None)]
    wanted: dict[int, Selected] = {}
    for key, target in entries:
        for candidate in _matches(found, key):
            wanted.setdefault(id(candidate.variable), Selected(candidate, target))
    return wanted


def _matches(found: Sequence[Candidate], key: Any) -> list[Candidate]:
    if isinstance(key, str):
        try:
            pattern = re.compile(key)
        except re.error as error:
            raise ValueError(
                f"`layers` is no valid regular expression: {error}. Received: layers={key!r}"
            ) from error
        inside = [c for c in found if pattern.search(c.path)]
        own = inside
    elif isinstance(key, keras.Variable):
        inside = own = [c for c in found if c.variable is key]
    elif isinstance(key, keras.Layer):
        ids = {id(layer) for layer in key._flatten_layers()}
        inside = [c for c in found if id(c.layer) in ids]
        own = [c for c in inside if c.layer is key]
    elif callable(key) and not isinstance(key, type):
        inside = own = [c for c in found if key(c.layer)]
    else:
        raise ValueError(
            "`layers` takes layers, variables, regular expressions, a callable, or a dictionary from "
            f"those to a sparsity. Received: layers={key!r}"
        )
    name = getattr(key, "path", key)
    if not inside:
        raise ValueError(
            f"`layers` matches no weight of the model. Its weights are {[c.path for c in found]}. "
            f"Received: layers={name!r}"
        )
    by_request = (Reason.EMBEDDING, Reason.DEPTHWISE)
    asked = {id(c) for c in own}
    chosen = [c for c in inside if c.reason is None or (c.reason in by_request and id(c) in asked)]
    if not chosen:
        reasons = "; ".join(f"{c.path} ({c.reason})" for c in inside)
        raise ValueError(
            f"`layers` matches only weights that cannot be pruned: {reasons}. "
            f"Received: layers={name!r}"
        )
    return chosen
