"""Putting layers in the place of others: in copies of graphs, and inside subclassed models."""

from collections.abc import Callable
from typing import Any

import keras

from secateur.tfmot.wrapper import PruneLowMagnitude


def is_graph(model: Any) -> bool:
    """Whether a model is sequential or functional, so that it can be copied with other layers."""
    return isinstance(model, keras.Sequential | keras.Function)


def holds_wrapper(layer: Any) -> bool:
    """Whether a layer is a pruning wrapper, or has one inside."""
    if not isinstance(layer, keras.layers.Layer):
        return False
    return any(isinstance(inner, PruneLowMagnitude) for inner in layer._flatten_layers())


def clone(model: Any, replace: Callable[[Any], Any]) -> Any:
    """Returns a copy of a graph, not compiled, in which each layer is what `replace` returns for it.

    Models in the model are copied too; a layer that is used in several places stays one layer.
    """
    known: dict[int, Any] = {}

    def convert(layer: Any) -> Any:
        if not isinstance(layer, keras.layers.Layer):
            return layer  # an operation such as x + y
        if id(layer) not in known:
            known[id(layer)] = copy(layer) if is_graph(layer) else replace(layer)
        return known[id(layer)]

    def copy(graph: Any) -> Any:
        # Keras compiles the copy of a compiled model, with an optimizer of its own.
        compiled, graph.compiled = graph.compiled, False
        try:
            return keras.models.clone_model(graph, clone_function=convert)
        finally:
            graph.compiled = compiled

    return copy(model)


def unwrapped(layer: Any) -> Any:
    """Returns the layer without its wrapper, and without those inside it."""
    if isinstance(layer, PruneLowMagnitude):
        return layer.layer
    if not holds_wrapper(layer):
        return layer
    if is_graph(layer):
        return clone(layer, unwrapped)
    unwrap_inside(layer)
    return layer


def unwrap_inside(layer: Any) -> None:
    """Replaces the wrappers in the attributes of a layer or a subclassed model, in place."""
    replaced: dict[int, Any] = {}

    def swap(value: Any) -> Any:
        if isinstance(value, keras.layers.Layer):
            new = unwrapped(value)
            if new is not value:
                replaced[id(value)] = new
            return new
        if isinstance(value, list) or type(value) is tuple:
            items = [swap(item) for item in value]
            changed = any(a is not b for a, b in zip(items, value, strict=True))
            return type(value)(items) if changed else value
        if isinstance(value, dict):
            named = {key: swap(item) for key, item in value.items()}
            return named if any(named[key] is not value[key] for key in value) else value
        return value

    # A built layer takes no new layers. Keras opens it in the same way for LoRA and quantization.
    tracker = layer._tracker
    locked = tracker.locked
    tracker.unlock()
    try:
        modules = vars(layer).get("_modules", {})  # where PyTorch keeps them
        for name in [*vars(layer), *modules]:
            if name not in ("_layers", "_modules") and not name.startswith("_self_"):
                value = getattr(layer, name, None)
                new = swap(value)
                if new is not value:
                    setattr(layer, name, new)
        layers = [replaced.get(id(x), x) for x in layer._layers]
        layer._layers[:] = list({id(x): x for x in layers}.values())
    finally:
        if locked:
            tracker.lock()
