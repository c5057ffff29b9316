"""Damaged and malicious files give an exception or an answer: no crash, no hang."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter as LiteRT
from runtime_files import KINDS, File, compare, outputs_of, values

from secateur.litert import read_model, write_model
from secateur.runtime import Interpreter, Reason
from support import only

pytestmark = only("tensorflow")  # needs no Keras: the files are made by hand

HERE = Path(__file__).parent
FILES = 120
SECONDS = 120


@pytest.mark.parametrize("kind", ["flipped", "cut", "overwritten", "edited"])
def test_damaged_files(kind):
    """Hundreds of them in a process of its own, which must survive them all."""
    source = str(HERE.parents[1] / "src")
    command = [sys.executable, str(HERE / "hostile_worker.py"), kind, "0", str(FILES)]
    path = {"PYTHONPATH": f"{source}:{HERE}:{HERE.parent}", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=path)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"after {lines[-1:]}: {done.stderr[-2000:]}"
    answers = [line.split()[1] for line in lines]
    assert len(answers) == FILES
    assert set(answers) <= {"ran", "ValueError", "RuntimeError", "MemoryError"}
    assert "ValueError" in answers


def small():
    """A file of two layers as objects, to be damaged."""
    file = File()
    x = file.input((1, 6, 6, 4))
    y = file.conv(x, 8, 3, 1, sparse=True)
    z = file.conv(y, 8)
    file.file([z])
    return file.model


def find(model, kind):
    graph = model.subgraphs[0]
    for operator in graph.operators:
        if model.operatorCodes[operator.opcodeIndex].builtinCode == kind:
            return operator
    raise AssertionError


def shape(number):
    def damage(model):
        tensor = model.subgraphs[0].tensors[find(model, KINDS.CONV_2D).inputs[1]]
        tensor.shape = np.array([8, number, 3, 4], np.int32)

    return damage


def option(name, number):
    def damage(model):
        setattr(find(model, KINDS.CONV_2D).builtinOptions, name, number)

    return damage


def operand(place, number):
    def damage(model):
        find(model, KINDS.CONV_2D).inputs[place] = number

    return damage


def no_options(model):
    find(model, KINDS.CONV_2D).builtinOptions = None
    find(model, KINDS.CONV_2D).builtinOptionsType = 0


def sparse_index(model):
    tensor = model.subgraphs[0].tensors[find(model, KINDS.DENSIFY).inputs[0]]
    for level in tensor.sparsity.dimMetadata:
        if level.arrayIndices is not None:
            level.arrayIndices.values = np.full_like(level.arrayIndices.values, 255)


def sparse_segments(model):
    tensor = model.subgraphs[0].tensors[find(model, KINDS.DENSIFY).inputs[0]]
    for level in tensor.sparsity.dimMetadata:
        if level.arraySegments is not None:
            level.arraySegments.values = level.arraySegments.values[::-1].copy()


def short_bias(model):
    tensor = model.subgraphs[0].tensors[find(model, KINDS.CONV_2D).inputs[2]]
    tensor.shape = np.array([3], np.int32)


def output_is_constant(model):
    find(model, KINDS.CONV_2D).outputs[0] = find(model, KINDS.CONV_2D).inputs[2]


def output_of_int8(model):
    model.subgraphs[0].tensors[find(model, KINDS.CONV_2D).outputs[0]].type = 9


def huge_input(model):
    model.subgraphs[0].tensors[0].shape = np.array([1, 2**20, 2**20, 4], np.int32)


REFUSED = {
    "no height": shape(0),
    "negative height": shape(-3),
    "huge height": shape(2**31 - 1),
    "no stride": option("strideH", 0),
    "negative stride": option("strideW", -1),
    "no dilation": option("dilationHFactor", 0),
    "no such tensor": operand(0, 1000),
    "negative tensor": operand(1, -2),
    "no kernel": operand(1, -1),
    "no options": no_options,
    "index beyond the axis": sparse_index,
    "falling segments": sparse_segments,
    "a bias of too few": short_bias,
    "an output that is a constant": output_is_constant,
    "an output of another type": output_of_int8,
    "a huge input": huge_input,
}


@pytest.mark.parametrize("damage", REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("native", ["always", "never"])
def test_what_cannot_be_is_refused(damage, native):
    model = small()
    damage(model)
    with pytest.raises((ValueError, RuntimeError, MemoryError)):
        outputs_of(Interpreter(model_content=write_model(model), native=native), values(1, 6, 6, 4))


def test_operands_in_a_circle():
    model = small()
    graph = model.subgraphs[0]
    graph.operators[1].inputs[0] = graph.operators[-1].outputs[0]
    with pytest.raises(ValueError):
        Interpreter(model_content=write_model(model))


def test_a_file_that_changes_while_it_is_used(tmp_path):
    """Shapes that change are planned from the file anew, which may be another one by then."""
    path = tmp_path / "model.tflite"
    path.write_bytes(write_model(small()))
    interpreter = Interpreter(model_path=path, native="always")
    interpreter.allocate_tensors()
    path.write_bytes(b"no model")
    interpreter.resize_tensor_input(0, [2, 6, 6, 4])
    with pytest.raises(ValueError):
        interpreter.allocate_tensors()
    with pytest.raises(RuntimeError):
        interpreter.invoke()


def test_a_file_that_becomes_another_one(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(write_model(small()))
    interpreter = Interpreter(model_path=path, native="always")
    interpreter.allocate_tensors()
    file = File()
    path.write_bytes(file.file([file.unary("RELU", file.input((1, 6, 6, 4)))]))
    interpreter.resize_tensor_input(0, [2, 6, 6, 4])
    with pytest.raises(ValueError, match="another one"):
        interpreter.allocate_tensors()


@pytest.mark.parametrize("length", [0, -1, 2**31 - 1, 2**40])
def test_impossible_shapes_of_inputs(length):
    interpreter = Interpreter(model_content=write_model(small()), native="always")

    def ask():
        interpreter.resize_tensor_input(0, [1, length, 6, 4])
        interpreter.allocate_tensors()
        interpreter.invoke()

    with pytest.raises((ValueError, RuntimeError, OverflowError, MemoryError)):
        ask()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_left_to_litert(bad):
    file = File()
    x = file.input((1, 2, 2, 4))
    weights = np.zeros((5, 1, 1, 4), "float32")
    weights[2, 0, 0, 1] = bad
    options = schema.Conv2DOptionsT()
    options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
    tensors = [x, file.constant(weights), file.constant(np.zeros(5, "float32"))]
    content = file.file([file.op(KINDS.CONV_2D, tensors, (1, 2, 2, 5), options)])
    interpreter = Interpreter(model_content=content, native="always")
    found = outputs_of(interpreter, np.ones((1, 2, 2, 4), "float32"))[0]
    assert interpreter.plan().segments == ("LiteRT",)
    np.testing.assert_array_equal(found[..., 2], np.full((1, 2, 2), bad, "float32"))
    np.testing.assert_array_equal(found[..., 0], 0)


def test_only_what_is_fused_with_such_weights_is_left_to_litert():
    file = File()
    x = file.input((1, 6, 6, 8))
    y = file.conv(x, 16)
    good = file.weights
    file.weights = lambda shape, zeros: np.where(np.eye(*shape[::3])[:, None, None], np.inf, 0)
    bad = file.unary("RELU", file.conv(y, 16))
    file.weights = good
    content = file.file([bad, file.conv(y, 12)])
    interpreter = Interpreter(model_content=content, native="always")
    image = values(1, 6, 6, 8)
    found = outputs_of(interpreter, image)
    expected = outputs_of(LiteRT(model_content=content), image)
    for mine, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-4)
    layers = {layer.operators: layer for layer in interpreter.plan().layers}
    assert layers["CONV_2D", "RELU"].reason == Reason.TYPE
    assert layers["CONV_2D",].where == "native"


def test_names_that_are_no_text():
    """LiteRT reads names only when somebody asks for them."""
    file = File()
    x = file.input((1, 6, 6, 4))
    y = file.conv(x, 8)
    options = schema.ReducerOptionsT()
    options.keepDims = True
    axis = file.constant(np.array([1], "int32"))  # for which there is no native mean
    z = file.op(KINDS.MEAN, [y, axis], (1, 1, 6, 8), options)
    model = read_model(file.file([file.conv(z, 8)]))
    for tensor in (y, z):
        model.subgraphs[0].tensors[tensor].name = b"tensor\xff"
    ours = compare(write_model(model), values(1, 6, 6, 4))
    assert ours.plan().reason == Reason.RARE
