"""A sparse runtime for the CPU: LiteRT's `Interpreter` for pruned models, several times faster.

Imports neither Keras nor TensorFlow.
"""

from secateur.runtime._terms import Reason
from secateur.runtime.interpreter import Interpreter
from secateur.runtime.plan import Plan, PlannedLayer
from secateur.runtime.profile import LayerTime, Profile
from secateur.runtime.signature import SignatureRunner

__all__ = [
    "Interpreter",
    "LayerTime",
    "Plan",
    "PlannedLayer",
    "Profile",
    "Reason",
    "SignatureRunner",
]
