"""Ends for sparse parts that have none: a rearrangement of pixels and back."""

from __future__ import annotations

import keras

from secateur.xnnpack.adaptation.editing import Editor, Function
from secateur.xnnpack.from_keras import emit
from secateur.xnnpack.fusion import fuse
from secateur.xnnpack.graph import Graph, Kind, Node, Value
from secateur.xnnpack.keras_calls import Call, Calls, Tensor
from secateur.xnnpack.rules import Role, judge


def put_ends(editor: Editor) -> bool:
    """Ends the sparse part wherever something outside reads what it computes.

    `depth_to_space` is one of XNNPACK's ends; `space_to_depth` undoes it.

    Args:
        editor: The calls of a model that is built.

    Returns:
        Whether an end was put somewhere.
    """
    if not hasattr(keras.ops, "depth_to_space"):  # older versions of Keras
        return False
    calls = editor.calls
    graph, values = emit(calls)
    graph = fuse(graph)
    region = _region(graph)
    if not any(node.is_pointwise for node in region):
        return False
    inside = {value for node in region for value in node.outputs}
    written = {value for node in graph.nodes for value in node.outputs}
    reading = {(value, id(node.source)) for node in region for value in node.inputs}
    ended = False
    for tensor, value in list(values.items()):
        producer = calls.producer(tensor)
        if value not in inside or producer is None or _needs_none(value, region):
            continue

        def is_outside(call: Call, value: Value = value) -> bool:
            became = values[call.output]
            if became is value or (value, id(call.operation)) in reading:
                return False  # it does nothing, or is part of the region
            if became in written:
                return True
            return any(is_outside(reader) for reader in calls.readers(call.output))

        outside = [call for call in calls.readers(tensor) if is_outside(call)]
        channels = tensor.shape[-1]
        if (outside or tensor in calls.outputs) and channels and channels % 4 == 0:
            _put_end(editor, producer, tensor, outside)
            ended = True
    return ended


def _region(graph: Graph) -> set[Node]:
    """The operations between a stem and what cannot run sparse."""
    region = {
        node
        for node in graph.nodes
        if node.delegated and judge(node)[0] and not _reduces_oddly(node)
    }
    producers = graph.producers()
    changed = True
    while changed:
        changed = False
        for node in list(region):
            if Role.BEGIN in judge(node)[0]:
                continue
            data = [value for value in node.inputs if not value.constant]
            if any(producers.get(value) not in region for value in data):
                region.discard(node)
                changed = True
    return region


def _reduces_oddly(node: Node) -> bool:
    return node.kind is Kind.REDUCE and node.axes != (1, 2)


def _needs_none(value: Value, region: set[Node]) -> bool:
    """Whether a value may leave the part as it is."""
    producer = next(node for node in region if value in node.outputs)
    return producer.kind in (Kind.REDUCE, Kind.DEPTH_TO_SPACE) or value.same_in_both_layouts


def _put_end(editor: Editor, producer: Call, tensor: Tensor, outside: list[Call]) -> None:
    batch, height, width, channels = tensor.shape
    assert channels is not None
    larger = tuple(None if n is None else 2 * n for n in (height, width))
    apart = Call(
        Function("DepthToSpace", keras.ops.depth_to_space),
        (tensor, 2),
        {},
        [Tensor((batch, *larger, channels // 4))],
    )
    together = Call(
        Function("SpaceToDepth", keras.ops.space_to_depth),
        (apart.output, 2),
        {},
        [Tensor(tensor.shape, tensor.dtype)],
    )
    for call in outside:
        call.replace_input(tensor, together.output)
    calls: Calls = editor.calls
    calls.outputs = [together.output if t is tensor else t for t in calls.outputs]
    calls.insert_after(producer, apart, together)
    editor.note(producer, "depth_to_space and space_to_depth behind it, which end the sparse part")
