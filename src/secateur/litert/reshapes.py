"""Give reshapes of an open batch a constant shape, in which -1 stands for the batch.

The converter computes such shapes while the model runs: SHAPE, STRIDED_SLICE and PACK in front of each
RESHAPE. A RESHAPE keeps the number of values, so one size follows from the others, and the file format
has -1 for it (`reshape.cc` in LiteRT's kernels). Four operators become one, and engines that take only
constant shapes, as XNNPACK does, can run it. Then what the converter does with a fixed batch is done
here: of two reshapes in a row the second is enough, one that changes nothing is none, and a mean over
the pixels that is reshaped to an image of one pixel keeps its axes instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from secateur.litert.graph import (
    INT32,
    add_buffer,
    consumers,
    indices,
    is_constant,
    opcode_name,
    producers,
    shape,
    values,
)

# What computes shapes, and what is left of merged operators; they have no effect but their outputs.
_PURE = ("PACK", "STRIDED_SLICE", "SHAPE", "RESHAPE", "MEAN")


def fold_reshapes(model: Any) -> int:
    """Make shapes constant of which one size is computed, and remove what computed it.

    Args:
        model: A `ModelT`, changed in place.

    Returns:
        How many RESHAPE operators take a constant shape now.
    """
    return sum(_fold_graph(model, graph) for graph in model.subgraphs)


def _fold_graph(model: Any, graph: Any) -> int:
    written = producers(graph)
    folded = 0
    for operator in graph.operators or ():
        inputs = indices(operator.inputs)
        if not _is_reshape(model, operator):
            continue
        sizes = _sizes(model, graph, written.get(inputs[1]))
        if sizes is not None:
            operator.inputs = np.array([inputs[0], _constant(model, graph, sizes)], np.int32)
            folded += 1
    if folded:
        _drop_unread(model, graph)
        _merge(model, graph)
        _drop_unread(model, graph)
    return folded


def _sizes(model: Any, graph: Any, place: int | None) -> list[int] | None:
    """The sizes that a PACK puts together, -1 for one that is computed; None if there are more."""
    if place is None or opcode_name(model, graph.operators[place]) != "PACK":
        return None
    sizes = []
    for tensor in (graph.tensors[number] for number in indices(graph.operators[place].inputs)):
        if tensor.type != INT32 or len(shape(tensor)):
            return None
        sizes.append(int(values(model, tensor)[0]) if is_constant(model, tensor) else -1)
    # Nothing follows from a size of 0; a constant -1 is one that is computed, too.
    return sizes if sizes.count(-1) == 1 and all(size > 0 or size == -1 for size in sizes) else None


def _constant(model: Any, graph: Any, sizes: list[int]) -> int:
    from ai_edge_litert import schema_py_generated as schema

    tensor = schema.TensorT()
    tensor.name, tensor.hasRank = b"shape", True
    tensor.type, tensor.shape = INT32, np.array([len(sizes)], np.int32)
    tensor.buffer = add_buffer(model, np.array(sizes, np.int32))
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _merge(model: Any, graph: Any) -> None:
    """Merge reshapes with what is in front of them."""
    written = producers(graph)
    outside = {*indices(graph.inputs), *indices(graph.outputs)}
    for operator in graph.operators:
        if not _has_constant_shape(model, graph, operator):
            continue
        data, sizes = indices(operator.inputs)
        before = written.get(data)
        if before is not None and _has_constant_shape(model, graph, graph.operators[before]):
            data = indices(graph.operators[before].inputs)[0]
            operator.inputs = np.array([data, sizes], np.int32)
            before = written.get(data)
        (output,) = indices(operator.outputs)
        alone = len(consumers(graph).get(data, ())) == 1 and data not in outside
        if before is not None and alone and _keeps_axes(model, graph, before, output):
            mean = graph.operators[before]
            mean.builtinOptions.keepDims = True
            mean.outputs, operator.outputs = operator.outputs, mean.outputs
            operator.inputs = np.array([output, sizes], np.int32)  # unread, and so dropped
            written[output] = before
        elif output not in outside and _lengths(graph, data) == _lengths(graph, output):
            for reader in consumers(graph).get(output, ()):
                inputs = indices(graph.operators[reader].inputs)
                replaced = [data if number == output else number for number in inputs]
                graph.operators[reader].inputs = np.array(replaced, np.int32)


def _has_constant_shape(model: Any, graph: Any, operator: Any) -> bool:
    return _is_reshape(model, operator) and is_constant(model, graph.tensors[operator.inputs[1]])


def _is_reshape(model: Any, operator: Any) -> bool:
    """Whether an operator is a reshape to a shape that is its second input."""
    inputs = indices(operator.inputs)
    return opcode_name(model, operator) == "RESHAPE" and len(inputs) == 2 and min(inputs) >= 0


def _keeps_axes(model: Any, graph: Any, place: int, output: int) -> bool:
    """Whether an operator averages over pixels, and would have a given output if it kept axes."""
    mean = graph.operators[place]
    options = mean.builtinOptions
    if opcode_name(model, mean) != "MEAN" or options is None or options.keepDims:
        return False
    source, axes = (graph.tensors[number] for number in indices(mean.inputs))
    lengths = _lengths(graph, indices(mean.inputs)[0])
    if not is_constant(model, axes) or len(shape(source)) != 4:
        return False
    over = sorted(int(axis) % 4 for axis in values(model, axes))
    return over == [1, 2] and _lengths(graph, output) == [lengths[0], 1, 1, lengths[3]]


def _lengths(graph: Any, number: int) -> list[int]:
    """The shape of a tensor, -1 where a length is open."""
    tensor = graph.tensors[number]
    return indices(tensor.shapeSignature) or indices(tensor.shape)


def _drop_unread(model: Any, graph: Any) -> None:
    while True:
        read = {*consumers(graph), *indices(graph.outputs)}
        kept = [
            operator
            for operator in graph.operators
            if opcode_name(model, operator) not in _PURE or read & set(indices(operator.outputs))
        ]
        if len(kept) == len(graph.operators):
            return
        graph.operators = kept
