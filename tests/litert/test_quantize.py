"""Weights as int8 and float16 in existing files: what numpy says, with and without XNNPACK."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from litert_files import KINDS, Graph, run

import secateur
from secateur.litert import Storage, read_model
from secateur.litert.graph import opcode_name
from support import only

pytestmark = only("tensorflow")  # needs no Keras


def options(name, **values):
    found = getattr(schema, f"{name}OptionsT")()
    for key, value in values.items():
        setattr(found, key, value)
    return found


STEPS = {"strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1}
DEEP = {**STEPS, "strideD": 1, "dilationDFactor": 1}
# For each kind of operator with weights: inputs before and after the weights, the weights' shape and
# axis of channels, the output's shape, options, and whether there is a bias.
CASES = {
    "CONV_2D": ((1, 6, 6, 16), (24, 3, 3, 16), 0, (1, 6, 6, 24), options("Conv2D", **STEPS)),
    "DEPTHWISE_CONV_2D": (
        (1, 6, 6, 48),
        (1, 3, 3, 48),
        3,
        (1, 6, 6, 48),
        options("DepthwiseConv2D", **STEPS, depthMultiplier=1),
    ),
    "FULLY_CONNECTED": ((4, 40), (30, 40), 0, (4, 30), options("FullyConnected")),
    "TRANSPOSE_CONV": (
        (1, 5, 5, 16),
        (24, 3, 3, 16),
        0,
        (1, 10, 10, 24),
        options("TransposeConv", strideW=2, strideH=2),
    ),
    "CONV_3D": ((1, 4, 4, 4, 8), (2, 2, 2, 8, 24), 4, (1, 4, 4, 4, 24), options("Conv3D", **DEEP)),
    "BATCH_MATMUL": ((2, 3, 40), (2, 40, 30), 2, (2, 3, 30), options("BatchMatMul")),
    "GATHER": ((5,), (60, 24), 0, (5, 24), options("Gather")),
    "EMBEDDING_LOOKUP": ((5,), (60, 24), 0, (5, 24), None),
}
TABLES = ("GATHER", "EMBEDDING_LOOKUP")
BIASED = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "CONV_3D")
# What LiteRT gives to XNNPACK, and may therefore be packed twice.
DELEGATED = (*BIASED[:3], "FULLY_CONNECTED", "BATCH_MATMUL")


def weights_of(kind, sparsity):
    """Random weights, of very different sizes from channel to channel, of which some are zero."""
    _, shape, axis, *_ = CASES[kind]
    generator = np.random.default_rng(1)
    sizes = generator.uniform(0.01, 10, [n if i == axis else 1 for i, n in enumerate(shape)])
    kept = generator.random(shape) >= sparsity
    return np.where(kept, generator.normal(size=shape) * sizes, 0).astype("float32")


def bias_of(kind):
    return np.linspace(-1, 1, CASES[kind][1][CASES[kind][2]], dtype="float32")


def file_of(kind, weights, bias=None):
    shape, _, _, result, found = CASES[kind]
    graph = Graph()
    x = graph.input(shape, "int32" if kind in TABLES else "float32")
    inputs = [x, graph.constant(weights)]
    if kind == "GATHER":
        inputs.reverse()
    if kind == "TRANSPOSE_CONV":
        inputs = [graph.constant(np.array(result, "int32")), inputs[1], x]
    if kind in BIASED:
        inputs.append(graph.constant(bias_of(kind) if bias is None else bias))
    version = 3 if kind == "TRANSPOSE_CONV" else 1
    y = graph.op(getattr(KINDS, kind), inputs, result, options=found, version=version)
    return graph.file([y])


def input_of(kind):
    generator = np.random.default_rng(2)
    if kind in TABLES:
        return generator.integers(0, CASES[kind][1][0], CASES[kind][0]).astype("int32")
    return generator.normal(size=CASES[kind][0]).astype("float32")


def as_int8(weights, axis):
    """Each channel as whole numbers of a 127th of its largest weight, and back."""
    channels = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)
    scales = np.array([max(abs(c)) / np.float32(127) or 1 for c in channels], "float32")
    whole = np.stack([np.rint(c / s) for c, s in zip(channels, scales, strict=True)])
    back = (whole.astype("float32") * scales[:, None]).astype("float32")
    return np.moveaxis(back.reshape(np.moveaxis(weights, axis, 0).shape), 0, axis)


@pytest.fixture(params=CASES)
def kind(request):
    return request.param


def exported(data, tmp_path, **options):
    report = secateur.export(data, tmp_path / "out.tflite", **options)
    assert report.note == ""  # it was compared with the given file
    return report, (tmp_path / "out.tflite").read_bytes()


@pytest.mark.parametrize("sparse", ["never", "always"])
def test_weights_as_int8(kind, sparse, tmp_path):
    weights = weights_of(kind, 0.85)
    report, data = exported(file_of(kind, weights), tmp_path, quantize="weights", sparse=sparse)
    assert [weight.dtype for weight in report.weights] == ["int8"]
    assert report.weights[0].zeros >= (weights == 0).sum()
    packed = sparse == "always" and kind in DELEGATED
    assert report.weights[0].is_sparse == packed
    again = file_of(kind, as_int8(weights, CASES[kind][2]))
    for delegate in (True, False):
        expected = run(again, input_of(kind), delegate=delegate)
        found = run(data, input_of(kind), delegate=delegate)
        np.testing.assert_array_equal(found[0], expected[0])


@pytest.mark.parametrize("sparse", ["never", "always"])
def test_weights_as_float16(kind, sparse, tmp_path):
    weights = weights_of(kind, 0.85)
    report, data = exported(file_of(kind, weights), tmp_path, quantize="float16", sparse=sparse)
    assert [weight.dtype for weight in report.weights] == ["float16"]
    assert report.weights[0].is_sparse == (sparse == "always" and kind in DELEGATED)
    halves = [array.astype("float16").astype("float32") for array in (weights, bias_of(kind))]
    for delegate in (True, False):
        expected = run(file_of(kind, *halves), input_of(kind), delegate=delegate)
        found = run(data, input_of(kind), delegate=delegate)
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-5)


def test_float32_without_zeros_in_the_file(kind, tmp_path):
    source = file_of(kind, weights_of(kind, 0.85))
    report, data = exported(source, tmp_path, sparse="always")
    assert report.weights[0].is_sparse
    assert report.bytes == len(data) < len(source)
    assert report.dense_difference == report.max_difference == 0
    for delegate in (True, False):
        expected = run(source, input_of(kind), delegate=delegate)
        found = run(data, input_of(kind), delegate=delegate)
        np.testing.assert_array_equal(found[0], expected[0])


def test_packed_weights_of_what_xnnpack_does_not_run_stay_dense(tmp_path):
    """LiteRT hands the interpreter an unwritten tensor there, and computes with what was in memory."""
    report, _ = exported(
        file_of("GATHER", weights_of("GATHER", 0.9)), tmp_path, quantize="weights", sparse="always"
    )
    assert report.weights[0].reason == Storage.INTERPRETED
    assert report.weights[0].layout == "dense"


def test_weights_and_bias_are_halved_together(tmp_path):
    """LiteRT.js computes zeros where only one of the two is float16."""
    _, data = exported(file_of("CONV_2D", weights_of("CONV_2D", 0)), tmp_path, quantize="float16")
    model = read_model(data)
    graph = model.subgraphs[0]
    conv = graph.operators[-1]
    written = {int(op.outputs[0]) for op in graph.operators[:-1]}
    assert [opcode_name(model, op) for op in graph.operators] == [
        "DEQUANTIZE",
        "DEQUANTIZE",
        "CONV_2D",
    ]
    assert {int(conv.inputs[1]), int(conv.inputs[2])} == written


def test_what_is_too_large_for_float16_stays_float32_with_its_bias(tmp_path):
    weights = weights_of("CONV_2D", 0)
    weights[0, 0, 0, 0] = 70_000
    report, _ = exported(file_of("CONV_2D", weights), tmp_path, quantize="float16")
    assert {tensor.dtype for tensor in report.tensors} == {"float32"}
    assert report.max_difference == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_stays_float32(value, tmp_path):
    weights = weights_of("FULLY_CONNECTED", 0)
    weights[3, 5] = value
    report, _ = exported(
        file_of("FULLY_CONNECTED", weights), tmp_path, quantize="weights", sparse="always"
    )
    assert report.weights[0].dtype == "float32"
    assert report.max_difference == 0


def test_channels_of_zeros_and_of_tiny_numbers(tmp_path):
    weights = weights_of("FULLY_CONNECTED", 0)
    weights[3], weights[4] = 0, 1e-44
    _, data = exported(file_of("FULLY_CONNECTED", weights), tmp_path, quantize="weights")
    found = run(data, np.ones((4, 40), "float32"))[0]
    assert np.isfinite(found).all()
    assert not found[:, 3].any()
    assert abs(found[:, 4]).max() < 1e-30


@pytest.mark.parametrize("mode", [None, "weights", "float16"])
def test_weights_that_are_all_zero(mode, tmp_path):
    source = file_of("CONV_2D", weights_of("CONV_2D", 0) * np.float32(0))
    report, data = exported(source, tmp_path, quantize=mode, sparse="always")
    assert report.weights[0].is_sparse
    assert report.max_difference < 1e-3  # the bias as float16
    found = run(data, input_of("CONV_2D"))[0]
    np.testing.assert_allclose(found, np.broadcast_to(bias_of("CONV_2D"), found.shape), atol=1e-3)


@pytest.mark.parametrize("mode", ["weights", "float16"])
def test_what_is_too_small_to_pay_is_left_alone(mode, tmp_path):
    graph = Graph()
    x = graph.input((1, 4))
    w = graph.constant(np.ones((4, 4), "float32"))
    y = graph.op(KINDS.FULLY_CONNECTED, [x, w, -1], (1, 4), options=options("FullyConnected"))
    source = graph.file([y])
    report, data = exported(source, tmp_path, quantize=mode, sparse="always")
    assert report.weights[0].dtype == "float32"
    assert len(data) <= len(source)


def test_a_weight_that_two_operators_share_is_stored_once(tmp_path):
    weights = weights_of("FULLY_CONNECTED", 0.9)
    graph = Graph()
    shared = graph.constant(weights)
    again = graph.constant(weights)  # a tensor of its own with the same bytes
    outputs = [
        graph.op(KINDS.FULLY_CONNECTED, [x, w, -1], (4, 30), options=options("FullyConnected"))
        for w in (shared, shared, again)
        for x in [graph.input((4, 40))]
    ]
    source = graph.file(outputs)
    assert len(source) > 2 * weights.nbytes
    inputs = [np.random.default_rng(i).normal(size=(4, 40)).astype("float32") for i in range(3)]
    expected = run(file_of("FULLY_CONNECTED", as_int8(weights, 0)), inputs[2])[0]
    for sparse in ("never", "always"):
        _, data = exported(source, tmp_path, quantize="weights", sparse=sparse)
        assert len(data) < weights.size + 2500
        np.testing.assert_array_equal(run(data, *inputs)[2], expected)


def test_a_constant_with_another_use_is_left_alone(tmp_path):
    weights = weights_of("FULLY_CONNECTED", 0.9)
    graph = Graph()
    x, w = graph.input((4, 40)), graph.constant(weights)
    y = graph.op(KINDS.FULLY_CONNECTED, [x, w, -1], (4, 30), options=options("FullyConnected"))
    z = graph.op(KINDS.ABS, [w], (30, 40))
    report, data = exported(graph.file([y, z]), tmp_path, quantize="weights", sparse="always")
    assert report.weights == ()
    np.testing.assert_array_equal(run(data, np.ones((4, 40), "float32"))[1], abs(weights))
