"""Checks of Keras models and `.tflite` files."""

from __future__ import annotations

import os
from typing import Any

from secateur.xnnpack.diagnosis import diagnose
from secateur.xnnpack.graph import Graph
from secateur.xnnpack.report import EligibilityReport, OperationReport, PartReport


def check(model: Any) -> EligibilityReport:
    """Says which layers of a model XNNPACK runs sparse, and what to do about the others.

    XNNPACK, the engine of LiteRT on phones and in browsers, runs 1x1 convolutions sparse only in a
    part of a network that begins with a 3x3 convolution of an image, stride 2, one pixel padded on
    every side, that ends in global average pooling (or depth to space), and that has nothing in
    between but certain operations; and only if more than two thirds of the weights of its 1x1
    convolutions are zero.

    Args:
        model: A Sequential or functional Keras model, of any backend, pruned or not; or the path or
            the bytes of a `.tflite` file, which needs neither Keras nor TensorFlow. A Keras model is
            judged by the file that `secateur.export` will make of it.

    Returns:
        An `EligibilityReport`: each layer or operation, why it does not run sparse, and the fix.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the model is subclassed or not built, or the file is damaged.
        TypeError: If it is neither model nor file.

    Example:

    >>> import keras, secateur
    >>> from keras import layers
    >>> model = keras.Sequential([
    ...     keras.Input((32, 32, 3)),
    ...     layers.ZeroPadding2D(1), layers.Conv2D(8, 3, strides=2, activation="relu"),
    ...     layers.Conv2D(16, 1), layers.GlobalAveragePooling2D(), layers.Dense(10),
    ... ])
    >>> report = secateur.xnnpack.check(model)
    >>> report.eligible, report.runs_sparse
    (True, False)
    >>> secateur.prune_once(model, sparsity=0.8, policy=secateur.PruneForLatencyOnXNNPack()).sparsity
    0.796875
    >>> secateur.xnnpack.check(model).runs_sparse
    True
    """
    if isinstance(model, str | os.PathLike | bytes):
        return _check_file(model)
    import keras

    if not isinstance(model, keras.Model):
        raise TypeError(
            "Expected a Keras model, or the path or bytes of a .tflite file. "
            f"Received: model={model!r}"
        )
    from secateur.xnnpack.from_keras import graph_of

    return _report(model.name, [graph_of(model)])


def _check_file(file: str | os.PathLike[str] | bytes) -> EligibilityReport:
    from secateur.litert.flatbuffer import read_model
    from secateur.xnnpack.from_tflite import graphs_of

    name = f"{len(file)} bytes" if isinstance(file, bytes) else os.path.basename(os.fspath(file))
    return _report(name, graphs_of(read_model(file)))


def _report(name: str, graphs: list[Graph]) -> EligibilityReport:
    operations: list[OperationReport] = []
    parts: list[PartReport] = []
    for graph in graphs:
        found, can_run = diagnose(graph, len(parts))
        operations += found
        parts += can_run
    return EligibilityReport(name, operations, parts)
