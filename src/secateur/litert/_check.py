"""Check that the parts of a `.tflite` file fit each other, so that nothing reads past an end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from secateur.litert.graph import DTYPES, bits, indices, raw, text

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
    if model.version != _VERSION:
        raise ValueError(f"it has version {model.version} of the format, not {_VERSION}")
    for name, parts in (
        ("subgraphs", model.subgraphs),
        ("buffers", model.buffers),
        ("operator codes", model.operatorCodes),
    ):
        if parts is None:
            raise ValueError(f"it has no {name}")
    if not model.subgraphs:
        raise ValueError("it has no subgraph")
    for graph in model.subgraphs:
        _check_graph(model, graph)
    _inside(indices(model.metadataBuffer), len(model.buffers), "buffer of metadata")
    _inside([entry.buffer for entry in model.metadata or ()], len(model.buffers), "buffer")
    for signature in model.signatureDefs or ():
        _inside([signature.subgraphIndex], len(model.subgraphs), "subgraph of a signature")
        tensors = len(model.subgraphs[signature.subgraphIndex].tensors or ())
        for entry in (*(signature.inputs or ()), *(signature.outputs or ())):
            _inside([entry.tensorIndex], tensors, "tensor of a signature")


def _check_graph(model: Any, graph: Any) -> None:
    tensors, buffers = graph.tensors or (), len(model.buffers)
    for tensor in tensors:
        _inside((tensor.buffer,), buffers, "buffer of a tensor")
        try:
            _check_tensor(model, tensor)
        except ValueError as error:
            raise ValueError(f"tensor {text(tensor.name)!r}: {error}") from error
    _inside(indices(graph.inputs), len(tensors), "input")
    _inside(indices(graph.outputs), len(tensors), "output")
    operators = graph.operators or ()
    outputs = [indices(operator.outputs) for operator in operators]
    written = {tensor for tensor in indices(graph.inputs) if tensor >= 0}
    later = _written_by(outputs, len(tensors))
    for operator, results in zip(operators, outputs, strict=True):
        _inside((operator.opcodeIndex,), len(model.operatorCodes), "operator code")
        inputs = indices(operator.inputs)
        for numbers in (inputs, indices(operator.intermediates)):
            _inside(numbers, len(tensors), "tensor of an operator", least=-1)
        for tensor in inputs:
            if tensor in later and tensor not in written:
                raise ValueError(f"an operator reads tensor {tensor} before it is written")
        written.update(results)
        for kind, options in (
            (operator.builtinOptionsType, operator.builtinOptions),
            (operator.builtinOptions2Type, operator.builtinOptions2),
        ):
            if options is not None and not kind:
                raise ValueError("an operator has options of no kind")


def _written_by(outputs: list[list[int]], tensors: int) -> set[int]:
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


def _check_tensor(model: Any, tensor: Any) -> None:
    shape, signature = indices(tensor.shape), indices(tensor.shapeSignature)
    if (shape and min(shape) < 0) or (signature and min(signature) < -1):
        raise ValueError(f"its shape is {shape or signature}")
    if signature and len(signature) != len(shape):
        raise ValueError(f"it has {len(shape)} axes in one place and {len(signature)} in another")
    size = math.prod(shape)
    if size > _MOST_VALUES:
        raise ValueError(f"it has {size} values")
    if tensor.quantization is not None and tensor.quantization.scale is not None:
        _check_quantization(tensor.quantization, shape)
    data = raw(model, tensor)
    width = None if data is None else bits(tensor.type)
    if data is None or width is None:
        return
    if tensor.sparsity is not None:
        if tensor.type not in DTYPES:
            raise ValueError(f"a sparse encoding of type {tensor.type} is not known")
        from secateur.litert.sparse_encoding import check_sparsity  # few files need it

        check_sparsity(tensor.sparsity, shape, len(data) * 8 // width)
    elif len(data) * 8 < size * width:
        raise ValueError(f"it lacks {size - len(data) * 8 // width} of its {size} values")


def _check_quantization(quantization: Any, shape: Sequence[int]) -> None:
    scales = len(quantization.scale)
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
