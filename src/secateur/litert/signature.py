"""What a Keras model takes as input: names, shapes and dtypes for its exported signature."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

# The names Keras makes up for inputs that were given none.
_MADE_UP = re.compile(r"keras_tensor(_\d+)?|input_layer(_\d+)?")


@dataclass(frozen=True)
class InputSpec:
    """One input of a model.

    Args:
        name: Its name in the `.tflite` file's signature.
        shape: Its shape; None where a dimension is open, as the batch size usually is.
        dtype: Its dtype, as "float32".
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class Signature:
    """The inputs of a model and how to call it with them.

    Args:
        inputs: The inputs in a flat row.
        call: Calls a model with tensors in the same flat row, for inference.
    """

    inputs: tuple[InputSpec, ...]
    call: Callable[..., Any]


def signature_of(model: Any) -> Signature:
    """Find the inputs of a Sequential, functional or subclassed Keras model.

    Inputs keep the names given to `keras.Input`; unnamed ones are called `input_0`, `input_1`,
    so that the same network always gives the same file. A fixed batch size is kept.

    Args:
        model: A built `keras.Model`, of any backend.

    Returns:
        Its signature.

    Raises:
        TypeError: If this is no Keras model.
        ValueError: If the model is not built yet.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((4,), name="row"), keras.layers.Dense(2)])
        >>> signature_of(model).inputs
        (InputSpec(name='row', shape=(None, 4), dtype='float32'),)
    """
    import keras

    if not isinstance(model, keras.Model):
        raise TypeError(
            "Only a whole Keras model can be exported. Put the layer into a keras.Sequential "
            f"model first. Received: model={type(model).__name__}"
        )
    if not model.built:
        raise ValueError(
            "The model has no weights and no input shape yet. Build it first: start it with "
            f"keras.Input(shape), or call it once on data. Received: model={model.name!r}"
        )
    if isinstance(model, keras.Sequential):
        arguments: dict[str, Any] = {"": _named(model.inputs[0])}
    elif getattr(model, "inputs", None):
        arguments = {"": keras.tree.map_structure(_named, model.input)}
    else:
        arguments = _subclassed_arguments(model)
    taken: set[str] = set()
    flat: list[InputSpec] = []
    for index, spec in enumerate(keras.tree.flatten(arguments)):
        name = re.sub(r"\W", "_", spec.name)
        if not name or _MADE_UP.fullmatch(name) or name in taken:
            name = f"input_{index}"
        taken.add(name)
        flat.append(InputSpec(name, spec.shape, spec.dtype))

    def call(model: Any, *tensors: Any) -> Any:
        packed = keras.tree.pack_sequence_as(arguments, list(tensors))
        positional = [packed.pop("")] if "" in packed else []
        return model(*positional, **packed, training=False)

    return Signature(tuple(flat), call)


def _named(tensor: Any) -> InputSpec:
    return InputSpec(tensor.name, tuple(tensor.shape), str(tensor.dtype))


def _subclassed_arguments(model: Any) -> dict[str, Any]:
    """The arguments of a subclassed model's `call`, from the shapes it was built with."""
    config = model.get_build_config() or {}
    shapes = config.get("shapes_dict") or {"": config.get("input_shape")}
    dtype = str(model.input_dtype)
    if any(shape is None for shape in shapes.values()):
        raise ValueError(
            "The input shape of this subclassed model is unknown. Call it once on data before "
            f"exporting it. Received: model={model.name!r}"
        )
    return {
        key.removesuffix("_shape"): _specs(shape, dtype, key.removesuffix("_shape"))
        for key, shape in shapes.items()
    }


def _specs(shape: Any, dtype: str, name: str) -> Any:
    """Turn a shape, or a structure of shapes, into the same structure of specs."""
    if isinstance(shape, dict):
        return {key: _specs(value, dtype, str(key)) for key, value in shape.items()}
    if isinstance(shape, Sequence) and any(isinstance(item, (Sequence, dict)) for item in shape):
        return [_specs(item, dtype, name) for item in shape]
    return InputSpec(name, (None, *shape[1:]), dtype)
