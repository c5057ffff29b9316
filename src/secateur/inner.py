"""What the engine has to know of the optimizers it wraps."""

import functools
from typing import Any

import keras
from keras import ops


def updates_of(optimizer: Any) -> Any:
    """How often an optimizer changed its variables: micro-batches do not count.

    A MultiOptimizer counts its calls; how many of them are micro-batches, its optimizers know.
    """
    inner = getattr(optimizer, "optimizers", None)
    if not inner:
        return optimizer.iterations
    return functools.reduce(ops.maximum, [each.iterations for each in inner])


def weight_copies(optimizer: Any, kernel: Any) -> list[Any]:
    """Returns the optimizer's own copies of a kernel, which would bring pruned weights back.

    EMA writes its averages into the model at the end; ScheduleFreeAdamW computes the weights from a
    sequence it keeps as `momentum`.
    """
    copies = []
    for inner in [optimizer, *getattr(optimizer, "optimizers", [])]:
        lists = []
        if getattr(inner, "use_ema", False):
            lists.append(inner._model_variables_moving_average)
        if isinstance(inner, keras.optimizers.ScheduleFreeAdamW):
            lists.append(inner._momentums)
        if lists:
            known = inner._trainable_variables_indices.get(inner._var_key(kernel))
            copies += [] if known is None else [values[known] for values in lists]
    return [copy for copy in copies if copy is not None]
