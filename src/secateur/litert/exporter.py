"""Write a Keras model to a `.tflite` file and measure what was written."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from secateur.litert._files import check_folder, write_atomic
from secateur.litert._quiet import captured_stderr
from secateur.litert.convert import check_quantize, convert_model
from secateur.litert.evaluate import open_interpreter
from secateur.litert.report import ExportReport
from secateur.litert.signature import InputSpec, signature_of
from secateur.litert.sizes import measure
from secateur.litert.tensors import read_tensors

# What stands in for an open batch size, and for other open dimensions, in the comparison.
_BATCH, _LENGTH = 4, 32


def export(model: Any, path: str | os.PathLike[str], quantize: str | None = None) -> ExportReport:
    """Export a Keras model of any backend to a `.tflite` file.

    The file appears whole or not at all, and the same model gives the same bytes. Its batch size
    is open unless the model fixes one. Needs TensorFlow, also where the model runs on JAX or
    PyTorch: it is then converted by a child process.

    Args:
        model: A built `keras.Model`: Sequential, functional or subclassed. It need not be
            compiled, and stays as it is.
        path: The file to write, ending in `.tflite`; one that is there is replaced.
        quantize: None keeps float32, "float16" stores the weights as halves, "dynamic" as int8.

    Returns:
        An `ExportReport` with the sizes, the sparsity of each weight in the file, and the
        largest difference between the outputs of the file and of the Keras model.

    Raises:
        ValueError: If `path` does not end in `.tflite`, `quantize` is unknown, or the model is
            not built.
        FileNotFoundError: If the folder of `path` does not exist.
        ImportError: If TensorFlow is not installed.
        ConversionError: If TensorFlow's converter fails.

    Example:
        >>> import keras, secateur
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> report = secateur.export(model, "model.tflite")  # doctest: +SKIP
        >>> print(report)  # doctest: +SKIP
        Exported to model.tflite
          size: 1,052 bytes, 653 gzipped
    """
    path = Path(path)
    check_quantize(quantize)
    check_target(path)
    data = convert_model(model, quantize)
    difference, note = _compare(model, data)
    write_atomic(path, data)
    size = measure(data)
    return ExportReport(
        path=str(path),
        bytes=size.bytes,
        gzip_bytes=size.gzip_bytes,
        quantize=quantize,
        tensors=tuple(read_tensors(data)),
        max_difference=difference,
        note=note,
    )


def check_target(path: Path) -> None:
    """Raise where a `.tflite` file cannot be written to a path, before the long work begins."""
    if path.suffix != ".tflite":
        raise ValueError(
            f"The file to export to must have the suffix .tflite. Received: path={str(path)!r}"
        )
    check_folder(path)


def _compare(model: Any, data: bytes) -> tuple[float | None, str]:
    """The largest difference between the two models' outputs, or None and the reason."""
    signature = signature_of(model)
    generator = np.random.default_rng(0)
    values = [_random(spec, generator) for spec in signature.inputs]
    try:
        expected = _keras_outputs(signature.call(model, *values))
        runner = open_interpreter(data).get_signature_runner()
        names = [spec.name for spec in signature.inputs]
        with captured_stderr():  # the runtime announces its CPU delegate
            actual = runner(**dict(zip(names, values, strict=True)))
        found = [actual[name] for name in sorted(actual, key=_position)]
        pairs = zip(expected, found, strict=True)
        return max(float(np.max(np.abs(a - b), initial=0.0)) for a, b in pairs), ""
    except Exception as error:  # the file is good; only this measurement failed
        return None, f"not compared ({type(error).__name__}: {error})".splitlines()[0]


def _keras_outputs(outputs: Any) -> list[np.ndarray]:
    """A model's outputs in the order of the file's signature: by key, or by position."""
    import keras

    return [
        np.asarray(keras.ops.convert_to_numpy(output), np.float64)
        for output in keras.tree.flatten(outputs)
    ]


def _random(spec: InputSpec, generator: np.random.Generator) -> np.ndarray:
    """Random input between 0 and 1, which is safe for token numbers too."""
    open_lengths = (_BATCH, *[_LENGTH] * len(spec.shape))
    shape = [have or stand_in for have, stand_in in zip(spec.shape, open_lengths, strict=False)]
    kind = np.dtype(spec.dtype).kind
    values = generator.random(shape) if kind == "f" else generator.integers(0, 2, shape)
    return np.asarray(values, dtype=spec.dtype)


def _position(name: str) -> tuple[int, str]:
    """Sort `output_10` behind `output_9`, and named outputs by name, as Keras flattens them."""
    numbered = re.fullmatch(r"output_(\d+)", name)
    return (int(numbered[1]), "") if numbered else (0, name)
