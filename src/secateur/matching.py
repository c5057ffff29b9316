"""Finds the kernels of a pruning group among the variables an optimizer is built with."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from secateur.groups import PruningGroup, Target


def resolve(group: PruningGroup, variables: Sequence[Any], in_place: bool) -> PruningGroup:
    """Returns the group with its targets found, and checked, among the variables.

    Args:
        group: A group, whose targets may still be open.
        variables: The model's trainable variables.
        in_place: Whether the targets' indices can be relied on: not where layers were frozen since.
    """
    if group.targets is None:
        targets = [
            Target(path_of(v), i, tuple(v.shape))
            for i, v in enumerate(variables)
            if v.name.endswith("kernel") and "depthwise" not in path_of(v) and len(v.shape) > 1
        ]
        if not targets:
            raise ValueError(
                "There is no kernel to prune among the variables the optimizer is built with. "
                f"Received: variables={[(path_of(v), tuple(v.shape)) for v in variables]}"
            )
        shares = group.allocation.targets([t.shape for t in targets], group.schedule.target)
        targets = [
            dataclasses.replace(target, sparsity=share)
            for target, share in zip(targets, shares, strict=True)
        ]
    else:
        targets = [_find(target, variables, in_place) for target in group.targets]
    for target in targets:
        group.structure.check(target.shape, target.path)
    return PruningGroup(group.schedule, group.structure, group.criterion, group.allocation, targets)


def _find(target: Target, variables: Sequence[Any], in_place: bool) -> Target:
    """Returns the target with its present index and path.

    The index goes first: names that Keras made up differ from one process to the next.
    """
    places = [target.index] if in_place and target.index < len(variables) else []
    # A Sequential model's variables lose its name when it is loaded from a file.
    end = "/" + target.path.split("/", 1)[-1]
    places += [i for i, v in enumerate(variables) if path_of(v) == target.path]
    places += [i for i, v in enumerate(variables) if ("/" + path_of(v)).endswith(end)]
    for i in places:
        if tuple(variables[i].shape) == target.shape:
            return dataclasses.replace(target, path=path_of(variables[i]), index=i)
    raise ValueError(
        f"The kernel {target.path!r} of shape {target.shape}, which is to be pruned, is not among the "
        "variables the optimizer is built with: a layer was frozen, renamed or removed. Call "
        "`secateur.prune` again after changing a model; a file of it can be loaded with "
        "`compile=False`. "
        f"Received: variables={[(path_of(v), tuple(v.shape)) for v in variables]}"
    )


def path_of(variable: Any) -> str:
    """Returns the path of a Keras variable, or the name of any other."""
    return str(getattr(variable, "path", variable.name))
