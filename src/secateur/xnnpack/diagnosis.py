"""Why each operation of a network runs sparse or not."""

from __future__ import annotations

import dataclasses

from secateur.xnnpack.cluster import Blocker, Cluster, rewrite
from secateur.xnnpack.fusion import fuse
from secateur.xnnpack.graph import Graph, Kind, Node, Value
from secateur.xnnpack.partition import partition
from secateur.xnnpack.report import OperationReport, PartReport
from secateur.xnnpack.rules import Reason

_CONVOLUTIONS = (Kind.CONVOLUTION, Kind.DEPTHWISE, Kind.FULLY_CONNECTED)
_ENDS = (Kind.REDUCE, Kind.DEPTH_TO_SPACE)


def diagnose(graph: Graph, first: int = 0) -> tuple[list[OperationReport], list[PartReport]]:
    """Judges every operation of a network.

    Args:
        graph: The whole network.
        first: The number of its first part.

    Returns:
        A report for each layer or operation, and one for each part that can run sparse. Where a
        layer becomes several operations, the most telling one stands for it.
    """
    return _Diagnosis(graph, first).run()


class _Diagnosis:
    """The whole network, and what was found so far."""

    def __init__(self, graph: Graph, first: int) -> None:
        self.graph = graph
        self.first = first
        self.producers = graph.producers()
        self.readers = graph.consumers()
        self.behind: dict[tuple[Kind, ...], set[Node]] = {}
        for kinds in (_CONVOLUTIONS, _ENDS):
            self.behind[kinds] = self._behind(kinds)
        self.flat = self._flat()
        self.cuts = [node for node in graph.nodes if self._cuts(node)]
        self.found: dict[object, OperationReport] = {}
        self.parts: list[PartReport] = []

    def run(self) -> tuple[list[OperationReport], list[PartReport]]:
        for node in self.graph.nodes:
            reason = "" if node.delegated else self._excused(node, node.note)
            self._report(OperationReport(node.name, node.operation, reason=reason), node)
        for piece in partition(self.graph):
            self._piece(fuse(piece))
        return list(self.found.values()), self.parts

    def _report(self, report: OperationReport, node: Node) -> None:
        key = node.source if node.source is not None else node
        key = key if isinstance(key, int) else id(key)
        before = self.found.get(key)
        if before is None or _weight(report) > _weight(before):
            self.found[key] = report

    def _behind(self, kinds: tuple[Kind, ...]) -> set[Node]:
        """The operations that get what one of these kinds computed."""
        found: set[Node] = set()
        reached: set[Value] = set()
        for node in self.graph.nodes:
            inside = not reached.isdisjoint(node.inputs)
            if inside:
                found.add(node)
            if inside or node.kind in kinds:
                reached.update(node.outputs)
        return found

    def _is_behind(self, node: Node, kinds: tuple[Kind, ...]) -> bool:
        origins = [self.producers.get(value) for value in node.outputs]
        return any(origin in self.behind[kinds] for origin in origins)

    def _flat(self) -> set[Value]:
        """The values from which no image is computed any more."""
        flat: set[Value] = set()
        for node in reversed(self.graph.nodes):
            for value in node.outputs:
                later = [v for reader in self.readers.get(value, ()) for v in reader.outputs]
                if value.same_in_both_layouts and flat.issuperset(later):
                    flat.add(value)
        return flat

    def _excused(self, node: Node, reason: str) -> str:
        """The reason why an operation cannot run sparse, or why that does not matter."""
        if node.kind not in _CONVOLUTIONS and not self._is_behind(node, _CONVOLUTIONS):
            return Reason.BEFORE
        before = self.producers.get(node.inputs[0]) if node.inputs else None
        if before is not None and before.kind is Kind.DEPTH_TO_SPACE:
            return Reason.HEAD
        if self._is_behind(node, _ENDS) and self.flat.issuperset(node.outputs):
            return Reason.HEAD
        return reason

    def _piece(self, piece: Graph) -> None:
        now, pruned = rewrite(piece), rewrite(piece, pruned=True)
        sparse = {node for cluster in now.clusters for node in cluster.sparse}
        wrong = {blocker.node: blocker for blocker in pruned.wrong if blocker.node is not None}
        if any(blocker.reason == Reason.QUANTIZED_NEIGHBOUR for blocker in pruned.wrong):
            sparse = set()
        for cluster in pruned.clusters:
            part = None
            spoiled = next((node for node in cluster.nodes if node in wrong), None)
            if cluster.sparse and spoiled is None:
                part = self.first + len(self.parts)
                self.parts.append(_part(cluster, sparse if piece.marked else set()))
            for node in cluster.nodes:
                reason, culprit = pruned.judged[node][1], ""
                if reason:
                    reason = self._excused(node, reason)
                elif node is spoiled or (spoiled is not None and node.is_pointwise):
                    reason, culprit = wrong[spoiled].reason, self._spoiler(spoiled)
                elif node.is_pointwise:
                    reason, culprit = self._pointwise(node, cluster, sparse, piece)
                elif any(b.node is node and b.reason == Reason.TWICE for b in cluster.blockers):
                    reason = Reason.TWICE
                culprit = "" if culprit == node.name else culprit
                report = OperationReport(node.name, node.operation, reason=reason, culprit=culprit)
                if node.is_pointwise and node.filter.constant:
                    shape = (node.filter.shape[0] or 0, node.filter.shape[-1] or 0)
                    report = dataclasses.replace(
                        report,
                        pointwise=True,
                        shape=shape,
                        zeros=node.filter.zeros,
                        part=part,
                        sparse=node in sparse and piece.marked and spoiled is None,
                    )
                self._report(report, node)

    def _pointwise(
        self, node: Node, cluster: Cluster, sparse: set[Node], piece: Graph
    ) -> tuple[str, str]:
        """Why a 1x1 convolution that could run sparse by itself does not; and what is in the way."""
        if node in cluster.sparse:
            if node not in sparse:
                return Reason.BELOW_THRESHOLD, ""
            return ("" if piece.marked else Reason.NOT_MARKED), ""
        if cluster.rewritten:
            return Reason.LAST, ""
        if self._excused(node, "") == Reason.HEAD:
            return Reason.HEAD, ""
        if self._multiplies_rows(node):
            return Reason.ROWS, ""
        return self._cause(cluster.blockers[0], node)

    def _multiplies_rows(self, node: Node) -> bool:
        """Whether a Dense layer is one on rows, and not on every pixel of an image."""
        value = node.inputs[0]
        while value in self.producers and self.producers[value].kind is Kind.RESHAPE:
            value = self.producers[value].inputs[0]
        if node.kind is not Kind.FULLY_CONNECTED:
            return False
        *_, channels = (None, *value.shape)
        return len(value.shape) != 4 or channels != node.filter.shape[-1]

    def _cause(self, blocker: Blocker, node: Node) -> tuple[str, str]:
        """What keeps an operation dense: the reason, and what the reason is about."""
        value = blocker.value
        if blocker.reason == Reason.NO_BEGIN and value in self.producers:
            return self._cut(self.producers[value])
        if blocker.reason == Reason.EXPOSED and value is not None:
            for reader in self.readers.get(value, ()):
                if not reader.delegated:
                    return self._cut(reader)
        if blocker.reason == Reason.NO_END and self.cuts:
            place = self._place(node)
            return self._cut(next((x for x in self.cuts if self._place(x) > place), self.cuts[0]))
        return blocker.reason, blocker.node.name if blocker.node else ""

    def _place(self, node: Node) -> int:
        origin = next((self.producers[v] for v in node.outputs if v in self.producers), node)
        return next((n for n, other in enumerate(self.graph.nodes) if other is origin), 0)

    def _cuts(self, node: Node) -> bool:
        fine = (Reason.HEAD, Reason.BEFORE)
        return not node.delegated and self._excused(node, Reason.NOT_DELEGATED) not in fine

    def _cut(self, node: Node) -> tuple[str, str]:
        """What cuts the network in two at or before an operation."""
        if node.delegated and self.cuts:
            place = self._place(node)
            node = next((x for x in self.cuts if self._place(x) > place), self.cuts[0])
        return node.note or Reason.NOT_DELEGATED, node.name

    def _spoiler(self, node: Node) -> str:
        """What makes an operation wrong: what reads it, or else the operation itself."""
        read = list(self.readers.get(node.outputs[0], ()))
        itself = node.kind is Kind.REDUCE or node.outputs[0] in self.graph.outputs or not read
        return node.name if itself else read[0].name


def _weight(report: OperationReport) -> tuple[bool, bool]:
    return report.pointwise, bool(report.reason)


def _part(cluster: Cluster, sparse: set[Node]) -> PartReport:
    counted = [node for node in cluster.nodes if node.is_pointwise]
    return PartReport(
        len(counted),
        cluster.parameters,
        sum(node.filter.zeros for node in counted),
        any(node in sparse for node in cluster.sparse),
    )
