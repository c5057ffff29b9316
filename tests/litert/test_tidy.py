"""Leaving out what nothing uses, and naming tensors by their layers."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from litert_files import KINDS, Graph, run

import secateur
from secateur.litert import read_model
from secateur.litert.graph import opcode_name, text
from secateur.litert.names import short_name
from support import only

pytestmark = only("tensorflow")  # needs no Keras


def tidied(data, tmp_path):
    secateur.export(data, tmp_path / "o.tflite", sparse="never")
    return read_model(tmp_path / "o.tflite")


def test_what_nothing_uses_is_left_out(tmp_path):
    graph = Graph()
    x = graph.input((1, 4))
    graph.constant(np.ones(1000, "float32"))
    y = graph.op(KINDS.ABS, [x], (1, 4))
    graph.model.operatorCodes.append(schema.OperatorCodeT())
    graph.model.buffers += [schema.BufferT()] * 5
    model = tidied(graph.file([y]), tmp_path)
    assert [text(tensor.name) for tensor in model.subgraphs[0].tensors] == ["tensor_0", "tensor_2"]
    assert len(model.operatorCodes) == len(model.buffers) == 1
    assert opcode_name(model, model.subgraphs[0].operators[0]) == "ABS"


def test_equal_constants_share_their_bytes(tmp_path):
    graph = Graph()
    x, ones = graph.input((1, 4)), np.ones((1, 4), "float32")
    for value in (ones, ones * 2, ones):
        x = graph.op(KINDS.ADD, [x, graph.constant(value)], (1, 4), options=schema.AddOptionsT())
    model = tidied(graph.file([x]), tmp_path)
    buffers = [tensor.buffer for tensor in model.subgraphs[0].tensors if tensor.buffer]
    assert buffers == [1, 2, 1]
    data = (tmp_path / "o.tflite").read_bytes()
    np.testing.assert_array_equal(run(data, ones * 0)[0], ones * 4)


def test_metadata_and_description_stay(tmp_path):
    graph = Graph()
    y = graph.op(KINDS.ABS, [graph.input((1, 4))], (1, 4))
    note = schema.MetadataT()
    note.name, note.buffer = "note", len(graph.model.buffers) + 1
    graph.model.buffers += [schema.BufferT(), schema.BufferT()]
    graph.model.buffers[-1].data = np.frombuffer(b"made by hand", np.uint8)
    graph.model.metadata, graph.model.description = [note], "a test"
    model = tidied(graph.file([y]), tmp_path)
    assert model.description == b"a test"
    assert model.metadata[0].name == b"note"
    assert model.buffers[model.metadata[0].buffer].data.tobytes() == b"made by hand"


def test_negative_zeros_become_plain(tmp_path):
    graph = Graph()
    weights = np.array([[-0.0, 1.0, -2.0, -0.0]], "float32")
    x, w = graph.input((1, 4)), graph.constant(weights)
    options = schema.FullyConnectedOptionsT()
    model = tidied(
        graph.file([graph.op(KINDS.FULLY_CONNECTED, [x, w, -1], (1, 1), options=options)]), tmp_path
    )
    stored = model.buffers[model.subgraphs[0].tensors[1].buffer].data.view("float32")
    assert stored.tolist() == [0, 1, -2, 0]
    assert not np.signbit(stored[[0, 3]]).any()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model/conv/convolution", "conv"),
        (
            "model/relu/Relu6;model/bn/batchnorm/mul_1;model/conv/convolution",
            "relu;bn/batchnorm;conv",
        ),
        ("model/block/conv/convolution;1", "block/conv"),
        ("model/Add", "model/Add"),
        ("arith.constant3", "arith.constant3"),
        ("StatefulPartitionedCall_1:0", "StatefulPartitionedCall_1:0"),
        ("", ""),
        ("7", "7"),
    ],
)
def test_short_names(name, expected):
    assert short_name(name) == expected


def test_names_of_given_files_are_kept(tmp_path):
    graph = Graph()
    x = graph.op(KINDS.ABS, [graph.input((1, 4))], (1, 4))
    graph.graph.tensors[x].name = "model/layer/Abs"
    y = graph.op(KINDS.ABS, [x], (1, 4))
    model = tidied(graph.file([y]), tmp_path)
    assert text(model.subgraphs[0].tensors[1].name) == "model/layer/Abs"
