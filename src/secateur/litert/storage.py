"""Decide which weights of a `.tflite` file are stored in their sparse encoding."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from secateur.litert.graph import FLOAT32, INT8, indices
from secateur.litert.sparsify import can_be_sparse, saved_bytes
from secateur.litert.weights import Weight, find_weights, name_of

#: What `sparse` may be.
SPARSE_MODES = ("auto", "always", "never")


class Storage:
    """Why a weight is stored as it is."""

    RUNS_SPARSE = "sparse: XNNPACK runs it sparse"
    OWN_KERNEL = "sparse: LiteRT multiplies it with its own sparse kernel"
    SMALLER = "sparse: takes fewer bytes"
    LARGER = "dense: the sparse encoding takes no fewer bytes"
    NEVER = 'dense: sparse="never"'
    NOT_FASTER = 'dense: XNNPACK does not run it sparse (sparse="always" stores it for size)'
    UNSAFE = "dense: one sparse weight makes XNNPACK compute wrong numbers in this graph"
    INTERPRETED = (
        "dense: LiteRT reads a packed weight wrongly where DENSIFY and DEQUANTIZE feed an operator "
        "that XNNPACK does not run"
    )
    INT8_MATRIX = "dense: LiteRT fails to load a sparse int8 matrix that is multiplied as int8"
    HYBRID = "dense: LiteRT fails on sparse weights beside dynamic range quantization"
    TYPE = "dense: its type has no sparse encoding"


@dataclass(frozen=True)
class Decision:
    """How a weight is to be stored.

    Args:
        weight: The weight.
        name: Its name in the file.
        sparse: Whether in its sparse encoding.
        reason: Why, one of `Storage`.
    """

    weight: Weight
    name: str
    sparse: bool
    reason: str

    @property
    def key(self) -> tuple[int, int]:
        """Its subgraph and tensor."""
        return self.weight.graph, self.weight.constant


def decide(
    model: Any, sparse: str, plan: Any, matrices: Container[tuple[int, int]] = ()
) -> list[Decision]:
    """Decide for each weight of a file how it is stored.

    Args:
        model: A `ModelT` with no DENSIFY operators.
        sparse: "auto" encodes what XNNPACK runs sparse, "always" what takes fewer bytes so, "never"
            nothing.
        plan: What XNNPACK does with the file, a `secateur.xnnpack.SparsePlan`.
        matrices: The weights, by subgraph and tensor, that are in LiteRT's own sparse form already.

    Returns:
        One decision a weight, in the file's order.
    """
    fast = set(plan.weights) if plan.safe else set()
    weights = find_weights(model)
    hybrid = {weight.graph for weight in weights if is_hybrid(model, weight)}
    delegated = _delegated(model) if sparse != "never" else set()

    def reason(weight: Weight) -> str:
        tensor = model.subgraphs[weight.graph].tensors[weight.constant]
        users = {(weight.graph, use.operator) for use in weight.uses}
        if (weight.graph, weight.constant) in matrices:
            return Storage.OWN_KERNEL
        if sparse == "never":
            return Storage.NEVER
        if weight.graph in hybrid:
            return Storage.HYBRID
        if not can_be_sparse(tensor):
            return Storage.TYPE
        kinds = {use.kind for use in weight.uses}
        if tensor.type == INT8 and weight.dequantize is None and "FULLY_CONNECTED" in kinds:
            return Storage.INT8_MATRIX
        if (weight.graph, weight.constant) in fast:
            return Storage.RUNS_SPARSE
        if not plan.safe:
            return Storage.UNSAFE
        if saved_bytes(model, tensor) <= 0:
            return Storage.LARGER
        if sparse == "auto":
            return Storage.NOT_FASTER
        if weight.dequantize is not None and not users <= delegated:
            return Storage.INTERPRETED
        return Storage.SMALLER

    kept = (Storage.OWN_KERNEL, Storage.RUNS_SPARSE, Storage.SMALLER)
    return [
        Decision(weight, name_of(model, weight), found in kept, found)
        for weight in weights
        for found in [reason(weight)]
    ]


def is_hybrid(model: Any, weight: Weight) -> bool:
    """Whether operators take a whole-number weight beside float data: dynamic range quantization."""
    graph = model.subgraphs[weight.graph]
    if graph.tensors[weight.constant].type == FLOAT32 or weight.dequantize is not None:
        return False
    data = [
        graph.tensors[indices(graph.operators[use.operator].inputs)[0]]
        for use in weight.uses
        if use.operand == 1 and use.kind != "EMBEDDING_LOOKUP"
    ]
    return any(tensor.type == FLOAT32 for tensor in data)


def _delegated(model: Any) -> set[tuple[int, int]]:
    """The operators that LiteRT gives to XNNPACK."""
    from secateur.xnnpack.from_tflite import graphs_of

    return {
        (index, node.source)
        for index, graph in enumerate(graphs_of(model))
        for node in graph.nodes
        if node.delegated
    }
