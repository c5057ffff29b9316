"""Run `.tflite` classifiers in the LiteRT interpreter, a batch at a time."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from secateur.litert._quiet import captured_stderr
from secateur.litert.flatbuffer import read_model
from secateur.litert.sizes import read_bytes


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
    interpreter, entry, result = _open(file, num_threads)
    x = _fit(np.asarray(x), entry)
    outputs: list[np.ndarray] = []
    resized_to = 0
    for start in range(0, len(x), batch_size):
        batch = np.ascontiguousarray(x[start : start + batch_size])
        if len(batch) != resized_to:
            with captured_stderr():  # the runtime announces its CPU delegate
                interpreter.resize_tensor_input(entry["index"], batch.shape)
                interpreter.allocate_tensors()
            resized_to = len(batch)
        interpreter.set_tensor(entry["index"], batch)
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(result["index"]))
    return np.concatenate(outputs)


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


def open_interpreter(data: bytes, num_threads: int | None = None) -> Any:
    """Open LiteRT's interpreter on a flatbuffer, quietly.

    Raises:
        ValueError: If these are not the bytes of a `.tflite` file.
    """
    from ai_edge_litert.interpreter import Interpreter

    with captured_stderr():
        return Interpreter(model_content=data, num_threads=num_threads)


def _open(
    file: str | os.PathLike[str] | bytes, num_threads: int | None
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Open a file that must have one input and one output."""
    data = file if isinstance(file, bytes) else read_bytes(file)
    shown = f"{len(data)} bytes" if isinstance(file, bytes) else repr(os.fspath(file))
    read_model(file)  # LiteRT checks less, and would crash on what this refuses
    try:
        interpreter = open_interpreter(data, num_threads)
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"LiteRT cannot read this file: it is damaged, or no .tflite file ({error}). "
            f"Received: file={shown}"
        ) from error
    inputs, results = interpreter.get_input_details(), interpreter.get_output_details()
    if len(inputs) != 1 or len(results) != 1:
        raise ValueError(
            "Only models of one input and one output can be run over a set of examples. "
            f"Received: inputs={len(inputs)}, outputs={len(results)}"
        )
    return interpreter, inputs[0], results[0]


def _fit(x: np.ndarray, entry: dict[str, Any]) -> np.ndarray:
    """Check the examples against the model's input and give them its dtype."""
    expected = tuple(int(length) for length in entry["shape_signature"][1:])
    fits = x.ndim == len(expected) + 1 and all(
        want in (-1, have) for want, have in zip(expected, x.shape[1:], strict=True)
    )
    if not fits or not len(x):
        raise ValueError(
            f"The examples do not fit the model. Expected at least one, of shape (n, "
            f"{', '.join(map(str, expected))}) where -1 is any length. "
            f"Received: x.shape={x.shape}"
        )
    if not np.can_cast(x.dtype, entry["dtype"], "same_kind"):
        raise ValueError(
            f"The examples have the wrong dtype. Expected {np.dtype(entry['dtype'])}. "
            f"Received: x.dtype={x.dtype}"
        )
    return x.astype(entry["dtype"], copy=False)
