"""Take apart what unpacks constants in a `.tflite` file, and put it together anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import numpy as np

from secateur.litert.graph import (
    DTYPES,
    FLOAT16,
    FLOAT32,
    add_buffer,
    add_opcode,
    consumers,
    indices,
    is_constant,
    opcode_name,
)
from secateur.litert.weights import dense_values, find_weights

_TYPES = {dtype: number for number, dtype in DTYPES.items()}


def fold_densify(model: Any) -> None:
    """Replace each DENSIFY of a constant by the dense constant; the numbers stay what they are.

    Args:
        model: A `ModelT`, changed in place.
    """
    _fold(model, "DENSIFY", lambda tensor: tensor.sparsity is not None, lambda values: values)


def fold_float16(model: Any) -> None:
    """Replace each DEQUANTIZE of a float16 constant by a float32 constant.

    Args:
        model: A `ModelT`, changed in place.
    """
    _fold(
        model,
        "DEQUANTIZE",
        lambda tensor: tensor.type == FLOAT16,
        lambda values: values.astype(np.float32),
    )


def unsign_zeros(model: Any) -> None:
    """Make each negative zero among float32 weights a plain one, which compresses better.

    Masking by multiplication leaves them behind; no sum of products differs by them.

    Args:
        model: A `ModelT`, changed in place.
    """
    for weight in find_weights(model):
        tensor = model.subgraphs[weight.graph].tensors[weight.constant]
        if tensor.type == FLOAT32:
            values = dense_values(model, tensor)
            if np.signbit(values[values == 0]).any():
                set_values(model, tensor, values + np.float32(0))


def set_values(model: Any, tensor: Any, values: np.ndarray) -> None:
    """Make a tensor a constant of the given values; its shape and name stay."""
    tensor.buffer, tensor.type = add_buffer(model, values), _TYPES[str(values.dtype)]


def add_tensor(graph: Any, like: Any, dtype: str) -> int:
    """Add a tensor that operators write, of the name and shape of another; return its number."""
    tensor = copy(like)
    tensor.type, tensor.buffer = _TYPES[dtype], 0
    tensor.sparsity = tensor.quantization = None
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def unpacker(model: Any, kind: int, version: int, source: int, target: int) -> Any:
    """An operator of one input and one output.

    Args:
        model: A `ModelT`; its list of operator kinds may grow.
        kind: What it does, of `BuiltinOperator`.
        version: The least version that can.
        source: The tensor it reads.
        target: The tensor it writes.

    Returns:
        An `OperatorT`, to be put in front of a subgraph's operators.
    """
    from ai_edge_litert import schema_py_generated as schema

    operator = schema.OperatorT()
    operator.opcodeIndex = add_opcode(model, kind, version)
    operator.inputs = np.array([source], np.int32)
    operator.outputs = np.array([target], np.int32)
    return operator


def redirect(operators: Sequence[Any], old: int, new: int) -> None:
    """Make operators read another tensor.

    Args:
        operators: The operators, changed in place.
        old: The tensor they read.
        new: The one they are to read.
    """
    for operator in operators:
        inputs = indices(operator.inputs)
        if old in inputs:
            operator.inputs = np.array([new if i == old else i for i in inputs], np.int32)


def _fold(
    model: Any,
    kind: str,
    fits: Callable[[Any], bool],
    change: Callable[[np.ndarray], np.ndarray],
) -> None:
    """Make constants what the operators of a kind would make of them, and drop the operators."""
    for graph in model.subgraphs:
        results, kept = set(indices(graph.outputs)), []
        folded: dict[int, int] = {}
        for operator in graph.operators or ():
            inputs, outputs = indices(operator.inputs), indices(operator.outputs)
            source = graph.tensors[inputs[0]] if len(inputs) == len(outputs) == 1 else None
            if (
                source is None
                or opcode_name(model, operator) != kind
                or not is_constant(model, source)
                or not fits(source)
                or not results.isdisjoint((*inputs, *outputs))
            ):
                kept.append(operator)
            else:
                folded[outputs[0]] = inputs[0]
        readers = consumers(graph)
        for target, constant in folded.items():
            if len(readers[constant]) > 1:  # something reads it as it is
                graph.tensors.append(copy(graph.tensors[constant]))
                folded[target] = len(graph.tensors) - 1
            tensor = graph.tensors[folded[target]]
            set_values(model, tensor, change(dense_values(model, tensor)))
            tensor.sparsity = None
            if tensor.quantization is None:
                tensor.quantization = graph.tensors[target].quantization
        graph.operators = kept
        for operator in kept:
            operator.inputs = np.array(
                [folded.get(tensor, tensor) for tensor in indices(operator.inputs)], np.int32
            )
