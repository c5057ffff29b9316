"""Arithmetic with constants, and normalization, in forms that XNNPACK takes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from secateur.xnnpack.adaptation.editing import (
    Editor,
    Function,
    affine,
    is_trainable,
    plain,
    weights_of,
)
from secateur.xnnpack.keras_calls import Call, Tensor

_LINEAR = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D)
_PASSED = (layers.Dropout, layers.SpatialDropout2D, layers.Identity)


def rewrite_arithmetic(editor: Editor) -> None:
    """Rewrites arithmetic wherever an exact form exists."""
    for call in list(editor.calls.calls):
        if _is_image(call) and _activation_name(call.operation) == "hard_sigmoid":
            _hard_sigmoid(editor, call)
    for call in editor.of(layers.Concatenate):
        _concatenate(editor, call)
    for call in editor.of(layers.Subtract):
        _subtract(editor, call)
    for call in editor.of(layers.PReLU):
        _prelu(editor, call)
    for call in editor.of(layers.BatchNormalization):
        _normalization(editor, call)
    for call in list(editor.calls.calls):
        if _is_scaling(call):
            _push_scaling(editor, call)


def _is_image(call: Call) -> bool:
    return len(call.outputs) == 1 and len(call.output.shape) == 4


def _activation_name(layer: Any) -> str:
    activation = getattr(layer, "activation", None)
    if type(layer).__name__ == "HardSigmoid":
        return "hard_sigmoid"
    return str(getattr(activation, "__name__", ""))


def _hard_sigmoid(editor: Editor, call: Call) -> None:
    """relu6(x + 3) / 6, step by step, so that each constant meets a convolution."""
    layer = call.operation
    calls: list[Call] = []
    x = call.inputs[0]
    kind = next((k for k in (*_LINEAR, layers.Dense) if isinstance(layer, k)), None)
    if kind is not None:
        new = editor.like(call, kind, activation="linear")
        step = editor.call(new, x, Tensor(call.output.shape), weights_of(call), is_trainable(call))
        calls.append(step)
        x = step.output
    plus = Call(Function("Add", keras.ops.add), (x, 3.0), {}, [Tensor(call.output.shape)])
    relu6 = layers.ReLU(6.0, name=editor.name(f"{layer.name}_relu6"))
    clamp = editor.call(relu6, plus.output)
    over = Call(Function("Multiply", keras.ops.multiply), (clamp.output, 1 / 6), {}, [call.output])
    editor.calls.replace(call, *calls, plus, clamp, over)
    editor.note(call, "hard_sigmoid(x) as relu6(x + 3) / 6")


def _subtract(editor: Editor, call: Call) -> None:
    first, second = call.inputs
    if not _is_image(call) or second.shape[-1] is None:
        return
    name = call.operation.name
    minus = editor.identity(second, f"{name}_minus", scale=-1.0)
    add = layers.Add(name=name)
    editor.calls.replace(call, *minus, editor.call(add, [first, minus[-1].output], call.output))
    editor.note(call, "the sum of the first and minus the second")


def _concatenate(editor: Editor, call: Call) -> None:
    """The sum of images whose channels 1x1 convolutions put where they belong."""
    layer = call.operation
    widths = [x.shape[-1] for x in call.inputs]
    if not _is_image(call) or layer.axis not in (-1, 3) or None in widths:
        return
    if not _is_behind_a_convolution(editor, call):
        return
    total = sum(width or 0 for width in widths)
    moved: list[Call] = []
    first = 0
    for number, x in enumerate(call.inputs):
        width = x.shape[-1] or 0
        kernel = np.zeros((1, 1, width, total), "float32")
        kernel[0, 0, range(width), range(first, first + width)] = 1.0
        place = layers.Conv2D(
            total, 1, use_bias=False, name=editor.name(f"{layer.name}_part_{number + 1}")
        )
        moved.append(editor.call(place, x, Tensor(call.output.shape), [kernel], trainable=False))
        first += width
    add = editor.call(layers.Add(name=layer.name), [each.output for each in moved], call.output)
    editor.calls.replace(call, *moved, add)
    editor.note(call, "the sum of its inputs, their channels put in place by 1x1 convolutions")


def _is_behind_a_convolution(editor: Editor, call: Call) -> bool:
    return any(
        hasattr(before.operation, "kernel_size") or _is_behind_a_convolution(editor, before)
        for before in map(editor.calls.producer, call.inputs)
        if before is not None
    )


def _prelu(editor: Editor, call: Call) -> None:
    """relu(x) - slope * relu(-x), the slopes as a depthwise convolution."""
    layer, x = call.operation, call.inputs[0]
    slopes = weights_of(call)[0] if layer.weights else None
    if not _is_image(call) or slopes is None or slopes.shape[:2] != (1, 1):
        return
    positive = editor.call(layers.ReLU(name=editor.name(f"{layer.name}_positive")), x)
    minus = editor.identity(x, f"{layer.name}_minus", scale=-1.0)
    negative = editor.call(
        layers.ReLU(name=editor.name(f"{layer.name}_negative")), minus[-1].output
    )
    sloped = editor.identity(
        negative.output,
        f"{layer.name}_slope",
        scale=-slopes[0, 0],
        trainable=is_trainable(call),
    )
    add = editor.call(
        layers.Add(name=layer.name), [positive.output, sloped[-1].output], call.output
    )
    editor.calls.replace(call, positive, *minus, negative, *sloped, add)
    editor.note(call, "relu(x) - slope relu(-x), the slopes as a depthwise convolution")


def _normalization(editor: Editor, call: Call) -> None:
    """BatchNormalization that no convolution in front can take in."""
    layer, x = call.operation, call.inputs[0]
    if not _is_image(call) or layer.axis not in (-1, 3) or x.shape[-1] is None:
        return
    if _folds_in_front(editor, call):
        return
    scale, shift = affine(call)
    reader = editor.calls.only_reader(call.output)
    if reader is not None and _is_pointwise(reader):
        kernel, *biases = weights_of(reader)
        bias = (biases[0] if biases else 0.0) + shift @ kernel[0, 0]
        new = editor.like(reader, layers.Conv2D, use_bias=True)
        weights = [kernel * scale[None, None, :, None], bias]
        editor.calls.replace(
            reader, editor.call(new, x, reader.output, weights, is_trainable(reader))
        )
        editor.calls.calls.remove(call)
        editor.note(call, f"folded into {reader.operation.name!r} behind it")
        return
    steps = editor.identity(x, layer.name, scale=scale, bias=shift, trainable=is_trainable(call))
    steps[-1].outputs = [call.output]
    editor.calls.replace(call, *steps)
    editor.note(call, "as a depthwise convolution with its scale and shift")


def _folds_in_front(editor: Editor, call: Call) -> bool:
    """Whether the converter folds it into a convolution before it."""
    before = editor.calls.producer(call.inputs[0])
    if before is None or editor.calls.only_reader(call.inputs[0]) is None:
        return False
    linear = isinstance(before.operation, (*_LINEAR, layers.Dense, layers.BatchNormalization))
    if isinstance(before.operation, layers.BatchNormalization):
        return _folds_in_front(editor, before)
    return linear and _activation_name(before.operation) in ("linear", "")


def _is_pointwise(call: Call) -> bool:
    layer = call.operation
    return (
        isinstance(layer, layers.Conv2D)
        and plain(layer, (layers.Conv2D,))
        and (tuple(layer.kernel_size), tuple(layer.strides), layer.groups) == ((1, 1), (1, 1), 1)
    )


def _is_scaling(call: Call) -> bool:
    """Whether it multiplies an image by a number."""
    function = isinstance(call.operation, Function) and call.operation.name == "Multiply"
    if not (function or type(call.operation).__name__ == "Multiply") or not _is_image(call):
        return False
    numbers = [x for x in (*call.args, *call.kwargs.values()) if isinstance(x, int | float)]
    return len(call.inputs) == 1 and len(numbers) == 1


def _push_scaling(editor: Editor, call: Call) -> None:
    """Moves a multiplication by a number down to a convolution, which takes it in."""
    path: list[Call] = []
    tensor = call.output
    while True:
        reader = editor.calls.only_reader(tensor)
        if reader is None:
            return
        if isinstance(reader.operation, (*_LINEAR, layers.Dense)):
            break
        multiplies = isinstance(reader.operation, layers.Multiply) and len(reader.inputs) == 2
        if not (multiplies or isinstance(reader.operation, _PASSED)):
            return
        path.append(reader)
        tensor = reader.output
    if not path:
        return
    editor.calls.calls.remove(call)
    editor.calls.reroute(call.output, call.inputs[0])
    last = path[-1]
    scaled = Tensor(last.output.shape, last.output.dtype)
    editor.calls.reroute(last.output, scaled)
    numbers = tuple(x for x in call.args if not isinstance(x, Tensor))
    moved = Call(call.operation, (last.output, *numbers), {}, [scaled])
    editor.calls.insert_after(last, moved)
    editor.note(last, f"times {float(np.float32(numbers[0])):.4g} behind it instead of before")
