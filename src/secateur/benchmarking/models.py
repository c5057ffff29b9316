"""What a benchmark needs to know of a `.tflite` file, read without handing it to native code."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secateur.litert._paths import read_bytes

# The tensor types that numpy has, by their number in the schema.
_DTYPES = {
    0: "float32",
    1: "float16",
    2: "int32",
    3: "uint8",
    4: "int64",
    6: "bool",
    7: "int16",
    9: "int8",
    10: "float64",
    12: "uint64",
    15: "uint32",
    16: "uint16",
}


# The place of the field `shape_signature` in the table `Tensor` of the schema.
_SHAPE_SIGNATURE = 18


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a model.

    Args:
        name: Its name in the model's signature, or of the tensor where there is none.
        index: Its place among the tensors of the first graph.
        shape: Its shape; a length left open, as the batch size usually is, is 1.
        dtype: Its numpy dtype, as "float32"; "" for strings and the like.
        scale: How much a step of a quantized value is worth, or 0 where it is not quantized.
        zero_point: The quantized value that stands for zero.
    """

    name: str
    index: int
    shape: tuple[int, ...]
    dtype: str
    scale: float = 0.0
    zero_point: int = 0


@dataclass(frozen=True)
class ModelFile:
    """A `.tflite` file that is to be measured.

    Args:
        path: Where it lies.
        name: What it is called in reports.
        bytes: Its size.
        inputs: Its inputs, in the order of its first graph.
        outputs: Its outputs, likewise.
    """

    path: Path
    name: str
    bytes: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def read_models(paths: Sequence[str | os.PathLike[str]]) -> tuple[ModelFile, ...]:
    """Read what the files take and give. Files of the same name are told apart by their folder.

    Args:
        paths: The files.

    Returns:
        One description a file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file is no `.tflite` model, or a damaged one.
    """
    files = [Path(path) for path in paths]
    count = Counter(file.name for file in files)
    return tuple(_read(file, file.name if count[file.name] == 1 else str(file)) for file in files)


def with_fixed_shapes(data: bytes) -> bytes:
    """Fix the lengths that a model leaves open: LiteRT's newer interfaces take no open batch size.

    Args:
        data: A `.tflite` file.

    Returns:
        The same file, where each open length is the one the file gives beside it, 1 for a batch.

    Raises:
        ValueError: If the file is damaged.
    """
    from ai_edge_litert import schema_py_generated as schema

    fixed = bytearray(data)
    try:
        model = schema.Model.GetRootAs(data, 0)
        for graph in map(model.Subgraphs, range(model.SubgraphsLength())):
            for tensor in map(graph.Tensors, range(graph.TensorsLength())):
                _fix(fixed, tensor)
    except Exception as error:  # a damaged flatbuffer fails in many ways
        raise ValueError(
            f"The .tflite file is damaged or half-written ({type(error).__name__}: {error}). "
            f"Convert the model again. Received: {len(data)} bytes"
        ) from error
    return bytes(fixed)


def _fix(data: bytearray, tensor: Any) -> None:
    """Write the shape of a tensor over its signature, in which -1 is an open length."""
    field = tensor._tab.Offset(_SHAPE_SIGNATURE)
    if field and tensor.ShapeSignatureLength() == tensor.ShapeLength() > 0:
        start = tensor._tab.Vector(field)
        shape = tensor.ShapeAsNumpy().astype("<i4").tobytes()
        data[start : start + len(shape)] = shape


def _read(path: Path, name: str) -> ModelFile:
    data = read_bytes(path)
    if data[4:8] != b"TFL3":
        raise ValueError(
            "This is no .tflite file: a flatbuffer with the identifier TFL3 was expected. "
            f"Received: model={str(path)!r}"
        )
    from ai_edge_litert import schema_py_generated as schema

    try:
        model = schema.Model.GetRootAs(data, 0)
        graph = model.Subgraphs(0)
        inputs, outputs = _signature_names(model)
        return ModelFile(
            path,
            name,
            len(data),
            tuple(_spec(graph, int(i), inputs) for i in graph.InputsAsNumpy()),
            tuple(_spec(graph, int(i), outputs) for i in graph.OutputsAsNumpy()),
        )
    except Exception as error:  # a damaged flatbuffer fails in many ways
        raise ValueError(
            f"The .tflite file is damaged or half-written ({type(error).__name__}: {error}). "
            f"Convert the model again. Received: model={str(path)!r}"
        ) from error


def _signature_names(model: Any) -> tuple[dict[int, str], dict[int, str]]:
    """What the first signature calls the inputs and outputs of the first graph."""
    if not model.SignatureDefsLength() or model.SignatureDefs(0).SubgraphIndex() != 0:
        return {}, {}
    signature = model.SignatureDefs(0)
    sides = (
        map(signature.Inputs, range(signature.InputsLength())),
        map(signature.Outputs, range(signature.OutputsLength())),
    )
    inputs, outputs = ({m.TensorIndex(): m.Name().decode() for m in side} for side in sides)
    return inputs, outputs


def _spec(graph: Any, index: int, names: dict[int, str]) -> TensorSpec:
    tensor = graph.Tensors(index)
    quantization = tensor.Quantization()
    quantized = quantization is not None and quantization.ScaleLength() == 1
    return TensorSpec(
        names.get(index) or tensor.Name().decode(),
        index,
        tuple(int(length) for length in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else (),
        _DTYPES.get(tensor.Type(), ""),
        float(quantization.Scale(0)) if quantized else 0.0,
        int(quantization.ZeroPoint(0)) if quantized and quantization.ZeroPointLength() else 0,
    )
