"""How LiteRT cuts a network into the pieces that XNNPACK gets.

It follows `PartitionGraphIntoIndependentNodeSubsets` in LiteRT's `tflite/graph_info.cc`: as many
operations of one side, XNNPACK's or the interpreter's own, as can run before the other side is
needed, and so on in turn.
"""

from __future__ import annotations

from secateur.xnnpack.graph import Graph, Node


def partition(graph: Graph) -> list[Graph]:
    """Returns the pieces of a graph that XNNPACK runs, in the order in which they run.

    Args:
        graph: A whole network, its nodes in the order in which they run.

    Returns:
        A graph for each piece. What another piece or the interpreter writes is one of its inputs;
        what they read is one of its outputs. A piece with a marked weight is marked.
    """
    pieces = [nodes for nodes in _pieces(graph) if nodes[0].delegated]
    readers = graph.consumers()
    results = set(graph.outputs)
    cut: list[Graph] = []
    for nodes in pieces:
        members = set(nodes)
        written = {value for node in nodes for value in node.outputs}
        read = dict.fromkeys(value for node in nodes for value in node.inputs)
        inputs = [value for value in read if not value.constant and value not in written]
        outputs = [
            value
            for value in dict.fromkeys(value for node in nodes for value in node.outputs)
            if value in results or not members.issuperset(readers.get(value, ()))
        ]
        beyond = {
            value: [n for n in readers.get(value, ()) if n not in members] for value in outputs
        }
        marked = (graph.marked and not cut) or any(value.marked for value in read)
        cut.append(Graph(nodes, inputs, outputs, marked, beyond))
    return cut


def _pieces(graph: Graph) -> list[list[Node]]:
    waiting = list(graph.nodes)
    missing = {value for node in waiting for value in node.outputs}
    pieces: list[list[Node]] = []
    while waiting:
        piece: list[Node] = []
        progress = True
        while progress:
            progress = False
            later = []
            for node in waiting:
                ready = missing.isdisjoint(node.inputs)
                if ready and (not piece or node.delegated == piece[0].delegated):
                    piece.append(node)
                    missing.difference_update(node.outputs)
                    progress = True
                else:
                    later.append(node)
            waiting = later
        if not piece:  # a cycle, which only a damaged file has
            raise ValueError(
                "The graph's operations wait for each other, so it cannot run. The file is damaged: "
                f"convert the model again. Received: operations={[node.name for node in waiting]}"
            )
        pieces.append(piece)
    return pieces
