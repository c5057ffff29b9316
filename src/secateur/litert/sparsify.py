"""Store weights of a `.tflite` file in their sparse encoding, behind a DENSIFY operator."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from secateur.litert.graph import FLOAT16, FLOAT32, INT8, shape
from secateur.litert.rewrite import add_tensor, redirect, set_values, unpacker
from secateur.litert.sparse_encoding import Layout, encode
from secateur.litert.weights import dense_values

#: About the bytes that an encoding adds to a file beside values, segments and indices.
ENCODING_BYTES = 288

#: The types that DENSIFY knows.
SPARSE_TYPES = (FLOAT32, FLOAT16, INT8)


def sparsify(model: Any, weights: Iterable[tuple[int, int]]) -> dict[tuple[int, int], Layout]:
    """Store constants in their sparse encoding.

    Args:
        model: A `ModelT`, changed in place.
        weights: The constants, as pairs of a subgraph and a tensor: float32, float16, or int8
            without offsets.

    Returns:
        How each was laid out.

    Raises:
        ValueError: If one of them is no dense constant of these types.
    """
    from ai_edge_litert import schema_py_generated as schema

    layouts: dict[tuple[int, int], Layout] = {}
    unpackers: dict[int, list[Any]] = {}
    for index, constant in sorted(set(weights)):
        graph = model.subgraphs[index]
        tensor = graph.tensors[constant]
        if not can_be_sparse(tensor):
            raise ValueError(
                "Only dense float32, float16 and int8 constants without offsets have a sparse "
                f"encoding. Received: tensor={tensor.name!r}"
            )
        encoded = encode(dense_values(model, tensor))
        layouts[index, constant] = encoded.layout
        dense = add_tensor(graph, tensor, str(encoded.values.dtype))
        graph.tensors[dense].quantization = tensor.quantization
        redirect(graph.operators, constant, dense)
        set_values(model, tensor, encoded.values)
        tensor.sparsity = encoded.parameters
        kind = schema.BuiltinOperator.DENSIFY
        unpackers.setdefault(index, []).append(unpacker(model, kind, 1, constant, dense))
    for index, operators in unpackers.items():
        model.subgraphs[index].operators[:0] = operators
    return layouts


def can_be_sparse(tensor: Any) -> bool:
    """Whether a constant is dense and of a type that DENSIFY knows, with zeros stored as zeros."""
    zeros = None if tensor.quantization is None else tensor.quantization.zeroPoint
    return (
        tensor.type in SPARSE_TYPES
        and tensor.sparsity is None
        and 0 not in shape(tensor)
        and (zeros is None or not np.any(zeros))
    )


def saved_bytes(model: Any, tensor: Any) -> int:
    """The bytes that the sparse encoding of a constant saves; negative where it adds some."""
    values = dense_values(model, tensor)
    return int(values.nbytes) - encode(values).nbytes - ENCODING_BYTES
