"""`.tflite` files made by hand for the runtime, from the schema alone, and LiteRT as the reference."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter as LiteRT

from secateur.litert.sparse_encoding import encode
from secateur.runtime import Interpreter
from tflite_graph import KINDS, Graph

ACTIVATIONS = {None: 0, "relu": 1, "relu_n1_to_1": 2, "relu6": 3, "tanh": 4}
SAME, VALID = 0, 1


class File(Graph):
    """A model of one subgraph, built operator by operator; methods return the tensor they write."""

    def __init__(self, seed=0):
        super().__init__()
        self.rng = np.random.default_rng(seed)

    def constant(self, array, dtype=None):
        return super().constant(np.asarray(array, dtype))

    def op(self, kind, inputs, shape, options=None, dtype="float32", version=1):
        return super().op(kind, inputs, shape, dtype, options, version)

    # -- weights --

    def weights(self, shape, zeros=0.0, fan=None):
        values = self.rng.normal(size=shape) / np.sqrt(fan or max(np.prod(shape[1:]), 1))
        return np.where(self.rng.random(shape) < zeros, 0, values).astype("float32")

    def stored(self, values, how="float32", sparse=False, axis=0, layout=None):
        """A weight as an operator reads it, however it is stored."""
        if how == "int8":
            rest = tuple(i for i in range(values.ndim) if i != axis)
            scales = np.abs(values).max(axis=rest, keepdims=True) / 127
            scales = np.where(scales == 0, 1, scales).astype("float32")
            values = np.rint(values / scales).astype("int8")
        else:
            values, scales = values.astype(how), None
        if sparse:
            encoded = encode(values, layout)
            tensor = self.tensor(values.shape, str(values.dtype), encoded.values)
            self.graph.tensors[tensor].sparsity = encoded.parameters
            self._quantize(tensor, scales, axis)
            tensor = self.op(
                KINDS.DENSIFY, [tensor], values.shape, schema.DensifyOptionsT(), str(values.dtype)
            )
        else:
            tensor = self.constant(values)
        self._quantize(tensor, scales, axis)
        if how != "float32":
            options = schema.DequantizeOptionsT()
            tensor = self.op(KINDS.DEQUANTIZE, [tensor], values.shape, options, version=5)
        return tensor

    def _quantize(self, tensor, scales, axis):
        if scales is not None:
            quantization = schema.QuantizationParametersT()
            quantization.scale = scales.ravel()
            quantization.zeroPoint = np.zeros(scales.size, np.int64)
            quantization.quantizedDimension = axis
            self.graph.tensors[tensor].quantization = quantization

    # -- operators --

    def conv(
        self, x, channels, kernel=1, stride=1, dilation=1, padding=SAME, activation=None, zeros=0.9,
        bias=True, how="float32", sparse=False,
    ):  # fmt: skip
        options = _windowed(schema.Conv2DOptionsT(), stride, dilation, padding, activation)
        shape = (channels, *_pair(kernel), self.shape(x)[-1])
        w = self.stored(self.weights(shape, zeros), how, sparse)
        b = self.constant(self.rng.normal(size=channels), "float32") if bias else -1
        out = _window(self.shape(x), kernel, stride, dilation, padding)
        return self.op(KINDS.CONV_2D, [x, w, b], (*out, channels), options, version=2)

    def depthwise(
        self, x, kernel=3, stride=1, dilation=1, padding=SAME, activation=None, multiplier=1,
        bias=True, how="float32",
    ):  # fmt: skip
        options = schema.DepthwiseConv2DOptionsT()
        _windowed(options, stride, dilation, padding, activation)
        options.depthMultiplier = multiplier
        channels = self.shape(x)[-1] * multiplier
        w = self.weights((1, *_pair(kernel), channels), fan=9)
        w = self.stored(w, how, axis=3)
        b = self.constant(self.rng.normal(size=channels), "float32") if bias else -1
        out = _window(self.shape(x), kernel, stride, dilation, padding)
        return self.op(KINDS.DEPTHWISE_CONV_2D, [x, w, b], (*out, channels), options, version=2)

    def dense(self, x, units, activation=None, zeros=0.9, bias=True, how="float32", sparse=False):
        options = schema.FullyConnectedOptionsT()
        options.fusedActivationFunction = ACTIVATIONS[activation]
        options.keepNumDims = len(self.shape(x)) > 2
        w = self.stored(self.weights((units, self.shape(x)[-1]), zeros), how, sparse)
        b = self.constant(self.rng.normal(size=units), "float32") if bias else -1
        shape = (*self.shape(x)[:-1], units)
        return self.op(KINDS.FULLY_CONNECTED, [x, w, b], shape, options, version=5)

    def unary(self, name, x, options=None):
        return self.op(getattr(KINDS, name), [x], self.shape(x), options)

    def binary(self, name, x, y, activation=None):
        options = {"ADD": "AddOptionsT", "SUB": "SubOptionsT"}.get(name)
        options = {"MUL": "MulOptionsT", "DIV": "DivOptionsT"}.get(name, options)
        options = getattr(schema, options)() if options else None
        if options is not None:
            options.fusedActivationFunction = ACTIVATIONS[activation]
        shape = np.broadcast_shapes(self.shape(x), self.shape(y))
        return self.op(getattr(KINDS, name), [x, y], shape, options)

    def pool(self, kind, x, size=2, stride=2, padding=VALID, activation=None):
        options = _windowed(schema.Pool2DOptionsT(), stride, None, padding, activation)
        options.filterHeight, options.filterWidth = _pair(size)
        out = _window(self.shape(x), size, stride, 1, padding)
        shape = (*out, self.shape(x)[-1])
        return self.op(getattr(KINDS, f"{kind.upper()}_POOL_2D"), [x], shape, options)

    def mean(self, x, keep=True, axes=(1, 2)):
        options = schema.ReducerOptionsT()
        options.keepDims = keep
        n, _, _, c = self.shape(x)
        axes = self.constant(np.array(axes, "int32"))
        return self.op(KINDS.MEAN, [x, axes], (n, 1, 1, c) if keep else (n, c), options)

    def pad(self, x, pads, fill=None):
        shape = [n + sum(p) for n, p in zip(self.shape(x), pads, strict=True)]
        inputs = [x, self.constant(np.array(pads, "int32"))]
        if fill is None:
            return self.op(KINDS.PAD, inputs, shape, schema.PadOptionsT())
        inputs.append(self.constant(np.float32(fill)))
        return self.op(KINDS.PADV2, inputs, shape, schema.PadV2OptionsT())

    def concat(self, tensors):
        options = schema.ConcatenationOptionsT()
        options.axis = len(self.shape(tensors[0])) - 1
        channels = sum(self.shape(t)[-1] for t in tensors)
        shape = (*self.shape(tensors[0])[:-1], channels)
        return self.op(KINDS.CONCATENATION, tensors, shape, options)

    def resize(self, kind, x, size, align=False, half=False):
        name = {"bilinear": "ResizeBilinear", "nearest": "ResizeNearestNeighbor"}[kind]
        options = getattr(schema, f"{name}OptionsT")()
        options.alignCorners, options.halfPixelCenters = align, half
        n, _, _, c = self.shape(x)
        kind = KINDS.RESIZE_BILINEAR if kind == "bilinear" else KINDS.RESIZE_NEAREST_NEIGHBOR
        size = self.constant(np.array(size, "int32"))
        height, width = (int(v) for v in self._values(size))
        return self.op(kind, [x, size], (n, height, width, c), options, version=3)

    def _values(self, tensor):
        buffer = self.model.buffers[self.graph.tensors[tensor].buffer]
        return np.frombuffer(buffer.data.tobytes(), "int32")

    def reshape(self, x, shape):
        options = schema.ReshapeOptionsT()
        options.newShape = np.array(shape, np.int32)
        return self.op(KINDS.RESHAPE, [x, self.constant(np.array(shape, "int32"))], shape, options)

    def flatten(self, x):
        """As the converter writes it for an open batch: with a shape that is computed."""
        batch, *rest = self.shape(x)
        length = int(np.prod(rest))
        options = schema.ShapeOptionsT()
        options.outType = schema.TensorType.INT32
        sizes = self.op(KINDS.SHAPE, [x], (1 + len(rest),), options, "int32")
        zero, one = (self.constant(np.array([n], "int32")) for n in (0, 1))
        options = schema.StridedSliceOptionsT()
        options.shrinkAxisMask = 1
        first = self.op(KINDS.STRIDED_SLICE, [sizes, zero, one, one], (), options, "int32")
        options = schema.PackOptionsT()
        options.valuesCount = 2
        shape = self.op(
            KINDS.PACK, [first, self.constant(np.array(length, "int32"))], (2,), options, "int32"
        )
        return self.op(KINDS.RESHAPE, [x, shape], (batch, length), schema.ReshapeOptionsT())

    def slice(self, x, begin, size):
        tensors = [self.constant(np.array(part, "int32")) for part in (begin, size)]
        return self.op(KINDS.SLICE, [x, *tensors], size, schema.SliceOptionsT())

    def softmax(self, x, beta=1.0):
        options = schema.SoftmaxOptionsT()
        options.beta = beta
        return self.op(KINDS.SOFTMAX, [x], self.shape(x), options)

    def floor(self, x):
        """An operator that the native library has not."""
        return self.unary("FLOOR", x)


def _pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def _windowed(options, stride, dilation, padding, activation):
    options.strideH, options.strideW = _pair(stride)
    if dilation is not None:
        options.dilationHFactor, options.dilationWFactor = _pair(dilation)
    options.padding = padding
    options.fusedActivationFunction = ACTIVATIONS[activation]
    return options


def _window(shape, kernel, stride, dilation, padding):
    """Batch, height and width of what a window makes of an image."""
    out = [shape[0]]
    for n, k, s, d in zip(shape[1:3], _pair(kernel), _pair(stride), _pair(dilation), strict=True):
        out.append(-(-n // s) if padding == SAME else (n - (k - 1) * d - 1) // s + 1)
    return tuple(out)


def values(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def outputs_of(interpreter, *inputs):
    """What an interpreter, LiteRT's or ours, makes of inputs of any shapes."""
    details = interpreter.get_input_details()
    for entry, value in zip(details, inputs, strict=True):
        interpreter.resize_tensor_input(entry["index"], value.shape)
    interpreter.allocate_tensors()
    for entry, value in zip(details, inputs, strict=True):
        interpreter.set_tensor(entry["index"], value)
    interpreter.invoke()
    return [interpreter.get_tensor(entry["index"]) for entry in interpreter.get_output_details()]


def compare(data, *inputs, native="always", tolerance=1e-4, reference=None, **options):
    """Assert that a file gives the same outputs here and in LiteRT; return the interpreter."""
    ours = Interpreter(model_content=data, native=native, **options)
    found = outputs_of(ours, *inputs)
    expected = outputs_of(LiteRT(model_content=reference or data), *inputs)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        limit = tolerance * max(float(np.abs(b).max(initial=0)), 1e-3)
        np.testing.assert_allclose(a, b, rtol=0, atol=limit)
    return ours
