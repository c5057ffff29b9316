"""A Keras model as a row of calls of layers and operations, with the models inside it taken apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any


@dataclasses.dataclass(eq=False)
class Tensor:
    """What a call gives and another reads.

    Args:
        shape: Its shape; None where a length is open.
        dtype: Its dtype.
        name: Its name.
    """

    shape: tuple[int | None, ...]
    dtype: str = "float32"
    name: str = ""


@dataclasses.dataclass(eq=False)
class Call:
    """One call of a layer or operation.

    Args:
        operation: The layer or operation.
        args: Its positional arguments, with a `Tensor` where there is a tensor.
        kwargs: Its keyword arguments, likewise.
        outputs: What it gives.
        scope: The names of the models it is in, the outermost left out.
        weights: The values of its weights, in Keras' order; None for those it has.
        trainable: Whether it is trainable; None for what it is.
    """

    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: list[Tensor]
    scope: tuple[str, ...] = ()
    weights: list[Any] | None = None
    trainable: bool | None = None

    @property
    def inputs(self) -> list[Tensor]:
        """The tensors it reads, in order."""
        return list(_tensors((self.args, self.kwargs)))

    @property
    def output(self) -> Tensor:
        """Its first output."""
        return self.outputs[0]

    def replace_input(self, old: Tensor, new: Tensor) -> None:
        """Makes it read another tensor."""
        self.args = _replaced(self.args, old, new)
        self.kwargs = _replaced(self.kwargs, old, new)


@dataclasses.dataclass(eq=False)
class Calls:
    """A model as calls in the order in which they run.

    Args:
        inputs: Its inputs, in the model's order.
        calls: The calls.
        outputs: Its outputs, in the model's order.
        model: The model.
    """

    inputs: list[Tensor]
    calls: list[Call]
    outputs: list[Tensor]
    model: Any

    def readers(self, tensor: Tensor) -> list[Call]:
        """Returns the calls that read a tensor."""
        return [call for call in self.calls if tensor in call.inputs]

    def producer(self, tensor: Tensor) -> Call | None:
        """Returns the call that gives a tensor, or None for an input of the model."""
        return next((call for call in self.calls if tensor in call.outputs), None)

    def only_reader(self, tensor: Tensor) -> Call | None:
        """Returns the call that reads a tensor, if there is just one and it is no output."""
        readers = self.readers(tensor)
        return readers[0] if len(readers) == 1 and tensor not in self.outputs else None

    def replace(self, call: Call, *calls: Call) -> None:
        """Puts other calls in the place of one."""
        place = self.calls.index(call)
        self.calls[place : place + 1] = calls

    def insert_after(self, call: Call, *calls: Call) -> None:
        """Puts calls behind one."""
        place = self.calls.index(call) + 1
        self.calls[place:place] = calls

    def skip(self, call: Call) -> None:
        """Takes a call out; what read its output reads its input."""
        self.calls.remove(call)
        self.reroute(call.output, call.inputs[0])

    def reroute(self, old: Tensor, new: Tensor) -> None:
        """Makes all that reads one tensor read another."""
        for call in self.calls:
            if old in call.inputs:
                call.replace_input(old, new)
        self.outputs = [new if tensor is old else tensor for tensor in self.outputs]


def calls_of(model: Any) -> Calls:
    """Takes a Sequential or functional model apart.

    Args:
        model: A built model, of any backend.

    Returns:
        Its calls, those of models inside it among them.

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
    inputs = [_tensor(tensor) for tensor in model.inputs]
    calls: list[Call] = []
    return Calls(inputs, calls, _run(model, inputs, (), calls), model)


def _tensor(tensor: Any) -> Tensor:
    return Tensor(tuple(tensor.shape), str(tensor.dtype), str(tensor.name))


def _run(
    model: Any, inputs: Sequence[Tensor], scope: tuple[str, ...], calls: list[Call]
) -> list[Tensor]:
    """Appends the calls of a model that is called with `inputs`."""
    import keras

    function = model._functional if isinstance(model, keras.Sequential) else model
    known = {id(t): tensor for t, tensor in zip(function.inputs, inputs, strict=True)}
    for depth in sorted(function._nodes_by_depth, reverse=True):
        for node in function._nodes_by_depth[depth]:
            if node.is_input or not all(id(t) in known for t in node.input_tensors):
                continue
            operation = unwrapped(node.operation)
            given = [known[id(tensor)] for tensor in node.input_tensors]
            if isinstance(operation, keras.Sequential | keras.Function):
                outputs = _run(operation, given, (*scope, operation.name), calls)
            else:
                args, kwargs = _arguments(node, known)
                outputs = _outputs(operation, node, given)
                calls.append(Call(operation, args, kwargs, outputs, scope))
            known.update({id(t): tensor for t, tensor in zip(node.outputs, outputs, strict=True)})
    return [known[id(t)] for t in function.outputs]


def _arguments(node: Any, known: dict[int, Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    import keras

    def replaced(x: Any) -> Any:
        return known[id(x)] if isinstance(x, keras.KerasTensor) else x

    args, kwargs = keras.tree.map_structure(
        replaced, (tuple(node.arguments.args), dict(node.arguments.kwargs))
    )
    return args, kwargs


def _outputs(operation: Any, node: Any, given: Sequence[Tensor]) -> list[Tensor]:
    """What a call gives; lengths may be known only where the model around it is called."""
    outputs = [_tensor(tensor) for tensor in node.outputs]
    asked = [tuple(tensor.shape) for tensor in node.input_tensors]
    if len(given) == 1 and [t.shape for t in given] != asked:
        outputs[0].shape = tuple(operation.compute_output_shape(given[0].shape))
    return outputs


def unwrapped(layer: Any) -> Any:
    """Returns the layer inside a pruning wrapper, or the layer itself."""
    import keras

    wrapper = isinstance(layer, keras.layers.Wrapper) and hasattr(layer, "pruning_schedule")
    return layer.layer if wrapper else layer


def _tensors(structure: Any) -> Iterator[Tensor]:
    if isinstance(structure, Tensor):
        yield structure
    elif isinstance(structure, dict):
        for value in structure.values():
            yield from _tensors(value)
    elif isinstance(structure, list | tuple):
        for value in structure:
            yield from _tensors(value)


def _replaced(structure: Any, old: Tensor, new: Tensor) -> Any:
    if structure is old:
        return new
    if isinstance(structure, dict):
        return {key: _replaced(value, old, new) for key, value in structure.items()}
    if isinstance(structure, list | tuple):
        return type(structure)(_replaced(value, old, new) for value in structure)
    return structure
