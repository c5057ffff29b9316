"""Writes "same" padding out in a `.tflite` file, where XNNPACK's sparse kernels can use it.

TensorFlow's converter turns a PAD before a convolution into "same" wherever that pads alike, and
XNNPACK refuses "same" with stride 2, even where it pads the same on both sides.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from secateur.xnnpack.graph import Node
from secateur.xnnpack.rules import judge


def explicit_padding(model: Any) -> int:
    """Puts a PAD before convolutions that it makes eligible for sparse inference.

    The numbers stay the same, and XNNPACK joins the two again when it loads the file.

    Args:
        model: A `ModelT`, as `secateur.litert.read_model` returns it; it is changed.

    Returns:
        How many convolutions were changed.
    """
    from secateur.xnnpack.from_tflite import graphs_of

    changed = 0
    for graph, subgraph in zip(graphs_of(model), model.subgraphs, strict=True):
        found = [node for node in graph.nodes if _helps(node)]
        for node in sorted(found, key=lambda node: -node.source):
            _put_pad(model, subgraph, node)
        changed += len(found)
    return changed


def _helps(node: Node) -> bool:
    if node.window is None or not node.window.same:
        return False
    window = node.window.with_explicit_padding(node.inputs[0].shape[1:3])
    kind, inputs, outputs = node.kind, node.inputs, node.outputs
    return bool(judge(Node(kind, inputs, outputs, window=window))[0])


def _put_pad(model: Any, subgraph: Any, node: Node) -> None:
    from ai_edge_litert import schema_py_generated as schema

    from secateur.litert.graph import add_buffer, add_opcode, indices, text

    assert node.window is not None
    window = node.window.with_explicit_padding(node.inputs[0].shape[1:3])
    top, right, bottom, left = window.padding
    operator = subgraph.operators[node.source]
    (source, *others) = indices(operator.inputs)
    tensors = subgraph.tensors
    image = tensors[source]

    pads = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], "int32")
    numbers = schema.TensorT()
    numbers.name = f"{text(image.name)}/pads".encode()
    numbers.shape, numbers.type = np.array([4, 2], "int32"), schema.TensorType.INT32
    numbers.buffer = add_buffer(model, pads)
    padded = schema.TensorT()
    padded.name = f"{text(image.name)}/padded".encode()
    padded.shape = np.asarray(image.shape, "int32") + pads.sum(axis=1, dtype="int32")
    padded.type, padded.quantization = image.type, image.quantization
    if image.shapeSignature is not None and len(image.shapeSignature):
        padded.shapeSignature = padded.shape.copy()
        padded.shapeSignature[np.asarray(image.shapeSignature) < 0] = -1
    tensors += [numbers, padded]

    pad = schema.OperatorT()
    pad.opcodeIndex = add_opcode(model, schema.BuiltinOperator.PAD, 1)
    pad.inputs, pad.outputs = [source, len(tensors) - 2], [len(tensors) - 1]
    pad.builtinOptionsType = schema.BuiltinOptions.PadOptions
    pad.builtinOptions = schema.PadOptionsT()
    operator.inputs = [len(tensors) - 1, *others]
    operator.builtinOptions.padding = schema.Padding.VALID
    subgraph.operators.insert(node.source, pad)
