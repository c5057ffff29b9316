"""Take apart what unpacks constants in a `.tflite` file, and put it together anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import numpy as np

from secateur.litert.graph import (
    DTYPES,
    FLOAT16,
    add_buffer,
    add_opcode,
    indices,
    is_constant,
    opcode_name,
)
from secateur.litert.weights import dense_values

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
    """Replace the operators of a kind that read a constant by what they write."""
    for graph in model.subgraphs:
        results, kept = set(indices(graph.outputs)), []
        for operator in graph.operators or ():
            inputs, outputs = indices(operator.inputs), indices(operator.outputs)
            source = graph.tensors[inputs[0]] if len(inputs) == len(outputs) == 1 else None
            if (
                source is None
                or opcode_name(model, operator) != kind
                or not is_constant(model, source)
                or not fits(source)
                or outputs[0] in results
            ):
                kept.append(operator)
                continue
            target = graph.tensors[outputs[0]]
            set_values(model, target, change(dense_values(model, source)))
            target.name = source.name
        graph.operators = kept
