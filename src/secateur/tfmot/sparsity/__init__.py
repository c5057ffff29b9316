"""The counterpart of `tfmot.sparsity`."""

from secateur.tfmot.sparsity import keras

__all__ = ["keras"]
