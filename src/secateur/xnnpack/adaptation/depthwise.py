"""Depthwise convolutions that XNNPACK refuses, in forms that it takes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from secateur.xnnpack.adaptation.editing import Editor, affine, grown, is_trainable, weights_of
from secateur.xnnpack.adaptation.windows import (
    fits,
    image_of,
    keeps_size,
    padding_of,
    radius_of,
    recentre,
    shift,
    without_padding_layer,
)
from secateur.xnnpack.keras_calls import Call, Tensor


def rewrite_depthwise(editor: Editor) -> None:
    """Rewrites depthwise convolutions wherever an exact form exists."""
    for call in editor.of(layers.SeparableConv2D):
        _split_separable(editor, call)
    for call in editor.of(layers.DepthwiseConv2D):
        if not fits(call, (1, 2), padding_of(editor, call)):
            recentre(editor, call, (1, 2)) or _divide(editor, call)


def shift_depthwise(editor: Editor) -> bool:
    """Moves the windows of strided depthwise convolutions with no cheap exact form by a pixel."""
    done = False
    for call in editor.of(layers.DepthwiseConv2D):
        layer = call.operation
        size, strides = tuple(layer.kernel_size), tuple(layer.strides)
        window = size in ((3, 3), (5, 5)) and strides == (2, 2) and layer.depth_multiplier == 1
        if window and tuple(layer.dilation_rate) == (1, 1) and not _has_exact_form(editor, call):
            done |= shift(editor, call)
    return done


def _has_exact_form(editor: Editor, call: Call) -> bool:
    padding = padding_of(editor, call)
    if padding is None:
        return False
    if fits(call, (1, 2), padding):
        return True
    radius = radius_of(call, (1, 2), padding)
    return radius is not None and keeps_size(call, image_of(editor, call))


def _divide(editor: Editor, call: Call) -> bool:
    """Divides a 5x5 kernel that reaches too far right and down into four.

    The taps at +3 are those at +1 of the next output, so they are computed by kernels of their own,
    whose results are moved by one and added.
    """
    layer, padding = call.operation, padding_of(editor, call)
    image = image_of(editor, call)
    plain = layer.depth_multiplier == 1 and tuple(layer.dilation_rate) == (1, 1)
    window = (tuple(layer.kernel_size), tuple(layer.strides), padding)
    if not plain or window != ((5, 5), (2, 2), ((1, 2), (1, 2))) or not keeps_size(call, image):
        return False
    kernel, *biases = weights_of(call)
    scale, shift, behind = _normalization_behind(editor, call)
    kernel = kernel * scale[None, None, :, None]
    bias = (biases[0] if biases else 0.0) * scale + shift
    x = without_padding_layer(editor, call)
    activation = layer.activation
    calls: list[Call] = []
    total = call.output
    for suffix, below, right in (("", 0, 0), ("_right", 0, 1), ("_below", 1, 0), ("_corner", 1, 1)):
        # XNNPACK joins a padding to a convolution only where nothing else reads it.
        pad = layers.ZeroPadding2D(2, name=editor.name(f"{layer.name}{suffix}_pad"))
        calls.append(editor.call(pad, x, grown(x, 2)))
        part = np.zeros_like(kernel)
        rows = (slice(4, 5), slice(3, 4)) if below else (slice(0, 4), slice(1, 5))
        columns = (slice(4, 5), slice(3, 4)) if right else (slice(0, 4), slice(1, 5))
        part[rows[1], columns[1]] = kernel[rows[0], columns[0]]
        new = editor.like(
            call,
            layers.DepthwiseConv2D,
            padding="valid",
            use_bias=not suffix,
            activation=None,
            name=layer.name if not suffix else editor.name(layer.name + suffix),
        )
        weights = [part] if suffix else [part, bias]
        output = Tensor(call.output.shape, call.output.dtype)
        step = editor.call(new, calls[-1].output, output, weights, is_trainable(call))
        calls.append(step)
        if suffix:
            moved = editor.identity(
                step.output, f"{layer.name}{suffix}_moved", row=1 + below, column=1 + right
            )
            calls += moved
            add = layers.Add(name=editor.name(f"{layer.name}{suffix}_add"))
            calls.append(editor.call(add, [total, moved[-1].output]))
        total = calls[-1].output
    end = behind if behind is not None else call
    if keras.activations.serialize(activation) == "linear":
        calls[-1].outputs = [end.output]
    else:
        last = layers.Activation(activation, name=editor.name(f"{layer.name}_activation"))
        calls.append(editor.call(last, calls[-1].output, end.output))
    if behind is not None:
        editor.calls.calls.remove(behind)
    editor.calls.replace(call, *calls)
    folded = f", with {behind.operation.name!r} folded in" if behind is not None else ""
    editor.note(
        call, f"four 5x5 kernels, padded by 2 on every side, whose results are added{folded}"
    )
    return True


def _normalization_behind(editor: Editor, call: Call) -> tuple[Any, Any, Call | None]:
    """What a BatchNormalization behind a convolution multiplies by and adds."""
    channels = call.output.shape[-1] or 1
    reader = editor.calls.only_reader(call.output)
    linear = keras.activations.serialize(call.operation.activation) == "linear"
    if reader is None or not linear or type(reader.operation) is not layers.BatchNormalization:
        return np.ones(channels, "float32"), np.zeros(channels, "float32"), None
    return (*affine(reader), reader)


def _split_separable(editor: Editor, call: Call) -> None:
    """A separable convolution as its two halves, where its depthwise half must be rewritten."""
    layer = call.operation
    if fits(call, (1, 2), padding_of(editor, call)) or layer.depth_multiplier != 1:
        return
    depthwise, pointwise, *bias = weights_of(call)
    between = Tensor((*call.output.shape[:-1], pointwise.shape[2]), call.output.dtype)
    first = layers.DepthwiseConv2D(
        layer.kernel_size,
        layer.strides,
        layer.padding,
        dilation_rate=layer.dilation_rate,
        use_bias=False,
        depthwise_initializer=layer.depthwise_initializer,
        depthwise_regularizer=layer.depthwise_regularizer,
        depthwise_constraint=layer.depthwise_constraint,
        name=editor.name(f"{layer.name}_depthwise"),
    )
    second = editor.like(
        call, layers.Conv2D, kernel_size=1, strides=(1, 1), padding="valid", dilation_rate=(1, 1)
    )
    trainable = is_trainable(call)
    half = editor.call(first, call.inputs[0], between, [depthwise], trainable)
    editor.calls.replace(
        call, half, editor.call(second, between, call.output, [pointwise, *bias], trainable)
    )
    editor.note(call, "its depthwise and its 1x1 half as layers of their own")
