"""The windows of convolutions: how they are padded, and evenly padded ones that do the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import layers

from secateur.xnnpack.adaptation.editing import Editor, grown, is_trainable, weights_of
from secateur.xnnpack.keras_calls import Call, Tensor

Pads = tuple[tuple[int, int], tuple[int, int]]


def padding_of(editor: Editor, call: Call) -> Pads | None:
    """How many zeros a convolution adds at the top, bottom, left and right; None if unknown."""
    layer, x = call.operation, call.inputs[0]
    before = editor.calls.producer(x)
    if layer.padding == "same":
        pairs = []
        for length, size, stride, dilation in zip(
            x.shape[1:3], layer.kernel_size, layer.strides, layer.dilation_rate, strict=True
        ):
            reach = (size - 1) * dilation
            if stride == 1:
                total = reach
            elif length is None:
                return None
            else:
                total = max((-(-length // stride) - 1) * stride + reach + 1 - length, 0)
            pairs.append((total // 2, total - total // 2))
        return pairs[0], pairs[1]
    if padding_layer(editor, call) is None or before is None:
        return (0, 0), (0, 0)
    rows, columns = before.operation.padding
    return tuple(rows), tuple(columns)


def padding_layer(editor: Editor, call: Call) -> Call | None:
    """The ZeroPadding2D in front that only pads for this convolution."""
    before = editor.calls.producer(call.inputs[0])
    if (
        call.operation.padding == "valid"
        and before is not None
        and type(before.operation) is layers.ZeroPadding2D
        and editor.calls.only_reader(before.output) is call
    ):
        return before
    return None


def without_padding_layer(editor: Editor, call: Call) -> Tensor:
    """Takes the padding layer in front out, and returns what it read."""
    pad = padding_layer(editor, call)
    if pad is not None:
        editor.calls.skip(pad)
    return call.inputs[0]


def image_of(editor: Editor, call: Call) -> Tensor:
    """The image that a convolution sees, before any padding."""
    pad = padding_layer(editor, call)
    return call.inputs[0] if pad is None else pad.inputs[0]


def fits(call: Call, radii: tuple[int, ...], padding: Pads | None) -> bool:
    """Whether XNNPACK takes the convolution as it is."""
    layer = call.operation
    radius = layer.kernel_size[0] // 2
    return (
        padding == ((radius, radius), (radius, radius))
        and tuple(layer.kernel_size) == (2 * radius + 1,) * 2
        and radius in radii
        and tuple(layer.dilation_rate) == (1, 1)
        and tuple(layer.strides) in ((1, 1), (2, 2))
        and getattr(layer, "depth_multiplier", 1) == 1
    )


def radius_of(call: Call, radii: tuple[int, ...], padding: Pads) -> int | None:
    """The radius of the evenly padded window that has all taps of this one, at the same pixels."""
    layer = call.operation
    if layer.strides[0] != layer.strides[1] or layer.strides[0] not in (1, 2):
        return None
    for radius in radii:
        reaches = [
            (-before, (size - 1) * dilation - before)
            for (before, _), size, dilation in zip(
                padding, layer.kernel_size, layer.dilation_rate, strict=True
            )
        ]
        if all(-radius <= first and last <= radius for first, last in reaches):
            return radius
    return None


def keeps_size(call: Call, image: Tensor) -> bool:
    """Whether an evenly padded window gives an output of the same size."""
    stride = call.operation.strides[0]
    wanted = [None if n is None else -(-n // stride) for n in image.shape[1:3]]
    return None not in wanted and list(call.output.shape[1:3]) == wanted


def class_of(call: Call) -> type:
    """The class of Keras' own that a convolution is of."""
    kinds = (layers.Conv2D, layers.DepthwiseConv2D)
    return next(kind for kind in kinds if isinstance(call.operation, kind))


def is_first(editor: Editor, call: Call) -> bool:
    """Whether no convolution stands between the input and this one."""
    seen, waiting = set(), list(call.inputs)
    while waiting:
        tensor = waiting.pop()
        before = editor.calls.producer(tensor)
        if before is None or before in seen:
            continue
        seen.add(before)
        if hasattr(before.operation, "kernel_size"):
            return False
        waiting += before.inputs
    return True


def recentre(editor: Editor, call: Call, radii: tuple[int, ...]) -> bool:
    """Puts the taps into a larger kernel that is padded evenly; the rest of it is zero."""
    layer, padding = call.operation, padding_of(editor, call)
    image = image_of(editor, call)
    if padding is None or getattr(layer, "depth_multiplier", 1) != 1:
        return False
    radius = radius_of(call, radii, padding)
    stride = layer.strides[0]
    if radius is None or not ((stride == 1 and layer.padding == "same") or keeps_size(call, image)):
        return False
    kernel, *others = weights_of(call)
    new = np.zeros((2 * radius + 1, 2 * radius + 1, *kernel.shape[2:]), "float32")
    rows, columns = (
        radius - before + np.arange(size) * dilation
        for (before, _), size, dilation in zip(
            padding, layer.kernel_size, layer.dilation_rate, strict=True
        )
    )
    new[np.ix_(rows, columns)] = kernel
    x = without_padding_layer(editor, call)
    _put_window(editor, call, x, radius, [new, *others])
    editor.note(
        call,
        f"the {'x'.join(map(str, layer.kernel_size))} kernel inside one of {2 * radius + 1}x"
        f"{2 * radius + 1}, padded by {radius} on every side",
    )
    return True


def _put_window(
    editor: Editor, call: Call, x: Tensor, radius: int, weights: list[Any], **changes: Any
) -> None:
    """Replaces a convolution by an evenly padded one."""
    layer = call.operation
    strided = tuple(layer.strides) != (1, 1)
    new = editor.like(
        call,
        class_of(call),
        kernel_size=(2 * radius + 1,) * 2,
        padding="valid" if strided else "same",
        dilation_rate=(1, 1),
        **changes,
    )
    calls = []
    if strided:
        pad = layers.ZeroPadding2D(radius, name=editor.name(f"{layer.name}_pad"))
        calls.append(editor.call(pad, x, grown(x, radius)))
        x = calls[0].output
    calls.append(editor.call(new, x, call.output, weights, is_trainable(call)))
    editor.calls.replace(call, *calls)


def shift(editor: Editor, call: Call) -> bool:
    """Pads evenly, whatever the padding was, if that leaves the size as it is."""
    layer = call.operation
    sizes = zip(image_of(editor, call).shape[1:3], call.output.shape[1:3], strict=True)
    if any(n is not None and -(-n // 2) != out for n, out in sizes):
        return False
    pixels = layer.kernel_size[0] // 2
    x = without_padding_layer(editor, call)
    pad = editor.call(
        layers.ZeroPadding2D(pixels, name=editor.name(f"{layer.name}_pad")), x, grown(x, pixels)
    )
    new = editor.like(call, class_of(call), padding="valid")
    shifted = editor.call(new, pad.output, call.output, weights_of(call), is_trainable(call))
    editor.calls.replace(call, pad, shifted)
    editor.note(
        call,
        f"padded by {pixels} on every side: it sees the image moved by one pixel",
        exact=False,
    )
    return True
