"""Keras models to `.tflite` bytes, by TensorFlow's converter.

The converter needs the TensorFlow backend. A model of another backend is saved to a temporary
file and converted in a child process, which gives the same bytes.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from secateur.litert._quiet import captured_stderr, tail
from secateur.litert._saving import save_without_optimizer
from secateur.litert.signature import Signature, signature_of

#: What `quantize` may be. "float16" stores the weights as halves, "dynamic" as int8.
QUANTIZE_MODES = (None, "float16", "dynamic")


class ConversionError(RuntimeError):
    """TensorFlow's converter could not convert a model; the message holds what it said."""


def convert_model(model: Any, quantize: str | None = None) -> bytes:
    """Convert a Keras model of any backend to the bytes of a `.tflite` file.

    The same model gives the same bytes every time.

    Args:
        model: A built `keras.Model`: Sequential, functional or subclassed. On JAX and PyTorch,
            custom classes of it must live in a module that can be imported, because the
            conversion runs in a process of its own.
        quantize: None keeps float32, "float16" stores the weights as halves, "dynamic" stores
            them as int8 and computes in int8 where the runtime can (post-training dynamic
            range quantization).

    Returns:
        The flatbuffer.

    Raises:
        ValueError: If `quantize` is unknown or the model is not built.
        ImportError: If TensorFlow is not installed.
        ConversionError: If the converter fails.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> convert_model(model)[4:8]  # doctest: +SKIP
        b'TFL3'
    """
    import keras

    check_quantize(quantize)
    signature = signature_of(model)
    backend = keras.config.backend()
    require_tensorflow()
    if backend == "tensorflow":
        return _convert_here(model, signature, quantize)
    return _convert_in_child(model, quantize, backend)


def require_tensorflow() -> None:
    """Raise an ImportError with the command to install TensorFlow, where it is missing."""
    if importlib.util.find_spec("tensorflow") is None:
        raise ImportError(
            "A .tflite file is made by TensorFlow's converter, and TensorFlow is not installed. "
            "It is needed for the export only; the model may stay on JAX or PyTorch. Install it "
            'with `pip install "secateur[tensorflow]"`. Received: tensorflow=None'
        )


def check_quantize(quantize: str | None) -> None:
    """Raise a ValueError where a quantization mode is unknown."""
    if quantize not in QUANTIZE_MODES:
        modes = ", ".join(repr(mode).replace("'", '"') for mode in QUANTIZE_MODES)
        raise ValueError(
            f"There is no such quantization mode. Expected one of {modes}. "
            f"Received: quantize={quantize!r}"
        )


def _convert_here(model: Any, signature: Signature, quantize: str | None) -> bytes:
    """Convert a model that runs on the TensorFlow backend."""
    import keras

    failure: Exception | None = None
    with tempfile.TemporaryDirectory() as folder, captured_stderr() as log:
        try:
            import tensorflow as tf

            archive = keras.export.ExportArchive()
            archive.track(model)
            archive.add_endpoint(
                "serve",
                lambda *tensors: signature.call(model, *tensors),
                input_signature=[
                    keras.InputSpec(shape=spec.shape, dtype=spec.dtype, name=spec.name)
                    for spec in signature.inputs
                ],
            )
            archive.write_out(folder, verbose=False)
            converter = tf.lite.TFLiteConverter.from_saved_model(folder)
            if quantize is not None:
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
            if quantize == "float16":
                converter.target_spec.supported_types = [tf.float16]
            return bytes(converter.convert())
        except Exception as error:
            failure = error
    said = tail(f"{log.text}\n{type(failure).__name__}: {failure}")
    raise ConversionError(
        f"TensorFlow's converter could not convert the model. It said:\n{said}\n"
        "Where it names operations that need Select TF ops, replace the layer they come from. "
        "Recurrent layers (TensorList operations) convert with a fixed batch size, "
        "keras.Input(..., batch_size=1), or with unroll=True. "
        f"Received: model={model.name!r}, quantize={quantize!r}"
    ) from failure


def _convert_in_child(model: Any, quantize: str | None, backend: str) -> bytes:
    """Convert a model of another backend in a process that runs TensorFlow's."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "model.keras"), Path(folder, "model.tflite")
        save_without_optimizer(model, source)
        environment = {
            **os.environ,
            "KERAS_BACKEND": "tensorflow",
            "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
            "CUDA_VISIBLE_DEVICES": "",  # this process may hold all of the GPU's memory
            "XLA_FLAGS": "",  # JAX's flags, which may be unknown to TensorFlow's XLA
            "TF_CPP_MIN_LOG_LEVEL": "2",
        }
        child = "from secateur.litert._child import main; main()"
        done = subprocess.run(
            [sys.executable, "-P", "-c", child, str(source), str(target), quantize or ""],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode == 0 and target.is_file():
            return target.read_bytes()
    raise ConversionError(
        f"The model runs on {backend}, so it was converted by a child process with the "
        f"TensorFlow backend, which failed with exit code {done.returncode}:\n"
        f"{tail(done.stderr)}\n"
        "Custom layers must be classes of a module that can be imported (not of a notebook or of "
        "the script that is running), decorated with @keras.saving.register_keras_serializable() "
        "and written with keras.ops, so that they run on every backend. "
        f"Received: model={model.name!r}, quantize={quantize!r}"
    )
