"""Policies: rules that check a model and say which of its layers are to be pruned."""

import abc
import warnings
from typing import Any

import keras

from secateur.xnnpack.verdict import Verdict, parts_at, verdict_on


class PruningPolicy(abc.ABC):
    """Says which layers to prune, and whether a model can be pruned at all.

    Give one to `secateur.prune(model, policy=...)` or to tfmot's `prune_low_magnitude`. Subclass it
    for a policy of your own. Where it has a method `check_targets(model, report)`, `secateur.prune`
    and `prune_once` call that with their `PruningReport`, whose `pruned` weights have their targets.

    Example:

    >>> import keras, secateur
    >>> class OnlyDense(secateur.PruningPolicy):
    ...     def allow_pruning(self, layer):
    ...         return isinstance(layer, keras.layers.Dense)
    ...     def ensure_model_supports_pruning(self, model):
    ...         pass
    >>> OnlyDense().allow_pruning(keras.layers.Conv2D(4, 3))
    False
    """

    @abc.abstractmethod
    def allow_pruning(self, layer: Any) -> bool:
        """Returns whether the weights of `layer` may be pruned."""
        raise NotImplementedError

    @abc.abstractmethod
    def ensure_model_supports_pruning(self, model: Any) -> None:
        """Raises a ValueError if the policy does not fit the model."""
        raise NotImplementedError


class PruneForLatencyOnXNNPack(PruningPolicy):
    """Prunes the 1x1 convolutions of models that XNNPACK can run sparse.

    Such a model begins with a 3x3 convolution of an image with 3 channels, stride 2, "valid" padding,
    after a `ZeroPadding2D` of 1, and ends with `GlobalAveragePooling2D`. In between there are only
    1x1 convolutions, depthwise convolutions 3x3 or 5x5, additions, multiplications, bilinear
    upsampling, pooling of whole images, and elementwise activations. `secateur.xnnpack.check` says
    what is in the way of a model, and `secateur.xnnpack.adapt` removes most of it.

    tfmot's policy of this name gives the same verdicts and messages, except that this one knows what
    XNNPACK does: it takes further activations, `SeparableConv2D`, models inside models and more, and
    refuses what XNNPACK would compute wrong, such as a subtraction. Every error has the reason and
    the fix as a note.

    Raises:
        ValueError: In `prune`, if the model cannot run sparse, naming what is in the way.

    Warns:
        UserWarning: In `prune`, if not more than two thirds of the weights that XNNPACK counts will
            be zero, so that it will run dense.

    Example:

    >>> import keras, secateur
    >>> policy = secateur.PruneForLatencyOnXNNPack()
    >>> [policy.allow_pruning(keras.layers.Conv2D(8, size)) for size in (1, 3)]
    [True, False]

    Reference:
        E. Elsen et al., "Fast sparse ConvNets", 2019. https://arxiv.org/abs/1911.09723
    """

    def allow_pruning(self, layer: Any) -> bool:
        """Returns whether the layer is, or ends in, a 1x1 convolution."""
        if isinstance(layer, keras.layers.SeparableConv2D):
            return True
        if isinstance(layer, keras.layers.Dense):
            return _reads_images(layer)
        return isinstance(layer, keras.layers.Conv2D) and tuple(layer.kernel_size) == (1, 1)

    def ensure_model_supports_pruning(self, model: Any) -> None:
        """Raises a ValueError if XNNPACK cannot run the model's 1x1 convolutions sparse."""
        if not isinstance(model, keras.Sequential | keras.Function):
            raise ValueError("Subclassed models are not supported currently.")
        if not model.built or not getattr(model, "outputs", None):
            raise ValueError("Unbuilt models are not supported currently.")
        verdict, operation, advice = verdict_on(model)
        if verdict is Verdict.GOOD:
            return
        error = ValueError(
            f"Layer {operation} is not supported for the {type(self).__name__} pruning policy"
            if verdict is Verdict.UNSUPPORTED
            else verdict.value
        )
        error.add_note(advice)
        raise error

    def check_targets(self, model: Any, report: Any) -> None:
        """Warns if the targets leave too few zeros for XNNPACK to run a part sparse."""
        targets = {w.path: report.target if w.target is None else w.target for w in report.pruned}
        for weights, zeros in parts_at(model, targets):
            if zeros * 3 <= weights * 2:
                warnings.warn(
                    f"XNNPACK runs 1x1 convolutions sparse only if more than two thirds of their "
                    f"weights are zero over a part of the network. Pruning to these targets makes "
                    f"{zeros:,} of {weights:,} zero, {zeros / weights:.1%}, so the part will run "
                    "dense. Aim higher, at 0.75 or above. "
                    f"Received: sparsity={report.target:.4g}",
                    stacklevel=4,
                )


def _reads_images(layer: Any) -> bool:
    """Whether a Dense layer works on every pixel of images, as a 1x1 convolution does."""
    inputs = [tensor for node in layer._inbound_nodes for tensor in node.input_tensors]
    return bool(inputs) and all(len(tensor.shape) == 4 for tensor in inputs)
