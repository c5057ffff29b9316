"""How TensorFlow's converter folds arithmetic with constants into convolutions beside it."""

from __future__ import annotations

import dataclasses
import math

from secateur.xnnpack.graph import FLATTENING, Graph, Kind, Node, Value

_FOLDABLE = ("add", "subtract", "multiply", "divide")
_LINEAR = (Kind.CONVOLUTION, Kind.DEPTHWISE, Kind.FULLY_CONNECTED)


def fold(graph: Graph) -> Graph:
    """Returns the graph with constants folded into convolutions, as the converter does it.

    Behind a convolution, a number or one for each channel is folded: that is how
    BatchNormalization vanishes. In front of one, only a number is, and to add one the convolution
    must not pad. A global average that is reshaped to an image of one pixel keeps its axes instead.
    """
    nodes = _fold_behind(graph.nodes, graph)
    nodes = _fold_in_front(nodes, graph)
    return _merge_reshapes(dataclasses.replace(graph, nodes=_keep_axes(nodes, graph)))


def _single(nodes: list[Node], graph: Graph) -> dict[Value, Node]:
    """The reader of each value that has one reader only and is no output."""
    readers = Graph(nodes, [], []).consumers()
    return {
        value: found[0]
        for value, found in readers.items()
        if len(found) == 1 and value not in graph.outputs
    }


def _constant(node: Node) -> Value | None:
    if node.kind is Kind.BINARY and node.operator in _FOLDABLE and node.inputs[1].constant:
        return node.inputs[1]
    return None


def _is_number(value: Value) -> bool:
    return math.prod(length or 0 for length in value.shape) == 1


def _fold_behind(nodes: list[Node], graph: Graph) -> list[Node]:
    single = _single(nodes, graph)
    result: list[Node] = []
    place: dict[Value, int] = {}
    for node in nodes:
        constant = _constant(node)
        before = place.get(node.inputs[0]) if constant is not None else None
        if (
            constant is not None
            and before is not None
            and result[before].kind in _LINEAR
            and node.inputs[0] in single
            and (_is_number(constant) or constant.shape == node.outputs[0].shape[-1:])
        ):
            result[before] = dataclasses.replace(result[before], outputs=node.outputs)
            place[node.outputs[0]] = before
            continue
        for value in node.outputs:
            place[value] = len(result)
        result.append(node)
    return result


def _fold_in_front(nodes: list[Node], graph: Graph) -> list[Node]:
    single = _single(nodes, graph)
    replaced: dict[Value, Value] = {}
    gone: set[Node] = set()
    for node in reversed(nodes):
        constant = _constant(node)
        if constant is None or not _is_number(constant):
            continue
        reader = single.get(node.outputs[0])
        while reader in gone:
            reader = single.get(reader.outputs[0])
        if reader is None or reader.kind not in _LINEAR:
            continue
        window = reader.window
        pads = window is not None and (window.same or any(window.padding))
        if pads and node.operator in ("add", "subtract"):
            continue
        gone.add(node)
        replaced[node.outputs[0]] = node.inputs[0]
    return [_rewired(node, replaced) for node in nodes if node not in gone]


def _keep_axes(nodes: list[Node], graph: Graph) -> list[Node]:
    single = _single(nodes, graph)
    swallowed: set[Node] = set()
    result = []
    for node in nodes:
        if node in swallowed:
            continue
        reader = single.get(node.outputs[0]) if node.kind is Kind.REDUCE else None
        if (
            reader is not None
            and reader.kind is Kind.RESHAPE
            and reader.delegated
            and node.axes == (1, 2)
            and reader.outputs[0].shape[1:-1] == (1, 1)
        ):
            swallowed.add(reader)
            node = dataclasses.replace(node, outputs=reader.outputs, keep_dims=True)
        result.append(node)
    return result


def _merge_reshapes(graph: Graph) -> Graph:
    """A reshape of a reshape is one, and none where that gives the first shape again."""
    producers = graph.producers()
    replaced: dict[Value, Value] = {}
    nodes = []
    for node in graph.nodes:
        node = _rewired(node, replaced)
        before = producers.get(node.inputs[0]) if node.inputs else None
        if _is_fixed_reshape(node) and before is not None and _is_fixed_reshape(before):
            node = dataclasses.replace(node, inputs=before.inputs)
        producers.update(dict.fromkeys(node.outputs, node))
        if _is_fixed_reshape(node) and node.inputs[0].shape == node.outputs[0].shape:
            replaced[node.outputs[0]] = node.inputs[0]
        else:
            nodes.append(node)
    outputs = [replaced.get(value, value) for value in graph.outputs]
    return dataclasses.replace(graph, nodes=nodes, outputs=outputs)


def _is_fixed_reshape(node: Node) -> bool:
    return node.kind is Kind.RESHAPE and node.delegated and node.operator != FLATTENING


def _rewired(node: Node, replaced: dict[Value, Value]) -> Node:
    if not any(value in replaced for value in node.inputs):
        return node
    inputs = []
    for value in node.inputs:
        while value in replaced:
            value = replaced[value]
        inputs.append(value)
    return dataclasses.replace(node, inputs=tuple(inputs))
