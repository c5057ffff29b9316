"""The tables of the `.tflite` format that matter here, and objects to hold them.

The module that LiteRT's package generates from the schema has all tables and takes 10 ms to import, a
third of what loading a small model takes. So it is only asked for tables that are rare.
"""

import functools
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np


class Field(NamedTuple):
    """A field of a table.

    Args:
        name: What the object's attribute is called; "" where the field is deprecated.
        how: "number", "numbers", "text", "table", "tables" or "union".
        what: For a number, its letter in `struct`; for numbers, that of each of them; for tables,
            their kind; for a union, the class of LiteRT's module that names its kinds.
        default: The value where the field is left out.
    """

    name: str
    how: str
    what: str
    default: Any


# The fields of each kind of table, in the schema's order. A number is its letter in `struct`, with its
# default where that is not 0; `i*` are many of them. A table is its kind in parentheses, in brackets
# if there are many. A union stands behind a number, which is called alike and chooses its kind.
_TABLES = {
    "Model": "version:I operatorCodes:[OperatorCode] subgraphs:[SubGraph] description:text"
    " buffers:[Buffer] metadataBuffer:i* metadata:[Metadata] signatureDefs:[SignatureDef]"
    " externalBufferGroups:[ExternalBufferGroup] externalBuffers:[ExternalBuffer]",
    "OperatorCode": "deprecatedBuiltinCode:b customCode:text version:i=1 builtinCode:i",
    "SubGraph": "tensors:[Tensor] inputs:i* outputs:i* operators:[Operator] name:text"
    " debugMetadataIndex:i=-1",
    "Tensor": "shape:i* type:b buffer:I name:text quantization:(QuantizationParameters) isVariable:?"
    " sparsity:(SparsityParameters) shapeSignature:i* hasRank:? variantTensors:[VariantSubType]"
    " externalBuffer:I",
    "QuantizationParameters": "min:f* max:f* scale:f* zeroPoint:q* detailsType:B"
    " details:QuantizationDetails quantizedDimension:i",
    "SparsityParameters": "traversalOrder:i* blockMap:i* dimMetadata:[DimensionMetadata]",
    "DimensionMetadata": "format:b denseSize:i arraySegmentsType:B arraySegments:SparseIndexVector"
    " arrayIndicesType:B arrayIndices:SparseIndexVector",
    "Int32Vector": "values:i*",
    "Uint16Vector": "values:H*",
    "Uint8Vector": "values:B*",
    "VariantSubType": "shape:i* type:b hasRank:?",
    "Operator": "opcodeIndex:I inputs:i* outputs:i* builtinOptionsType:B"
    " builtinOptions:BuiltinOptions customOptions:B* customOptionsFormat:b"
    " mutatingVariableInputs:?* intermediates:i* largeCustomOptionsOffset:Q largeCustomOptionsSize:Q"
    " builtinOptions2Type:B builtinOptions2:BuiltinOptions2 debugMetadataIndex:i=-1",
    "Buffer": "data:B* offset:Q size:Q",
    "ExternalBufferGroup": "name:text",
    "ExternalBuffer": "id:I group:I offset:Q length:Q packing:text",
    "Metadata": "name:text buffer:I",
    "TensorMap": "name:text tensorIndex:I",
    "SignatureDef": "inputs:[TensorMap] outputs:[TensorMap] signatureKey:text : subgraphIndex:I",
    # Options of operators that images and their models need.
    "AbsOptions": "",
    "AddOptions": "fusedActivationFunction:b potScaleInt16:?=1",
    "ConcatenationOptions": "axis:i fusedActivationFunction:b",
    "Conv2DOptions": "padding:b strideW:i strideH:i fusedActivationFunction:b dilationWFactor:i=1"
    " dilationHFactor:i=1 quantizedBiasType:b",
    "DensifyOptions": "",
    "DepthwiseConv2DOptions": "padding:b strideW:i strideH:i depthMultiplier:i"
    " fusedActivationFunction:b dilationWFactor:i=1 dilationHFactor:i=1",
    "DequantizeOptions": "",
    "DivOptions": "fusedActivationFunction:b",
    "ExpandDimsOptions": "",
    "FullyConnectedOptions": "fusedActivationFunction:b weightsFormat:b keepNumDims:?"
    " asymmetricQuantizeInputs:? quantizedBiasType:b quantSpec:B*",
    "GeluOptions": "approximate:?",
    "HardSwishOptions": "",
    "LeakyReluOptions": "alpha:f",
    "MaximumMinimumOptions": "",
    "MulOptions": "fusedActivationFunction:b",
    "PackOptions": "valuesCount:i axis:i",
    "PadOptions": "",
    "PadV2Options": "",
    "Pool2DOptions": "padding:b strideW:i strideH:i filterWidth:i filterHeight:i"
    " fusedActivationFunction:b",
    "QuantizeOptions": "",
    "ReducerOptions": "keepDims:?",
    "ReshapeOptions": "newShape:i*",
    "ResizeBilinearOptions": ": : alignCorners:? halfPixelCenters:?",
    "ResizeNearestNeighborOptions": "alignCorners:? halfPixelCenters:?",
    "ShapeOptions": "outType:b",
    "SliceOptions": "",
    "SoftmaxOptions": "beta:f",
    "SquaredDifferenceOptions": "",
    "SqueezeOptions": "squeezeDims:i*",
    "StridedSliceOptions": "beginMask:i endMask:i ellipsisMask:i newAxisMask:i shrinkAxisMask:i"
    " offset:?",
    "SubOptions": "fusedActivationFunction:b potScaleInt16:?=1",
    "TransposeOptions": "",
}
# The numbers by which unions choose those of their tables that are above.
_MEMBERS = {
    "BuiltinOptions": {
        **{1: "Conv2DOptions", 2: "DepthwiseConv2DOptions", 5: "Pool2DOptions"},
        **{8: "FullyConnectedOptions", 9: "SoftmaxOptions", 10: "ConcatenationOptions"},
        **{11: "AddOptions", 15: "ResizeBilinearOptions", 17: "ReshapeOptions", 21: "MulOptions"},
        **{22: "PadOptions", 26: "TransposeOptions", 27: "ReducerOptions", 28: "SubOptions"},
        **{29: "DivOptions", 30: "SqueezeOptions", 32: "StridedSliceOptions"},
        **{38: "DequantizeOptions", 39: "MaximumMinimumOptions", 43: "PadV2Options"},
        **{48: "SliceOptions", 52: "ExpandDimsOptions", 55: "ShapeOptions", 59: "PackOptions"},
        **{74: "ResizeNearestNeighborOptions", 75: "LeakyReluOptions"},
        **{76: "SquaredDifferenceOptions", 78: "AbsOptions", 89: "QuantizeOptions"},
        **{91: "HardSwishOptions", 99: "DensifyOptions", 116: "GeluOptions"},
    },
    "SparseIndexVector": {1: "Int32Vector", 2: "Uint16Vector", 3: "Uint8Vector"},
}
_LETTERS = {"?": "?", "b": "i1", "B": "u1", "H": "<u2", "i": "<i4", "f": "<f4", "q": "<i8"}


# Kinds of operators by their numbers, from 0 on; later ones are rare.
_NAMES = (
    "ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE "
    "EMBEDDING_LOOKUP FLOOR FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D "
    "LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 "
    "RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH CONCAT_EMBEDDINGS "
    "SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER "
    "BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE "
    "UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT "
    "LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG "
    "PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV SPARSE_TO_DENSE TILE "
    "EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN FAKE_QUANT REDUCE_PROD "
    "REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV "
    "REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU "
    "SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS WHERE "
    "RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE "
    "NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM "
    "BATCH_MATMUL "
)
_OPERATORS = _NAMES.split()


def operator_name(number: int) -> str:
    """The name of a kind of operator, "CONV_2D"."""
    if 0 <= number < len(_OPERATORS):
        return _OPERATORS[number]
    return _rare_operators().get(number, f"operator {number}")


@functools.cache
def _rare_operators() -> dict[int, str]:
    from ai_edge_litert import schema_py_generated as schema

    names = vars(schema.BuiltinOperator).items()
    return {number: name for name, number in names if name[0] != "_"}


class Table:
    """A table as an object with an attribute for each field, as in LiteRT's module.

    Args:
        **fields: Values of fields that are not to have their defaults.
    """

    kind = ""
    defaults: ClassVar[dict[str, Any]] = {}

    def __init__(self, **fields: Any) -> None:
        vars(self).update(self.defaults)
        vars(self).update(fields)

    def Pack(self, builder: Any) -> int:
        """Write it with a builder of `flatbuffers`; return where it is."""
        from secateur.litert._pack import pack_table

        return pack_table(builder, self.kind, self)


@functools.cache
def fields_of(kind: str) -> tuple[Field, ...]:
    """The fields of a kind of table, by their places in its vtable."""
    return tuple(_field(text) for text in _TABLES[kind].split())


def _field(text: str) -> Field:
    name, _, rest = text.partition(":")
    what, _, default = rest.partition("=")
    if what.endswith("*"):
        return Field(name, "numbers", what[:-1], None)
    if what.startswith("["):
        return Field(name, "tables", what[1:-1], None)
    if what.startswith("("):
        return Field(name, "table", what[1:-1], None)
    if what in ("text", ""):
        return Field(name, "text", "", None)
    if len(what) > 1:
        return Field(name, "union", what, None)
    zero: Any = {"?": False, "f": 0.0}.get(what, 0)
    return Field(name, "number", what, type(zero)(int(default)) if default else zero)


@functools.cache
def class_of(kind: str) -> Any:
    """The class of objects that hold tables of a kind; it is called as LiteRT's."""
    defaults = {field.name: field.default for field in fields_of(kind) if field.name}
    return type(f"{kind}T", (Table,), {"kind": kind, "defaults": defaults})


@functools.cache
def dtype_of(letter: str) -> np.dtype:
    """The type of numbers in a file by their letter in `struct`."""
    return np.dtype(_LETTERS[letter])


def members(union: str) -> Mapping[int, str]:
    """The kinds of tables that numbers choose from a union, of those above."""
    return _MEMBERS.get(union, {})
