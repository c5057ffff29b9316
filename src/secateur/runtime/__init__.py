"""A sparse runtime for the CPU: LiteRT's `Interpreter` for pruned models, several times faster.

Imports neither Keras nor TensorFlow. The names below are loaded on first use.
"""

from secateur._lazy import lazy

_HOME = {
    "Interpreter": "interpreter",
    "LayerTime": "profile",
    "Plan": "plan",
    "PlannedLayer": "plan",
    "Profile": "profile",
    "Reason": "_reasons",
    "SignatureRunner": "signature",
}

__getattr__, __dir__, __all__ = lazy(__name__, _HOME)
