"""Graphs out of `.tflite` files: which operations LiteRT's delegate gives to XNNPACK, and as what.

It follows `tflite/delegates/xnnpack/xnnpack_delegate.cc` in LiteRT.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from secateur.litert.graph import (
    DTYPES,
    indices,
    is_constant,
    opcode_name,
    shape,
    text,
)
from secateur.litert.graph import values as stored_values
from secateur.xnnpack.graph import BATCH_SIZE, FLATTENING, Graph, Kind, Node, Value, Window
from secateur.xnnpack.rules import Reason

_SAME = 0
_UNPACKED = ("DENSIFY", "DEQUANTIZE")
_QUANTIZED = ("int8", "uint8", "int16")
_CLAMPS = {"RELU", "RELU6", "RELU_N1_TO_1"}
_UNARY = {
    *("ABS", "CEIL", "COS", "ELU", "EXP", "FLOOR", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOGISTIC"),
    *("NEG", "ROUND", "RSQRT", "SIN", "SQRT", "SQUARE", "TANH"),
    *("DEQUANTIZE", "QUANTIZE"),
}
_BINARY = {"ADD": "add", "MUL": "multiply", "SUB": "subtract", "DIV": "divide"}
_BINARY |= {"MAXIMUM": "maximum", "MINIMUM": "minimum", "PRELU": "prelu"}
_BINARY |= {"SQUARED_DIFFERENCE": "squared difference"}
_REDUCE = {"MEAN": "mean", "SUM": "sum", "REDUCE_MAX": "maximum", "REDUCE_MIN": "minimum"}
_OTHERS = {
    *("AVERAGE_POOL_2D", "MAX_POOL_2D", "BATCH_MATMUL", "CONCATENATION", "SLICE", "SOFTMAX"),
    *("SPACE_TO_DEPTH", "SPLIT", "STRIDED_SLICE", "TRANSPOSE", "TRANSPOSE_CONV"),
}
# Inputs of these that are no data but numbers such as axes and sizes, which must be constants.
_PARAMETERS = {
    **dict.fromkeys((*_REDUCE, "PAD", "RESHAPE", "RESIZE_BILINEAR", "TRANSPOSE"), (1,)),
    **{"SLICE": (1, 2), "STRIDED_SLICE": (1, 2, 3), "SPLIT": (0,), "TRANSPOSE_CONV": (0,)},
}
_MOST_CONCATENATED = 5
_MOST_SPLITS = 4


def graphs_of(model: Any) -> list[Graph]:
    """Reads the graphs of a file.

    Args:
        model: A `ModelT`, as `secateur.litert.read_model` returns it.

    Returns:
        One graph for each subgraph. A node's `source` is the place of its operator; a filter's
        `source` is the tensor that holds its numbers, before unpacking, and `marked` says
        whether those are stored sparse.
    """
    return [_Reader(model, graph).read() for graph in model.subgraphs]


class _Reader:
    """Reads one subgraph."""

    def __init__(self, model: Any, graph: Any) -> None:
        self.model = model
        self.graph = graph
        self.tensors = graph.tensors or []
        self.values: dict[int, Value] = {}
        self.packed: dict[int, int] = {}  # where the numbers of an unpacked tensor come from
        self.marked: set[int] = set()
        self.told = False

    def read(self) -> Graph:
        nodes: list[Node] = []
        for place, operator in enumerate(self.graph.operators or ()):
            name = opcode_name(self.model, operator)
            if name in _UNPACKED and self._unpacks(name, operator):
                continue
            nodes += self._nodes(name, operator, place)
        self._find_batch_sizes(nodes)
        inputs = [self._value(i) for i in indices(self.graph.inputs) if i >= 0]
        outputs = [self._value(i) for i in indices(self.graph.outputs) if i >= 0]
        return Graph(nodes, inputs, outputs, self.told)

    def _find_batch_sizes(self, nodes: list[Node]) -> None:
        """Tells operations that ask for the batch size from those that ask for the whole shape."""
        sizes = set()
        for node in nodes:
            if node.operation == "STRIDED_SLICE":
                tensors = indices(self.graph.operators[node.source].inputs)[1:3]
                known = all(is_constant(self.model, self.tensors[i]) for i in tensors)
                bounds = [list(stored_values(self.model, self.tensors[i])) for i in tensors * known]
                if bounds == [[0], [1]]:
                    sizes.add(node)
        readers: dict[Value, list[Node]] = {}
        for node in nodes:
            for value in node.inputs:
                readers.setdefault(value, []).append(node)
        for node in nodes:
            if node.operation == "SHAPE" and sizes.issuperset(readers.get(node.outputs[0], ())):
                node.operator = BATCH_SIZE

    def _unpacks(self, name: str, operator: Any) -> bool:
        """Whether an operation only unpacks a constant, which is done when the file is loaded."""
        inputs, outputs = indices(operator.inputs), indices(operator.outputs)
        if len(inputs) != 1 or len(outputs) != 1:
            return False
        (source,), (target,) = inputs, outputs
        sparse = self.tensors[source].sparsity is not None
        kinds = self._dtype(source), self._dtype(target)
        known = source in self.packed or is_constant(self.model, self.tensors[source])
        if name == "DENSIFY":
            fits = sparse and kinds[0] in ("float32", "float16", "int8") and kinds[0] == kinds[1]
        else:
            fits = not sparse and kinds in (("float16", "float32"), ("int8", "float32"))
        if not (known and fits):
            return False
        if name == "DENSIFY" or source in self.marked:
            self.marked.add(target)
        # Constants are unpacked in the first piece, which thereby reads a marked one.
        self.told |= name == "DEQUANTIZE" and source in self.marked
        self.packed[target] = self.packed.get(source, source)
        return True

    def _dtype(self, tensor: int) -> str:
        return DTYPES.get(self.tensors[tensor].type, "other")

    def _value(self, tensor: int) -> Value:
        if tensor not in self.values:
            info = self.tensors[tensor]
            source = self.packed.get(tensor, tensor)
            self.values[tensor] = Value(
                _open_shape(info),
                "int8" if self._dtype(tensor) in _QUANTIZED else self._dtype(tensor),
                text(info.name),
                constant=tensor in self.packed or is_constant(self.model, info),
                source=source,
                marked=tensor in self.marked,
            )
        return self.values[tensor]

    def _count(self, filter_: Value) -> Value:
        """Counts the zeros of a filter, once."""
        if filter_.constant and not filter_.zeros:
            filter_.zeros = _zeros(self.model, self.tensors[filter_.source], filter_.shape)
        return filter_

    def _nodes(self, name: str, operator: Any, place: int) -> list[Node]:
        tensors = indices(operator.inputs)
        data = [i for n, i in enumerate(tensors) if n not in _PARAMETERS.get(name, ()) and i >= 0]
        node = Node(
            Kind.OTHER,
            tuple(self._value(i) for i in data),
            tuple(self._value(i) for i in indices(operator.outputs) if i >= 0),
            operation=name,
            source=place,
        )
        node.name = node.outputs[0].name if node.outputs else name
        options = operator.builtinOptions
        if not self._is_delegated(name, node, tensors, options, operator):
            node.delegated, node.note = False, Reason.NOT_DELEGATED
            node.kind = Kind.RESHAPE if name == "RESHAPE" else Kind.OTHER
            return [node]
        if name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            self._count(node.filter)
            node.kind = Kind.CONVOLUTION if name == "CONV_2D" else Kind.DEPTHWISE
            node.window = _window(node, options)
        elif name == "FULLY_CONNECTED":
            self._count(node.filter)
            node.kind = Kind.FULLY_CONNECTED
            if not options.keepNumDims:
                return [_flattened(node), node]
        elif name in _BINARY:
            node.kind, node.operator = Kind.BINARY, _BINARY[name]
            if getattr(options, "fusedActivationFunction", 0):
                return _with_clamp(node)
        elif name in _REDUCE:
            node.kind, node.operator = Kind.REDUCE, _REDUCE[name]
            rank = max(len(node.inputs[0].shape), 1)
            axes = stored_values(self.model, self.tensors[tensors[1]])
            node.axes = tuple(int(axis) % rank for axis in axes)
            node.keep_dims = bool(options and options.keepDims)
        elif name == "PAD":
            node.kind = Kind.PAD
            pads = stored_values(self.model, self.tensors[tensors[1]]).reshape(-1, 2)
            node.pads = tuple((int(before), int(after)) for before, after in pads)
        else:
            node.kind, node.operator = _simple(name, options)
        return [node]

    def _is_delegated(
        self, name: str, node: Node, tensors: list[int], options: Any, operator: Any
    ) -> bool:
        """Whether the delegate gives the operation to XNNPACK."""
        known = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "DEPTH_TO_SPACE", "PAD"}
        known |= {"RESIZE_BILINEAR", "RESHAPE", *_CLAMPS, *_UNARY, *_BINARY, *_REDUCE, *_OTHERS}
        if name not in known:
            return False
        parameters = [
            tensors[n] for n in _PARAMETERS.get(name, ()) if n < len(tensors) and tensors[n] >= 0
        ]
        if not all(is_constant(self.model, self.tensors[i]) for i in parameters):
            return False
        floats = ("float32", "float16", "int8")
        if any(value.dtype not in floats for value in (*node.inputs[:1], *node.outputs)):
            return False
        if getattr(options, "fusedActivationFunction", 0) > 3:  # tanh and sign
            return False
        if name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            ranks = [len(value.shape) for value in node.inputs]
            return ranks == [4, 4, 1] and all(value.constant for value in node.inputs[1:])
        if name == "FULLY_CONNECTED":
            version = self.model.operatorCodes[operator.opcodeIndex].version
            default = options is not None and not options.weightsFormat
            return default and version != 8 and len(node.filter.shape) == 2
        if name == "CONCATENATION":
            return 2 <= len(node.inputs) <= _MOST_CONCATENATED
        if name == "SPLIT":
            return 2 <= len(node.outputs) <= _MOST_SPLITS
        if name == "STRIDED_SLICE":
            strides = stored_values(self.model, self.tensors[tensors[3]])
            masks = (options.ellipsisMask, options.newAxisMask, options.shrinkAxisMask)
            return not any(masks) and all(strides == 1)
        if name == "SOFTMAX":
            return bool(options is None or options.beta == 1.0)
        if name == "PRELU":
            return node.inputs[1].constant
        if name == "LEAKY_RELU":
            return bool(options is not None and options.alpha)
        return True


def _open_shape(info: Any) -> tuple[int | None, ...]:
    """The shape of a tensor; None where it is open, which the file's `shape` shows as 1."""
    lengths = shape(info)
    signature = indices(info.shapeSignature)
    if len(signature) != len(lengths):
        return lengths
    return tuple(None if s < 0 else n for s, n in zip(signature, lengths, strict=True))


def _window(node: Node, options: Any) -> Window:
    _, height, width, last = (length or 0 for length in node.filter.shape)
    padding = "same" if options.padding == _SAME else "valid"
    moves: dict[str, Any] = {
        "strides": (options.strideH, options.strideW),
        "dilation": (options.dilationHFactor, options.dilationWFactor),
    }
    if node.kind is Kind.DEPTHWISE:
        multiplier = options.depthMultiplier
        return Window.of(padding, (height, width), multiplier=multiplier, **moves)
    channels = node.inputs[0].shape[-1] or 0
    groups = channels // last if last else 1
    return Window.of(padding, (height, width), groups=groups, channels=last, **moves)


def _flattened(node: Node) -> Node:
    """The reshape that the delegate puts in front, which takes the node's place as a reader."""
    data = node.inputs[0]
    flat = Value((None, node.filter.shape[1]), data.dtype, f"{data.name}, flattened")
    reshape = Node(
        Kind.RESHAPE, (data,), (flat,), node.name, "RESHAPE", FLATTENING, source=node.source
    )
    node.inputs = (flat, *node.inputs[1:])
    return reshape


def _with_clamp(node: Node) -> list[Node]:
    """The activation of an addition, which is an operation of its own in XNNPACK."""
    output = node.outputs[0]
    between = dataclasses.replace(output)
    clamp = Node(Kind.CLAMP, (between,), (output,), node.name, node.operation, source=node.source)
    node.outputs = (between,)
    return [node, clamp]


def _simple(name: str, options: Any) -> tuple[Kind, str]:
    if name in _CLAMPS:
        return Kind.CLAMP, name.lower()
    if name in _UNARY:
        return Kind.UNARY, name.lower()
    if name in ("RESIZE_BILINEAR", "DEPTH_TO_SPACE", "RESHAPE"):
        return Kind[name], ""
    if name in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
        one = options.filterHeight == options.filterWidth == 1
        return (Kind.CLAMP if one else Kind.OTHER), ""
    return Kind.OTHER, ""


def _zeros(model: Any, tensor: Any, dense_shape: tuple[int | None, ...]) -> int:
    """Counts the numbers of a constant that stand for zero."""
    numbers = stored_values(model, tensor)
    size = int(np.prod([length or 0 for length in dense_shape], dtype=np.int64))
    if tensor.sparsity is not None:
        return size - int(np.count_nonzero(numbers))
    quantization = tensor.quantization
    points = None if quantization is None else quantization.zeroPoint
    if points is None or not len(points):
        return size - int(np.count_nonzero(numbers))
    where = np.asarray(points, np.int64)
    if len(where) > 1:
        around = [1] * len(dense_shape)
        around[quantization.quantizedDimension] = len(where)
        where = where.reshape(around)
        numbers = numbers.reshape([length or 0 for length in dense_shape])
    return int(np.count_nonzero(numbers == where))
