"""Check that the parts of a `.tflite` file fit each other, so that nothing reads past an end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from secateur.litert._columns import Columns, columns_of
from secateur.litert.graph import DTYPES, bits, indices

_VERSION = 3
# No runtime could hold a larger tensor, and a damaged shape must not make one try.
_MOST_VALUES = 2**40


def check_model(model: Any) -> None:
    """Check the object form of a file.

    Args:
        model: A `ModelT`.

    Raises:
        ValueError: If something refers to what is not there, a shape is impossible, a constant is
            shorter than its shape asks, or an operator reads what is written later.
    """
    for name, parts in (
        ("subgraphs", model.subgraphs),
        ("buffers", model.buffers),
        ("operator codes", model.operatorCodes),
    ):
        if parts is None:
            raise ValueError(f"it has no {name}")
    if not model.subgraphs:
        raise ValueError("it has no subgraph")
    tensors = [len(graph.tensors or ()) for graph in model.subgraphs]
    _check_head(model, len(model.buffers), tensors)
    for graph in model.subgraphs:
        _check_references(model, graph)
        check_columns(columns_of(model, graph))


def _check_head(model: Any, buffers: int, tensors: Sequence[int]) -> None:
    """Check what a file says besides its subgraphs: so many buffers, and tensors of each subgraph."""
    if model.version != _VERSION:
        raise ValueError(f"it has version {model.version} of the format, not {_VERSION}")
    _inside(indices(model.metadataBuffer), buffers, "buffer of metadata")
    _inside([entry.buffer for entry in model.metadata or ()], buffers, "buffer")
    for signature in model.signatureDefs or ():
        _inside([signature.subgraphIndex], len(tensors), "subgraph of a signature")
        for entry in (*(signature.inputs or ()), *(signature.outputs or ())):
            _inside([entry.tensorIndex], tensors[signature.subgraphIndex], "tensor of a signature")


def check_columns(columns: Columns) -> None:
    """Check a subgraph.

    Args:
        columns: Its columns.

    Raises:
        ValueError: As `check_model`.
    """
    tensors = len(columns.types)
    for number in range(tensors):
        try:
            _check_tensor(columns, number)
        except ValueError as error:
            name = columns.name(number)
            raise ValueError(f"tensor {name!r}: {error}") from error
    _inside(columns.inputs, tensors, "input")
    _inside(columns.outputs, tensors, "output")
    written = {tensor for tensor in columns.inputs if tensor >= 0}
    later = _written_by(columns.writes, tensors)
    for inputs, results in zip(columns.reads, columns.writes, strict=True):
        _inside(inputs, tensors, "tensor of an operator", least=-1)
        for tensor in inputs:
            if tensor in later and tensor not in written:
                raise ValueError(f"an operator reads tensor {tensor} before it is written")
        written.update(results)


def _check_references(model: Any, graph: Any) -> None:
    """Check what columns do not have, or take for granted."""
    tensors = len(graph.tensors or ())
    _inside(
        [tensor.buffer for tensor in graph.tensors or ()], len(model.buffers), "buffer of a tensor"
    )
    for operator in graph.operators or ():
        _inside((operator.opcodeIndex,), len(model.operatorCodes), "operator code")
        _inside(indices(operator.intermediates), tensors, "tensor of an operator", least=-1)
        for kind, options in (
            (operator.builtinOptionsType, operator.builtinOptions),
            (operator.builtinOptions2Type, operator.builtinOptions2),
        ):
            if options is not None and not kind:
                raise ValueError("an operator has options of no kind")


def _written_by(outputs: Sequence[list[int]], tensors: int) -> set[int]:
    """The tensors that operators write, each one once."""
    found: set[int] = set()
    for results in outputs:
        _inside(results, tensors, "tensor of an operator", least=-1)
        for tensor in results:
            if tensor in found:
                raise ValueError(f"two operators write tensor {tensor}")
            if tensor >= 0:
                found.add(tensor)
    return found


def _check_tensor(columns: Columns, number: int) -> None:
    shape, signature = columns.shapes[number], columns.signatures[number]
    if (shape and min(shape) < 0) or (signature and min(signature) < -1):
        raise ValueError(f"its shape is {list(shape or signature)}")
    if signature and len(signature) != len(shape):
        raise ValueError(f"it has {len(shape)} axes in one place and {len(signature)} in another")
    size = math.prod(shape)
    if size > _MOST_VALUES:
        raise ValueError(f"it has {size} values")
    if number in columns.quantized:
        _check_quantization(columns.tensor(number).quantization, shape)
    length = columns.sizes[number]
    width = bits(columns.types[number]) if length else None
    if width is None:
        return
    if number in columns.sparse:
        if columns.types[number] not in DTYPES:
            raise ValueError(f"a sparse encoding of type {columns.types[number]} is not known")
        from secateur.litert.sparse_encoding import check_sparsity  # few files need it

        check_sparsity(columns.tensor(number).sparsity, shape, length * 8 // width)
    elif length * 8 < size * width:
        raise ValueError(f"it lacks {size - length * 8 // width} of its {size} values")


def _check_quantization(quantization: Any, shape: Sequence[int]) -> None:
    scales = 0 if quantization.scale is None else len(quantization.scale)
    if scales > 1:
        _inside([quantization.quantizedDimension], len(shape), "quantized axis")
        length = shape[quantization.quantizedDimension]
        if scales != length:
            raise ValueError(f"it has {scales} scales for {length} channels")
    zeros = quantization.zeroPoint
    if zeros is not None and len(zeros) not in (0, 1, scales):
        raise ValueError(f"it has {len(zeros)} zero points and {scales} scales")


def _inside(numbers: Sequence[int], length: int, what: str, least: int = 0) -> None:
    for number in numbers:
        if not least <= number < length:
            raise ValueError(f"{what} {number} does not exist; there are {length}")
