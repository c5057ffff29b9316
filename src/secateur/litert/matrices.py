"""Matrices that LiteRT multiplies sparse by itself, without XNNPACK, on every processor.

Its FULLY_CONNECTED has a kernel for float32 weights in blocks of 1x4: four inputs of one output,
all of them zero or all stored. XNNPACK leaves these operators alone by their version number.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from secateur.litert.graph import FLOAT32, INT8, add_opcode, indices, is_constant, opcode_name
from secateur.litert.rewrite import set_values
from secateur.litert.sparse_encoding import Layout, encode
from secateur.litert.weights import Weight, dense_values, find_weights

_BLOCK = 4
_LAYOUT = Layout((0, 1), compressed=1, blocks=((1, _BLOCK),))
# XNNPACK takes sparse weights for dense ones, and reads past their end, in any version but this.
_SPARSE_VERSION = 8
# Smaller matrices are multiplied before it matters.
_LEAST_WEIGHTS = 65536
# The share of blocks of zeros from which the kernel was faster in `benchmarks/matrices.py`, for few
# rows (up to 8) and for any number of them.
_FEW_ROWS, _LIMIT_FEW, _LIMIT = 8, 0.85, 0.9


def fast_matrices(model: Any) -> list[Weight]:
    """Find the matrices that LiteRT's own sparse kernel multiplies faster than XNNPACK's dense one.

    Args:
        model: A `ModelT` with dense weights.

    Returns:
        float32 weights of FULLY_CONNECTED operators alone, of 65,536 values or more, with 90 % or
        more of their 1x4 blocks zero; 85 % where no more than 8 rows are multiplied at a time.
    """
    return [weight for weight in find_weights(model) if _is_fast(model, weight)]


def use_sparse_kernel(model: Any, weights: list[Weight]) -> dict[tuple[int, int], Layout]:
    """Store matrices in blocks of 1x4, and let LiteRT's own kernel multiply them.

    Args:
        model: A `ModelT`, changed in place.
        weights: The matrices.

    Returns:
        How each was laid out, by subgraph and tensor.
    """
    from ai_edge_litert import schema_py_generated as schema

    kind = schema.BuiltinOperator.FULLY_CONNECTED
    for weight in weights:
        graph = model.subgraphs[weight.graph]
        tensor = graph.tensors[weight.constant]
        encoded = encode(dense_values(model, tensor), _LAYOUT)
        set_values(model, tensor, encoded.values)
        tensor.sparsity = encoded.parameters
        for use in weight.uses:
            place = add_opcode(model, kind, _SPARSE_VERSION, exactly=True)
            graph.operators[use.operator].opcodeIndex = place
    return {(weight.graph, weight.constant): _LAYOUT for weight in weights}


def fold_matrices(model: Any) -> None:
    """Make the sparse matrices of FULLY_CONNECTED operators dense; the numbers stay what they are.

    Args:
        model: A `ModelT`, changed in place.
    """
    from ai_edge_litert import schema_py_generated as schema

    kind = schema.BuiltinOperator.FULLY_CONNECTED
    for graph in model.subgraphs:
        for operator in graph.operators or ():
            inputs = indices(operator.inputs)
            if opcode_name(model, operator) != "FULLY_CONNECTED" or len(inputs) < 2:
                continue
            tensor = graph.tensors[inputs[1]]
            if not is_constant(model, tensor) or tensor.type not in (FLOAT32, INT8):
                continue
            if tensor.sparsity is not None:
                set_values(model, tensor, dense_values(model, tensor))
                tensor.sparsity = None
            if model.operatorCodes[operator.opcodeIndex].version == _SPARSE_VERSION:
                version = _dense_version(operator, tensor)
                operator.opcodeIndex = add_opcode(model, kind, version, exactly=True)


def _is_fast(model: Any, weight: Weight) -> bool:
    graph = model.subgraphs[weight.graph]
    tensor = graph.tensors[weight.constant]
    if weight.dequantize is not None or tensor.type != FLOAT32 or tensor.sparsity is not None:
        return False
    values = dense_values(model, tensor)
    if values.ndim != 2 or values.size < _LEAST_WEIGHTS or values.shape[1] % _BLOCK:
        return False
    if not all(_fits(model, graph, use.operator, use.kind) for use in weight.uses):
        return False
    blocks = (values.reshape(-1, _BLOCK) != 0).any(axis=1)
    few = all(_rows(graph, use.operator) <= _FEW_ROWS for use in weight.uses)
    return 1 - blocks.mean() >= (_LIMIT_FEW if few else _LIMIT)


def _fits(model: Any, graph: Any, place: int, kind: str) -> bool:
    """Whether an operator is a plain FULLY_CONNECTED of float32 numbers."""
    operator = graph.operators[place]
    options = operator.builtinOptions
    types = {graph.tensors[i].type for i in (*operator.inputs, *operator.outputs) if i >= 0}
    plain = options is not None and not options.weightsFormat
    return kind == "FULLY_CONNECTED" and types == {FLOAT32} and plain


def _rows(graph: Any, place: int) -> float:
    """How many rows an operator multiplies at a time; endless where that is open."""
    tensor = graph.tensors[indices(graph.operators[place].inputs)[0]]
    lengths = indices(tensor.shapeSignature) or indices(tensor.shape)
    return float(np.prod(lengths[:-1])) if min(lengths, default=0) >= 0 else float("inf")


def _dense_version(operator: Any, tensor: Any) -> int:
    """The least version of FULLY_CONNECTED that knows what an operator asks for."""
    if tensor.type == INT8:
        return 12
    if len(operator.inputs) == 2:
        return 6
    return 5 if operator.builtinOptions is not None and operator.builtinOptions.keepNumDims else 1
