"""LiteRT (`.tflite`) files: export, sizes, evaluation. Imports neither Keras nor TensorFlow.

The names below are loaded on first use.
"""

from secateur._lazy import lazy

_HOME = {
    "QUANTIZE_MODES": "convert",
    "SPARSE_MODES": "storage",
    "ConversionError": "convert",
    "ExportReport": "report",
    "RunError": "running",
    "Size": "sizes",
    "Storage": "storage",
    "StoredWeight": "report",
    "TensorInfo": "tensors",
    "VerificationError": "compare",
    "accuracy": "evaluate",
    "convert_model": "convert",
    "export": "exporter",
    "kernel_sparsity": "tensors",
    "measure": "sizes",
    "predict": "evaluate",
    "read_model": "flatbuffer",
    "read_tensors": "tensors",
    "require_tensorflow": "convert",
    "write_model": "flatbuffer",
}

__getattr__, __dir__, __all__ = lazy(__name__, _HOME)
