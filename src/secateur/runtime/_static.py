"""Operators of which it is known before the model runs what shapes they give."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from secateur.runtime._reading import Graph

# Operators whose outputs have shapes that follow from the shapes of their inputs, and from the inputs
# named here, which must then be constants.
_STATIC: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(
        (
            *("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL"),
            *("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "POW"),
            *("RELU", "RELU6", "RELU_N1_TO_1", "LOGISTIC", "TANH", "HARD_SWISH", "ELU", "PRELU"),
            *("LEAKY_RELU", "GELU", "ABS", "SQUARE", "EXP", "SQRT", "RSQRT", "NEG", "LOG", "CAST"),
            *("FLOOR", "CEIL", "ROUND", "SIN", "COS", "SOFTMAX", "LOG_SOFTMAX", "L2_NORMALIZATION"),
            *("MAX_POOL_2D", "AVERAGE_POOL_2D", "CONCATENATION", "PACK", "UNPACK", "SHAPE"),
            *("SQUEEZE", "DEPTH_TO_SPACE", "SPACE_TO_DEPTH", "DEQUANTIZE", "QUANTIZE", "DENSIFY"),
            *("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL", "SELECT_V2"),
            *("LOGICAL_AND", "LOGICAL_OR", "LOGICAL_NOT", "GATHER"),
        ),
        (),
    ),
    **dict.fromkeys(
        (
            *("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "RESHAPE", "PAD", "PADV2"),
            *("MIRROR_PAD", "TRANSPOSE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "TILE"),
            *("EXPAND_DIMS", "ARG_MAX", "ARG_MIN", "BROADCAST_TO", "TOPK_V2"),
        ),
        (1,),
    ),
    **{"SLICE": (1, 2), "STRIDED_SLICE": (1, 2, 3), "SPLIT": (0,), "TRANSPOSE_CONV": (0,)},
}


def static(graph: Graph) -> list[int]:
    """The places of such operators.

    Args:
        graph: The graph.
    """
    places = []
    for place, (kind, inputs) in enumerate(zip(graph.kinds, graph.reads, strict=True)):
        needed = _STATIC.get(kind)
        if needed is not None and all(
            graph.is_stored(inputs[i]) for i in needed if i < len(inputs) and inputs[i] >= 0
        ):
            places.append(place)
    return places


def first_unknown(places: list[int]) -> int:
    """The place of the first other operator; the number of operators where there is none.

    Args:
        places: What `static` gives.
    """
    return next((i for i, place in enumerate(places) if i != place), len(places))
