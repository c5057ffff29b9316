"""Computes the statistics of batch-normalization layers anew."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import keras
from keras import ops


def recalibrate_batch_norm(model: Any, data: Any, batch_size: int = 32) -> int:
    """Replaces the moving statistics of all batch-normalization layers by averages over `data`.

    The averages are over batches, weighted by their sizes. Everything but these layers runs as in
    inference: no dropout, no noise.

    Args:
        model: A built model.
        data: Inputs without labels: an array, or an iterable of batches.
        batch_size: Samples in a batch, where `data` is an array.

    Returns:
        The number of layers that were recalibrated; frozen ones are not.

    Raises:
        ValueError: If `data` is empty or neither. The statistics are unchanged then, as after an
            error in the model.
    """
    layers = model._flatten_layers()
    norms = [v for v in layers if isinstance(v, keras.layers.BatchNormalization) and v.trainable]
    if not norms:
        return 0
    statistics = [v for norm in norms for v in (norm.moving_mean, norm.moving_variance)]
    before = [ops.convert_to_numpy(v) for v in statistics]
    seen = 0
    try:
        with contextlib.ExitStack() as stack:
            for norm in norms:
                stack.enter_context(_in_training(norm))
            for batch in _batches(data, batch_size):
                size = keras.tree.flatten(batch)[0].shape[0]
                for norm in norms:
                    # Makes the moving average the plain average of the samples so far.
                    norm.momentum = seen / (seen + size)
                model(batch, training=False)
                seen += size
        if not seen:
            raise ValueError(f"`data` holds no batch of inputs. Received: data={data!r}")
    except BaseException:
        for variable, value in zip(statistics, before, strict=True):
            variable.assign(value)
        raise
    return len(norms)


@contextlib.contextmanager
def _in_training(norm: Any) -> Iterator[None]:
    """In this context, a layer runs as in training, whatever the model around it does."""
    momentum, call = norm.momentum, norm.call

    def call_in_training(inputs: Any, training: Any = None, **kwargs: Any) -> Any:
        return call(inputs, training=True, **kwargs)

    # Past Keras, which would track what is set on a layer.
    object.__setattr__(norm, "call", call_in_training)
    try:
        yield
    finally:
        object.__delattr__(norm, "call")
        norm.momentum = momentum


def _batches(data: Any, batch_size: int) -> Iterator[Any]:
    if hasattr(data, "shape"):
        for start in range(0, data.shape[0], batch_size):
            yield data[start : start + batch_size]
    elif isinstance(data, Iterable):
        yield from data
    else:
        raise ValueError(
            f"`data` must be an array or an iterable of batches of inputs. Received: data={data!r}"
        )
