"""Which weights of a `.tflite` file are worth marking sparse, and whether that is safe."""

from __future__ import annotations

import dataclasses
from typing import Any

from secateur.xnnpack.cluster import rewrite
from secateur.xnnpack.diagnosis import diagnose
from secateur.xnnpack.partition import partition
from secateur.xnnpack.report import EligibilityReport


@dataclasses.dataclass(frozen=True)
class SparsePlan:
    """What marking weights sparse would do to a file.

    Args:
        weights: The constant tensors, as (subgraph, tensor), whose 1x1 convolutions or fully
            connected operations run sparse; those before DENSIFY and DEQUANTIZE.
        safe: Whether no weight of the file, marked sparse, makes XNNPACK compute wrong numbers.
        reasons: What keeps parts of the file dense or would make it unsafe, as sentences.
    """

    weights: tuple[tuple[int, int], ...]
    safe: bool
    reasons: tuple[str, ...]

    @property
    def runs_sparse(self) -> bool:
        """Whether anything runs sparse."""
        return bool(self.weights)


def sparse_weights(model: Any, hypothetical: bool = True) -> SparsePlan:
    """Works out which weights of a file XNNPACK would use in sparse kernels.

    A phone's XNNPACK looks for sparse parts only where a weight is marked: stored sparse, behind a
    DENSIFY operation. It then counts the zeros of all 1x1 convolutions of the part, marked or not.

    Args:
        model: A `ModelT`, as `secateur.litert.read_model` returns it.
        hypothetical: Judge the file as if a weight of every part were marked; else as it is.

    Returns:
        A `SparsePlan`. Where the file is not safe it names no weights: mark none of them.

    Example:
        >>> from secateur.litert import read_model
        >>> plan = sparse_weights(read_model("model.tflite"))  # doctest: +SKIP
        >>> plan.safe, plan.runs_sparse  # doctest: +SKIP
        (True, True)

    Reference:
        `xnn_subgraph_rewrite_for_nchw` in XNNPACK's `src/subgraph.c`.
    """
    from secateur.xnnpack.from_tflite import graphs_of

    weights: dict[tuple[int, int], None] = {}
    reasons: dict[str, None] = {}
    safe = True
    for index, graph in enumerate(graphs_of(model)):
        reasons.update(dict.fromkeys(EligibilityReport("", *diagnose(graph)).remarks))
        for piece in partition(graph):
            if not (piece.marked or hypothetical):
                continue
            found = rewrite(piece)
            safe = safe and not found.wrong
            for cluster in found.clusters:
                for node in cluster.sparse:
                    weights[index, node.filter.source] = None
    return SparsePlan(tuple(weights) if safe else (), safe, tuple(reasons))
