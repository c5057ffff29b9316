"""The functions `prune_low_magnitude`, `strip_pruning` and `prune_scope`."""

import warnings
from collections.abc import Sequence
from typing import Any

import keras

from secateur import prunable
from secateur.tfmot import attachment, registry, unwrap
from secateur.tfmot.wrapper import DEFAULT_SCHEDULE, PruneLowMagnitude


def prune_scope() -> Any:
    """Returns a scope in which models with pruning wrappers can be loaded.

    `.keras` files load without it; it is there for scripts that use it.

    Example:

    >>> import secateur.tfmot as tfmot
    >>> with tfmot.sparsity.keras.prune_scope():
    ...     pass  # loaded = keras.models.load_model("pruned.keras")
    """
    return keras.saving.custom_object_scope({"PruneLowMagnitude": PruneLowMagnitude})


def prune_low_magnitude(
    to_prune: Any,
    pruning_schedule: Any = DEFAULT_SCHEDULE,
    block_size: tuple[int, int] = (1, 1),
    block_pooling_type: str = "AVG",
    pruning_policy: Any = None,
    sparsity_m_by_n: tuple[int, int] | None = None,
    **kwargs: Any,
) -> Any:
    """Wraps a layer, a list of layers or the layers of a model, so that training prunes them.

    Compile the result and train it with the callback `UpdatePruningStep`. The layers and their
    weights are those of `to_prune`, not copies. In a model, layers that tfmot wraps are wrapped,
    with or without weights to prune, and all others that can be pruned; the rest stays as it is.

    Args:
        to_prune: A layer, a list of layers, or a sequential or functional model.
        pruning_schedule: When to prune, and how much.
        block_size: Sizes of a block, pruned as a whole, along the last two axes of a weight.
        block_pooling_type: How the weights of a block become one score, "AVG" or "MAX".
        pruning_policy: A `PruningPolicy`: checks a model, and says which layers are wrapped.
        sparsity_m_by_n: (m, n) for m zeros in every n consecutive weights along the axis of input
            channels, instead of blocks.
        **kwargs: More arguments for the wrapper of a single layer.

    Returns:
        A wrapped layer, a list, or a new model that is not compiled.

    Raises:
        ValueError: If `to_prune` is something else, such as a subclassed model, or a single layer
            that is not supported.

    Example:

    >>> import keras, numpy as np
    >>> import secateur.tfmot as tfmot
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="head")])
    >>> pruned = tfmot.sparsity.keras.prune_low_magnitude(model)
    >>> pruned.compile("sgd", "mse")
    >>> callbacks = [tfmot.sparsity.keras.UpdatePruningStep()]
    >>> _ = pruned.fit(np.ones((2, 8)), np.ones((2, 4)), callbacks=callbacks, verbose=0)
    >>> stripped = tfmot.sparsity.keras.strip_pruning(pruned)
    >>> stripped.layers[0].name, float((stripped.layers[0].kernel.numpy() == 0).mean())
    ('head', 0.5)
    """
    settings = {
        "pruning_schedule": pruning_schedule,
        "block_size": block_size,
        "block_pooling_type": block_pooling_type,
        "sparsity_m_by_n": sparsity_m_by_n,
    }

    def allowed(layer: Any) -> bool:
        return pruning_policy is None or bool(pruning_policy.allow_pruning(layer))

    def wrap(layer: Any, **more: Any) -> Any:
        if unwrap.holds_wrapper(layer) or not allowed(layer):
            return layer
        return PruneLowMagnitude(layer, **settings, **more)

    graph = unwrap.is_graph(to_prune)
    if kwargs and (graph or isinstance(to_prune, list)):
        warnings.warn(
            "Further arguments go to the wrapper of a single layer; on a model or a list they have no "
            f"effect. Leave them out. Received: {', '.join(kwargs)}",
            stacklevel=2,
        )
    if isinstance(to_prune, list):
        return [
            _input_again(x) if isinstance(x, keras.layers.InputLayer) else wrap(x) for x in to_prune
        ]
    if graph:
        if pruning_policy is not None:
            pruning_policy.ensure_model_supports_pruning(to_prune)
        unknown: list[str] = []

        def wrap_known(layer: Any) -> Any:
            if isinstance(layer, keras.Model):
                raise ValueError("Subclassed models are not supported currently.")
            if registry.is_wrapped(layer) or unwrap.holds_wrapper(layer):
                return wrap(layer)
            if _has_kernels(layer) and allowed(layer):
                unknown.append(layer.name)
            return layer

        pruned = unwrap.clone(to_prune, wrap_known)
        _warn_of(unknown)
        return pruned
    if isinstance(to_prune, keras.layers.Layer) and not isinstance(to_prune, keras.Model):
        return wrap(to_prune, **kwargs)
    raise ValueError(
        "`prune_low_magnitude` can only prune an object of the following types: "
        "keras.models.Sequential, keras functional model, keras.layers.Layer, list of "
        "keras.layers.Layer. You passed an object of type: "
        f"{to_prune.__class__.__name__}."
    )


def strip_pruning(model: Any) -> Any:
    """Returns the model without pruning wrappers, its pruned weights exactly zero.

    The layers are those inside the wrappers, with their names. A sequential or functional model is
    copied, and the copy is not compiled; in a subclassed model, and in custom layers, the wrappers
    are replaced in place.

    Args:
        model: A model with or without pruning wrappers.

    Raises:
        ValueError: If `model` is no `keras.Model`.

    Example:

    >>> import keras
    >>> import secateur.tfmot as tfmot
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="head")])
    >>> pruned = tfmot.sparsity.keras.prune_low_magnitude(model)
    >>> [layer.name for layer in pruned.layers]
    ['prune_low_magnitude_head']
    >>> [layer.name for layer in tfmot.sparsity.keras.strip_pruning(pruned).layers]
    ['head']
    """
    if not isinstance(model, keras.Model):
        raise ValueError(f"Expected model to be a `keras.Model` instance but got: {model}")
    attachment.apply_masks(model)
    if unwrap.is_graph(model):
        return unwrap.clone(model, unwrap.unwrapped)
    unwrap.unwrapped(model)
    # Steps compiled before still call the wrappers.
    model.train_function = model.test_function = model.predict_function = None
    return model


def _input_again(layer: Any) -> Any:
    return type(layer).from_config(layer.get_config())


def _has_kernels(layer: Any) -> bool:
    return bool(layer.built) and any(c.reason is None for c in prunable.candidates(layer))


def _warn_of(unknown: Sequence[str]) -> None:
    if unknown:
        warnings.warn(
            f"The custom layers {', '.join(map(repr, unknown))} have weights that could be pruned but "
            "do not say which; they are left alone. Give them a method `get_prunable_weights` that "
            "returns a list of variables.",
            stacklevel=3,
        )
