"""What tfmot prunes: which layers are wrapped, and which of their weights are pruned."""

import abc
from typing import Any

import keras

from secateur import prunable
from secateur.report import Reason

# Layers without anything to prune that tfmot wraps nevertheless. They are wrapped here too, so that
# scripts find every layer of `model.layers` under the name and the type they expect.
_NAMES_OF_EMPTY = (
    "ELU LeakyReLU ReLU Softmax Cropping1D Cropping2D Cropping3D DepthwiseConv2D UpSampling1D "
    "UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D Activation "
    "ActivityRegularization Dropout Flatten Lambda Masking Permute RepeatVector Reshape "
    "SpatialDropout1D SpatialDropout2D SpatialDropout3D Add Average Concatenate Dot Maximum Minimum "
    "Multiply Subtract AlphaDropout GaussianDropout GaussianNoise BatchNormalization "
    "LayerNormalization AveragePooling1D AveragePooling2D AveragePooling3D GlobalAveragePooling1D "
    "GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D "
    "GlobalMaxPooling3D MaxPooling1D MaxPooling2D MaxPooling3D"
)
_EMPTY = frozenset(getattr(keras.layers, name) for name in _NAMES_OF_EMPTY.split())

# Layers with weights to prune, and their subclasses. tfmot knows the first two lines.
_NAMES_OF_PRUNED = (
    "Dense Conv1D Conv2D Conv2DTranspose Conv3D Conv3DTranspose SeparableConv1D SeparableConv2D "
    "Embedding MultiHeadAttention RNN SimpleRNN LSTM GRU "
    "EinsumDense Conv1DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Bidirectional TimeDistributed "
    "GroupQueryAttention SpectralNormalization"
)
_PRUNED = tuple(getattr(keras.layers, name) for name in _NAMES_OF_PRUNED.split())


class PrunableLayer(prunable.PrunableLayer):
    """A mixin for custom layers that say themselves which of their weights to prune.

    A layer that merely has the method is treated in the same way.

    Example:

    >>> import keras
    >>> import secateur.tfmot as tfmot
    >>> class BiasToo(keras.layers.Dense, tfmot.sparsity.keras.PrunableLayer):
    ...     def get_prunable_weights(self):
    ...         return [self.kernel, self.bias]
    >>> tfmot.sparsity.keras.prune_low_magnitude(BiasToo(4, name="head")).name
    'prune_low_magnitude_head'
    """

    @abc.abstractmethod
    def get_prunable_weights(self) -> list[Any]:
        """Returns the variables to prune, called once the layer is built."""
        raise NotImplementedError("Must be implemented in subclasses.")


def has_hook(layer: Any) -> bool:
    """Whether the layer says itself which of its weights to prune."""
    return isinstance(layer, PrunableLayer) or hasattr(layer, "get_prunable_weights")


def is_supported(layer: Any) -> bool:
    """Whether the layer may be wrapped: it has the hook, can be pruned, or is one of Keras' own."""
    return has_hook(layer) or isinstance(layer, _PRUNED) or _is_keras_layer(layer)


def is_wrapped(layer: Any) -> bool:
    """Whether the pruning of a whole model wraps the layer: if it can be pruned, or tfmot does."""
    return has_hook(layer) or isinstance(layer, _PRUNED) or type(layer) in _EMPTY


def prunable_weights(layer: Any) -> list[tuple[Any, int]]:
    """Returns the variables of a built layer that are pruned, each with its axis of input channels.

    The layer's own `get_prunable_weights` decides. Without it: kernels, pointwise kernels and
    recurrent kernels of the layer and all inside it, and embeddings; no biases, no depthwise
    kernels, nothing that is frozen.
    """
    candidates = prunable.candidates(layer)
    if has_hook(layer):
        axes = {id(c.variable): c.input_axis for c in candidates}
        asked = {id(v): v for v in layer.get_prunable_weights()}
        return [(v, axes.get(key, -min(len(v.shape), 2))) for key, v in asked.items()]
    return [(c.variable, c.input_axis) for c in candidates if c.reason in (None, Reason.EMBEDDING)]


def _is_keras_layer(layer: Any) -> bool:
    return type(layer).__module__.split(".")[0] == "keras"
