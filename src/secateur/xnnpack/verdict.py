"""One verdict on a Keras model, in the words of tfmot's pruning policy."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from secateur.xnnpack.check import check
from secateur.xnnpack.cluster import rewrite
from secateur.xnnpack.from_keras import graph_of
from secateur.xnnpack.graph import Graph, Kind, Node
from secateur.xnnpack.partition import partition
from secateur.xnnpack.report import EligibilityReport, OperationReport
from secateur.xnnpack.rules import FIXES, Reason, Role, judge


class Verdict(Enum):
    """What is wrong with a model, if anything; the values are tfmot's messages."""

    GOOD = ""
    NO_START = (
        "Could not find `Conv2D 3x3` layer with stride 2x2, `input filters == 3` and `VALID` padding "
        "and preceding `ZeroPadding2D` with `padding == 1` in all input branches of the model"
    )
    NO_END = "Could not find a `GlobalAveragePooling2D` layer in all output branches"
    UNSUPPORTED = "unsupported layer"


def verdict_on(model: Any) -> tuple[Verdict, str, str]:
    """Judges a model as a whole.

    Args:
        model: A Sequential or functional model that is built.

    Returns:
        The verdict; the class of the layer it is about, or ""; and what to do.
    """
    report = check(model)
    if report.safe and (report.eligible or not report.convolutions):
        graph = graph_of(model)
        if report.eligible or (_has_begins(graph) and _has_ends(graph)):
            return Verdict.GOOD, "", ""
    graph = graph_of(model)
    if not _has_begins(graph):
        return Verdict.NO_START, "", _advice(report, FIXES[Reason.NO_BEGIN])
    if not _has_ends(graph):
        return Verdict.NO_END, "", _advice(report, FIXES[Reason.NO_END])
    found = report.in_the_way
    if not found:
        return Verdict.GOOD, "", ""
    return Verdict.UNSUPPORTED, _operation(found[0], graph), _advice(report, found[0].fix)


def _advice(report: EligibilityReport, fix: str) -> str:
    return "\n".join(
        [
            *report.obstacles,
            fix,
            "`secateur.xnnpack.check(model)` says more, and `secateur.xnnpack.adapt(model)` removes "
            "most of what is in the way.",
        ]
    )


def _operation(report: OperationReport, graph: Graph) -> str:
    """The class that tfmot would name: of a reshape behind a pooling, that of the pooling."""
    producers = graph.producers()
    for node in graph.nodes:
        if node.name == report.name and node.kind is Kind.RESHAPE:
            before = producers.get(node.inputs[0])
            if before is not None and before.kind is Kind.REDUCE:
                return before.operation
    return report.operation


def _has_begins(graph: Graph) -> bool:
    """Whether no way leads from an input to an output without a stem."""
    return not _leaks(graph, lambda node: Role.BEGIN in judge(node)[0])


def _has_ends(graph: Graph) -> bool:
    """Whether no way leads from an input to an output without an end."""
    return not _leaks(graph, lambda node: Role.END in judge(node)[0])


def _leaks(graph: Graph, stops: Any) -> bool:
    from secateur.xnnpack.fusion import fuse

    graph = fuse(graph)
    wet = set(graph.inputs)
    for node in graph.nodes:
        if not wet.isdisjoint(node.inputs) and not stops(node):
            wet.update(node.outputs)
    return not wet.isdisjoint(graph.outputs)


def parts_at(model: Any, targets: Mapping[str, float]) -> list[tuple[int, int]]:
    """Counts the zeros that the sparse parts of a model will have.

    Args:
        model: A Sequential or functional model that is built.
        targets: The final sparsity of each weight that is pruned, by its path.

    Returns:
        For each part the number of weights in its 1x1 convolutions, and how many will be zero.
    """
    found = []
    for piece in partition(graph_of(model)):
        for cluster in rewrite(piece, pruned=True).clusters:
            counted = [node for node in cluster.nodes if node.is_pointwise]
            if cluster.sparse:
                zeros = sum(_zeros(node, targets) for node in counted)
                found.append((cluster.parameters, zeros))
    return found


def _zeros(node: Node, targets: Mapping[str, float]) -> int:
    target = targets.get(str(node.filter.name))
    return node.filter.zeros if target is None else round(target * node.parameters)
