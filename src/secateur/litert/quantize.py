"""Store the weights of a `.tflite` file in fewer bits; what is computed with stays float32.

A DEQUANTIZE operator turns each stored constant back into float32 when the file is loaded. XNNPACK
does that itself, and then runs the same kernels as for a float32 file.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from secateur.litert.graph import FLOAT32, indices, is_constant, opcode_name
from secateur.litert.rewrite import add_tensor, fold_float16, redirect, set_values, unpacker
from secateur.litert.weights import dense_values, find_weights

#: About the bytes that another tensor and the operator that writes it add to a file.
UNPACKER_BYTES = 128

# The least versions of DEQUANTIZE that know float16, one scale, and a scale for each channel.
_FLOAT16_VERSION, _TENSOR_VERSION, _CHANNEL_VERSION = 3, 2, 5

# Operators whose weights and biases must be stored alike: XNNPACK takes their float16 constants as
# they are, and LiteRT.js computes zeros where only one of the two is float16.
_PAIRED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "CONV_3D")
_LARGEST_FLOAT16 = float(np.finfo(np.float16).max)
_STEPS = 127

# The scale and the offset of a channel, which the format wants although it is zero.
_CHANNEL_BYTES = 12


def quantize_weights(model: Any) -> None:
    """Store the weights of convolutions, matrices and tables as int8, where that saves bytes.

    Each output channel has its own scale: its largest weight's 127th part. There are no offsets, so
    zeros stay zeros. Biases, and weights that are not finite, stay float32.

    Args:
        model: A `ModelT` with no DENSIFY operators; changed in place.

    Reference:
        https://ai.google.dev/edge/litert/models/quantization_spec
    """
    from ai_edge_litert import schema_py_generated as schema

    fold_float16(model)
    unpackers: dict[int, list[Any]] = {}
    for weight in find_weights(model):
        graph = model.subgraphs[weight.graph]
        tensor = graph.tensors[weight.constant]
        if tensor.type != FLOAT32:
            continue
        values = dense_values(model, tensor)
        channels = values.shape[weight.axis]
        saved = values.nbytes - values.size - _CHANNEL_BYTES * channels - UNPACKER_BYTES
        if saved <= 0 or not np.isfinite(values).all():
            continue
        whole, scales = _to_int8(values, weight.axis)
        unpacked = add_tensor(graph, tensor, "float32")
        redirect(graph.operators, weight.constant, unpacked)
        set_values(model, tensor, whole)
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = scales
        tensor.quantization.zeroPoint = np.zeros(len(scales), np.int64)
        tensor.quantization.quantizedDimension = weight.axis if len(scales) > 1 else 0
        version = _CHANNEL_VERSION if len(scales) > 1 else _TENSOR_VERSION
        kind = schema.BuiltinOperator.DEQUANTIZE
        unpackers.setdefault(weight.graph, []).append(
            unpacker(model, kind, version, weight.constant, unpacked)
        )
    for index, operators in unpackers.items():
        model.subgraphs[index].operators[:0] = operators


def quantize_float16(model: Any) -> None:
    """Store float32 constants as float16, where that saves bytes.

    Weights and biases of an operator are stored alike. They stay float32 where one of them is beyond
    float16's largest number, 65504.

    Args:
        model: A `ModelT` with no DENSIFY operators; changed in place.
    """
    from ai_edge_litert import schema_py_generated as schema

    for graph in model.subgraphs:
        unpacked: dict[int, int] = {}
        unpackers: list[Any] = []
        for operator in graph.operators or ():
            for constant in _constants_to_halve(model, graph, operator):
                if constant not in unpacked:
                    tensor = graph.tensors[constant]
                    half = add_tensor(graph, tensor, "float16")
                    values = dense_values(model, tensor).astype(np.float16)
                    set_values(model, graph.tensors[half], values)
                    unpacked[constant] = add_tensor(graph, tensor, "float32")
                    kind = schema.BuiltinOperator.DEQUANTIZE
                    unpackers.append(
                        unpacker(model, kind, _FLOAT16_VERSION, half, unpacked[constant])
                    )
                redirect([operator], constant, unpacked[constant])
        graph.operators = [*unpackers, *(graph.operators or ())]


def _constants_to_halve(model: Any, graph: Any, operator: Any) -> list[int]:
    """The constants of an operator that are worth storing as float16."""
    found = [
        tensor
        for tensor in dict.fromkeys(indices(operator.inputs))
        if tensor >= 0
        and graph.tensors[tensor].type == FLOAT32
        and is_constant(model, graph.tensors[tensor])
    ]
    values = {tensor: dense_values(model, graph.tensors[tensor]) for tensor in found}
    saved = {tensor: values[tensor].nbytes // 2 - UNPACKER_BYTES for tensor in found}
    fits = {tensor: _fits_float16(values[tensor]) for tensor in found}
    if opcode_name(model, operator) in _PAIRED:
        return found if all(fits.values()) and sum(saved.values()) > 0 else []
    return [tensor for tensor in found if fits[tensor] and saved[tensor] > 0]


def _fits_float16(values: np.ndarray) -> bool:
    finite = np.abs(values[np.isfinite(values)])
    return bool(finite.max(initial=0) <= _LARGEST_FLOAT16)


def _to_int8(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers from -127 to 127, and the scale of each channel that gives the values back."""
    others = tuple(i for i in range(values.ndim) if i != axis)
    largest = np.abs(values).max(axis=others, keepdims=True, initial=0)
    scales = np.where(largest > 0, largest / np.float32(_STEPS), np.float32(1))
    scales = np.maximum(scales, np.finfo(np.float32).tiny)
    whole = np.clip(np.rint(values / scales), -_STEPS, _STEPS).astype(np.int8)
    return whole, scales.astype(np.float32).reshape(-1)
