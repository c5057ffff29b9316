"""LiteRT (`.tflite`) files: export, sizes, evaluation. Imports neither Keras nor TensorFlow."""

from secateur.litert.compare import VerificationError
from secateur.litert.convert import (
    QUANTIZE_MODES,
    ConversionError,
    convert_model,
    require_tensorflow,
)
from secateur.litert.evaluate import accuracy, predict
from secateur.litert.exporter import export
from secateur.litert.flatbuffer import read_model, write_model
from secateur.litert.report import ExportReport, StoredWeight
from secateur.litert.running import RunError
from secateur.litert.sizes import Size, measure
from secateur.litert.storage import SPARSE_MODES, Storage
from secateur.litert.tensors import TensorInfo, kernel_sparsity, read_tensors

__all__ = [
    "QUANTIZE_MODES",
    "SPARSE_MODES",
    "ConversionError",
    "ExportReport",
    "RunError",
    "Size",
    "Storage",
    "StoredWeight",
    "TensorInfo",
    "VerificationError",
    "accuracy",
    "convert_model",
    "export",
    "kernel_sparsity",
    "measure",
    "predict",
    "read_model",
    "read_tensors",
    "require_tensorflow",
    "write_model",
]
