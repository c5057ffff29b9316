"""Divides a graph into segments that run natively and segments that run in LiteRT."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from secateur.runtime._costs import Costs
from secateur.runtime._cut import Cut
from secateur.runtime._operations import Convolution
from secateur.runtime._reading import Graph
from secateur.runtime._units import Unit

# A division must promise to save this share of LiteRT's time; estimates are not better than that.
_LEAST_GAIN = 0.05


@dataclass(eq=False)
class Segment:
    """Units that run one after the other on one side.

    Args:
        native: Whether in the native library.
        units: The units, in their order.
        inputs: The tensors they need from before.
        outputs: The tensors that are needed behind, or by the caller.
    """

    native: bool
    units: list[Unit]
    inputs: list[int]
    outputs: list[int]


def choose(graph: Graph, units: Sequence[Unit], costs: Costs, always: bool) -> list[bool]:
    """Choose for each unit whether it runs natively, so that the whole takes least time.

    Convolutions are told here whether to leave out their zeros.

    Args:
        graph: The graph.
        units: Its units.
        costs: What things cost.
        always: Whether to run natively whatever can be.

    Returns:
        One answer a unit; none is native where that saves next to nothing.
    """
    for unit in units:
        if type(unit.operation) is Convolution:
            unit.operation.sparse = costs.better_sparse(unit.operation)
    if always:
        return [unit.operation is not None for unit in units]
    cut = Cut(len(units) + 2 * len(graph.tensors))
    for i, unit in enumerate(units):
        native = math.inf if unit.operation is None else costs.native(unit.operation)
        cut.pay(i, native, costs.litert(graph, unit))
    _add_seams(graph, units, costs, cut)
    sides = cut.solve()[: len(units)]
    whole = sum(costs.litert(graph, unit) for unit in units)
    if cost_of(graph, units, sides, costs) > (1 - _LEAST_GAIN) * whole:
        return [False] * len(units)
    return sides


def _add_seams(graph: Graph, units: Sequence[Unit], costs: Costs, cut: Cut) -> None:
    """A tensor that is written on one side and read on the other costs once, however often read."""
    readers = _readers(units)
    written = {tensor: i for i, unit in enumerate(units) for tensor in unit.outputs}
    out, into = len(units), len(units) + len(graph.tensors)
    for tensor, places in readers.items():
        writer = written.get(tensor)
        cost = costs.seam(graph.shapes[tensor], inside=writer is not None)
        for i in places:
            cut.edge(i, into + tensor, math.inf)
            if writer is not None:
                cut.edge(out + tensor, i, math.inf)
        if writer is None:
            cut.pay(into + tensor, cost, 0.0)
        else:
            cut.edge(into + tensor, writer, cost)
            cut.edge(writer, out + tensor, cost)
    for tensor in set(graph.outputs) & set(written):
        cut.pay(written[tensor], costs.seam(graph.shapes[tensor], inside=False), 0.0)


def cost_of(graph: Graph, units: Sequence[Unit], sides: Sequence[bool], costs: Costs) -> float:
    """What a division is thought to take, in nanoseconds."""
    total = 0.0
    side: dict[int, bool] = {}
    for unit, native in zip(units, sides, strict=True):
        side.update(dict.fromkeys(unit.outputs, native))
        if native and unit.operation is not None:
            total += costs.native(unit.operation)
        else:
            total += costs.litert(graph, unit)
    crossed = {
        (tensor, native)
        for unit, native in zip(units, sides, strict=True)
        for tensor in unit.inputs
        if side.get(tensor, False) != native
    }
    total += sum(costs.seam(graph.shapes[tensor], inside=tensor in side) for tensor, _ in crossed)
    given = {tensor for tensor in graph.outputs if side.get(tensor)}
    return total + sum(costs.seam(graph.shapes[tensor], inside=False) for tensor in given)


def _readers(units: Sequence[Unit]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for i, unit in enumerate(units):
        for tensor in unit.inputs:
            found.setdefault(tensor, []).append(i)
    return found


def segments(graph: Graph, units: Sequence[Unit], sides: Sequence[bool]) -> list[Segment]:
    """Put units of one side together, as many as can run without a change of sides.

    Args:
        graph: The graph.
        units: Its units.
        sides: Which of them are native.

    Returns:
        The segments in the order in which they run.
    """
    written = {tensor for unit in units for tensor in unit.outputs}
    done: set[int] = set()
    left = list(zip(units, sides, strict=True))
    side = bool(left) and left[0][1]
    found: list[list[Unit]] = []
    kinds: list[bool] = []
    while left:
        group: list[Unit] = []
        waiting = []
        for unit, native in left:
            ready = all(tensor in done or tensor not in written for tensor in unit.inputs)
            if native == side and ready:
                group.append(unit)
                done.update(unit.outputs)
            else:
                waiting.append((unit, native))
        if group:
            found.append(group)
            kinds.append(side)
        left, side = waiting, not side
    return [_segment(graph, units, group, kind) for group, kind in zip(found, kinds, strict=True)]


def _segment(graph: Graph, units: Sequence[Unit], group: list[Unit], native: bool) -> Segment:
    inside = {tensor for unit in group for tensor in unit.outputs}
    members = {id(unit) for unit in group}
    outside = {t for unit in units if id(unit) not in members for t in unit.inputs}
    inputs = dict.fromkeys(t for unit in group for t in unit.inputs if t not in inside)
    outputs = [t for unit in group for t in unit.outputs if t in outside or t in graph.outputs]
    return Segment(native, group, list(inputs), outputs)
