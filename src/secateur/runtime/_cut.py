"""The cheapest way to divide things between two sides: a minimum cut of a graph."""

from __future__ import annotations

import math
from collections import deque

_SMALL = 1e-9


class Cut:
    """Divides nodes between the sides "source" and "sink" so that what is paid is least.

    A node pays for the side it is on, and an edge where it leads from the source's side to the
    sink's.

    Args:
        nodes: How many nodes there are; they are numbered from 0.

    Example:

    >>> cut = Cut(2)
    >>> cut.pay(0, source=1, sink=9)
    >>> cut.pay(1, source=3, sink=2)
    >>> cut.edge(0, 1, 5)  # costs more than node 1 saves
    >>> cut.solve()
    [True, True]

    Reference:
        The maximum flow is found as in Dinic, Soviet Math. Doklady 11 (1970).
    """

    def __init__(self, nodes: int) -> None:
        self._nodes, self._source, self._sink = nodes, nodes, nodes + 1
        self._edges: list[list[int]] = [[] for _ in range(nodes + 2)]
        self._pays = [0.0] * (nodes + 2)  # how much more on the source's side
        self._to: list[int] = []
        self._room: list[float] = []

    def add(self) -> int:
        """Add a node that `solve` does not tell about; returns its number."""
        self._edges.append([])
        self._pays.append(0.0)
        return len(self._edges) - 1

    def pay(self, node: int, source: float, sink: float) -> None:
        """Say what a node costs on each side; infinity where it cannot be."""
        self._pays[node] += source - sink  # what both sides cost makes no difference

    def edge(self, start: int, end: int, cost: float) -> None:
        """Say what it costs to have `start` on the source's side and `end` on the sink's."""
        for node, to, room in ((start, end, cost), (end, start, 0.0)):
            self._edges[node].append(len(self._to))
            self._to.append(to)
            self._room.append(room)

    def solve(self) -> list[bool]:
        """Divide the nodes.

        Returns:
            For each node that there was at first, whether it is on the source's side.
        """
        for node, more in enumerate(self._pays):
            if more > 0:
                self.edge(node, self._sink, more)
            elif more < 0:
                self.edge(self._source, node, -more)
        self._pays = [0.0] * len(self._edges)
        while True:
            levels = self._levels()
            if levels[self._sink] < 0:
                return [level >= 0 for level in levels[: self._nodes]]
            following = [0] * len(self._edges)
            while self._augment(levels, following):
                pass

    def _levels(self) -> list[int]:
        """How many edges with room each node is away from the source; -1 where there is no way."""
        levels = [-1] * len(self._edges)
        levels[self._source] = 0
        queue = deque([self._source])
        while queue:
            node = queue.popleft()
            for edge in self._edges[node]:
                to = self._to[edge]
                if levels[to] < 0 and self._room[edge] > _SMALL:
                    levels[to] = levels[node] + 1
                    queue.append(to)
        return levels

    def _augment(self, levels: list[int], following: list[int]) -> bool:
        """Send flow along one more way from the source to the sink; return whether there was one."""
        way: list[int] = []
        node = self._source
        while node != self._sink:
            edges = self._edges[node]
            while following[node] < len(edges):
                edge = edges[following[node]]
                if self._room[edge] > _SMALL and levels[self._to[edge]] == levels[node] + 1:
                    break
                following[node] += 1
            if following[node] < len(edges):
                way.append(edges[following[node]])
                node = self._to[way[-1]]
            elif way:
                node = self._to[way.pop() ^ 1]
                following[node] += 1
            else:
                return False
        flow = min(self._room[edge] for edge in way)
        if math.isinf(flow):
            raise ValueError("There is a node that can be on neither side")
        for edge in way:
            self._room[edge] -= flow
            self._room[edge ^ 1] += flow
        return True
