"""`.tflite` files made by hand, from the schema alone."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from secateur.litert import write_model

KINDS = schema.BuiltinOperator
TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "int8": 9}


class Graph:
    """A model of one subgraph, built operator by operator.

    >>> graph = Graph()
    >>> y = graph.op(KINDS.RELU, [graph.input((1, 4))], (1, 4))
    >>> data = graph.file([y])
    """

    def __init__(self):
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.operatorCodes = []
        self.model.buffers = [schema.BufferT()]
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators, self.graph.inputs = [], [], []
        self.model.subgraphs = [self.graph]

    def tensor(
        self,
        shape,
        dtype="float32",
        data=None,
        sparsity=None,
        scales=None,
        axis=0,
        signature=None,
    ):
        tensor = schema.TensorT()
        tensor.name = f"tensor_{len(self.graph.tensors)}"
        tensor.shape = np.array(shape, np.int32)
        tensor.type = TYPES[dtype]
        tensor.sparsity = sparsity
        if signature is not None:
            tensor.shapeSignature = np.array(signature, np.int32)
        if data is not None:
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(schema.BufferT())
            self.model.buffers[-1].data = np.frombuffer(np.asarray(data).tobytes(), np.uint8)
        if scales is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = np.asarray(scales, np.float32)
            tensor.quantization.zeroPoint = np.zeros(len(scales), np.int64)
            tensor.quantization.quantizedDimension = axis
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def constant(self, array, **kwargs):
        array = np.asarray(array)
        return self.tensor(array.shape, str(array.dtype), array, **kwargs)

    def input(self, shape, dtype="float32", signature=None):
        self.graph.inputs.append(self.tensor(shape, dtype, signature=signature))
        return self.graph.inputs[-1]

    def shape(self, tensor):
        return tuple(int(n) for n in self.graph.tensors[tensor].shape)

    def op(self, kind, inputs, shape, dtype="float32", options=None, version=1):
        """Add an operator; return the tensor it writes."""
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = kind, min(kind, 127), version
        self.model.operatorCodes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs = np.array(inputs, np.int32)
        output = self.tensor(shape, dtype)
        operator.outputs = np.array([output], np.int32)
        if options is not None:
            name = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            operator.builtinOptions = options
        self.graph.operators.append(operator)
        return output

    def file(self, outputs):
        self.graph.outputs = np.array(outputs, np.int32)
        self.graph.inputs = np.array(self.graph.inputs, np.int32)
        return write_model(self.model)
