"""Which parts of a network XNNPACK turns channels-first for its sparse kernels, and whether that is
right.

It follows `xnn_subgraph_rewrite_for_nchw` in XNNPACK's `src/subgraph.c` step by step, including what
is wrong there: once there is one proper end anywhere in the graph, parts that have no end are
rewritten too. Their last operation then reads channels-first numbers as channels-last, and the
network's output is wrong without an error.
"""

from __future__ import annotations

import dataclasses

from secateur.xnnpack.fusion import fuse
from secateur.xnnpack.graph import Graph, Kind, Node, Value
from secateur.xnnpack.kernels import is_right
from secateur.xnnpack.rules import Reason, Role, judge


@dataclasses.dataclass(frozen=True)
class Blocker:
    """What keeps a part dense, or what makes it wrong.

    Args:
        reason: Why (see `Reason`).
        node: The operation, or None where it is an input or output of the model.
        value: The value at which it shows.
    """

    reason: str
    node: Node | None = None
    value: Value | None = None


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Operations that XNNPACK judges together.

    Args:
        nodes: The operations, as they are after fusion.
        parameters: How many weights its 1x1 convolutions have.
        zeros: How many of them are zero.
        blockers: What keeps it dense; empty where only the zeros decide.
        rewritten: Whether XNNPACK runs it channels-first.
        sparse: Its 1x1 convolutions that run sparse.
    """

    nodes: tuple[Node, ...]
    parameters: int
    zeros: int
    blockers: tuple[Blocker, ...]
    rewritten: bool
    sparse: tuple[Node, ...]

    @property
    def share(self) -> float:
        """The share of zeros in its 1x1 convolutions."""
        return self.zeros / self.parameters if self.parameters else 0.0


@dataclasses.dataclass(frozen=True)
class Rewrite:
    """What XNNPACK makes of one subgraph.

    Args:
        nodes: All its operations, as they are after fusion.
        judged: For each of them its roles, and why it has none.
        clusters: The parts, each of one operation or more.
        wrong: The operations that would compute wrong numbers, with the reason.
    """

    nodes: tuple[Node, ...]
    judged: dict[Node, tuple[Role, str]]
    clusters: tuple[Cluster, ...]
    wrong: tuple[Blocker, ...]


def rewrite(graph: Graph, pruned: bool = False) -> Rewrite:
    """Works out what XNNPACK does to a subgraph that is hinted to be sparse.

    Args:
        graph: What runs as one XNNPACK subgraph.
        pruned: Take the filters of all 1x1 convolutions to have as many zeros as it takes.

    Returns:
        Its parts: which are rewritten, which run sparse, what is in the way, what would be wrong.
    """
    return _Rewriter(fuse(graph), pruned).run()


class _Rewriter:
    """The state of one `rewrite`: flags and leader of each node, by its number."""

    def __init__(self, graph: Graph, pruned: bool) -> None:
        self.graph = graph
        self.pruned = pruned
        self.nodes = graph.nodes
        self.judged = {node: judge(node) for node in self.nodes}
        self.roles = [self.judged[node][0] for node in self.nodes]
        self.leader = list(range(len(self.nodes)))
        self.off = [False] * len(self.nodes)
        self.number = {value: n for n, node in enumerate(self.nodes) for value in node.outputs}
        self.outside = {*graph.inputs, *graph.outputs}
        self.blockers: list[tuple[int, Blocker]] = []

    def run(self) -> Rewrite:
        wrong: list[Blocker] = []
        first: set[Value] = set()
        found = self._join_ends()
        if found:
            while self._join():
                pass
            self._tell_leaders()
            self._check_consumers()
            wrong += self._undefined()
            first = self._channels_first()
            wrong += self._wrong(first)
        clusters = self._clusters(first, found)
        return Rewrite(tuple(self.nodes), self.judged, clusters, tuple(wrong))

    def _join_ends(self) -> bool:
        """Joins each possible end with what it reads; without any, nothing is rewritten."""
        update = False
        for n in range(len(self.nodes)):
            if Role.END in self.roles[n]:
                update |= self._join_inputs(n)
        return update

    def _join(self) -> bool:
        """Joins every operation with what it reads; returns whether that changed anything."""
        update = False
        for n in range(len(self.nodes)):
            if not self.off[n] and self.roles[n] & (Role.INSIDE | Role.END):
                update |= self._join_inputs(n)
        return update

    def _join_inputs(self, n: int) -> bool:
        update = False
        for value in self.nodes[n].inputs:
            if value.constant:
                continue
            if value in self.outside:
                self._switch_off(n, value)
                continue
            before = self.number[value]
            if self.roles[before] & (Role.BEGIN | Role.INSIDE) and not self.off[before]:
                self.roles[before] &= ~Role.END
                if self.leader[before] != self.leader[n]:
                    largest = max(self.leader[before], self.leader[n])
                    self.leader[before] = self.leader[n] = largest
                    update = True
            else:
                self._switch_off(n, value)
        return update

    def _switch_off(self, n: int, value: Value) -> None:
        self.off[n] = True
        self.blockers.append((n, self._cause(value)))

    def _cause(self, value: Value) -> Blocker:
        """Follows what a value comes from back to what cannot run sparse by itself."""
        while value not in self.outside:
            n = self.number[value]
            if not self.roles[n]:
                return Blocker(self.judged[self.nodes[n]][1], self.nodes[n], value)
            found = [blocker for m, blocker in self.blockers if m == n]
            if found:
                return found[0]
            break
        if value in self.graph.outputs and value in self.number:
            return Blocker(Reason.EXPOSED, self.nodes[self.number[value]], value)
        return Blocker(Reason.NO_BEGIN, None, value)

    def _tell_leaders(self) -> None:
        for n in range(len(self.nodes)):
            self.off[self.leader[n]] |= self.off[n]

    def _members(self) -> list[int]:
        return [
            n
            for n in range(len(self.nodes))
            if not self.off[self.leader[n]] and self.roles[n] & (Role.INSIDE | Role.END)
        ]

    def _check_consumers(self) -> None:
        """Switches off parts with a value that something outside reads as well."""
        members = self._members()
        reads: dict[Value, int] = {}
        for n in members:
            for value in self.nodes[n].inputs:
                if not value.constant:
                    reads[value] = reads.get(value, 0) + 1
        readers = self.graph.consumers()
        for n in members:
            if self.off[self.leader[n]]:
                continue
            for value in self.nodes[n].inputs:
                if not value.constant and reads[value] != len(readers[value]):
                    self.off[self.leader[n]] = True
                    inside = {self.nodes[m] for m in members}
                    others = [node for node in readers[value] if node not in inside]
                    other = others[0] if others else self.nodes[n]
                    reason = self.judged[other][1] or (Reason.SHARED if others else Reason.TWICE)
                    self.blockers.append((n, Blocker(reason, other, value)))

    def _undefined(self) -> list[Blocker]:
        """Filters that XNNPACK counts the zeros of, and cannot."""
        return [
            Blocker(Reason.QUANTIZED_NEIGHBOUR, node)
            for n, node in enumerate(self.nodes)
            if node.is_pointwise
            and not self.off[self.leader[n]]
            and (node.filter.dtype not in ("float32", "float16") or not node.filter.constant)
        ]

    def _counts(self) -> dict[int, tuple[int, int]]:
        """How many weights and zeros the 1x1 convolutions of each leader have."""
        counts = dict.fromkeys(self.leader, (0, 0))
        for n, node in enumerate(self.nodes):
            if node.is_pointwise:
                parameters, zeros = counts[self.leader[n]]
                more = node.parameters if self.pruned else node.filter.zeros
                counts[self.leader[n]] = (parameters + node.parameters, zeros + more)
        return counts

    def _channels_first(self) -> set[Value]:
        first: set[Value] = set()
        counts = self._counts()
        for n in self._members():
            parameters, zeros = counts[self.leader[n]]
            if zeros * 3 > parameters * 2:
                first.update(value for value in self.nodes[n].inputs if not value.constant)
        return first

    def _wrong(self, first: set[Value]) -> list[Blocker]:
        inside = self.graph.consumers()
        beyond = self.graph.beyond
        readers = {
            value: [*inside.get(value, ()), *beyond.get(value, ())] for value in (*inside, *beyond)
        }
        return [
            Blocker(Reason.WRONG_SHAPE if node.kind is Kind.REDUCE else Reason.WRONG, node)
            for node in self.nodes
            if not is_right(node, first, readers)
        ]

    def _clusters(self, first: set[Value], found: bool) -> tuple[Cluster, ...]:
        by_leader: dict[int, list[int]] = {}
        for n, leader in enumerate(self.leader):
            by_leader.setdefault(leader, []).append(n)
        counts = self._counts()
        clusters = []
        for leader, numbers in by_leader.items():
            nodes = tuple(self.nodes[n] for n in numbers)
            blockers = [blocker for n, blocker in self.blockers if n in numbers]
            if not found:
                blockers.append(Blocker(Reason.NO_END))
            parameters, zeros = counts[leader]
            members = [node for n, node in zip(numbers, nodes, strict=True) if self.roles[n]]
            rewritten = any(
                value in first for node in members for value in (*node.inputs, *node.outputs)
            )
            sparse = tuple(
                node for node in members if node.is_pointwise and node.outputs[0] in first
            )
            clusters.append(Cluster(nodes, parameters, zeros, tuple(blockers), rewritten, sparse))
        return tuple(clusters)
