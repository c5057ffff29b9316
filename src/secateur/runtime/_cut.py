"""The cheapest way to divide things between two sides: a minimum cut of a graph."""

from __future__ import annotations

import ctypes

from secateur.runtime import _native


class Cut:
    """Divides nodes between the sides "source" and "sink" so that what is paid is least.

    A node pays for the side it is on, and an edge where it leads from the source's side to the
    sink's. The native library finds the cut.

    Args:
        nodes: How many nodes there are; they are numbered from 0.

    Example:

    >>> cut = Cut(2)
    >>> cut.pay(0, source=1, sink=9)
    >>> cut.pay(1, source=3, sink=2)
    >>> cut.edge(0, 1, 5)  # costs more than node 1 saves
    >>> cut.solve()
    [True, True]
    """

    def __init__(self, nodes: int) -> None:
        self._nodes = nodes
        self._pays = [0.0] * nodes  # how much more on the source's side
        self._ends: list[int] = []
        self._costs: list[float] = []

    def add(self) -> int:
        """Add a node that `solve` does not tell about; returns its number."""
        self._pays.append(0.0)
        return len(self._pays) - 1

    def pay(self, node: int, source: float, sink: float) -> None:
        """Say what a node costs on each side; infinity where it cannot be."""
        self._pays[node] += source - sink  # what both sides cost makes no difference

    def edge(self, start: int, end: int, cost: float) -> None:
        """Say what it costs to have `start` on the source's side and `end` on the sink's."""
        self._ends += (start, end)
        self._costs.append(cost)

    def solve(self) -> list[bool]:
        """Divide the nodes.

        Returns:
            For each node that there was at first, whether it is on the source's side.

        Raises:
            NativeError: If a node can be on neither side.
        """
        count = len(self._pays)
        pays = (ctypes.c_double * count)(*self._pays)
        ends = (ctypes.c_int32 * len(self._ends))(*self._ends)
        costs = (ctypes.c_double * len(self._costs))(*self._costs)
        sides = ctypes.create_string_buffer(count)
        cut = _native.library().secateur_cut
        _native.check(cut(count, pays, ends, costs, len(self._costs), sides))
        return [side != 0 for side in sides.raw[: self._nodes]]
