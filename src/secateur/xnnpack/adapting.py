"""The door to `adaptation`, which loads Keras only when a model comes in."""

from __future__ import annotations

from typing import Any


def adapt(model: Any, allow_approximate: bool = False, data: Any = None) -> Any:
    """Rewrites a Keras model into an equivalent one whose 1x1 convolutions XNNPACK can run sparse.

    Use it before pruning. What has an exact form is rewritten to it: depthwise convolutions that are
    padded unevenly, squeeze-and-excite and heads built with Reshape, Dense on images, strided and
    grouped 1x1 convolutions, BatchNormalization behind activations, hard_sigmoid, ends that are none,
    and more (`docs/sparse_inference.md` has the list). A stem of stride 2 that is padded unevenly has
    none; with `allow_approximate` its window is moved by one pixel.

    The layers keep their names, weights and settings, and whether they are trainable; the model that
    is given stays as it is. The result is functional, on the same backend, and not compiled.

    Args:
        model: A Sequential or functional model.
        allow_approximate: Allow changes that are not exact: the stem's, and those of strided 5x5
            depthwise convolutions, whose exact form is slower. Fine-tune afterwards.
        data: Inputs as `model.predict` takes them, to report on how far the outputs differ. Without
            them, random images are used, and only if something is not exact.

    Returns:
        The model. Its attribute `adaptation` says what was changed, what of it is exact, how far the
        outputs differ, and what is still in the way; print it. Where no change helps, a copy of the
        model.

    Raises:
        ValueError: If the model is subclassed or not built.

    Example:

    >>> import keras, secateur
    >>> from keras import layers
    >>> model = keras.Sequential([
    ...     keras.Input((32, 32, 3)), layers.ZeroPadding2D(1), layers.Conv2D(8, 3, strides=2),
    ...     layers.DepthwiseConv2D(3, strides=2, padding="same", name="shrink"),
    ...     layers.Conv2D(16, 1), layers.GlobalAveragePooling2D(), layers.Dense(10),
    ... ])
    >>> secateur.xnnpack.check(model).eligible
    False
    >>> adapted = secateur.xnnpack.adapt(model)
    >>> secateur.xnnpack.check(adapted).eligible
    True
    >>> print(adapted.adaptation.changes[0].what)
    the 3x3 kernel inside one of 5x5, padded by 2 on every side
    """
    from secateur.xnnpack.adaptation.adapt import rewritten

    return rewritten(model, allow_approximate, data)
