"""Tools to rewrite the calls of a Keras model, and to build a model from them again."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from secateur.xnnpack.keras_calls import Call, Calls, Tensor


@dataclasses.dataclass(frozen=True)
class Change:
    """One change that `adapt` made.

    Args:
        layer: The name of the layer that was rewritten.
        what: What was done.
        exact: Whether the model still computes the same numbers, rounding aside.
    """

    layer: str
    what: str
    exact: bool = True


@dataclasses.dataclass(frozen=True)
class Function:
    """A function of Keras' that stands in the place of a layer.

    Args:
        name: What it is called.
        function: The function.
    """

    name: str
    function: Any

    def __call__(self, *args: Any) -> Any:
        """Calls the function."""
        return self.function(*args)


class Editor:
    """The calls of a model, and what was changed in them.

    Args:
        calls: The calls; they are changed.
        changes: The changes, appended to.
    """

    def __init__(self, calls: Calls, changes: list[Change]) -> None:
        self.calls = calls
        self.changes = changes
        self.names = {call.operation.name for call in calls.calls}

    def of(self, *kinds: type) -> list[Call]:
        """Returns the calls of layers of these classes, which call nothing of their own."""
        return [
            call
            for call in list(self.calls.calls)
            if isinstance(call.operation, kinds) and plain(call.operation, kinds)
        ]

    def note(self, call: Call, what: str, exact: bool = True) -> None:
        """Records a change."""
        self.changes.append(Change(call.operation.name, what, exact))

    def name(self, wanted: str) -> str:
        """Returns a name for a new layer that no other has."""
        name, number = wanted, 1
        while name in self.names:
            number += 1
            name = f"{wanted}_{number}"
        self.names.add(name)
        return name

    def call(
        self,
        layer: Any,
        inputs: Tensor | list[Tensor],
        output: Tensor | None = None,
        weights: Sequence[Any] | None = None,
        trainable: bool = True,
    ) -> Call:
        """Makes a call of a new layer, to be put somewhere."""
        first = inputs if isinstance(inputs, Tensor) else inputs[0]
        output = output or Tensor(first.shape, first.dtype)
        given = None if weights is None else [np.asarray(w, "float32") for w in weights]
        return Call(layer, (inputs,), {}, [output], weights=given, trainable=trainable)

    def like(self, call: Call, kind: Any, **changes: Any) -> Any:
        """Makes a layer like that of a call, of a class and with some settings changed."""
        layer = call.operation
        config = {**layer.get_config(), **changes}
        known = kind(**{"name": "secateur_probe", **_required(kind)}).get_config()
        return kind.from_config({key: value for key, value in config.items() if key in known})

    def identity(self, x: Tensor, name: str, stride: int = 1, **taps: Any) -> list[Call]:
        """A frozen 3x3 depthwise convolution that only picks, scales or moves pixels.

        Args:
            x: What it reads, with known channels.
            name: Its name.
            stride: Its stride.
            taps: `row` and `column` of the pixel it picks, 1 for that in the middle; `scale`, a
                number or one for each channel; `bias` likewise, None for none.

        Returns:
            Its calls, the last of which gives the result.
        """
        channels = x.shape[-1]
        assert channels is not None
        kernel = np.zeros((3, 3, channels, 1), "float32")
        kernel[taps.get("row", 1), taps.get("column", 1), :, 0] = taps.get("scale", 1.0)
        bias = taps.get("bias")
        weights = [kernel] if bias is None else [kernel, np.zeros(channels, "float32") + bias]
        trainable = bool(taps.get("trainable", False))
        calls = []
        if stride != 1:
            pad = keras.layers.ZeroPadding2D(1, name=self.name(f"{name}_pad"))
            calls.append(self.call(pad, x, grown(x, 1)))
            x = calls[0].output
        layer = keras.layers.DepthwiseConv2D(
            3,
            stride,
            "valid" if stride != 1 else "same",
            use_bias=bias is not None,
            name=self.name(name),
        )
        output = Tensor((x.shape[0], None, None, channels), x.dtype)
        if stride == 1:
            output.shape = x.shape
        calls.append(self.call(layer, x, output, weights, trainable))
        return calls


def plain(layer: Any, kinds: tuple[type, ...]) -> bool:
    """Whether a layer computes what its Keras class does, channels last."""
    kind = next(k for k in type(layer).__mro__ if k.__module__.split(".")[0] == "keras")
    same = type(layer).call is kind.call if hasattr(kind, "call") else True
    return same and kind in kinds and getattr(layer, "data_format", "") != "channels_first"


def grown(x: Tensor, pixels: int) -> Tensor:
    """A tensor for an image with so many pixels more on every side."""
    batch, height, width, channels = x.shape
    lengths = (None if n is None else n + 2 * pixels for n in (height, width))
    return Tensor((batch, *lengths, channels), x.dtype)


def value(variable: Any) -> np.ndarray:
    """The value of a variable as an array."""
    return np.array(keras.ops.convert_to_numpy(variable))


def weights_of(call: Call) -> list[np.ndarray]:
    """The values of a call's weights, as changed so far, in Keras' order."""
    if call.weights is not None:
        return [np.asarray(w) for w in call.weights]
    return [value(w) for w in call.operation.weights]


def affine(call: Call) -> tuple[np.ndarray, np.ndarray]:
    """What a BatchNormalization multiplies each channel by when it does not train, and adds."""
    layer = call.operation
    found = dict(zip((w.name for w in layer.weights), weights_of(call), strict=True))
    mean, variance = found["moving_mean"], found["moving_variance"]
    scale = found.get("gamma", np.float32(1)) / np.sqrt(variance + layer.epsilon)
    return scale, found.get("beta", np.float32(0)) - mean * scale


def is_trainable(call: Call) -> bool:
    """Whether a call's layer is to be trainable."""
    return bool(call.operation.trainable) if call.trainable is None else call.trainable


def build(calls: Calls) -> Any:
    """Makes a functional model of calls.

    Layers are new ones with the same names, settings and weights; the old model stays as it is.

    Args:
        calls: The calls.

    Returns:
        The model, with inputs and outputs as those of `calls.model`.
    """
    model = calls.model
    tensors: dict[Tensor, Any] = {}
    inputs = []
    for tensor, old in zip(calls.inputs, model.inputs, strict=True):
        name = old._keras_history.operation.name
        layer = keras.Input(batch_shape=tuple(old.shape), dtype=old.dtype, name=name)
        tensors[tensor] = layer
        inputs.append(layer)
    copies: dict[int, Any] = {}
    taken = {old._keras_history.operation.name for old in model.inputs}
    for call in calls.calls:
        operation = call.operation
        if id(operation) not in copies:
            copies[id(operation)] = _copy(call, taken)

        def given(x: Any) -> Any:
            return tensors[x] if isinstance(x, Tensor) else x

        args, kwargs = keras.tree.map_structure(given, (call.args, call.kwargs))
        outputs = keras.tree.flatten(copies[id(operation)](*args, **kwargs))
        tensors.update(zip(call.outputs, outputs, strict=True))
        if isinstance(operation, keras.Layer):
            _transfer(call, copies[id(operation)])
    flat = [tensors[tensor] for tensor in calls.outputs]
    if isinstance(model, keras.Sequential):  # has no `input` of its own before its first call
        return keras.Model(inputs[0], flat[0], name=model.name)
    return keras.Model(
        keras.tree.pack_sequence_as(model.input, inputs),
        keras.tree.pack_sequence_as(model.output, flat),
        name=model.name,
    )


def _copy(call: Call, taken: set[str]) -> Any:
    operation = call.operation
    if not isinstance(operation, keras.Layer):
        return operation
    config = operation.get_config()
    name = operation.name
    if name in taken and call.scope:
        name = "_".join((*call.scope, name))
    number = 1
    while name in taken:
        number += 1
        name = f"{operation.name}_{number}"
    taken.add(name)
    if "name" in config:
        config["name"] = name
    return type(operation).from_config(config)


def _transfer(call: Call, copy: Any) -> None:
    """Gives a copy the weights and the trainability of the layer it is a copy of."""
    old = call.operation
    if call.weights is not None:
        copy.set_weights(call.weights)
    elif old.weights:
        copy.set_weights([value(w) for w in old.weights])
    if call.trainable is not None:
        copy.trainable = call.trainable
        return
    for before, after in zip(old._flatten_layers(), copy._flatten_layers(), strict=True):
        after.trainable = before.trainable


def _required(kind: Any) -> dict[str, Any]:
    if issubclass(kind, keras.layers.DepthwiseConv2D):
        return {"kernel_size": 1}
    if issubclass(kind, keras.layers.Conv2D):
        return {"filters": 1, "kernel_size": 1}
    return {"units": 1} if issubclass(kind, keras.layers.Dense) else {}
