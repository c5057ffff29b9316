"""Save a Keras model without what its training left behind."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any

from secateur.litert._files import atomic_path


def save_without_optimizer(model: Any, path: str | os.PathLike[str]) -> None:
    """Save a model to `.keras` or `.h5`: architecture and weights, no optimizer, loss or metrics.

    The state of an optimizer such as Adam is twice as large as the weights; leaving it out makes
    sizes of files comparable. The model itself stays compiled.

    Args:
        model: A built `keras.Model`.
        path: The file to write, ending in `.keras` or `.h5`.
    """
    logger = logging.getLogger("absl")  # says at each .h5 that the format is legacy
    level = logger.level
    with atomic_path(path) as temporary, _uncompiled(model):
        logger.setLevel(logging.ERROR)
        try:
            if temporary.suffix == ".keras":
                model.save(temporary)
            else:
                model.save(temporary, include_optimizer=False)
        finally:
            logger.setLevel(level)


@contextlib.contextmanager
def _uncompiled(model: Any) -> Iterator[None]:
    optimizer, compiled = getattr(model, "optimizer", None), getattr(model, "compiled", False)
    if not compiled:
        yield
        return
    model.optimizer, model.compiled = None, False
    try:
        yield
    finally:
        model.optimizer, model.compiled = optimizer, compiled
