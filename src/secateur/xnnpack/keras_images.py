"""Convolutions, pooling and reshapes of Keras, and what the converter makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from secateur.xnnpack.graph import Kind, Value, Window
from secateur.xnnpack.keras_elementwise import activate
from secateur.xnnpack.keras_emit import Emitter, Handler, Layer, registers

#: What each class becomes.
HANDLERS: dict[str, Handler] = {}

_REDUCTIONS = {"Mean": "mean", "Sum": "sum", "Max": "maximum", "Min": "minimum"}
_MOST_CONCATENATED = 5


@registers(HANDLERS, "ZeroPadding2D")
def _zero_padding(emitter: Emitter, call: Layer) -> Value:
    rows, columns = call.operation.padding
    pads = ((0, 0), tuple(rows), tuple(columns), (0, 0))
    return emitter.add(Kind.PAD, call.values, call.shape, pads=pads)


@registers(HANDLERS, "Conv2D")
def _conv(emitter: Emitter, call: Layer) -> Value:
    layer, (x,) = call.operation, call.values
    if layer.rank != 2:
        return emitter.other((x,), call.shape)
    channels = layer.kernel.shape[-2]
    window = _window(layer, groups=layer.groups, channels=channels)

    def emit(x: Value, window: Window) -> Value:
        return emitter.convolution(x, layer.kernel, window, call.shape)

    y = emitter.dilated(x, emit, window, call.shape)
    return activate(emitter, y, layer.activation, call.shape)


@registers(HANDLERS, "DepthwiseConv2D")
def _depthwise(emitter: Emitter, call: Layer) -> Value:
    layer, (x,) = call.operation, call.values
    window = _window(layer, multiplier=layer.depth_multiplier)

    def emit(x: Value, window: Window) -> Value:
        return emitter.depthwise(x, layer.kernel, window, call.shape)

    y = emitter.dilated(x, emit, window, call.shape)
    return activate(emitter, y, layer.activation, call.shape)


@registers(HANDLERS, "SeparableConv2D")
def _separable(emitter: Emitter, call: Layer) -> Value:
    layer, (x,) = call.operation, call.values
    window = _window(layer, multiplier=layer.depth_multiplier)
    between = (*call.shape[:-1], layer.pointwise_kernel.shape[-2])

    def emit(x: Value, window: Window) -> Value:
        return emitter.depthwise(x, layer.depthwise_kernel, window, between)

    y = emitter.dilated(x, emit, window, between)
    point = Window((1, 1), channels=between[-1])
    y = emitter.convolution(y, layer.pointwise_kernel, point, call.shape)
    return activate(emitter, y, layer.activation, call.shape)


def _window(layer: Any, **kwargs: Any) -> Window:
    return Window.of(
        layer.padding,
        tuple(layer.kernel_size),
        strides=tuple(layer.strides),
        dilation=tuple(layer.dilation_rate),
        **kwargs,
    )


@registers(HANDLERS, "Dense")
def _dense(emitter: Emitter, call: Layer) -> Value:
    layer, (x,) = call.operation, call.values
    y = emitter.dense(x, layer.kernel, call.shape)
    return activate(emitter, y, layer.activation, call.shape)


@registers(HANDLERS, "GlobalAveragePooling2D", "GlobalMaxPooling2D")
def _global_pooling(emitter: Emitter, call: Layer) -> Value:
    operator = "mean" if "Average" in type(call.operation).__name__ else "maximum"
    keep = call.operation.keepdims
    return emitter.add(Kind.REDUCE, call.values, call.shape, operator, axes=(1, 2), keep_dims=keep)


@registers(HANDLERS, *_REDUCTIONS)
def _reduction(emitter: Emitter, call: Layer) -> Value:
    (x,), rank = call.values, len(call.values[0].shape)
    axis = call.operation.axis
    axes = range(rank) if axis is None else np.atleast_1d(axis)
    return emitter.add(
        Kind.REDUCE,
        (x,),
        call.shape,
        _REDUCTIONS[type(call.operation).__name__],
        axes=tuple(sorted(int(a) % rank for a in axes)),
        keep_dims=bool(call.operation.keepdims),
    )


@registers(HANDLERS, "AveragePooling2D", "MaxPooling2D")
def _pooling(emitter: Emitter, call: Layer) -> Value:
    layer = call.operation
    pool, strides = tuple(layer.pool_size), tuple(layer.strides)
    if pool == (1, 1) == strides:
        return emitter.clamp(call.values[0], "pool")
    if any(stride > size for stride, size in zip(strides, pool, strict=True)):
        return emitter.undelegated(call.values, call.shape)
    return emitter.other(call.values, call.shape)


@registers(HANDLERS, "Flatten", "Reshape")
def _reshape(emitter: Emitter, call: Layer) -> Value:
    return emitter.reshape(call.values[0], call.shape)


@registers(HANDLERS, "UpSampling2D")
def _upsampling(emitter: Emitter, call: Layer) -> Value:
    (x,) = call.values
    if call.operation.interpolation == "bilinear":
        return emitter.add(Kind.RESIZE_BILINEAR, (x,), call.shape)
    if x.shape[0] is not None:
        x = emitter.add(Kind.RESHAPE, (x,), x.shape)
    return emitter.undelegated((x,), call.shape)


@registers(HANDLERS, "Resizing")
def _resizing(emitter: Emitter, call: Layer) -> Value:
    layer = call.operation
    plain = not (layer.crop_to_aspect_ratio or layer.pad_to_aspect_ratio)
    if layer.interpolation == "bilinear" and plain and not layer.antialias:
        return emitter.add(Kind.RESIZE_BILINEAR, call.values, call.shape)
    return emitter.undelegated(call.values, call.shape)


@registers(HANDLERS, "DepthToSpace")
def _depth_to_space(emitter: Emitter, call: Layer) -> Value:
    return emitter.add(Kind.DEPTH_TO_SPACE, call.values, call.shape)


@registers(HANDLERS, "Concatenate")
def _concatenate(emitter: Emitter, call: Layer) -> Value:
    if len(call.values) > _MOST_CONCATENATED:
        return emitter.undelegated(call.values, call.shape)
    return emitter.other(call.values, call.shape)


@registers(HANDLERS, "Cropping2D", "Permute", "Transpose", "Conv2DTranspose", "SpaceToDepth")
def _other(emitter: Emitter, call: Layer) -> Value:
    return emitter.other(call.values, call.shape)
