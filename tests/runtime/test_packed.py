"""Weights that a file holds in fewer bits, or without their zeros: as LiteRT unpacks them."""

import itertools

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter as LiteRT
from hypothesis import given, settings
from hypothesis import strategies as st
from runtime_files import KINDS, File, compare, outputs_of, values

from secateur.litert import read_model, write_model
from secateur.litert.sparse_encoding import Layout, check_sparsity, encode
from secateur.runtime import Interpreter, Reason
from secateur.runtime._quick import read_quickly
from secateur.runtime._reading import read_graph
from secateur.runtime._units import Units
from support import only

pytestmark = only("tensorflow")  # needs no Keras: the files are made by hand


def added(constant):
    """What the runtime adds to zeros: a constant, by the function that makes it in a file."""
    file = File()
    tensor = constant(file)
    x = file.input((1, *file.shape(tensor)))
    content = file.file([file.binary("ADD", x, tensor)])
    ours = Interpreter(model_content=content, native="always")
    (found,) = outputs_of(ours, np.zeros(file.shape(x), "float32"))
    assert [layer.where for layer in ours.plan().layers] == ["native"]
    return content, found[0]


def test_every_float16_number():
    """Also those next to 0, which have no leading bit."""
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)].reshape(2, -1)
    _, found = added(lambda file: file.stored(halves, "float16"))
    np.testing.assert_array_equal(found, halves.astype("float32"))


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_float16_weights_that_are_no_numbers_are_left_to_litert(bad):
    file, weights = File(), np.ones((4, 1, 1, 3), "float32")
    weights[2, 0, 0, 1] = bad
    y = convolution(file, file.stored(weights, "float16"), file.constant(file.weights((4,))))
    content, image = file.file([y]), values(1, 3, 3, 3)
    ours = Interpreter(model_content=content, native="always")
    found = outputs_of(ours, image)
    np.testing.assert_array_equal(found, outputs_of(LiteRT(model_content=content), image))
    assert {layer.where for layer in ours.plan().layers} == {"LiteRT"}


@pytest.mark.parametrize("axis", [0, 1, 2, None])
@pytest.mark.parametrize("zero", [0, 7])
def test_scales_and_zero_points_of_every_axis(axis, zero):
    rng = np.random.default_rng(0)
    stored = rng.integers(-128, 128, (3, 4, 5)).astype("int8")
    count = 1 if axis is None else stored.shape[axis]
    scales = rng.uniform(0.1, 2, count).astype("float32")
    zeros = np.arange(count) * zero - 3 * bool(zero)

    def constant(file):
        tensor = file.constant(stored)
        quantization = schema.QuantizationParametersT()
        quantization.scale, quantization.zeroPoint = scales, zeros.astype("int64")
        quantization.quantizedDimension = axis or 0
        file.graph.tensors[tensor].quantization = quantization
        options = schema.DequantizeOptionsT()
        return file.op(KINDS.DEQUANTIZE, [tensor], stored.shape, options, version=5)

    content, found = added(constant)
    shape = [count if i == axis else 1 for i in range(3)]
    expected = (stored - zeros.reshape(shape).astype("float32")) * scales.reshape(shape)
    np.testing.assert_array_equal(found, expected)
    compare(content, values(1, 3, 4, 5))


def convolution(file, weights, bias=-1):
    """A convolution of an image of the right size with some weights."""
    kernel = file.shape(weights)
    x = file.input((1, 3, 3, kernel[-1]))
    options = schema.Conv2DOptionsT()
    options.strideH = options.strideW = 1
    return file.op(KINDS.CONV_2D, [x, weights, bias], (1, 3, 3, kernel[0]), options, version=2)


@st.composite
def sparse_weights(draw):
    shape = tuple(draw(st.sampled_from([1, 2, 3, 4, 8])) for _ in range(4))
    order = draw(st.permutations(range(4)))
    blocks = [
        (axis, length)
        for axis in range(4)
        for length in draw(st.sampled_from([(), (), (2,), (4,)]))
        if shape[axis] % length == 0
    ]
    layout = Layout(tuple(order), draw(st.integers(0, 3)), tuple(blocks))
    how = draw(st.sampled_from(["float32", "float16", "int8"]))
    return shape, layout, how, draw(st.sampled_from([0.0, 0.5, 0.9, 1.0]))


@given(sparse_weights(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_layout_of_sparse_weights(drawn, alone):
    """Natively decoded as by LiteRT, whatever the order of axes, blocks and types."""
    shape, layout, how, zeros = drawn
    contents = []
    for sparse in (True, False):
        file = File(seed=3)
        weights = file.weights(shape, zeros)
        tensor = file.stored(weights, how, sparse, layout=layout if sparse else None)
        y = convolution(file, tensor, file.constant(file.weights((shape[0],))))
        contents.append(file.file([y if alone else file.unary("RELU6", y)]))
    image = values(1, 3, 3, shape[-1])
    ours = compare(contents[0], image, reference=contents[1])
    assert {layer.where for layer in ours.plan().layers} == {"native"}


@pytest.mark.parametrize("how", ["float32", "float16", "int8"])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("zeros", [0.0, 0.2, 0.5, 0.95])
def test_large_weights(how, sparse, zeros):
    """Those with few zeros are left to LiteRT, unless natively is asked for."""
    file = File()
    x = file.input((1, 8, 8, 256))
    content = file.file([file.conv(x, 128, how=how, sparse=sparse, zeros=zeros)])
    dense = File()
    x = dense.input((1, 8, 8, 256))
    reference = dense.file([dense.conv(x, 128, how=how, zeros=zeros)])
    image = values(1, 8, 8, 256)
    auto = compare(content, image, reference=reference, native="auto")
    assert (auto.plan().reason == Reason.NO_ZEROS) == (zeros < 0.3)
    ours = compare(content, image, reference=reference)
    assert ours.plan().layers[0].zeros == pytest.approx(zeros, abs=0.02)
    assert ours.plan().layers[0].where == "native"


def test_a_small_file_with_many_zeros_is_not_unpacked_here():
    """Two gigabytes of zeros that a file of a few hundred bytes speaks of."""
    file, shape = File(), (1, 2**29)
    sparse = encode(np.array([[0, 1]], "float32"), Layout((0, 1), 1))
    tensor = file.tensor(shape, "float32", sparse.values)
    file.graph.tensors[tensor].sparsity = sparse.parameters
    dense = file.op(KINDS.DENSIFY, [tensor], shape, schema.DensifyOptionsT())
    x = file.input((1, 1))
    graph = read_graph(bytes(file.file([file.binary("ADD", x, dense)])))
    assert graph.infer({x: (1, 1)})
    (unit,) = Units(graph).described()
    assert unit.reason == Reason.TYPE


EDITS = ("order", "blocks", "length", "format", "segments", "indices")


def edit(parameters, what, rng):
    """Change one number of a sparse encoding."""
    level = parameters.dimMetadata[rng.integers(len(parameters.dimMetadata))]
    change = int(rng.integers(-2, 3))
    if what == "length":
        level.denseSize += change
    elif what == "format":
        level.format = int(rng.integers(0, 3))
    else:
        vectors = {"order": (parameters, "traversalOrder"), "blocks": (parameters, "blockMap")}
        vectors |= {"segments": (level.arraySegments, "values")}
        vectors |= {"indices": (level.arrayIndices, "values")}
        holder, name = vectors[what]
        if holder is None or getattr(holder, name) is None:
            return
        array = np.array(getattr(holder, name))
        if len(array):
            place = rng.integers(len(array))
            array[place] = np.clip(int(array[place]) + change, 0, 255)
        setattr(holder, name, array)


@pytest.mark.parametrize("what", EDITS)
def test_damaged_encodings_are_refused_by_both_readers(what):
    answers = set()
    for seed, blocked in itertools.product(range(40), (False, True)):
        rng, file = np.random.default_rng(seed), File(seed)
        layout = Layout((0, 3, 1, 2), 3, ((0, 2), (3, 2)) if blocked else ())
        weights = file.weights((6, 3, 2, 4), 0.6)
        y = convolution(file, file.stored(weights, sparse=True, layout=layout))
        model = read_model(file.file([y]))
        (tensor,) = (t for t in model.subgraphs[0].tensors if t.sparsity is not None)
        stored = len(model.buffers[tensor.buffer].data) // 4
        edit(tensor.sparsity, what, rng)
        try:
            check_sparsity(tensor.sparsity, weights.shape, stored)
            sound = True
        except ValueError:
            sound = False
        assert (read_quickly(memoryview(bytes(write_model(model)))) is not None) == sound
        answers.add(sound)
    assert False in answers
