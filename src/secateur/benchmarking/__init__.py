"""Measure `.tflite` models on real engines. Imports neither Keras nor a framework.

The function is `secateur.benchmark`; the package is called `benchmarking` so that the two cannot
stand in each other's way.
"""

from secateur.benchmarking.errors import BenchmarkError
from secateur.benchmarking.report import BenchmarkReport, Measurement, TargetResult
from secateur.benchmarking.run import benchmark
from secateur.benchmarking.targets import DEFAULT_TARGETS, TARGETS, get_target
from secateur.benchmarking.targets.base import Kernel

__all__ = [
    "DEFAULT_TARGETS",
    "TARGETS",
    "BenchmarkError",
    "BenchmarkReport",
    "Kernel",
    "Measurement",
    "TargetResult",
    "benchmark",
    "get_target",
]
