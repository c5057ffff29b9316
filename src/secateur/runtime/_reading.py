"""The main graph of a `.tflite` file, as the runtime looks at it: shapes, weights, who reads what."""

from __future__ import annotations

from typing import Any

import numpy as np

from secateur.litert.graph import (
    DTYPES,
    FLOAT16,
    FLOAT32,
    INT8,
    consumers,
    indices,
    is_constant,
    opcode_names,
    producers,
    text,
)
from secateur.litert.weights import dense_values
from secateur.runtime._pruned import Ahead, Pruned

Dims = tuple[int, ...]


class Graph:
    """The main subgraph of a file with the shapes that its tensors have for the inputs at hand.

    Args:
        model: A `ModelT`.

    Attributes:
        reads: The tensors that each operator reads, -1 for those that are left out.
        writes: The tensors that each operator writes.
        kinds: What each operator is, as "CONV_2D".
        shapes: The shape of each tensor by its number, as far as anybody said; None where it is
            known only once the model runs.
        known: The number of operators before the first whose output shape is not known.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        graph = model.subgraphs[0]
        self.tensors: list[Any] = graph.tensors or []
        self.operators: list[Any] = graph.operators or []
        names = opcode_names(model)
        self.kinds = [names[operator.opcodeIndex] for operator in self.operators]
        self.reads = [indices(operator.inputs) for operator in self.operators]
        self.writes = [indices(operator.outputs) for operator in self.operators]
        self.inputs = indices(graph.inputs)
        self.outputs = indices(graph.outputs)
        self.readers = consumers(graph)
        self.writers = producers(graph)
        self._stored = [is_constant(model, tensor) for tensor in self.tensors]
        self.packed = self._find_packed()
        self.shapes: list[Dims | None] = [None] * len(self.tensors)
        self.known = 0
        #: Tensors as images, as far as somebody asked: channels, height, width.
        self.images: dict[int, tuple[int, int, int]] = {}
        #: Weights without their zeros, as far as somebody asked.
        self.pruned: dict[int, Pruned] = {}
        #: Who looks for them, if anybody does.
        self.ahead: Ahead | None = None

    @property
    def batch(self) -> int:
        """How many images are run at once."""
        first = self.shapes[self.inputs[0]] if self.inputs else None
        return first[0] if first else 1

    def _find_packed(self) -> dict[int, int]:
        """For each tensor that an operator unpacks from a constant: that constant."""
        found: dict[int, int] = {}
        for kind, inputs, outputs in zip(self.kinds, self.reads, self.writes, strict=True):
            if kind not in ("DENSIFY", "DEQUANTIZE") or len(inputs) != 1 or len(outputs) != 1:
                continue
            source = found.get(inputs[0], inputs[0])
            if source >= 0 and self.is_stored(source) and outputs[0] not in self.outputs:
                found[outputs[0]] = source
        return found

    def is_stored(self, tensor: int) -> bool:
        """Whether a tensor's values are in the file itself."""
        return self._stored[tensor]

    def is_plain(self, tensor: int) -> bool:
        """Whether a tensor's values are in the file as they are used: float32, and all of them."""
        if tensor < 0 or not self.is_stored(tensor):
            return False
        return self.tensors[tensor].type == FLOAT32 and self.tensors[tensor].sparsity is None

    def is_constant(self, tensor: int) -> bool:
        """Whether a tensor's values are in the file, packed or not."""
        return tensor in self.packed or self.is_stored(tensor)

    def is_unpacking(self, place: int) -> bool:
        """Whether an operator only unpacks a constant."""
        outputs = self.writes[place]
        return len(outputs) == 1 and outputs[0] in self.packed

    def constant(self, tensor: int) -> np.ndarray | None:
        """The values of a constant of float32, unpacked; None where it is none."""
        source = self.packed.get(tensor, tensor)
        stored = self.tensors[source]
        if source < 0 or not self.is_stored(source) or self.tensors[tensor].type != FLOAT32:
            return None
        if stored.type not in (FLOAT32, FLOAT16, INT8):
            return None
        values = dense_values(self.model, stored)
        return values if stored.type == FLOAT32 else _to_float(values, stored)

    def numbers(self, tensor: int) -> list[int] | None:
        """The values of a constant of whole numbers; None where it is none."""
        if tensor < 0 or not self.is_stored(tensor) or self.tensors[tensor].sparsity is not None:
            return None
        if DTYPES.get(self.tensors[tensor].type) not in ("int32", "int64"):
            return None
        return [int(n) for n in dense_values(self.model, self.tensors[tensor]).ravel()]

    def shape(self, tensor: int) -> Dims | None:
        """A tensor's shape; None where it is not known, or where it is not of float32."""
        if tensor < 0 or self.tensors[tensor].type != FLOAT32:
            return None
        return self.shapes[tensor]

    def name(self, tensor: int) -> str:
        """A tensor's name in the file."""
        return text(self.tensors[tensor].name)

    def only_reader(self, tensor: int) -> int | None:
        """The one operator that reads a tensor, once; None where several do, or the caller does."""
        places = self.readers.get(tensor, [])
        return places[0] if len(places) == 1 and tensor not in self.outputs else None


def _to_float(values: np.ndarray, tensor: Any) -> np.ndarray | None:
    """What DEQUANTIZE makes of float16 or int8 values; None where that needs more than a scale."""
    if tensor.type == FLOAT16:
        return values.astype(np.float32)
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None or quantization.detailsType:
        return None
    scale = np.asarray(quantization.scale, np.float32)
    zero = np.asarray([] if quantization.zeroPoint is None else quantization.zeroPoint)
    if zero.any() and tensor.sparsity is not None:
        return None
    shape = [1] * values.ndim
    if scale.size > 1:
        shape[quantization.quantizedDimension] = scale.size
    if not scale.size:
        return None
    offset = zero.astype(np.float32) if zero.size else np.zeros(1, np.float32)
    broad = offset.reshape(shape) if offset.size > 1 else offset
    with np.errstate(all="ignore"):  # a damaged file's scales may be no numbers
        return (values.astype(np.float32) - broad) * scale.reshape(shape)
