"""Find the weights of a `.tflite` file: constants, and the operators that they feed."""

from typing import Any, NamedTuple

import numpy as np

from secateur.litert.graph import (
    consumers,
    indices,
    is_constant,
    opcode_name,
    producers,
    raw,
    shape,
    shaped,
    text,
    values,
)

# For each kind of operator that has weights: which of its inputs they are, and their axis of output
# channels, or of rows of a table.
_OPERANDS = {
    "CONV_2D": (1, 0),
    "DEPTHWISE_CONV_2D": (1, 3),
    "FULLY_CONNECTED": (1, 0),
    "TRANSPOSE_CONV": (1, 0),
    "CONV_3D": (1, 4),
    "BATCH_MATMUL": (1, -1),
    "GATHER": (0, 0),
    "EMBEDDING_LOOKUP": (1, 0),
}


class Use(NamedTuple):
    """An operator that reads a weight.

    Args:
        operator: Its place in the subgraph.
        operand: Which of its inputs the weight is.
        kind: What it is, as "CONV_2D".
        axis: The weight's axis of output channels.
    """

    operator: int
    operand: int
    kind: str
    axis: int


class Weight(NamedTuple):
    """A constant that operators use as weights.

    Args:
        graph: Its subgraph.
        constant: The tensor that holds its values.
        operand: The tensor that operators read: the same, or what a DEQUANTIZE makes of it.
        dequantize: The place of that operator; None where there is none.
        uses: The operators that read it.
    """

    graph: int
    constant: int
    operand: int
    dequantize: int | None
    uses: tuple[Use, ...]

    @property
    def axis(self) -> int:
        """Its axis of output channels."""
        return self.uses[0].axis


def find_weights(model: Any) -> list[Weight]:
    """Find the weights of a file.

    Args:
        model: A `ModelT`.

    Returns:
        The constants of two axes or more that operators use as weights and nothing uses otherwise,
        in the file's order. Those behind a DENSIFY are not among them: `fold_densify` first.
    """
    return [weight for graph in range(len(model.subgraphs)) for weight in _find(model, graph)]


def dense_values(model: Any, tensor: Any) -> np.ndarray:
    """The values of a constant in its shape; a sparse one is decoded.

    Args:
        model: The file.
        tensor: A constant tensor of it, of a type that numpy knows.

    Returns:
        A read-only array.
    """
    return shaped(values(model, tensor), shape(tensor), tensor.sparsity)


def stored_bytes(model: Any, tensor: Any) -> int:
    """The bytes that a constant takes: its values, and the segments and indices of sparse ones."""
    data = raw(model, tensor)
    size = 0 if data is None else len(data)
    if tensor.sparsity is not None:
        size += sum(
            np.asarray(part.values).nbytes
            for level in tensor.sparsity.dimMetadata
            for part in (level.arraySegments, level.arrayIndices)
            if part is not None and part.values is not None
        )
    return size


def name_of(model: Any, weight: Weight) -> str:
    """The name of a weight in the file."""
    return text(model.subgraphs[weight.graph].tensors[weight.constant].name)


def _find(model: Any, index: int) -> list[Weight]:
    graph = model.subgraphs[index]
    readers, writers = consumers(graph), producers(graph)
    shown = {*indices(graph.outputs), *indices(graph.inputs), *_signed(model, index)}
    found = []
    for constant, tensor in enumerate(graph.tensors or ()):
        if len(shape(tensor)) < 2 or not is_constant(model, tensor) or constant in writers:
            continue
        operand, dequantize = constant, None
        places = readers.get(constant, [])
        if len(places) == 1 and opcode_name(model, graph.operators[places[0]]) == "DEQUANTIZE":
            dequantize = places[0]
            operand = indices(graph.operators[dequantize].outputs)[0]
            places = readers.get(operand, [])
        uses = [_use(model, graph, place, operand) for place in places]
        known = [use for use in uses if use is not None]
        if (
            len(known) == len(uses) > 0
            and len({use.axis for use in known}) == 1
            and shown.isdisjoint((constant, operand))
        ):
            found.append(Weight(index, constant, operand, dequantize, tuple(known)))
    return found


def _use(model: Any, graph: Any, place: int, tensor: int) -> Use | None:
    """How an operator uses a tensor, where it uses it as weights and only so."""
    operator = graph.operators[place]
    kind, inputs = opcode_name(model, operator), indices(operator.inputs)
    operand, axis = _OPERANDS.get(kind, (-1, 0))
    if [i for i, number in enumerate(inputs) if number == tensor] != [operand]:
        return None
    rank, options = len(shape(graph.tensors[tensor])), operator.builtinOptions
    if kind == "GATHER" and options is not None and (options.axis or options.batchDims):
        return None
    if kind == "BATCH_MATMUL":
        axis = rank - 2 if options is not None and options.adjY else rank - 1
    return Use(place, operand, kind, axis) if axis < rank else None


def _signed(model: Any, index: int) -> list[int]:
    """The tensors of a subgraph that signatures name."""
    return [
        entry.tensorIndex
        for signature in model.signatureDefs or ()
        if signature.subgraphIndex == index
        for entry in (*(signature.inputs or ()), *(signature.outputs or ()))
    ]
