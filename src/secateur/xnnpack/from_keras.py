"""Graphs out of Keras models: what they will be in a `.tflite` file, without converting them."""

from __future__ import annotations

from typing import Any

import numpy as np

from secateur.xnnpack.explicit_padding import own_padding
from secateur.xnnpack.graph import Graph, Value
from secateur.xnnpack.keras_calls import Calls, Tensor, calls_of
from secateur.xnnpack.keras_emit import Emitter
from secateur.xnnpack.keras_folding import fold
from secateur.xnnpack.keras_layers import handle


def graph_of(model: Any) -> Graph:
    """Reads a Sequential or functional Keras model, of any backend.

    Models inside it are taken apart, BatchNormalization is folded, and padding is put where the
    `.tflite` file has it.

    Args:
        model: A built model.

    Returns:
        Its graph, as if all of it were marked sparse. A node's `source` is its layer; a filter's
        `source` is its variable.

    Raises:
        ValueError: If the model is subclassed or not built.
    """
    return emit(calls_of(model))[0]


def emit(calls: Calls) -> tuple[Graph, dict[Tensor, Value]]:
    """Makes the graph of calls, and says which value became of each tensor."""
    emitter = Emitter(_zeros)
    values = {tensor: Value(tensor.shape, name=tensor.name) for tensor in calls.inputs}
    inputs = list(values.values())
    for call in calls.calls:
        found = handle(emitter, call, [values[tensor] for tensor in call.inputs])
        values.update(zip(call.outputs, found, strict=True))
    outputs = [values[tensor] for tensor in calls.outputs]
    graph = fold(Graph(emitter.nodes, inputs, outputs, marked=True))
    for node, (image, window) in own_padding(graph).items():  # as `secateur.export` does it
        node.inputs, node.window = (image, *node.inputs[1:]), window
    return graph, values


def _zeros(variable: Any) -> int:
    import keras

    return int(np.sum(np.asarray(keras.ops.convert_to_numpy(variable)) == 0))
