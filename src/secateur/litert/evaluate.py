"""Run `.tflite` classifiers in LiteRT, a batch at a time.

They run in a child process: LiteRT may crash on a damaged file.
"""

from __future__ import annotations

import os

import numpy as np

from secateur.litert._paths import read_bytes
from secateur.litert.flatbuffer import read_model
from secateur.litert.graph import indices
from secateur.litert.running import Call, Run, RunError, entries, run_files
from secateur.litert.signature import InputSpec

# Seconds; the work may be long, and no user waits for ever.
_DAY = 86_400.0


def predict(
    file: str | os.PathLike[str] | bytes,
    x: np.ndarray,
    batch_size: int = 1000,
    num_threads: int | None = None,
) -> np.ndarray:
    """Run a `.tflite` model of one input and one output over many examples.

    The interpreter takes one example at a time by default, which is slow from Python; here its
    input is resized to a whole batch.

    Args:
        file: The path of a `.tflite` file, or its bytes.
        x: The examples, `(n, ...)`. Whole numbers are turned into the model's float input as
            they are: scale images as in training.
        batch_size: The number of examples a call.
        num_threads: The number of threads of the interpreter; by default its own choice.

    Returns:
        The outputs, `(n, ...)`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no `.tflite` model of one input and one output, or `x` does
            not fit it.

    Example:
        >>> logits = predict("model.tflite", x_test / 255)  # doctest: +SKIP
    """
    if batch_size < 1:
        raise ValueError(f"The batch size must be 1 or more. Received: batch_size={batch_size!r}")
    data = file if isinstance(file, bytes) else read_bytes(file)
    shown = f"{len(data)} bytes" if isinstance(file, bytes) else repr(os.fspath(file))
    x = _fit(np.asarray(x), _input(data, file))
    batches = [x[start : start + batch_size] for start in range(0, len(x), batch_size)]
    calls = [Call(None, {"0": np.ascontiguousarray(batch)}) for batch in batches]
    try:
        (outputs,) = run_files([Run(data, threads=num_threads)], calls, timeout=_DAY)
    except RunError as error:
        raise ValueError(
            f"LiteRT cannot run this file: it is damaged, or no .tflite file ({error}). "
            f"Received: file={shown}"
        ) from error
    return np.concatenate([output["0"] for output in outputs])


def accuracy(
    file: str | os.PathLike[str] | bytes,
    x: np.ndarray,
    y: np.ndarray,
    batch_size: int = 1000,
    num_threads: int | None = None,
) -> float:
    """The share of examples that a `.tflite` classifier labels correctly.

    Args:
        file: The path of a `.tflite` file, or its bytes. Its output is one score a class.
        x: The examples, scaled as in training.
        y: Their labels, whole numbers of shape `(n,)`.
        batch_size: The number of examples a call.
        num_threads: The number of threads of the interpreter; by default its own choice.

    Returns:
        0 to 1.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If file, `x` and `y` do not fit together.

    Example:
        >>> accuracy("model.tflite", x_test / 255, y_test)  # doctest: +SKIP
        0.9785
    """
    y = np.asarray(y)
    if y.shape != (len(x),):
        raise ValueError(
            f"Each example needs one label. Expected labels of shape ({len(x)},). "
            f"Received: y.shape={y.shape}"
        )
    scores = predict(file, x, batch_size, num_threads)
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise ValueError(
            "The accuracy is defined for classifiers with one score a class, of shape "
            f"(n, classes). Use predict() for other models. Received: output shape={scores.shape}"
        )
    return float(np.mean(scores.argmax(axis=1) == y))


def _input(data: bytes, file: str | os.PathLike[str] | bytes) -> InputSpec:
    """The input of a file that must have one input and one output."""
    model = read_model(file)  # LiteRT checks less
    graph = model.subgraphs[0]
    inputs, outputs = len(indices(graph.inputs)), len(indices(graph.outputs))
    if inputs != 1 or outputs != 1:
        raise ValueError(
            "Only models of one input and one output can be run over a set of examples. "
            f"Received: inputs={inputs}, outputs={outputs}"
        )
    try:
        ((_, (spec,)), *_) = entries(model)
    except RunError as error:
        raise ValueError(f"{error} Received: file={len(data)} bytes") from error
    return spec


def _fit(x: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Check the examples against the model's input and give them its dtype."""
    expected = tuple(-1 if length is None else length for length in spec.shape[1:])
    fits = x.ndim == len(expected) + 1 and all(
        want in (-1, have) for want, have in zip(expected, x.shape[1:], strict=True)
    )
    if not fits or not len(x):
        raise ValueError(
            f"The examples do not fit the model. Expected at least one, of shape (n, "
            f"{', '.join(map(str, expected))}) where -1 is any length. "
            f"Received: x.shape={x.shape}"
        )
    if not np.can_cast(x.dtype, spec.dtype, "same_kind"):
        raise ValueError(
            f"The examples have the wrong dtype. Expected {np.dtype(spec.dtype)}. "
            f"Received: x.dtype={x.dtype}"
        )
    return x.astype(spec.dtype, copy=False)
