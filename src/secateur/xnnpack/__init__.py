"""What XNNPACK runs sparse: checks and repairs of models, and the rules behind them.

Importing it, and checking a `.tflite` file, needs neither Keras nor TensorFlow.
"""

from secateur.xnnpack.plan import SparsePlan, sparse_weights
from secateur.xnnpack.rules import FIXES, Reason

__all__ = ["FIXES", "Reason", "SparsePlan", "sparse_weights"]
