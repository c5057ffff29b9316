"""Graphs out of Keras models: what they will be in a `.tflite` file, without converting them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from secateur.xnnpack.graph import Graph, Value
from secateur.xnnpack.keras_emit import Emitter
from secateur.xnnpack.keras_folding import fold
from secateur.xnnpack.keras_layers import Call, handle


def graph_of(model: Any) -> Graph:
    """Reads a Sequential or functional Keras model, of any backend.

    Models inside it are taken apart, BatchNormalization is folded, and padding is put where the
    `.tflite` file has it.

    Args:
        model: A built model.

    Returns:
        Its graph. A node's `source` is its layer; a filter's `source` is its variable.

    Raises:
        ValueError: If the model is subclassed or not built.
    """
    import keras

    if not isinstance(model, keras.Sequential | keras.Function):
        raise ValueError(
            "What a subclassed model does is known only when it runs. Export it with "
            "`secateur.export(model, 'model.tflite')`, and check the file: "
            "`secateur.xnnpack.check('model.tflite')`. A functional model (keras.Model(inputs, "
            f"outputs)) can be checked as it is. Received: model={getattr(model, 'name', model)!r}"
        )
    if not model.built or not getattr(model, "outputs", None):
        raise ValueError(
            "The model has no input shape yet. Start it with keras.Input(shape), or call it once on "
            f"data. Received: model={model.name!r}"
        )
    emitter = Emitter(_zeros)
    inputs = [Value(tuple(tensor.shape), name=tensor.name) for tensor in model.inputs]
    outputs = _run(emitter, model, inputs)
    return fold(Graph(emitter.nodes, inputs, outputs, marked=True))


def _zeros(variable: Any) -> int:
    import keras

    return int(np.sum(np.asarray(keras.ops.convert_to_numpy(variable)) == 0))


def _run(emitter: Emitter, model: Any, inputs: Sequence[Value]) -> list[Value]:
    """Emits the nodes of a model that is called with `inputs`."""
    import keras

    function = model._functional if isinstance(model, keras.Sequential) else model
    values = {id(t): value for t, value in zip(function.inputs, inputs, strict=True)}
    for depth in sorted(function._nodes_by_depth, reverse=True):
        for node in function._nodes_by_depth[depth]:
            if node.is_input or not all(id(t) in values for t in node.input_tensors):
                continue
            outputs = _call(emitter, node, values)
            values.update({id(t): value for t, value in zip(node.outputs, outputs, strict=True)})
    return [values[id(t)] for t in function.outputs]


def _call(emitter: Emitter, node: Any, values: dict[int, Value]) -> list[Value]:
    """Emits what one call of a layer or model becomes."""
    import keras

    operation = unwrapped(node.operation)
    given = tuple(values[id(tensor)] for tensor in node.input_tensors)
    if isinstance(operation, keras.Sequential | keras.Function):
        return _run(emitter, operation, given)

    def replaced(x: Any) -> Any:
        return values.get(id(x), x) if isinstance(x, keras.KerasTensor) else x

    arguments = node.arguments
    return handle(
        emitter,
        Call(
            operation,
            given,
            tuple(replaced(x) for x in arguments.args),
            {key: replaced(x) for key, x in arguments.kwargs.items()},
            _shapes(operation, node, given),
        ),
    )


def _shapes(operation: Any, node: Any, given: Sequence[Value]) -> tuple[Any, ...]:
    """The shapes of a call's outputs, with lengths that are known only where it is called."""
    shapes = tuple(tuple(tensor.shape) for tensor in node.outputs)
    known = tuple(tuple(tensor.shape) for tensor in node.input_tensors)
    actual = tuple(value.shape for value in given)
    if actual == known or len(given) != 1 or not hasattr(operation, "compute_output_shape"):
        return shapes
    return (tuple(operation.compute_output_shape(actual[0])),)


def unwrapped(layer: Any) -> Any:
    """Returns the layer inside a pruning wrapper, or the layer itself."""
    import keras

    wrapper = isinstance(layer, keras.layers.Wrapper) and hasattr(layer, "pruning_schedule")
    return layer.layer if wrapper else layer
