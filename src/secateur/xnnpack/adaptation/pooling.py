"""Pooling, reshapes and heads in forms that XNNPACK takes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from secateur.xnnpack.adaptation.editing import Editor, is_trainable, plain, weights_of
from secateur.xnnpack.keras_calls import Call, Tensor

# Layers that compute the same on rows and on images of one pixel.
_BLIND = (
    *(layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ELU, layers.Dropout),
    *(layers.BatchNormalization, layers.GaussianNoise, layers.GaussianDropout, layers.Identity),
    *(layers.Softmax, layers.Rescaling),
)
_FLAT = (layers.Flatten, layers.Reshape)


def rewrite_pooling(editor: Editor) -> None:
    """Rewrites pooling and reshapes wherever an exact form exists."""
    for call in editor.of(layers.AveragePooling2D):
        _whole_average(editor, call) or _average(editor, call)
    for call in editor.of(*_FLAT):
        _flatten_one_pixel(editor, call)
    for call in editor.of(layers.Reshape):
        _keep_axes(editor, call)


def _whole_average(editor: Editor, call: Call) -> bool:
    """An average over the whole image as global average pooling."""
    layer, x = call.operation, call.inputs[0]
    if tuple(layer.pool_size) != x.shape[1:3] or call.output.shape[1:3] != (1, 1):
        return False
    if layer.padding != "valid":
        return False
    new = layers.GlobalAveragePooling2D(keepdims=True, name=layer.name)
    editor.calls.replace(call, editor.call(new, x, call.output))
    editor.note(call, "an average over the whole image as global average pooling")
    return True


def _average(editor: Editor, call: Call) -> bool:
    """Averages of two by two pixels as a depthwise convolution with a fixed kernel."""
    layer, x = call.operation, call.inputs[0]
    window = (tuple(layer.pool_size), tuple(layer.strides))
    height, width, channels = x.shape[1:]
    if window != ((2, 2), (2, 2)) or height is None or width is None or channels is None:
        return False
    if height % 2 or width % 2:
        return False
    calls = editor.identity(x, layer.name, stride=2)
    kernel = np.zeros((3, 3, channels, 1), "float32")
    kernel[1:, 1:] = 0.25
    calls[-1].weights = [kernel]
    calls[-1].outputs = [call.output]
    editor.calls.replace(call, *calls)
    editor.note(call, "averages of 2x2 pixels as a depthwise convolution with a fixed kernel")
    return True


def _flatten_one_pixel(editor: Editor, call: Call) -> None:
    """Flattening an image of one pixel as global average pooling, which can end a sparse part."""
    x = call.inputs[0]
    if len(x.shape) != 4 or x.shape[1:3] != (1, 1) or len(call.output.shape) != 2:
        return
    before = editor.calls.producer(x)
    pooled = before is not None and type(before.operation) is layers.GlobalAveragePooling2D
    if pooled and before is not None and editor.calls.only_reader(x) is call:
        new = layers.GlobalAveragePooling2D(name=before.operation.name)
        editor.calls.replace(before, editor.call(new, before.inputs[0], call.output))
        editor.calls.calls.remove(call)
        editor.note(call, "left out: the pooling before it gives rows")
    elif before is not None and _is_shrunk(editor, x):
        new = layers.GlobalAveragePooling2D(name=call.operation.name)
        editor.calls.replace(call, editor.call(new, x, call.output))
        editor.note(call, "an image of one pixel is flattened by global average pooling")


def _is_shrunk(editor: Editor, tensor: Tensor) -> bool:
    """Whether an image has one pixel because convolutions made it small, not by pooling it whole."""
    while True:
        before = editor.calls.producer(tensor)
        if before is None or not before.inputs:
            return False
        if before.inputs[0].shape[1:3] != (1, 1):
            return hasattr(before.operation, "kernel_size")
        tensor = before.inputs[0]


def _keep_axes(editor: Editor, call: Call) -> None:
    """Rows that are reshaped to images of one pixel as images of one pixel from the start."""
    if len(call.inputs[0].shape) != 2 or call.output.shape[1:-1] != (1, 1):
        return
    between: list[Call] = []
    tensor = call.inputs[0]
    while True:
        before = editor.calls.producer(tensor)
        if before is None or editor.calls.only_reader(tensor) is None:
            return
        layer = before.operation
        if plain(layer, (layers.GlobalAveragePooling2D,)) and len(before.output.shape) == 2:
            break
        if not (plain(layer, (layers.Dense,)) or _is_blind(before)):
            return
        between.insert(0, before)
        tensor = before.inputs[0]
    pool = editor.like(before, layers.GlobalAveragePooling2D, keepdims=True)
    editor.calls.replace(before, editor.call(pool, before.inputs[0], _pixel(before.output)))
    output = editor.calls.calls[[c.operation for c in editor.calls.calls].index(pool)].output
    for each in between:
        output = _lift(editor, each, output)
    editor.calls.calls.remove(call)
    editor.calls.reroute(call.output, output)
    editor.note(call, "left out: the pooling before it keeps its axes")


def _lift(editor: Editor, call: Call, x: Tensor) -> Tensor:
    """Makes a call on rows one on images of one pixel; returns its output."""
    output = _pixel(call.output)
    if isinstance(call.operation, layers.Dense):
        layer = editor.like(call, layers.Conv2D, filters=call.operation.units, kernel_size=1)
        kernel, *others = weights_of(call)
        new = editor.call(layer, x, output, [kernel[None, None], *others], is_trainable(call))
        editor.note(call, "Dense on one pixel as a 1x1 convolution")
    else:
        new = Call(call.operation, call.args, call.kwargs, [output], call.scope)
        new.replace_input(call.inputs[0], x)
    editor.calls.replace(call, new)
    return output


def _pixel(tensor: Tensor) -> Tensor:
    batch, channels = tensor.shape
    return Tensor((batch, 1, 1, channels), tensor.dtype)


def _is_blind(call: Call) -> bool:
    layer = call.operation
    if not plain_or_operation(layer) or len(call.inputs) != 1:
        return False
    if isinstance(layer, layers.BatchNormalization):
        return layer.axis in (-1, len(call.inputs[0].shape) - 1)
    return isinstance(layer, _BLIND) or type(layer).__name__ in ("Relu", "Sigmoid", "Silu", "Relu6")


def plain_or_operation(layer: Any) -> bool:
    """Whether a layer is one of Keras' own, or an operation."""
    return not isinstance(layer, keras.Layer) or plain(layer, _BLIND)


def flatten_head(editor: Editor, name: str) -> bool:
    """Computes a head on rows instead of images of one pixel, from a pooling on.

    Args:
        editor: The calls.
        name: The name of the pooling, which keeps its axes.

    Returns:
        Whether all that is computed from it could be; else nothing was changed.
    """
    pool = next((c for c in editor.calls.calls if c.operation.name == name), None)
    if pool is None or not plain(pool.operation, (layers.GlobalAveragePooling2D,)):
        return False
    region = _region(editor, pool.output)
    if region is None:
        return False
    rows: dict[Tensor, Tensor] = {pool.output: _row(pool.output)}
    new = editor.like(pool, layers.GlobalAveragePooling2D, keepdims=False)
    editor.calls.replace(pool, editor.call(new, pool.inputs[0], rows[pool.output]))
    for call in region:
        x = call.inputs[0]
        if isinstance(call.operation, _FLAT):
            editor.calls.calls.remove(call)
            editor.calls.reroute(call.output, rows[x])
            continue
        rows[call.output] = _row(call.output)
        editor.calls.replace(call, _lowered(editor, call, rows[x], rows[call.output]))
    for tensor in set(editor.calls.outputs) & set(rows):
        shape = layers.Reshape(tensor.shape[1:], name=editor.name(f"{name}_shape"))
        editor.calls.calls.append(editor.call(shape, rows[tensor], tensor))
    editor.note(pool, "the head behind it on rows, its 1x1 convolutions as Dense")
    return True


def _row(tensor: Tensor) -> Tensor:
    return Tensor((tensor.shape[0], tensor.shape[-1]), tensor.dtype)


def _region(editor: Editor, start: Tensor) -> list[Call] | None:
    """The calls that work on one pixel behind a tensor, down to rows; None if others do too."""
    region: list[Call] = []
    inside = {start}
    for call in editor.calls.calls:
        if inside.isdisjoint(call.inputs):
            continue
        if not _works_on_one_pixel(call):
            return None
        region.append(call)
        if len(call.output.shape) == 4:
            inside.add(call.output)
    return region


def _works_on_one_pixel(call: Call) -> bool:
    layer = call.operation
    if isinstance(layer, _FLAT) and plain(layer, _FLAT):
        return len(call.output.shape) == 2
    if isinstance(layer, layers.Conv2D) and plain(layer, (layers.Conv2D,)):
        return tuple(layer.kernel_size) == (1, 1) and layer.groups == 1
    return _is_blind(call)


def _lowered(editor: Editor, call: Call, x: Tensor, output: Tensor) -> Call:
    layer = call.operation
    if isinstance(layer, layers.Conv2D):
        kernel, *others = weights_of(call)
        new = editor.like(call, layers.Dense, units=layer.filters)
        return editor.call(new, x, output, [kernel[0, 0], *others], is_trainable(call))
    if isinstance(layer, layers.BatchNormalization):
        new = editor.like(call, layers.BatchNormalization, axis=-1)
        return editor.call(new, x, output, weights_of(call), is_trainable(call))
    lowered = Call(layer, call.args, call.kwargs, [output], call.scope)
    lowered.replace_input(call.inputs[0], x)
    return lowered


def settle_pooled(editor: Editor, name: str) -> bool:
    """Puts a 1x1 convolution that changes nothing behind a pooling, whose shape it settles.

    Args:
        editor: The calls.
        name: The name of the pooling, which keeps its axes.

    Returns:
        Whether it could.
    """
    pool = next((c for c in editor.calls.calls if c.operation.name == name), None)
    if pool is None or pool.output.shape[1:-1] != (1, 1) or pool.output.shape[-1] is None:
        return False
    channels = pool.output.shape[-1]
    layer = layers.Conv2D(channels, 1, use_bias=False, name=editor.name(f"{name}_same"))
    output = Tensor(pool.output.shape, pool.output.dtype)
    editor.calls.reroute(pool.output, output)
    kernel = np.eye(channels, dtype="float32")[None, None]
    editor.calls.insert_after(pool, editor.call(layer, pool.output, output, [kernel], False))
    editor.note(pool, "a 1x1 convolution behind it that changes nothing")
    return True
