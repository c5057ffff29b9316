"""What XNNPACK runs sparse: checks and repairs of models, and the rules behind them.

Importing it, and checking a `.tflite` file, needs neither Keras nor TensorFlow.
"""

from secateur.xnnpack.adapting import adapt
from secateur.xnnpack.check import check
from secateur.xnnpack.explicit_padding import explicit_padding
from secateur.xnnpack.plan import SparsePlan, sparse_weights
from secateur.xnnpack.report import THRESHOLD, EligibilityReport, OperationReport, PartReport
from secateur.xnnpack.rules import FIXES, Reason

__all__ = [
    "FIXES",
    "THRESHOLD",
    "EligibilityReport",
    "OperationReport",
    "PartReport",
    "Reason",
    "SparsePlan",
    "adapt",
    "check",
    "explicit_padding",
    "sparse_weights",
]
