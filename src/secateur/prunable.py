"""What is prunable: which variables of which layers, and the reason for the others."""

import abc
import dataclasses
from typing import Any

import keras

from secateur.report import Reason

_KERNELS = ("kernel", "pointwise_kernel", "recurrent_kernel")
_NEVER = ("bias", "gamma", "beta", "alpha", "scale", "recurrent_bias")


class PrunableLayer(abc.ABC):
    """A mixin for custom layers that say themselves which of their weights to prune.

    Any layer with a method `get_prunable_weights` is treated like that; the mixin only documents it.
    Such a layer speaks for the layers inside it, too.

    Example:

    >>> import keras, secateur
    >>> class WithBias(keras.layers.Dense, secateur.PrunableLayer):
    ...     def get_prunable_weights(self):
    ...         return [self.kernel, self.bias]
    """

    @abc.abstractmethod
    def get_prunable_weights(self) -> list[Any]:
        """Returns the variables to prune, called once the layer is built."""


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """A variable and what stands in the way of pruning it.

    Args:
        layer: The layer that owns the variable.
        variable: The `keras.Variable`.
        reason: None if it is pruned by default; else why it is not.
        input_axis: The axis of input channels.
    """

    layer: Any
    variable: Any
    reason: str | None
    input_axis: int = -2

    @property
    def path(self) -> str:
        """The variable's path."""
        return str(self.variable.path)


def candidates(model: Any) -> list[Candidate]:
    """Returns every variable that could be trained, once, with the layer that owns it.

    Args:
        model: A built model or layer of any kind: functional, sequential, subclassed, nested.
    """
    trainable = {id(v) for v in model.trainable_variables}
    seen: set[int] = set()
    found = []
    answers: dict[int, set[int]] = {}
    for layer in _layers(model):  # outer layers come before those inside them
        hook = getattr(layer, "get_prunable_weights", None)
        if callable(hook) and id(layer) not in answers:
            answer = {id(v) for v in hook()}
            answers.update((id(inner), answer) for inner in _layers(layer))
        for variable in _own_variables(layer):
            if id(variable) in seen or not _is_weight(variable):
                continue
            seen.add(id(variable))
            reason: str | None = Reason.FROZEN
            if id(variable) in trainable:
                reason = _reason(layer, variable, answers.get(id(layer)))
            found.append(Candidate(layer, variable, reason, _input_axis(layer, variable)))
    return found


def _layers(model: Any) -> list[Any]:
    """Returns the model and all layers inside it, once, outer ones first, in the model's order."""
    found = []
    seen: set[int] = set()
    to_visit = [model]
    while to_visit:
        layer = to_visit.pop()
        if id(layer) not in seen:
            seen.add(id(layer))
            found.append(layer)
            # Keras has no public way to reach the layers inside layers.
            inside = layer._flatten_layers(include_self=False, recursive=False)
            to_visit.extend(reversed(list(inside)))
    return found


def _own_variables(layer: Any) -> list[Any]:
    inner = {id(v) for sub in layer._flatten_layers(include_self=False) for v in sub.variables}
    return [v for v in layer.variables if id(v) not in inner]


def _is_weight(variable: Any) -> bool:
    """Whether a variable is one that training changes, frozen or not: no statistics, no seeds."""
    statistic = ("moving_mean", "moving_variance", "seed_generator_state")
    return "float" in str(variable.dtype) and variable.name not in statistic


def _reason(layer: Any, variable: Any, asked: set[int] | None) -> str | None:
    layers = keras.layers
    name = variable.name
    if asked is not None:
        return None if id(variable) in asked else Reason.NOT_A_KERNEL
    norms = (
        layers.BatchNormalization,
        layers.LayerNormalization,
        layers.GroupNormalization,
        layers.UnitNormalization,
        layers.RMSNormalization,
    )
    if isinstance(layer, norms):
        return Reason.NORMALIZATION
    if isinstance(layer, layers.Embedding) or "embedding" in name:
        return Reason.EMBEDDING
    if "depthwise" in name or _is_depthwise(layer):
        return Reason.DEPTHWISE if "kernel" in name else Reason.NOT_A_KERNEL
    if name in _KERNELS:
        return None
    if name in _NEVER or _is_keras_layer(layer):
        return Reason.NOT_A_KERNEL
    if sum(size > 1 for size in variable.shape) < 2:
        return Reason.VECTOR
    return None


def _is_depthwise(layer: Any) -> bool:
    return isinstance(layer, keras.layers.DepthwiseConv1D | keras.layers.DepthwiseConv2D)


def _is_keras_layer(layer: Any) -> bool:
    """Whether Keras itself defines the layer, so that its weights' names are known."""
    return type(layer).__module__.split(".")[0] == "keras"


def _input_axis(layer: Any, variable: Any) -> int:
    layers = keras.layers
    transposed = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
    if isinstance(layer, transposed):
        return -1
    if isinstance(layer, layers.EinsumDense) and variable.name == "kernel":
        kernel, output = layer.equation.replace(" ", "").split(",")[1].split("->")
        summed = [i for i, letter in enumerate(kernel) if letter not in output]
        return summed[-1] - len(kernel) if summed else -2
    return -2 if len(variable.shape) > 1 else -1
