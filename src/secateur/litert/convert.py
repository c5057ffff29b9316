"""Keras models to `.tflite` bytes, by TensorFlow's converter.

The converter needs the TensorFlow backend. A model of another backend is saved to a temporary
file and converted in a child process, which gives the same bytes.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from secateur.litert._process import spawn
from secateur.litert._quiet import captured_stderr, tail
from secateur.litert._saving import save_without_optimizer
from secateur.litert.representative import Sample, samples_of, save_samples
from secateur.litert.shrink import dense_file
from secateur.litert.signature import Signature, signature_of

#: What `quantize` may be.
QUANTIZE_MODES = (None, "float16", "weights", "dynamic", "int8")
# Those that the converter sees to; the others are made of a float32 file.
_CONVERTER_MODES = ("dynamic", "int8")


class ConversionError(RuntimeError):
    """TensorFlow's converter could not convert a model; the message holds what it said."""


def convert_model(
    model: Any, quantize: str | None = None, representative_data: Any = None
) -> bytes:
    """Convert a Keras model of any backend to the bytes of a `.tflite` file, its weights dense.

    The same model gives the same bytes every time.

    Args:
        model: A built `keras.Model`: Sequential, functional or subclassed. On JAX and PyTorch,
            custom classes of it must live in a module that can be imported, because the
            conversion runs in a process of its own.
        quantize: How weights are stored and computed with; see `secateur.export`.
        representative_data: What the model is fed with, for "int8"; see `secateur.export`.

    Returns:
        The flatbuffer.

    Raises:
        ValueError: If `quantize` is unknown, the model is not built, or the representative data is
            missing or does not fit.
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
    samples: list[Sample] = []
    if quantize == "int8":
        if representative_data is None:
            raise ValueError(
                'quantize="int8" needs to see what the model is fed with, to learn how large the '
                "numbers between its layers become. Give a hundred or so samples, "
                "representative_data=x_train[:100], or --representative samples.npz on the command "
                "line. Received: representative_data=None"
            )
        samples = samples_of(representative_data, signature.inputs)
    backend = keras.config.backend()
    require_tensorflow()
    mode = quantize if quantize in _CONVERTER_MODES else None
    if backend == "tensorflow":
        data = convert_here(model, signature, mode, samples)
    else:
        data = _convert_in_child(model, mode, samples, backend)
    return dense_file(data, None if mode else quantize, converted=True)


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


def convert_here(
    model: Any, signature: Signature, quantize: str | None, samples: Sequence[Sample]
) -> bytes:
    """Convert a model that runs on the TensorFlow backend.

    Args:
        model: The model.
        signature: Its inputs.
        quantize: None, "dynamic" or "int8".
        samples: What it is fed with, for "int8".

    Returns:
        What the converter wrote.

    Raises:
        ConversionError: If the converter fails.
    """
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
            if quantize == "int8":
                converter.representative_dataset = lambda: _feed(samples)
                converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            return bytes(converter.convert())
        except Exception as error:
            failure = error
    said = tail(f"{log.text}\n{type(failure).__name__}: {failure}")
    raise ConversionError(
        f"TensorFlow's converter could not convert the model. It said:\n{said}\n"
        "Where it names operations that need Select TF ops, or that have no int8 form, replace the "
        "layer they come from. "
        "Recurrent layers (TensorList operations) convert with a fixed batch size, "
        "keras.Input(..., batch_size=1), or with unroll=True. "
        f"Received: model={model.name!r}, quantize={quantize!r}"
    ) from failure


def _feed(samples: Sequence[Sample]) -> Iterator[Sample]:
    yield from samples


def _convert_in_child(
    model: Any, quantize: str | None, samples: Sequence[Sample], backend: str
) -> bytes:
    """Convert a model of another backend in a process that runs TensorFlow's."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "model.keras"), Path(folder, "model.tflite")
        save_without_optimizer(model, source)
        save_samples(Path(folder, "samples.npz"), samples)
        environment = {
            "KERAS_BACKEND": "tensorflow",
            "CUDA_VISIBLE_DEVICES": "",  # this process may hold all of the GPU's memory
            "XLA_FLAGS": "",  # JAX's flags, which may be unknown to TensorFlow's XLA
            "TF_CPP_MIN_LOG_LEVEL": "2",
        }
        done = spawn("secateur.litert._child", [folder, quantize or ""], environment)
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
