"""Divides a graph into segments that run natively and segments that run in LiteRT."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from secateur.litert._columns import Dims
from secateur.runtime._cut import Cut
from secateur.runtime._reading import Graph
from secateur.runtime._units import Unit

# What runs natively must promise to save this share of LiteRT's time: estimates are not better.
_LEAST_GAIN = 0.05
# A mixture must save this share of what the better side takes alone: where each takes a part, caches
# are cold and chains of operations end, of which no estimate knows.
_LEAST_MIXED = 0.15
# It must also save so many nanoseconds of each run: LiteRT's parts take some milliseconds to load.
_LEAST_SAVED = 100_000.0


class Segment:
    """Units that run one after the other on one side.

    Args:
        native: Whether in the native library.
        units: The units, in their order.
        numbers: Their numbers.
        inputs: The tensors they need from before.
        outputs: The tensors that are needed behind, or by the caller.
    """

    def __init__(
        self,
        native: bool,
        units: Sequence[Unit],
        numbers: Sequence[int],
        inputs: list[int],
        outputs: list[int],
    ) -> None:
        self.native, self.units, self.numbers = native, units, numbers
        self.inputs, self.outputs = inputs, outputs


class Prices(NamedTuple):
    """What units cost on each side, in nanoseconds.

    Args:
        native: The cost of each unit in the native library, infinite where it cannot run there.
        litert: The cost of each in LiteRT.
        seam: Gives the cost of a tensor that changes sides from its shape, and whether a unit writes
            it.
    """

    native: list[float]
    litert: list[float]
    seam: Callable[[Dims | None, bool], float]

    def whole(self, graph: Graph) -> float:
        """What it is thought to take to run all natively; no unit is looked at for that."""
        ends = (*graph.inputs, *graph.outputs)
        return sum(self.native) + sum(self.seam(graph.shapes[tensor], False) for tensor in ends)

    def of(self, graph: Graph, parts: Sequence[Segment]) -> float:
        """What a division is thought to take."""
        ends = {*graph.inputs, *graph.outputs}
        total = 0.0
        for part in parts:
            costs = self.native if part.native else self.litert
            total += sum(costs[i] for i in part.numbers)
            if part.native:
                moved = (*part.inputs, *part.outputs)
                total += sum(
                    self.seam(graph.shapes[tensor], tensor not in ends) for tensor in moved
                )
        return total


def choose(graph: Graph, units: Sequence[Unit], prices: Prices, always: bool) -> list[bool]:
    """Choose for each unit whether it runs natively, so that the whole takes least time.

    Args:
        graph: The graph.
        units: Its units.
        prices: What they cost.
        always: Whether to run natively whatever can be.

    Returns:
        One answer a unit; mostly the same for all.
    """
    if always:
        return [cost < math.inf for cost in prices.native]
    whole, litert = prices.whole(graph), sum(prices.litert)
    native = whole <= (1 - _LEAST_GAIN) * litert
    enough = (1 - _LEAST_MIXED) * (whole if native else litert) - _LEAST_SAVED
    alone = [native] * len(units)
    least = sum(map(min, prices.native, prices.litert))  # were changes of sides free
    if least > enough:
        return alone
    cut = Cut(len(units))
    for i, costs in enumerate(zip(prices.native, prices.litert, strict=True)):
        cut.pay(i, *costs)
    _add_seams(graph, units, prices, cut)
    sides = cut.solve()
    return sides if prices.of(graph, segments(graph, units, sides)) <= enough else alone


def _add_seams(graph: Graph, units: Sequence[Unit], prices: Prices, cut: Cut) -> None:
    """A tensor that is written on one side and read on the other costs once, however often read."""
    written = {tensor: i for i, unit in enumerate(units) for tensor in unit.outputs}
    for tensor, places in _readers(units).items():
        writer = written.get(tensor)
        cost = prices.seam(graph.shapes[tensor], writer is not None)
        some = _gather(cut, places)
        if writer is None:
            cut.pay(some, cost, 0.0)
        else:
            cut.edge(some, writer, cost)
            cut.edge(writer, _gather(cut, places, every=True), cost)
    for tensor in set(graph.outputs) & set(written):
        cut.pay(written[tensor], prices.seam(graph.shapes[tensor], False), 0.0)


def _gather(cut: Cut, places: list[int], every: bool = False) -> int:
    """A node that is native where some of the units are, or only where every one is."""
    if len(places) == 1:
        return places[0]
    node = cut.add()
    for i in places:
        cut.edge(*((node, i) if every else (i, node)), math.inf)
    return node


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
    if len({*sides}) == 1:  # as mostly
        return [Segment(sides[0], units, range(len(units)), graph.inputs, graph.outputs)]
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
    numbers = [unit.number for unit in group]
    return Segment(native, group, numbers, list(inputs), outputs)
