"""A subgraph of a `.tflite` file as columns, with an entry for each tensor, or each operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from secateur.litert.graph import indices, opcode_names, raw, text

Dims = tuple[int, ...]


class Columns:
    """A subgraph; each column is made when it is first asked for.

    Args:
        **makers: For each column what makes it.

    Attributes:
        types: The number of each tensor's type in the schema.
        shapes: Its shape in the file.
        signatures: The same with -1 for lengths that are open; () where it says nothing.
        sizes: The bytes of its values in the file; 0 where operators or the caller fill it.
        variables: The tensors that are variables.
        quantized: Those with scales or zero points.
        sparse: Those in a sparse encoding.
        kinds: What each operator is, as "CONV_2D".
        reads: The tensors it reads, -1 for those that are left out.
        writes: The tensors it writes.
        options: Its options, an object of the class that belongs to them, or None; not to be changed.
        inputs: The tensors that the caller fills.
        outputs: Those that the caller reads.
        tensor: Gives a tensor as an object.
        name: Gives a tensor's name, also when the file is gone.
        data: Gives the bytes of a tensor that has any, as a buffer.
        native: What the native library of `secateur.runtime` has read, where it has.
    """

    types: list[int]
    shapes: Sequence[Dims]
    signatures: Sequence[Dims]
    sizes: list[int]
    variables: set[int]
    quantized: set[int]
    sparse: set[int]
    kinds: list[str]
    reads: Sequence[list[int]]
    writes: Sequence[list[int]]
    options: Sequence[Any]
    inputs: list[int]
    outputs: list[int]
    tensor: Callable[[int], Any]
    name: Callable[[int], str]
    data: Callable[[int], Any]
    native: Any

    def __init__(self, **makers: Callable[[], Any]) -> None:
        self._makers = makers

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._makers:
            raise AttributeError(name)
        column = vars(self)[name] = self._makers[name]()
        return column


def columns_of(model: Any, graph: Any) -> Columns:
    """The columns of a subgraph that was read into objects.

    Args:
        model: A `ModelT` whose tensors and operators refer to buffers and operator codes there are.
        graph: One of its subgraphs.
    """
    tensors, operators = graph.tensors or [], graph.operators or []
    names = opcode_names(model)

    def data(tensor: int) -> np.ndarray:
        found = raw(model, tensors[tensor])
        return np.zeros(0, np.uint8) if found is None else found

    return Columns(
        types=lambda: [tensor.type for tensor in tensors],
        shapes=lambda: [tuple(indices(tensor.shape)) for tensor in tensors],
        signatures=lambda: [tuple(indices(tensor.shapeSignature)) for tensor in tensors],
        sizes=lambda: [len(data(number)) for number in range(len(tensors))],
        variables=lambda: {i for i, tensor in enumerate(tensors) if tensor.isVariable},
        quantized=lambda: {i for i, tensor in enumerate(tensors) if _is_quantized(tensor)},
        sparse=lambda: {i for i, tensor in enumerate(tensors) if tensor.sparsity is not None},
        kinds=lambda: [names[operator.opcodeIndex] for operator in operators],
        reads=lambda: [indices(operator.inputs) for operator in operators],
        writes=lambda: [indices(operator.outputs) for operator in operators],
        options=lambda: [operator.builtinOptions for operator in operators],
        inputs=lambda: indices(graph.inputs),
        outputs=lambda: indices(graph.outputs),
        tensor=lambda: tensors.__getitem__,
        name=lambda: [text(tensor.name) for tensor in tensors].__getitem__,
        data=lambda: data,
        native=lambda: None,
    )


def _is_quantized(tensor: Any) -> bool:
    if tensor.quantization is None:
        return False
    parts = tensor.quantization.scale, tensor.quantization.zeroPoint
    return any(part is not None and len(part) for part in parts)
