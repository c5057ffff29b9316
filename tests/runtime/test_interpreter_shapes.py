"""Shapes: found without LiteRT they are LiteRT's, and what the file says of them does not matter."""

import pathlib
import re

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from runtime_files import KINDS, SAME, VALID, File, compare, values

from secateur import runtime
from secateur.litert import read_model, write_model
from secateur.runtime._reading import read_graph
from support import only

pytestmark = only("tensorflow")  # needs no Keras: the files are made by hand


UNARY = (
    *("RELU", "RELU6", "RELU_N1_TO_1", "LOGISTIC", "TANH", "HARD_SWISH", "ELU", "ABS", "SQUARE"),
    *("EXP", "SQRT", "RSQRT", "NEG"),
)
BINARY = ("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE")


def litert(content):
    """LiteRT's interpreter; with XNNPACK it does not keep the shapes between operators."""
    kind = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return Interpreter(model_content=content, experimental_op_resolver_type=kind)


def squeeze(file, x, axes, shape):
    options = schema.SqueezeOptionsT()
    options.squeezeDims = axes
    return file.op(KINDS.SQUEEZE, [x], shape, options)


def expand(file, x, axis, shape):
    operands = [x, file.constant(np.array(axis, "int32"))]
    return file.op(KINDS.EXPAND_DIMS, operands, shape, schema.ExpandDimsOptionsT())


def reshape(file, x, target, shape, operand=True):
    options = schema.ReshapeOptionsT()
    options.newShape = np.array(target, np.int32)
    operands = [x, file.constant(options.newShape)] if operand else [x]
    return file.op(KINDS.RESHAPE, operands, shape, options)


def flat_dense(file, x):
    """A fully connected layer that makes a matrix of what it reads."""
    w = file.constant(file.weights((7, 6)))
    return file.op(KINDS.FULLY_CONNECTED, [x, w, -1], (63, 7), schema.FullyConnectedOptionsT())


BUILDS = {
    "conv same": lambda f, x: f.conv(x, 4, 3, 2),
    "conv valid": lambda f, x: f.conv(x, 4, (3, 2), (1, 3), padding=VALID),
    "conv dilated": lambda f, x: f.conv(x, 4, 3, dilation=(2, 1), padding=VALID),
    "conv of stored weights": lambda f, x: f.conv(x, 4, how="float16", sparse=True),
    "depthwise": lambda f, x: f.depthwise(x, 3, 2, multiplier=2),
    "depthwise valid": lambda f, x: f.depthwise(x, 3, dilation=2, padding=VALID),
    "dense that keeps axes": lambda f, x: f.dense(x, 5),
    "dense that does not": flat_dense,
    "pool": lambda f, x: f.pool("max", x, 3, 2, SAME),
    "pool valid": lambda f, x: f.pool("average", x, (2, 3), (1, 2)),
    "mean": lambda f, x: f.mean(x),
    "mean without axes": lambda f, x: f.mean(x, keep=False, axes=(-3, 2)),
    "function": lambda f, x: f.unary("RELU", x),
    "softmax": lambda f, x: f.softmax(x),
    "binary": lambda f, x: f.binary("ADD", x, f.constant(values(6))),
    "binary of more axes": lambda f, x: f.binary("MUL", f.constant(values(1, 1, 1, 1)), x),
    "concat": lambda f, x: f.concat([x, f.conv(x, 3)]),
    "pad": lambda f, x: f.pad(x, [(0, 0), (1, 2), (0, 3), (2, 0)]),
    "resize": lambda f, x: f.resize("bilinear", x, (4, 20)),
    "slice": lambda f, x: f.slice(x, (0, 1, 0, 2), (1, 3, 9, 4)),
    "reshape": lambda f, x: reshape(f, x, (-1, 63 * 6), (1, 63 * 6)),
    "reshape by options": lambda f, x: reshape(f, x, (-1, 9, 42), (1, 9, 42), operand=False),
    "squeeze": lambda f, x: squeeze(f, f.mean(x), [1, -2], (1, 6)),
    "squeeze all": lambda f, x: squeeze(f, f.mean(f.concat([x, x])), None, (1, 12)),
    "expand": lambda f, x: expand(f, f.mean(x, keep=False), 1, (1, 1, 6)),
    "expand from behind": lambda f, x: expand(f, x, -1, (1, 7, 9, 6, 1)),
    "resize to the nearest": lambda f, x: f.resize("nearest", x, (4, 20)),
    "pad with a number": lambda f, x: f.pad(x, [(0, 0), (1, 2), (0, 3), (2, 0)], 1.5),
    "leaky relu": lambda f, x: f.unary("LEAKY_RELU", x, schema.LeakyReluOptionsT()),
    "gelu": lambda f, x: f.unary("GELU", x, schema.GeluOptionsT()),
    **{kind: lambda f, x, kind=kind: f.unary(kind, x) for kind in UNARY},
    **{kind: lambda f, x, kind=kind: f.binary(kind, x, x) for kind in BINARY},
}


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", BUILDS)
def test_every_operator(name, batch):
    file = File()
    x = file.input((1, 7, 9, 6), signature=(-1, 7, 9, 6))
    out = BUILDS[name](file, x)
    content = file.file([out])
    theirs = litert(content)
    theirs.resize_tensor_input(x, (batch, 7, 9, 6))
    theirs.allocate_tensors()
    graph = read_graph(content)
    assert graph.infer({x: (batch, 7, 9, 6)})
    found = graph.shapes
    for entry in theirs.get_tensor_details()[: len(found)]:
        if found[entry["index"]] is not None:
            assert found[entry["index"]] == tuple(entry["shape"])
    assert found[out] == tuple(theirs.get_output_details()[0]["shape"])


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda f, x: f.conv(x, 4), (1, 7, 9)),
        (lambda f, x: f.conv(x, 4, 3, padding=VALID), (1, 2, 9, 6)),
        (lambda f, x: f.binary("ADD", x, f.constant(values(6))), (1, 7, 9, 5)),
        (lambda f, x: f.reshape(x, (1, 63 * 6)), (2, 7, 9, 6)),
        (lambda f, x: f.slice(x, (0, 0, 0, 0), (1, 7, 9, 6)), (1, 6, 9, 6)),
        (lambda f, x: f.concat([x, f.constant(values(1, 7, 9, 6))]), (2, 7, 9, 6)),
        (lambda f, x: f.floor(x), (2, 7, 9, 6)),
    ],
)
def test_what_does_not_fit_or_is_not_known(build, shape):
    file = File()
    x = file.input((1, 7, 9, 6))
    content = file.file([build(file, x)])
    assert not read_graph(content).infer({x: shape})
    ours = runtime.Interpreter(model_content=content, native="always")
    # LiteRT takes more without XNNPACK, or less.
    theirs = [
        error(each, x, shape) for each in (Interpreter(model_content=content), litert(content))
    ]
    assert error(ours, x, shape) in theirs


def error(interpreter, tensor, shape):
    """What it says to a shape."""
    try:
        interpreter.resize_tensor_input(tensor, shape)
        interpreter.allocate_tensors()
    except Exception as caught:
        return type(caught)
    return None


def test_all_operators_that_run_natively_have_a_rule():
    """Those that the native library has numbers for, but some that it only knows the cost of."""
    header = pathlib.Path(runtime.__file__).parent / "native" / "tflite.h"
    listed = re.search(r"enum Operator : int32_t \{(.*?)\}", header.read_text(), re.DOTALL)
    numbers = {int(number) for number in re.findall(r"= (\d+)", listed[1])}
    names = {getattr(KINDS, name): name for name in dir(KINDS) if name.isupper()}
    tested = set()
    for build in BUILDS.values():
        file = File()
        graph = read_graph(file.file([build(file, file.input((1, 7, 9, 6)))]))
        tested.update(graph.kinds)
    assert {names[number] for number in numbers} - tested == {"LOG", "LOG_SOFTMAX", "POW"}


def test_an_operand_that_is_left_out():
    file = File()
    x = file.input((1, 4))
    y = file.op(KINDS.MAXIMUM, [x, -1], (1, 4), schema.MaximumMinimumOptionsT())
    assert not read_graph(file.file([y])).infer({x: (1, 4)})


@pytest.mark.parametrize("floor", [False, True])
def test_shapes_in_the_file_do_not_matter(floor):
    file = File()
    x = file.input((1, 8, 8, 6))
    y = file.conv(x, 12)
    z = file.depthwise(file.floor(y) if floor else y, 3, 2)
    content = file.file([file.mean(z)])
    model = read_model(content)
    model.subgraphs[0].tensors[y].shape = np.array([1, 3, 3, 12], np.int32)
    model.subgraphs[0].tensors[z].shape = np.array([], np.int32)
    lying = write_model(model)
    compare(lying, values(1, 8, 8, 6))
    compare(lying, values(2, 8, 8, 6))


@pytest.mark.parametrize("floor", [False, True])
def test_an_output_that_is_a_single_number(floor):
    file = File()
    y = file.conv(file.input((1, 8, 8, 6)), 12)
    axes = file.constant(np.arange(4), "int32")
    options = schema.ReducerOptionsT()
    total = file.op(KINDS.MEAN, [file.floor(y) if floor else y, axes], (), options)
    file.graph.tensors[total].shape = np.array([1], np.int32)  # which is not so
    ours = compare(file.file([total]), values(1, 8, 8, 6))
    assert ours.get_output_details()[0]["shape"].tolist() == []


@pytest.mark.parametrize("floor", [False, True])
def test_details_of_tensors_follow_the_shapes(floor):
    file = File()
    x = file.input((1, 8, 8, 6), signature=(-1, 8, 8, 6))
    y = file.conv(x, 12)
    content = file.file([file.mean(file.floor(y) if floor else y)])
    ours, theirs = runtime.Interpreter(model_content=content, native="always"), litert(content)
    for interpreter in (ours, theirs):
        interpreter.resize_tensor_input(x, (5, 8, 8, 6))
    assert shapes(ours) == shapes(theirs)
    for interpreter in (ours, theirs):
        interpreter.allocate_tensors()
    assert shapes(ours) == shapes(theirs)


def shapes(interpreter):
    """The names and shapes of tensors; LiteRT may have more of its own."""
    details = interpreter.get_tensor_details()
    return {e["index"]: (e["name"], tuple(e["shape"])) for e in details if e["name"]}
