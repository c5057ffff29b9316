"""LiteRT (`.tflite`) files: export, sizes, evaluation. Imports neither Keras nor TensorFlow."""

from secateur.litert.convert import (
    QUANTIZE_MODES,
    ConversionError,
    convert_model,
    require_tensorflow,
)
from secateur.litert.evaluate import accuracy, predict
from secateur.litert.exporter import export
from secateur.litert.flatbuffer import read_model, write_model
from secateur.litert.report import ExportReport
from secateur.litert.sizes import Size, measure
from secateur.litert.tensors import TensorInfo, kernel_sparsity, read_tensors

__all__ = [
    "QUANTIZE_MODES",
    "ConversionError",
    "ExportReport",
    "Size",
    "TensorInfo",
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
