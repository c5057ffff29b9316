"""The two steps from a `.tflite` file to a smaller one: quantize its weights, then drop the zeros."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from secateur.litert.flatbuffer import blaming_the_file, read_model, write_model
from secateur.litert.matrices import fast_matrices, fold_matrices, use_sparse_kernel
from secateur.litert.names import shorten_names
from secateur.litert.quantize import quantize_float16, quantize_weights
from secateur.litert.reshapes import fold_reshapes
from secateur.litert.rewrite import fold_densify, unsign_zeros
from secateur.litert.sparse_encoding import Layout
from secateur.litert.sparsify import sparsify
from secateur.litert.storage import Decision, decide
from secateur.litert.tidy import drop_conversion_notes, tidy

_QUANTIZERS = {"float16": quantize_float16, "weights": quantize_weights}


@dataclass(frozen=True)
class SparseFile:
    """A file with sparse weights.

    Args:
        data: The file.
        decisions: How each weight is stored, and why.
        layouts: How those in their sparse encoding are laid out, by subgraph and tensor.
    """

    data: bytes
    decisions: tuple[Decision, ...]
    layouts: dict[tuple[int, int], Layout]


def dense_file(data: bytes, quantize: str | None, converted: bool = False) -> bytes:
    """Store a file's weights densely, in fewer bits if asked, and leave out what nothing uses.

    Args:
        data: A `.tflite` file.
        quantize: None, "float16" or "weights".
        converted: Whether it comes from the converter: then tensors are named by their layers
            alone, and what the converter says of itself is left out.

    Returns:
        The new file.

    Raises:
        ValueError: If this is no `.tflite` file, or a damaged one.
    """
    model = read_model(data)
    with blaming_the_file(f"{len(data)} bytes"):
        fold_densify(model)
        fold_matrices(model)
        fold_reshapes(model)
        unsign_zeros(model)
        if quantize is not None:
            _QUANTIZERS[quantize](model)
        if converted:
            shorten_names(model)
            drop_conversion_notes(model)
        tidy(model)
    return write_model(model)


def sparse_file(data: bytes, sparse: str) -> SparseFile:
    """Store a file's weights in their sparse encoding, where that is of use.

    Args:
        data: A `.tflite` file with dense weights.
        sparse: "auto", "always" or "never"; see `secateur.export`.

    Returns:
        The new file and what was decided.

    Raises:
        ValueError: If the file is damaged.
    """
    from secateur.xnnpack import explicit_padding, sparse_weights

    model: Any = read_model(data)
    with blaming_the_file(f"{len(data)} bytes"):
        padded = explicit_padding(model) if sparse != "never" else 0
        plan = sparse_weights(model)
        if padded and not plan.runs_sparse:
            model = read_model(data)
            plan = sparse_weights(model)
        layouts: dict[tuple[int, int], Layout] = {}
        # Taking matrices away from XNNPACK cuts the graph, so where it runs sparse they stay.
        if sparse != "never" and not plan.runs_sparse:
            layouts = use_sparse_kernel(model, fast_matrices(model))
        if layouts:
            plan = sparse_weights(model)
        decisions = tuple(decide(model, sparse, plan, layouts))
    chosen = [d.key for d in decisions if d.sparse and d.key not in layouts]
    layouts |= sparsify(model, chosen)
    if layouts:
        tidy(model)
        data = write_model(model)
    return SparseFile(data, decisions, layouts)
