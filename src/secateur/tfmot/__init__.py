"""tfmot's pruning API for Keras 3, on TensorFlow, JAX and PyTorch.

A script that was written for the TensorFlow Model Optimization Toolkit runs with one changed line:

    import secateur.tfmot as tfmot

`tfmot.sparsity.keras` then holds the same 11 names, with the same arguments, defaults and error
texts. What differs is listed in docs/from_tfmot.md.
"""

from secateur.tfmot import sparsity

__all__ = ["sparsity"]
