"""Every file of a walkthrough, read back and measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

import secateur
from secateur import litert
from secateur.tutorials.result import FileRow

PREDICT_BATCH = 1000


def measure_files(
    folder: Path,
    files: Mapping[str, str],
    x: np.ndarray,
    y: np.ndarray,
    baseline: str,
    compressed: bool,
) -> tuple[FileRow, ...]:
    """Measure each file's sizes, its accuracy, and its zeros.

    Args:
        folder: Where the files are.
        files: The name of each file, and of the model it holds.
        x: The test images, scaled as in training.
        y: Their labels.
        baseline: The file with which the sizes are compared.
        compressed: Whether the sizes compared are those of the gzipped files.

    Returns:
        A row a file.
    """

    def size_of(name: str) -> int:
        size = litert.measure(folder / name)
        return size.gzip_bytes if compressed else size.bytes

    rows = []
    for name, model in files.items():
        path = folder / name
        size = litert.measure(path)
        accuracy, sparsity = _accuracy_and_sparsity(path, x, y)
        rows.append(
            FileRow(
                model=model,
                file=name,
                bytes=size.bytes,
                gzip_bytes=size.gzip_bytes,
                times_smaller=size_of(baseline) / size_of(name),
                accuracy=accuracy,
                sparsity=sparsity,
            )
        )
    return tuple(rows)


def _accuracy_and_sparsity(path: Path, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    if path.suffix == ".tflite":
        accuracy = litert.accuracy(path, x, y, batch_size=PREDICT_BATCH)
        return accuracy, litert.kernel_sparsity(litert.read_tensors(path))
    model = keras.saving.load_model(path, compile=False)
    scores = model.predict(x, batch_size=PREDICT_BATCH, verbose=0)
    return float(np.mean(scores.argmax(axis=1) == y)), secateur.sparsity(model).sparsity
