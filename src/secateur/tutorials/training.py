"""What the walkthroughs share: compile, train, and log for TensorBoard."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import keras
import numpy as np

import secateur
from secateur.litert._quiet import captured_stderr
from secateur.tutorials.progress import Stages

VALIDATION_SPLIT = 0.1


def set_seed(seed: int) -> None:
    """Seed all random numbers, quietly: Keras imports TensorFlow for its seed, which is talkative."""
    with captured_stderr():
        keras.utils.set_random_seed(seed)


def compile_classifier(model: keras.Model) -> None:
    """Compile a model of one logit a class with a fresh Adam."""
    model.compile(
        optimizer=keras.optimizers.Adam(),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )


def fit(
    model: keras.Model,
    x: np.ndarray,
    y: np.ndarray,
    epochs: int,
    batch_size: int,
    stages: Stages,
    callbacks: list[Any] | None = None,
) -> None:
    """Train with a tenth of the data for validation, and show the progress."""
    with stages.training(epochs) as bars:
        model.fit(
            x,
            y,
            epochs=epochs,
            batch_size=batch_size,
            validation_split=VALIDATION_SPLIT,
            callbacks=[*bars, *(callbacks or [])],
            verbose=0,
        )


def summaries(log_dir: Path, stages: Stages) -> list[Any]:
    """The callback that logs the sparsity for TensorBoard, where TensorBoard is installed."""
    if importlib.util.find_spec("tensorboard") is None:
        stages.say(
            "  TensorBoard is not installed, so no logs are written. To have them, run "
            'pip install "secateur[tensorboard]".'
        )
        return []
    return [secateur.PruningSummaries(str(log_dir), update_freq="epoch")]


def check_epochs(**given: int) -> None:
    """Raise a ValueError where a number of epochs is not positive."""
    for name, value in given.items():
        if value < 1:
            raise ValueError(f"At least one epoch is needed. Received: {name}={value}")
