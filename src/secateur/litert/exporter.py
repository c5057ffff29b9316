"""Write a Keras model, or a smaller copy of a `.tflite` file, and prove what was written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from secateur.litert._files import check_folder, write_atomic
from secateur.litert._paths import read_bytes
from secateur.litert.compare import Comparison, Reference, compare, in_order
from secateur.litert.convert import check_quantize, convert_model
from secateur.litert.flatbuffer import read_model
from secateur.litert.graph import text
from secateur.litert.report import ExportReport, StoredWeight
from secateur.litert.representative import Sample, samples_of
from secateur.litert.running import Call, Run, RunError, entries, random_call, run_files
from secateur.litert.shrink import SparseFile, dense_file, sparse_file
from secateur.litert.signature import InputSpec, signature_of
from secateur.litert.sizes import measure
from secateur.litert.storage import SPARSE_MODES
from secateur.litert.tensors import read_tensors, tensor_info
from secateur.litert.weights import stored_bytes

# So many samples of the given data are run beside the random one.
_SAMPLES = 4


def export(
    model: Any,
    path: str | os.PathLike[str],
    quantize: str | None = None,
    sparse: str = "auto",
    representative_data: Any = None,
) -> ExportReport:
    """Export a Keras model of any backend, or a smaller copy of a `.tflite` file.

    The file appears whole or not at all, and the same model gives the same bytes. Names of inputs,
    outputs and signatures are kept; the batch size is open unless the model fixes one. Before it is
    written, a file with sparse weights is run beside the same file with dense ones.

    A Keras model needs TensorFlow for the conversion, also where it runs on JAX or PyTorch: it is
    then converted by a child process. A `.tflite` file needs neither Keras nor TensorFlow.

    Args:
        model: A built `keras.Model`: Sequential, functional or subclassed, compiled or not; it stays
            as it is. Or the path of a `.tflite` file, whoever made it.
        path: The file to write, ending in `.tflite`; one that is there is replaced.
        quantize: How the weights are stored, and what is computed with:

            - None: as they are, float32 in a Keras model;
            - "float16": as halves, computed with as float32;
            - "weights": as int8 with a scale for each channel, computed with as float32;
            - "dynamic": as int8, multiplied as int8 with inputs that are quantized on the fly;
            - "int8": as int8, as are all numbers between layers. Inputs and outputs stay float32.

            The last two are TensorFlow's doing, so they take a Keras model.
        sparse: Which weights are stored without their zeros. "auto": those that then run faster:
            1x1 convolutions that XNNPACK, LiteRT's engine on CPUs, has sparse kernels for, on phones
            and in browsers; and large float32 matrices with 90 % zeros in blocks of four inputs
            (`secateur.Block((4, 1))` for Dense), which LiteRT multiplies sparse on any processor.
            "always": in addition those that take fewer bytes so; loading takes longer. "never": none.
        representative_data: Samples of what the model is fed with; needed for "int8", else run to
            prove the file. An array with a row for each sample, or one for each input in a
            dictionary or tuple; or an iterable of samples. At most 1,000 are used.

    Returns:
        An `ExportReport`: sizes, how each weight is stored and why, what runs sparse, and how far
        the outputs are from those of the model.

    Raises:
        ValueError: If an option is unknown, LiteRT cannot run the combination, the path does not end
            in `.tflite`, the model is not built, or a `.tflite` file is damaged.
        FileNotFoundError: If the `.tflite` file, or the folder of `path`, does not exist.
        ImportError: If TensorFlow is needed and not installed.
        ConversionError: If TensorFlow's converter fails.
        VerificationError: If the file with sparse weights computes something else than the dense
            one. Nothing is written then.

    Example:
        >>> import keras, secateur
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> report = secateur.export(model, "model.tflite")  # doctest: +SKIP
        >>> print(report)  # doctest: +SKIP
        Exported to model.tflite
          size: 1,052 bytes, 653 gzipped
    """
    path = Path(path)
    check_options(quantize, sparse)
    check_target(path)
    if isinstance(model, (str, os.PathLike, bytes)):
        source = model if isinstance(model, bytes) else _read_tflite(model)
        _check_file_mode(quantize)
        dense = dense_file(source, quantize)
        calls = _calls(dense)
        samples = _samples(
            representative_data, [spec for _, spec in entries(read_model(dense))][:1]
        )
        reference, compared_with = _file_reference(source), "the given file's output"
    else:
        inputs = signature_of(model).inputs
        samples = [] if representative_data is None else samples_of(representative_data, inputs)
        dense = convert_model(model, quantize, samples or None)
        calls = _calls(dense)
        reference, compared_with = _keras_reference(model, dense), "Keras' output"
    calls += [Call(calls[0].signature, sample) for sample in samples[:_SAMPLES] if calls]
    written = sparse_file(dense, sparse)
    found = compare(dense, written.data, calls, reference)
    write_atomic(path, written.data)
    return _report(path, quantize, sparse, dense, written, found, compared_with)


def check_options(quantize: str | None, sparse: str) -> None:
    """Raise a ValueError where an option is unknown, or LiteRT cannot run the combination."""
    check_quantize(quantize)
    if sparse not in SPARSE_MODES:
        modes = ", ".join(f'"{mode}"' for mode in SPARSE_MODES)
        raise ValueError(
            f"Weights are stored sparsely in one of these ways: {modes}. Received: sparse={sparse!r}"
        )
    if quantize == "dynamic" and sparse == "always":
        raise ValueError(
            "LiteRT does not run sparse weights with dynamic range quantization: it fails to load "
            "the file, or computes with the wrong numbers. Use "
            'quantize="weights", which is as small and runs sparse, or sparse="auto", which keeps '
            f"the weights dense. Received: quantize={quantize!r}, sparse={sparse!r}"
        )


def check_target(path: Path) -> None:
    """Raise where a `.tflite` file cannot be written to a path, before the long work begins."""
    if path.suffix != ".tflite":
        raise ValueError(
            f"The file to export to must have the suffix .tflite. Received: path={str(path)!r}"
        )
    check_folder(path)


def _read_tflite(path: str | os.PathLike[str]) -> bytes:
    if Path(path).suffix in (".keras", ".h5", ".hdf5"):
        raise ValueError(
            "A Keras file must be loaded first: secateur.export(keras.saving.load_model(path), ...), "
            f"or `secateur export` on the command line. Received: model={os.fspath(path)!r}"
        )
    return read_bytes(path)


def _check_file_mode(quantize: str | None) -> None:
    if quantize in ("dynamic", "int8"):
        raise ValueError(
            f'A .tflite file cannot be quantized as "{quantize}" any more: TensorFlow\'s converter '
            'does that, and it takes a Keras model. Use "weights" or "float16", or export the Keras '
            f"model. Received: quantize={quantize!r}"
        )


def _calls(data: bytes) -> list[Call]:
    """A random inference for each signature of a file; none where it takes more than numbers."""
    try:
        return [random_call(name, inputs) for name, inputs in entries(read_model(data))]
    except RunError:
        return []


def _samples(data: Any, inputs: Sequence[Sequence[InputSpec]]) -> list[Sample]:
    return [] if data is None or not inputs else samples_of(data, inputs[0])


def _keras_reference(model: Any, data: bytes) -> Reference:
    """Computes a Keras model's outputs under the names that they have in its file."""
    import keras

    signature = signature_of(model)
    outputs = read_model(data).signatureDefs[0].outputs
    names = in_order([text(entry.name) for entry in outputs])

    def reference(call: Call) -> dict[str, np.ndarray]:
        found = signature.call(model, *(call.inputs[spec.name] for spec in signature.inputs))
        arrays = [keras.ops.convert_to_numpy(array) for array in keras.tree.flatten(found)]
        return dict(zip(names, arrays, strict=True))

    return reference


def _file_reference(data: bytes) -> Reference:
    """Runs the file that was given."""
    return lambda call: run_files([Run(data)], [call])[0][0]


def _report(
    path: Path,
    quantize: str | None,
    sparse: str,
    dense: bytes,
    written: SparseFile,
    found: Comparison,
    compared_with: str,
) -> ExportReport:
    from secateur.xnnpack import check

    model, size, dense_size = read_model(written.data), measure(written.data), measure(dense)
    weights = []
    for decision in written.decisions:
        tensor = model.subgraphs[decision.weight.graph].tensors[decision.weight.constant]
        layout = written.layouts.get(decision.key)
        info = tensor_info(model, tensor)
        if info is not None:
            weights.append(
                StoredWeight(
                    **{field.name: getattr(info, field.name) for field in fields(info)},
                    bytes=stored_bytes(model, tensor),
                    layout="dense" if layout is None else str(layout),
                    reason=decision.reason,
                )
            )
    return ExportReport(
        path=str(path),
        bytes=size.bytes,
        gzip_bytes=size.gzip_bytes,
        quantize=quantize,
        tensors=tuple(read_tensors(written.data)),
        max_difference=found.from_model,
        note=found.note,
        sparse=sparse,
        dense_bytes=dense_size.bytes,
        dense_gzip_bytes=dense_size.gzip_bytes,
        weights=tuple(weights),
        dense_difference=found.from_dense,
        dense_relative_difference=found.from_dense_relative,
        compared_with=compared_with,
        eligibility=check(written.data),
    )
