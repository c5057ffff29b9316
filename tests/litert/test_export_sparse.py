"""Export with every quantization and every sparse mode: what is stored how, and that it is right."""

import json
import os

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from litert_files import KINDS, Graph, run

import secateur
from conftest import mobile_net
from secateur.litert import Storage, VerificationError, convert_model, read_model, read_tensors
from secateur.litert.graph import opcode_name, text
from support import only

layers = keras.layers


def operators(data):
    model = read_model(data)
    return [opcode_name(model, op) for graph in model.subgraphs for op in graph.operators]


def photos(n=3):
    return np.random.default_rng(0).random((n, 16, 16, 3)).astype("float32")


def scores(path, x=None):
    return run(path.read_bytes(), photos() if x is None else x)[0]


def by_layer(report):
    """How the weights are stored, by the first layer in their names."""
    return {weight.name.split(";")[-1].removesuffix("_1"): weight for weight in report.weights}


@pytest.fixture(scope="module")
def shrunk(mobile, tmp_path_factory):
    path = tmp_path_factory.mktemp("shrunk") / "mobile.tflite"
    return secateur.export(mobile, path, quantize="weights"), path


def test_pointwise_convolutions_run_sparse(shrunk):
    report, path = shrunk
    stored = by_layer(report)
    assert {name for name, weight in stored.items() if weight.runs_sparse} == {
        "pointwise_0",
        "pointwise_1",
    }
    assert len(report.runs_sparse) == 2
    assert stored["pointwise_1"].dtype == "int8"
    assert stored["pointwise_1"].zeros == 1036  # 90 % of 1,152
    assert stored["pointwise_1"].bytes < 1152 / 3
    assert stored["stem"].reason == stored["logits"].reason == Storage.LARGER
    assert operators(path.read_bytes()).count("DENSIFY") == 2


def test_what_is_measured(shrunk, mobile):
    report, path = shrunk
    assert report.bytes == path.stat().st_size < report.dense_bytes
    assert report.dense_difference == 0
    expected = keras.ops.convert_to_numpy(mobile(photos()))
    assert np.abs(scores(path) - expected).max() < 0.02 * np.abs(expected).max()
    assert 0 < report.max_difference < 0.02 * np.abs(expected).max()
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["sparse"] == "auto"
    assert plain["quantize"] == "weights"
    assert len(plain["weights"]) == 6
    assert plain["runs_sparse"] == list(report.runs_sparse)
    text = str(report)
    assert "runs sparse in XNNPACK: 2 of 2 1x1 convolutions" in text
    assert plain["eligibility"]["runs_sparse"]
    assert f"size with dense weights: {report.dense_bytes:,} bytes" in text
    assert "largest difference from the dense file: 0" in text
    assert Storage.RUNS_SPARSE in report._repr_html_()


def test_int8_with_several_inputs(tmp_path):
    z, a = keras.Input((4,), name="z"), keras.Input((3,), name="a")
    both = layers.Concatenate()([z, a])
    model = keras.Model({"z": z, "a": a}, [layers.Dense(2)(both), layers.Dense(5)(z)])
    generator = np.random.default_rng(0)
    data = {"a": generator.random((30, 3)), "z": generator.random((30, 4)) * 8}
    report = secateur.export(
        model, tmp_path / "two.tflite", quantize="int8", representative_data=data
    )
    assert {weight.dtype for weight in report.weights} == {"int8"}
    x = {name: array[:1].astype("float32") for name, array in data.items()}
    expected = [keras.ops.convert_to_numpy(y) for y in model(x)]
    largest = max(np.abs(y).max() for y in expected)
    assert report.max_difference < 0.1 * max(largest, 1)
    specs = [
        [text(entry.name) for entry in part]
        for signature in read_model((tmp_path / "two.tflite").read_bytes()).signatureDefs
        for part in (signature.inputs, signature.outputs)
    ]
    assert specs == [["a", "z"], ["output_0", "output_1"]]


@only("tensorflow")
@pytest.mark.parametrize("sparse", ["auto", "always", "never"])
@pytest.mark.parametrize("quantize", [None, "float16", "weights", "dynamic", "int8"])
def test_every_combination(mobile, quantize, sparse, tmp_path):
    path = tmp_path / "mobile.tflite"
    options = {"quantize": quantize, "sparse": sparse}
    if quantize == "int8":
        options["representative_data"] = photos(20)
    if quantize == "dynamic" and sparse == "always":
        with pytest.raises(ValueError, match=r'quantize="weights", which is as small.*Received:'):
            secateur.export(mobile, path, **options)
        assert not os.listdir(tmp_path)
        return
    report = secateur.export(mobile, path, **options)
    assert report.note == ""
    expected = keras.ops.convert_to_numpy(mobile(photos()))
    assert np.abs(scores(path) - expected).max() < 0.1 * np.abs(expected).max()
    runs = sparse != "never" and quantize in (None, "float16", "weights")
    assert len(report.runs_sparse) == (2 if runs else 0)
    packed = [weight for weight in report.weights if weight.is_sparse]
    assert bool(packed) == (runs or (quantize, sparse) == ("int8", "always"))
    assert operators(path.read_bytes()).count("DENSIFY") == len(packed)
    reasons = {weight.reason for weight in report.weights}
    if sparse == "never":
        assert reasons == {Storage.NEVER}
    elif quantize == "dynamic":
        assert Storage.HYBRID in reasons


@only("tensorflow")
def test_the_same_model_gives_the_same_bytes(mobile, shrunk, mobile_file, tmp_path):
    secateur.export(mobile, tmp_path / "again.tflite", quantize="weights")
    secateur.export(mobile_file, tmp_path / "file.tflite", quantize="weights")
    data = shrunk[1].read_bytes()
    assert (tmp_path / "again.tflite").read_bytes() == data
    assert (tmp_path / "file.tflite").read_bytes() == data


@only("tensorflow")
def test_a_sparse_file_can_be_exported_again(shrunk, mobile_file, tmp_path):
    sparse = secateur.export(mobile_file, tmp_path / "sparse.tflite")
    assert sparse.bytes < mobile_file.stat().st_size
    secateur.export(tmp_path / "sparse.tflite", tmp_path / "same.tflite")
    assert (tmp_path / "same.tflite").read_bytes() == (tmp_path / "sparse.tflite").read_bytes()
    secateur.export(tmp_path / "sparse.tflite", tmp_path / "small.tflite", quantize="weights")
    assert (tmp_path / "small.tflite").read_bytes() == shrunk[1].read_bytes()
    secateur.export(tmp_path / "sparse.tflite", tmp_path / "dense.tflite", sparse="never")
    assert (tmp_path / "dense.tflite").read_bytes() == mobile_file.read_bytes()


@only("tensorflow")
def test_float16_files_become_int8(mobile_file, shrunk, tmp_path):
    secateur.export(mobile_file, tmp_path / "half.tflite", quantize="float16")
    report = secateur.export(
        tmp_path / "half.tflite", tmp_path / "small.tflite", quantize="weights"
    )
    assert {weight.dtype for weight in report.weights if weight.size > 100} == {"int8"}
    assert np.abs(scores(tmp_path / "small.tflite") - scores(shrunk[1])).max() < 1e-3


@only("tensorflow")
@pytest.mark.parametrize("quantize", [None, "float16", "weights"])
def test_a_graph_that_xnnpack_computes_wrongly_stays_dense(quantize, tmp_path):
    """With a sparse weight in it, a pooling in the middle gets numbers in the wrong order."""
    report = secateur.export(
        mobile_net(pool=True), tmp_path / "pool.tflite", quantize=quantize, sparse="always"
    )
    assert "DENSIFY" not in operators((tmp_path / "pool.tflite").read_bytes())
    assert by_layer(report)["pointwise_0"].reason == Storage.UNSAFE
    assert not report.eligibility.safe
    assert "in the way: max_pooling2d_1 (MAX_POOL_2D): " in str(report)


@only("tensorflow")
def test_names_signatures_and_open_batch_are_kept(mobile_file, shrunk):
    before, after = read_model(mobile_file), read_model(shrunk[1])

    def names(model):
        graph = model.subgraphs[0]
        ends = [*graph.inputs, *graph.outputs]
        return (
            [text(graph.tensors[i].name) for i in ends],
            [graph.tensors[i].shapeSignature.tolist() for i in ends],
            [(s.signatureKey, [t.name for t in s.inputs]) for s in model.signatureDefs],
        )

    assert names(before) == names(after)
    assert names(after)[2] == [(b"serving_default", [b"image"])]
    for n in (1, 5):
        assert scores(shrunk[1], photos(n)).shape == (n, 5)


@only("tensorflow")
def test_layers_are_named_and_nothing_else(mobile_file):
    model = read_model(mobile_file)
    names = {text(tensor.name) for tensor in model.subgraphs[0].tensors}
    assert "logits_1" in names
    assert not any("mobile" in name for name in names)


@only("tensorflow")
def test_the_size_of_a_fixed_batch_is_kept(tmp_path):
    model = keras.Sequential([keras.Input((4,), batch_size=2, name="x"), layers.Dense(30)])
    secateur.export(model, tmp_path / "two.tflite", quantize="weights", sparse="always")
    assert run((tmp_path / "two.tflite").read_bytes(), np.ones((2, 4), "float32"))[0].shape[0] == 2


@only("tensorflow")
def test_a_subclassed_model(tmp_path):
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden, self.last = layers.Dense(64, activation="relu"), layers.Dense(2)

        def call(self, x):
            return {"score": self.last(self.hidden(x))}

    model = Net()
    model(np.zeros((1, 40), "float32"))
    secateur.prune_once(model, sparsity=0.9)
    report = secateur.export(model, tmp_path / "net.tflite", sparse="always")
    assert report.max_difference < 1e-5
    assert by_layer(report)["dense"].reason == Storage.SMALLER
    assert report.bytes < report.dense_bytes


def two_signatures():
    """A file of two subgraphs that share a weight, each behind a signature."""
    weights = np.random.default_rng(0).normal(size=(40, 40)).astype("float32")
    weights[np.abs(weights) < 1.5] = 0
    first, second = Graph(), Graph()
    for graph, kind in ((first, KINDS.RELU), (second, KINDS.TANH)):
        x, w = graph.input((1, 40)), graph.constant(weights)
        y = graph.op(
            KINDS.FULLY_CONNECTED, [x, w, -1], (1, 40), options=schema.FullyConnectedOptionsT()
        )
        graph.graph.outputs = [graph.op(kind, [y], (1, 40))]
    model = first.model
    for operator in second.graph.operators:
        operator.opcodeIndex += len(model.operatorCodes)
    model.operatorCodes += second.model.operatorCodes
    for tensor in second.graph.tensors:
        tensor.buffer += len(model.buffers) if tensor.buffer else 0
    model.buffers += second.model.buffers
    model.subgraphs.append(second.graph)
    model.signatureDefs = []
    for index, key in enumerate(("relu", "tanh")):
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = key, index
        signature.inputs, signature.outputs = [schema.TensorMapT()], [schema.TensorMapT()]
        signature.inputs[0].name, signature.inputs[0].tensorIndex = "x", 0
        signature.outputs[0].name = "y"
        signature.outputs[0].tensorIndex = model.subgraphs[index].outputs[0]
        model.signatureDefs.append(signature)
    return first.file(model.subgraphs[0].outputs), weights


@only("tensorflow")
@pytest.mark.parametrize("quantize", [None, "weights"])
def test_several_subgraphs_and_signatures(quantize, tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    data, weights = two_signatures()
    report = secateur.export(data, tmp_path / "o.tflite", quantize=quantize, sparse="always")
    assert [weight.reason for weight in report.weights] == [Storage.SMALLER] * 2
    assert report.dense_difference == 0
    assert report.bytes < report.weights[0].bytes + 2500  # the weights are in it once
    x = np.linspace(-1, 1, 40, dtype="float32")[None]
    interpreter = Interpreter(model_path=str(tmp_path / "o.tflite"))
    expected = {"relu": np.maximum(x @ weights.T, 0), "tanh": np.tanh(x @ weights.T)}
    for key, value in expected.items():
        found = interpreter.get_signature_runner(key)(x=x)["y"]
        np.testing.assert_allclose(found, value, atol=1e-5 if quantize is None else 0.1)


@only("tensorflow")
def test_a_file_without_signatures(tmp_path):
    graph = Graph()
    x = graph.input((1, 40))
    w = graph.constant(np.eye(40, dtype="float32") * 3)
    options = schema.FullyConnectedOptionsT()
    y = graph.op(KINDS.FULLY_CONNECTED, [x, w, -1], (1, 40), options=options)
    data = np.ones((3, 40), "float32")
    report = secateur.export(
        graph.file([y]), tmp_path / "o.tflite", sparse="always", representative_data=data
    )
    assert report.weights[0].bytes < 40 * 40
    assert report.max_difference == 0
    np.testing.assert_array_equal(
        run((tmp_path / "o.tflite").read_bytes(), data[:1])[0], [[3] * 40]
    )


@only("tensorflow")
@pytest.mark.parametrize("damage", ["values", "encoding"])
def test_a_wrong_file_is_an_error_and_is_not_written(mobile_file, tmp_path, monkeypatch, damage):
    from secateur.litert import shrink

    right = shrink.sparsify

    def wrong(model, weights):
        layouts = right(model, weights)
        tensor = model.subgraphs[0].tensors[next(iter(layouts))[1]]
        if damage == "values":
            data = model.buffers[tensor.buffer].data.view("float32") * np.float32(1.1)
            model.buffers[tensor.buffer].data = data.view("uint8")
        else:
            tensor.type = 2  # int32, which DENSIFY does not know
        return layouts

    monkeypatch.setattr(shrink, "sparsify", wrong)
    (tmp_path / "o.tflite").write_bytes(b"old")
    with pytest.raises(VerificationError, match=r'nothing was written.*sparse="never".*Received:'):
        secateur.export(mobile_file, tmp_path / "o.tflite")
    assert os.listdir(tmp_path) == ["o.tflite"]
    assert (tmp_path / "o.tflite").read_bytes() == b"old"


@only("tensorflow")
@pytest.mark.parametrize("quantize", ["dynamic", "int8"])
def test_what_a_file_cannot_become(mobile_file, tmp_path, quantize):
    with pytest.raises(ValueError, match=r"takes a Keras model.*Received: quantize="):
        secateur.export(mobile_file, tmp_path / "o.tflite", quantize=quantize)


@only("tensorflow")
def test_files_quantized_by_the_converter_are_left_as_they_are(mobile, tmp_path):
    (tmp_path / "dynamic.tflite").write_bytes(convert_model(mobile, "dynamic"))
    report = secateur.export(tmp_path / "dynamic.tflite", tmp_path / "o.tflite", sparse="always")
    hybrid = [weight for weight in report.weights if weight.dtype == "int8"]
    assert hybrid
    assert {weight.reason for weight in report.weights} == {Storage.HYBRID}
    assert report.max_difference == 0


@only("tensorflow")
def test_int8_matrices_stay_dense_where_convolutions_need_not(tmp_path):
    """LiteRT cannot load a sparse matrix that is multiplied as int8."""
    model = keras.Sequential(
        [
            keras.Input((6, 6, 32), name="x"),
            layers.Conv2D(64, 1, name="conv"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(64, name="matrix"),
        ]
    )
    secateur.prune_once(model, sparsity=0.9)
    data = np.random.default_rng(0).random((20, 6, 6, 32))
    report = secateur.export(
        model, tmp_path / "o.tflite", quantize="int8", sparse="always", representative_data=data
    )
    stored = by_layer(report)
    assert stored["matrix"].reason == Storage.INT8_MATRIX
    assert stored["conv"].reason == Storage.SMALLER
    assert report.dense_difference == 0


def block_matrix(rows, columns, zeros):
    """Random weights of which whole blocks of four inputs are zero."""
    generator = np.random.default_rng(0)
    kept = generator.random((rows, columns // 4)) >= zeros
    return (np.repeat(kept, 4, axis=1) * generator.normal(size=(rows, columns))).astype("float32")


def matrix_file(weights, batch, keep=False):
    graph = Graph()
    x, w = graph.input((batch, weights.shape[1])), graph.constant(weights)
    options = schema.FullyConnectedOptionsT()
    options.keepNumDims = keep
    bias = graph.constant(np.linspace(-1, 1, weights.shape[0], dtype="float32"))
    shape = (batch, weights.shape[0])
    version = 5 if keep else 1
    y = graph.op(KINDS.FULLY_CONNECTED, [x, w, bias], shape, options=options, version=version)
    return graph.file([y])


@only("tensorflow")
@pytest.mark.parametrize(
    ("zeros", "batch", "is_fast"), [(0.95, 32, True), (0.87, 32, False), (0.87, 4, True)]
)
def test_matrices_in_blocks_use_the_kernel_of_litert(zeros, batch, is_fast, tmp_path):
    weights = block_matrix(256, 256, zeros)
    report = secateur.export(matrix_file(weights, batch), tmp_path / "o.tflite")
    data = (tmp_path / "o.tflite").read_bytes()
    assert (report.weights[0].reason == Storage.OWN_KERNEL) == is_fast
    assert operators(data) == ["FULLY_CONNECTED"]
    assert [code.version for code in read_model(data).operatorCodes] == [8 if is_fast else 1]
    assert ("runs sparse in LiteRT itself: 1 matrices" in str(report)) == is_fast
    x = np.random.default_rng(1).normal(size=(batch, 256)).astype("float32")
    for delegate in (True, False):
        found = run(data, x, delegate=delegate)[0]
        expected = x @ weights.T + np.linspace(-1, 1, 256, dtype="float32")
        np.testing.assert_allclose(found, expected, atol=1e-4)


@only("tensorflow")
@pytest.mark.parametrize("keep", [False, True])
def test_sparse_matrices_become_dense_again(keep, tmp_path):
    source = matrix_file(block_matrix(256, 256, 0.95), 1, keep)
    (tmp_path / "dense.tflite").write_bytes(source)
    secateur.export(tmp_path / "dense.tflite", tmp_path / "sparse.tflite")
    secateur.export(tmp_path / "sparse.tflite", tmp_path / "again.tflite", sparse="never")
    secateur.export(tmp_path / "sparse.tflite", tmp_path / "same.tflite")
    assert (tmp_path / "same.tflite").read_bytes() == (tmp_path / "sparse.tflite").read_bytes()
    again, before = (read_model(tmp_path / f"{name}.tflite") for name in ("again", "dense"))
    assert again.operatorCodes[0].version == before.operatorCodes[0].version
    assert (tmp_path / "again.tflite").stat().st_size == len(source)


@only("tensorflow")
def test_an_unknown_sparse_mode(mobile_file, tmp_path):
    with pytest.raises(ValueError, match=r'"auto", "always", "never"\. Received: sparse=True'):
        secateur.export(mobile_file, tmp_path / "o.tflite", sparse=True)


@only("tensorflow")
def test_a_keras_file_must_be_loaded(tmp_path):
    with pytest.raises(ValueError, match=r"must be loaded first.*Received: model="):
        secateur.export("model.keras", tmp_path / "o.tflite")
    with pytest.raises(FileNotFoundError, match="no such file"):
        secateur.export(tmp_path / "gone.tflite", tmp_path / "o.tflite")


@only("tensorflow")
def test_int8_needs_representative_data(mobile, tmp_path):
    with pytest.raises(ValueError, match=r"x_train\[:100\].*Received: representative_data=None"):
        secateur.export(mobile, tmp_path / "o.tflite", quantize="int8")
    with pytest.raises(ValueError, match=r"does not fit input 'image'.*Received: shape="):
        secateur.export(
            mobile,
            tmp_path / "o.tflite",
            quantize="int8",
            representative_data=np.ones((4, 8, 8, 3)),
        )


@only("tensorflow")
def test_read_back_zeros_are_those_of_the_model(mobile, shrunk):
    kernel = keras.ops.convert_to_numpy(mobile.get_layer("pointwise_0").kernel)
    stored = {tensor.name: tensor for tensor in read_tensors(shrunk[1])}
    assert stored["pointwise_0_1"].zeros == (kernel == 0).sum() == 172
