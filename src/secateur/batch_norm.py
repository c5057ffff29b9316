"""Computes the statistics of batch-normalization layers anew."""

from collections.abc import Iterable, Iterator
from typing import Any

import keras


def recalibrate_batch_norm(model: Any, data: Any, batch_size: int = 32) -> int:
    """Replaces the moving statistics of all batch-normalization layers by averages over `data`.

    Args:
        model: A built model.
        data: Inputs without labels: an array, or an iterable of batches.
        batch_size: Samples in a batch, where `data` is an array.

    Returns:
        The number of layers that were recalibrated.

    Raises:
        ValueError: If `data` is empty.
    """
    layers = model._flatten_layers()
    norms = [v for v in layers if isinstance(v, keras.layers.BatchNormalization) and v.trainable]
    if not norms:
        return 0
    # Dropout is off, as in inference; all layers with random noise keep their rate in `rate`.
    dropouts = [v for v in layers if "Dropout" in type(v).__name__ and hasattr(v, "rate")]
    momenta = [norm.momentum for norm in norms]
    rates = [layer.rate for layer in dropouts]
    count = 0
    try:
        for layer in dropouts:
            layer.rate = 0.0
        for batch in _batches(data, batch_size):
            for norm in norms:
                # Makes the moving average the plain average of the batches so far.
                norm.momentum = count / (count + 1)
            model(batch, training=True)
            count += 1
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for layer, rate in zip(dropouts, rates, strict=True):
            layer.rate = rate
    if not count:
        raise ValueError(f"`data` holds no batch. Received: data={data!r}")
    return len(norms)


def _batches(data: Any, batch_size: int) -> Iterator[Any]:
    if hasattr(data, "shape"):
        for start in range(0, data.shape[0], batch_size):
            yield data[start : start + batch_size]
    elif isinstance(data, Iterable):
        yield from data
    else:
        raise ValueError(
            "`data` must be an array or an iterable of batches of inputs. "
            f"Received: data={type(data)}"
        )
