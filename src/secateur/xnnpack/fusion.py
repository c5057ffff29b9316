"""What XNNPACK joins before it looks for sparse parts: padding into convolutions, clamps into what
comes before.

It follows `xnn_subgraph_fusion` and `xnn_subgraph_optimize_common_subgraphs` in XNNPACK's
`src/subgraph.c`, as far as they change which operations stand next to each other.
"""

from __future__ import annotations

import dataclasses
import math

from secateur.xnnpack.graph import Graph, Kind, Node, Value, Window

_CAN_CLAMP = (Kind.CONVOLUTION, Kind.DEPTHWISE, Kind.FULLY_CONNECTED, Kind.CLAMP)
_POOLS = ("AVERAGE_POOL_2D", "MAX_POOL_2D", "TRANSPOSE_CONV")


def fuse(graph: Graph) -> Graph:
    """Returns the graph as it is when XNNPACK looks for sparse parts.

    The values are those of the graph; nodes that change are new ones.

    Args:
        graph: What one XNNPACK subgraph is made of.

    Returns:
        A graph without operations that are not needed, with padding in convolutions and clamps
        merged.
    """
    nodes = [_as_function(node) for node in _fuse_padding(_needed(graph), graph)]
    return dataclasses.replace(graph, nodes=_merge_clamps(nodes, graph))


def _needed(graph: Graph) -> list[Node]:
    """Drops what nobody reads."""
    read = set(graph.outputs)
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if read.intersection(node.outputs):
            kept.append(node)
            read.update(node.inputs)
    return kept[::-1]


def _uses(nodes: list[Node], graph: Graph) -> dict[Value, int]:
    """How many operations read a value; being an output of the graph counts as one more."""
    uses = dict.fromkeys(graph.outputs, 1)
    for node in nodes:
        for value in dict.fromkeys(node.inputs):
            uses[value] = uses.get(value, 0) + 1
    return uses


def _fuse_padding(nodes: list[Node], graph: Graph) -> list[Node]:
    uses = _uses(nodes, graph)
    pads = {
        node.outputs[0]: node
        for node in nodes
        if node.kind is Kind.PAD and uses[node.outputs[0]] == 1 and _is_plain(node)
    }
    gone: set[Node] = set()
    result = []
    for node in nodes:
        pad = pads.get(node.inputs[0]) if node.inputs else None
        if pad is not None and node.window is not None and _takes_padding(node, node.window):
            top, right, bottom, left = node.window.padding
            (before_rows, after_rows), (before_columns, after_columns) = pad.pads[1:3]
            padding = (
                top + before_rows,
                right + after_columns,
                bottom + after_rows,
                left + before_columns,
            )
            node = dataclasses.replace(
                node,
                inputs=(pad.inputs[0], *node.inputs[1:]),
                window=dataclasses.replace(node.window, padding=padding),
            )
            gone.add(pad)
        result.append(node)
    return [node for node in result if node not in gone]


def _is_plain(pad: Node) -> bool:
    """Whether it pads an image with zeros, at its four sides only. Halves are not fused."""
    return (
        len(pad.pads) == 4
        and pad.pads[0] == pad.pads[3] == (0, 0)
        and pad.outputs[0].dtype != "float16"
    )


def _takes_padding(node: Node, window: Window) -> bool:
    return node.kind in (Kind.CONVOLUTION, Kind.DEPTHWISE) and not window.same


def _as_function(node: Node) -> Node:
    """Arithmetic that is a function of one value: its square, or a limit to it."""
    if node.kind is not Kind.BINARY:
        return node
    first, second = node.inputs
    if node.operator == "multiply" and first is second:
        return dataclasses.replace(node, kind=Kind.UNARY, operator="square", inputs=(first,))
    if node.operator in ("minimum", "maximum"):
        value, limit = (second, first) if _is_number(first) else (first, second)
        if _is_number(limit) and len(limit.shape) <= len(value.shape):
            return dataclasses.replace(node, kind=Kind.CLAMP, inputs=(value,))
    return node


def _is_number(value: Value) -> bool:
    return value.constant and math.prod(length or 0 for length in value.shape) == 1


def _merge_clamps(nodes: list[Node], graph: Graph) -> list[Node]:
    uses = _uses(nodes, graph)
    result: list[Node] = []
    producer: dict[Value, int] = {}
    for node in nodes:
        before = producer.get(node.inputs[0]) if node.kind is Kind.CLAMP else None
        if before is not None and uses[node.inputs[0]] == 1 and _can_clamp(result[before]):
            result[before] = dataclasses.replace(result[before], outputs=node.outputs)
            producer[node.outputs[0]] = before
            continue
        for value in node.outputs:
            producer[value] = len(result)
        result.append(node)
    return result


def _can_clamp(node: Node) -> bool:
    return node.kind in _CAN_CLAMP or node.operation in _POOLS
