"""Reshapes whose batch is open take a constant shape."""

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st
from litert_files import KINDS, Graph, run

import secateur
from secateur.litert import read_model
from secateur.litert.graph import opcode_name, text, values
from support import only

layers = keras.layers


def exported(data, tmp_path):
    secateur.export(data, tmp_path / "o.tflite", sparse="never")
    return (tmp_path / "o.tflite").read_bytes()


def kinds(data):
    model = read_model(data)
    return [opcode_name(model, operator) for operator in model.subgraphs[0].operators]


def reshape_to(graph, x, sizes):
    """A reshape to a shape that is put together from constants and the batch of `x`."""
    options = schema.ShapeOptionsT()
    options.outType = schema.TensorType.INT32
    shape = graph.op(KINDS.SHAPE, [x], (2,), "int32", options)
    options = schema.StridedSliceOptionsT()
    options.shrinkAxisMask = 1
    ends = [graph.constant(np.array([i], "int32")) for i in (0, 1, 1)]
    batch = graph.op(KINDS.STRIDED_SLICE, [shape, *ends], (), "int32", options)
    parts = [batch if s is None else graph.constant(np.array(s, "int32")) for s in sizes]
    options = schema.PackOptionsT()
    options.valuesCount = len(parts)
    packed = graph.op(KINDS.PACK, parts, (len(parts),), "int32", options)
    shape = [1 if s is None else s for s in sizes]
    return graph.op(KINDS.RESHAPE, [x, packed], shape, options=schema.ReshapeOptionsT())


@only("tensorflow")  # needs no Keras
@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.sampled_from([1, 2, 3, 4]), max_size=4),
    place=st.integers(0, 4),
    batch=st.integers(1, 5),
)
def test_one_open_size_becomes_constant(sizes, place, batch, tmp_path_factory):
    graph = Graph()
    x = graph.input((1, int(np.prod(sizes))))
    sizes.insert(min(place, len(sizes)), None)
    data = exported(graph.file([reshape_to(graph, x, sizes)]), tmp_path_factory.mktemp("reshape"))
    assert kinds(data) == ["RESHAPE"]
    given = np.arange(batch * np.prod([s or 1 for s in sizes]), dtype="float32").reshape(batch, -1)
    expected = given.reshape([batch if s is None else s for s in sizes])
    np.testing.assert_array_equal(run(data, given)[0], expected)


@only("tensorflow")
@pytest.mark.parametrize("sizes", [(None, None, 4), (None, 0)])
def test_what_does_not_follow_from_the_number_of_values_stays(sizes, tmp_path):
    graph = Graph()
    x = graph.input((1, 0 if 0 in sizes else 4))
    y = reshape_to(graph, x, sizes)
    model = read_model(graph.file([y]))
    from secateur.litert.reshapes import fold_reshapes

    before = len(model.subgraphs[0].operators)
    assert fold_reshapes(model) == 0
    assert len(model.subgraphs[0].operators) == before == 4


@only("tensorflow")
def test_a_shape_that_something_else_reads_is_still_computed(tmp_path):
    graph = Graph()
    x = graph.input((1, 6))
    y = reshape_to(graph, x, (None, 2, 3))
    shape = next(op.outputs[0] for op in graph.graph.operators)
    data = exported(graph.file([y, shape]), tmp_path)
    assert kinds(data) == ["SHAPE", "RESHAPE"]
    found = run(data, np.zeros((3, 6), "float32"))
    assert found[0].shape == (3, 2, 3)
    assert found[1].tolist() == [3, 6]


def pooled(x):
    return layers.Reshape((1, 1, 8))(layers.GlobalAveragePooling2D()(x))


MODELS = {
    "Flatten": (lambda x: layers.Flatten()(x), ["RESHAPE"]),
    "Reshape": (lambda x: layers.Reshape((3, 24))(x), ["RESHAPE"]),
    "Flatten, Dense": (
        lambda x: layers.Dense(3)(layers.Flatten()(x)),
        ["RESHAPE", "FULLY_CONNECTED"],
    ),
    "two in a row": (lambda x: layers.Flatten()(layers.Reshape((9, 8))(x)), ["RESHAPE"]),
    "there and back": (lambda x: layers.Reshape((3, 3, 8))(layers.Flatten()(x)) + x, ["ADD"]),
    "pooling": (lambda x: x * pooled(x), ["MEAN", "MUL"]),
    "pooling, read twice": (
        lambda x: [(y := layers.GlobalAveragePooling2D()(x)), layers.Reshape((1, 1, 8))(y)],
        ["MEAN", "RESHAPE"],
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_keras_models(name, tmp_path):
    build, expected = MODELS[name]
    x = keras.Input((3, 3, 8))
    model = keras.Model(x, build(x))
    secateur.export(model, tmp_path / "o.tflite")
    data = (tmp_path / "o.tflite").read_bytes()
    assert kinds(data) == expected
    for batch in (1, 4):
        images = np.random.default_rng(0).normal(size=(batch, 3, 3, 8)).astype("float32")
        outputs = keras.tree.flatten(model(images))
        found = run(data, images)
        assert len(found) == len(outputs)
        for output in outputs:
            value = keras.ops.convert_to_numpy(output)
            assert any(v.shape == value.shape and np.allclose(v, value, atol=1e-6) for v in found)


def test_the_shape_in_the_file(tmp_path):
    x = keras.Input((3, 3, 8))
    secateur.export(keras.Model(x, layers.Flatten()(x)), tmp_path / "o.tflite")
    model = read_model((tmp_path / "o.tflite").read_bytes())
    graph = model.subgraphs[0]
    assert values(model, graph.tensors[graph.operators[0].inputs[1]]).tolist() == [-1, 72]
    assert graph.tensors[graph.outputs[0]].shapeSignature.tolist() == [-1, 72]
    assert "CONVERSION_METADATA" not in [text(entry.name) for entry in model.metadata]
