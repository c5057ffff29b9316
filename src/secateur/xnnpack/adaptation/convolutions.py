"""Convolutions that XNNPACK refuses, in forms that it takes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from secateur.xnnpack.adaptation.editing import Editor, grown, is_trainable, weights_of
from secateur.xnnpack.keras_calls import Call, Tensor

Pads = tuple[tuple[int, int], tuple[int, int]]


def rewrite_convolutions(editor: Editor) -> None:
    """Rewrites convolutions wherever an exact form exists."""
    for call in editor.of(layers.SeparableConv2D):
        _split_separable(editor, call)
    for call in editor.of(layers.Dense):
        _dense_as_convolution(editor, call)
    for call in editor.of(layers.Conv2D):
        if tuple(call.operation.kernel_size) == (1, 1):
            _ungroup(editor, call)
            _unstride(editor, call)
        else:
            _stem(editor, call)
    for call in editor.of(layers.DepthwiseConv2D):
        if not _fits(call, (1, 2), _padding(editor, call)):
            _recentre(editor, call, (1, 2)) or _divide(editor, call)


def shift_stem(editor: Editor) -> bool:
    """Moves the stem's window by a pixel, which is not exact; says whether it did."""
    for call in editor.of(layers.Conv2D):
        layer, x = call.operation, call.inputs[0]
        if editor.calls.producer(x) is None or _is_first(editor, call):
            window = (tuple(layer.kernel_size), tuple(layer.strides), layer.groups)
            image = layer.kernel.shape[-2] == 3 and tuple(layer.dilation_rate) == (1, 1)
            fits = _fits(call, (1,), _padding(editor, call))
            return window == ((3, 3), (2, 2), 1) and image and not fits and _shift(editor, call)
    return False


def shift_depthwise(editor: Editor) -> bool:
    """Moves the windows of strided depthwise convolutions with no cheap exact form by a pixel."""
    done = False
    for call in editor.of(layers.DepthwiseConv2D):
        layer = call.operation
        size, strides = tuple(layer.kernel_size), tuple(layer.strides)
        window = size in ((3, 3), (5, 5)) and strides == (2, 2) and layer.depth_multiplier == 1
        if window and tuple(layer.dilation_rate) == (1, 1) and not _has_exact_form(editor, call):
            done |= _shift(editor, call)
    return done


def _has_exact_form(editor: Editor, call: Call) -> bool:
    padding = _padding(editor, call)
    if padding is None:
        return False
    if _fits(call, (1, 2), padding):
        return True
    radius = _fits_shifted(call, (1, 2), padding)
    return radius is not None and _same_size(call, _image(editor, call))


def _shift(editor: Editor, call: Call) -> bool:
    """Pads evenly, whatever the padding was, if that leaves the size as it is."""
    layer = call.operation
    sizes = zip(_image(editor, call).shape[1:3], call.output.shape[1:3], strict=True)
    if any(n is not None and -(-n // 2) != out for n, out in sizes):
        return False
    pixels = layer.kernel_size[0] // 2
    x = _without_padding_layer(editor, call)
    pad = editor.call(
        layers.ZeroPadding2D(pixels, name=editor.name(f"{layer.name}_pad")), x, grown(x, pixels)
    )
    new = editor.like(call, _class(call), padding="valid")
    shifted = editor.call(new, pad.output, call.output, weights_of(call), is_trainable(call))
    editor.calls.replace(call, pad, shifted)
    editor.note(
        call,
        f"padded by {pixels} on every side: it sees the image moved by one pixel",
        exact=False,
    )
    return True


def _class(call: Call) -> type:
    """The class of Keras' own that a convolution is of."""
    kinds = (layers.Conv2D, layers.DepthwiseConv2D)
    return next(kind for kind in kinds if isinstance(call.operation, kind))


def _is_first(editor: Editor, call: Call) -> bool:
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


def _padding(editor: Editor, call: Call) -> Pads | None:
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
    if _padding_layer(editor, call) is None or before is None:
        return (0, 0), (0, 0)
    rows, columns = before.operation.padding
    return tuple(rows), tuple(columns)


def _padding_layer(editor: Editor, call: Call) -> Call | None:
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


def _without_padding_layer(editor: Editor, call: Call) -> Tensor:
    """Takes the padding layer in front out, and returns what it read."""
    pad = _padding_layer(editor, call)
    if pad is not None:
        editor.calls.skip(pad)
    return call.inputs[0]


def _image(editor: Editor, call: Call) -> Tensor:
    pad = _padding_layer(editor, call)
    return call.inputs[0] if pad is None else pad.inputs[0]


def _fits(call: Call, radii: tuple[int, ...], padding: Pads | None) -> bool:
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


def _fits_shifted(call: Call, radii: tuple[int, ...], padding: Pads) -> int | None:
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


def _same_size(call: Call, image: Tensor) -> bool:
    """Whether an evenly padded window gives an output of the same size."""
    stride = call.operation.strides[0]
    wanted = [None if n is None else -(-n // stride) for n in image.shape[1:3]]
    return None not in wanted and list(call.output.shape[1:3]) == wanted


def _recentre(editor: Editor, call: Call, radii: tuple[int, ...]) -> bool:
    """Puts the taps into a larger kernel that is padded evenly; the rest of it is zero."""
    layer, padding = call.operation, _padding(editor, call)
    image = _image(editor, call)
    if padding is None or getattr(layer, "depth_multiplier", 1) != 1:
        return False
    radius = _fits_shifted(call, radii, padding)
    stride = layer.strides[0]
    if radius is None or not ((stride == 1 and layer.padding == "same") or _same_size(call, image)):
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
    x = _without_padding_layer(editor, call)
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
        _class(call),
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


def _divide(editor: Editor, call: Call) -> bool:
    """Divides a 5x5 kernel that reaches too far right and down into four.

    The taps at +3 are those at +1 of the next output, so they are computed by kernels of their own,
    whose results are moved by one and added.
    """
    layer, padding = call.operation, _padding(editor, call)
    image = _image(editor, call)
    plain = layer.depth_multiplier == 1 and tuple(layer.dilation_rate) == (1, 1)
    window = (tuple(layer.kernel_size), tuple(layer.strides), padding)
    if not plain or window != ((5, 5), (2, 2), ((1, 2), (1, 2))) or not _same_size(call, image):
        return False
    kernel, *biases = weights_of(call)
    scale, shift, behind = _normalization_behind(editor, call)
    kernel = kernel * scale[None, None, :, None]
    bias = (biases[0] if biases else 0.0) * scale + shift
    x = _without_padding_layer(editor, call)
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


def affine(call: Call) -> tuple[np.ndarray, np.ndarray]:
    """What a BatchNormalization multiplies each channel by when it does not train, and adds."""
    layer = call.operation
    found = dict(zip((w.name for w in layer.weights), weights_of(call), strict=True))
    mean, variance = found["moving_mean"], found["moving_variance"]
    scale = found.get("gamma", np.float32(1)) / np.sqrt(variance + layer.epsilon)
    return scale, found.get("beta", np.float32(0)) - mean * scale


def _stem(editor: Editor, call: Call) -> None:
    """Makes a small strided kernel on an image a 3x3 one, and gray images coloured."""
    layer = call.operation
    if layer.groups != 1 or tuple(layer.strides) != (2, 2) or not _is_first(editor, call):
        return
    if layer.kernel.shape[-2] == 1:
        _colour(editor, call)
        call = next(c for c in editor.calls.calls if call.output in c.outputs)
    if not _fits(call, (1,), _padding(editor, call)):
        _recentre(editor, call, (1,))


def _colour(editor: Editor, call: Call) -> None:
    layer = call.operation
    kernel, *others = weights_of(call)
    x = _image(editor, call)
    three = editor.call(
        layers.Concatenate(name=editor.name(f"{layer.name}_channels")),
        [x, x, x],
        Tensor((*x.shape[:-1], 3), x.dtype),
    )
    wide = np.concatenate([kernel, np.zeros_like(kernel), np.zeros_like(kernel)], axis=2)
    pad = _padding_layer(editor, call)
    first = pad if pad is not None else call
    place = editor.calls.calls.index(first)
    editor.calls.calls.insert(place, three)
    first.replace_input(x, three.output)
    if pad is not None:
        pad.outputs[0].shape = (*pad.output.shape[:-1], 3)
    new = editor.like(call, _class(call))
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
    new = editor.like(call, _class(call), groups=1)
    step = editor.call(new, call.inputs[0], call.output, [wide, *others], is_trainable(call))
    editor.calls.replace(call, step)
    editor.note(call, f"{layer.groups} groups as one kernel with zeros elsewhere")


def _unstride(editor: Editor, call: Call) -> None:
    """A strided 1x1 convolution as a depthwise one that picks pixels, and a 1x1 one."""
    call = next(c for c in editor.calls.calls if call.output in c.outputs)
    layer, x = call.operation, call.inputs[0]
    if tuple(layer.strides) != (2, 2) or _padding_layer(editor, call) is not None:
        return
    if x.shape[-1] is None:
        return
    picks = editor.identity(x, f"{layer.name}_stride", stride=2)
    picks[-1].output.shape = (*call.output.shape[:-1], x.shape[-1])
    new = editor.like(call, _class(call), strides=(1, 1), padding="valid")
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


def _split_separable(editor: Editor, call: Call) -> None:
    """A separable convolution as its two halves, where its depthwise half must be rewritten."""
    layer = call.operation
    if _fits(call, (1, 2), _padding(editor, call)) or layer.depth_multiplier != 1:
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
