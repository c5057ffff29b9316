"""Stems and 1x1 convolutions that XNNPACK refuses, in forms that it takes."""

from __future__ import annotations

import numpy as np
from keras import layers

from secateur.xnnpack.adaptation.editing import Editor, is_trainable, weights_of
from secateur.xnnpack.adaptation.windows import (
    class_of,
    fits,
    image_of,
    is_first,
    padding_layer,
    padding_of,
    recentre,
    shift,
)
from secateur.xnnpack.keras_calls import Call, Tensor


def rewrite_convolutions(editor: Editor) -> None:
    """Rewrites stems and 1x1 convolutions wherever an exact form exists."""
    for call in editor.of(layers.Dense):
        _dense_as_convolution(editor, call)
    for call in editor.of(layers.Conv2D):
        if tuple(call.operation.kernel_size) == (1, 1):
            _ungroup(editor, call)
            _unstride(editor, call)
        else:
            _stem(editor, call)


def shift_stem(editor: Editor) -> bool:
    """Moves the stem's window by a pixel, which is not exact; says whether it did."""
    stem = next((call for call in editor.of(layers.Conv2D) if is_first(editor, call)), None)
    if stem is None:
        return False
    layer = stem.operation
    window = (tuple(layer.kernel_size), tuple(layer.strides), tuple(layer.dilation_rate))
    if window != ((3, 3), (2, 2), (1, 1)) or layer.groups != 1 or layer.kernel.shape[-2] != 3:
        return False
    return not fits(stem, (1,), padding_of(editor, stem)) and shift(editor, stem)


def _stem(editor: Editor, call: Call) -> None:
    """Makes a small strided kernel on an image a 3x3 one, and gray images coloured."""
    layer = call.operation
    if layer.groups != 1 or tuple(layer.strides) != (2, 2) or not is_first(editor, call):
        return
    if layer.kernel.shape[-2] == 1:
        _colour(editor, call)
        call = next(c for c in editor.calls.calls if call.output in c.outputs)
    if not fits(call, (1,), padding_of(editor, call)):
        recentre(editor, call, (1,))


def _colour(editor: Editor, call: Call) -> None:
    layer = call.operation
    kernel, *others = weights_of(call)
    x = image_of(editor, call)
    three = editor.call(
        layers.Concatenate(name=editor.name(f"{layer.name}_channels")),
        [x, x, x],
        Tensor((*x.shape[:-1], 3), x.dtype),
    )
    wide = np.concatenate([kernel, np.zeros_like(kernel), np.zeros_like(kernel)], axis=2)
    pad = padding_layer(editor, call)
    first = pad if pad is not None else call
    place = editor.calls.calls.index(first)
    editor.calls.calls.insert(place, three)
    first.replace_input(x, three.output)
    if pad is not None:
        pad.outputs[0].shape = (*pad.output.shape[:-1], 3)
    new = editor.like(call, class_of(call))
    step = editor.call(new, call.inputs[0], call.output, [wide, *others], is_trainable(call))
    editor.calls.replace(call, step)
    editor.note(call, "the gray image three times, of which the kernel sees one")


def _ungroup(editor: Editor, call: Call) -> None:
    """A 1x1 convolution in groups as one with zeros."""
    layer = call.operation
    if layer.groups == 1:
        return
    kernel, *others = weights_of(call)
    _, _, channels, filters = kernel.shape
    wide = np.zeros((1, 1, channels * layer.groups, filters), "float32")
    share = filters // layer.groups
    for group in range(layer.groups):
        rows = slice(group * channels, (group + 1) * channels)
        columns = slice(group * share, (group + 1) * share)
        wide[:, :, rows, columns] = kernel[..., columns]
    new = editor.like(call, class_of(call), groups=1)
    step = editor.call(new, call.inputs[0], call.output, [wide, *others], is_trainable(call))
    editor.calls.replace(call, step)
    editor.note(call, f"{layer.groups} groups as one kernel with zeros elsewhere")


def _unstride(editor: Editor, call: Call) -> None:
    """A strided 1x1 convolution as a depthwise one that picks pixels, and a 1x1 one."""
    call = next(c for c in editor.calls.calls if call.output in c.outputs)
    layer, x = call.operation, call.inputs[0]
    if tuple(layer.strides) != (2, 2) or padding_layer(editor, call) is not None:
        return
    if x.shape[-1] is None:
        return
    picks = editor.identity(x, f"{layer.name}_stride", stride=2)
    picks[-1].output.shape = (*call.output.shape[:-1], x.shape[-1])
    new = editor.like(call, class_of(call), strides=(1, 1), padding="valid")
    step = editor.call(new, picks[-1].output, call.output, weights_of(call), is_trainable(call))
    editor.calls.replace(call, *picks, step)
    editor.note(call, "a depthwise convolution that picks every other pixel, and a 1x1 convolution")


def _dense_as_convolution(editor: Editor, call: Call) -> None:
    """Dense on every pixel of an image as a 1x1 convolution."""
    layer, x = call.operation, call.inputs[0]
    if len(x.shape) != 4:
        return
    kernel, *others = weights_of(call)
    new = editor.like(call, layers.Conv2D, filters=layer.units, kernel_size=1)
    step = editor.call(new, x, call.output, [kernel[None, None], *others], is_trainable(call))
    editor.calls.replace(call, step)
    editor.note(call, "Dense on every pixel as a 1x1 convolution")
