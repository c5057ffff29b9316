"""Writes padding in a `.tflite` file so that XNNPACK can join it to a convolution.

TensorFlow's converter turns a PAD before a convolution into "same" wherever that pads alike, and
computes a PAD once for all convolutions that read it. XNNPACK's sparse kernels refuse "same" with
stride 2, even where it pads the same on both sides, and a PAD is joined only to its only reader.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from secateur.xnnpack.graph import Graph, Kind, Node, Value, Window
from secateur.xnnpack.rules import judge


def explicit_padding(model: Any) -> int:
    """Gives convolutions a PAD of their own where that makes them eligible for sparse inference.

    The numbers stay the same, and XNNPACK joins the two again when it loads the file.

    Args:
        model: A `ModelT`, as `secateur.litert.read_model` returns it; it is changed.

    Returns:
        How many convolutions were changed.
    """
    from secateur.xnnpack.from_tflite import graphs_of

    changed = 0
    for graph, subgraph in zip(graphs_of(model), model.subgraphs, strict=True):
        wanted = own_padding(graph)
        for node, (image, window) in sorted(wanted.items(), key=lambda item: -item[0].source):
            _put_pad(model, subgraph, node.source, image.source, window.padding)
        if wanted:
            _drop_unread_pads(model, subgraph)
        changed += len(wanted)
    return changed


def own_padding(graph: Graph) -> dict[Node, tuple[Value, Window]]:
    """Finds convolutions that become eligible with a padding of their own.

    Args:
        graph: A whole network.

    Returns:
        For each of them the image that it sees, and its window with the padding worked out.
    """
    producers, readers = graph.producers(), graph.consumers()
    wanted = {}
    for node in graph.nodes:
        if node.window is None or judge(node)[0]:
            continue
        image = node.inputs[0]
        pad = producers.get(image)
        if node.window.same:
            window = node.window.with_explicit_padding(image.shape[1:3])
        elif pad is not None and pad.kind is Kind.PAD and len(readers[image]) > 1:
            (top, bottom), (left, right) = pad.pads[1:3]
            window = dataclasses.replace(node.window, padding=(top, right, bottom, left))
            image = pad.inputs[0]
        else:
            continue
        if judge(dataclasses.replace(node, window=window))[0]:
            wanted[node] = (image, window)
    return wanted


def _put_pad(
    model: Any, subgraph: Any, place: int, source: int, pads: tuple[int, int, int, int]
) -> None:
    from ai_edge_litert import schema_py_generated as schema

    from secateur.litert.graph import add_buffer, add_opcode, indices, text

    top, right, bottom, left = pads
    operator = subgraph.operators[place]
    tensors = subgraph.tensors
    image = tensors[source]
    name = f"{text(image.name)}/padded_{place}"

    amounts = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], "int32")
    numbers = schema.TensorT()
    numbers.name = f"{name}/amounts".encode()
    numbers.shape, numbers.type = np.array([4, 2], "int32"), schema.TensorType.INT32
    numbers.buffer = add_buffer(model, amounts)
    padded = schema.TensorT()
    padded.name = name.encode()
    padded.shape = np.asarray(image.shape, "int32") + amounts.sum(axis=1, dtype="int32")
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
    operator.inputs = [len(tensors) - 1, *indices(operator.inputs)[1:]]
    operator.builtinOptions.padding = schema.Padding.VALID
    subgraph.operators.insert(place, pad)


def _drop_unread_pads(model: Any, subgraph: Any) -> None:
    from secateur.litert.graph import indices, opcode_name

    read = set(indices(subgraph.outputs))
    for operator in subgraph.operators:
        read.update(indices(operator.inputs))
    subgraph.operators = [
        operator
        for operator in subgraph.operators
        if opcode_name(model, operator) != "PAD" or read.intersection(indices(operator.outputs))
    ]
