"""The parts of a model that LiteRT runs: files of their own, of tables that stay as they are."""

import struct

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter as LiteRT
from runtime_files import KINDS, File, compare, outputs_of, values

from secateur import runtime
from secateur.litert import read_model, write_model
from secateur.runtime import _extract, _rebuild, _session, _shapes
from secateur.runtime._quick import NativeColumns
from secateur.runtime._reading import read_graph
from secateur.runtime._signatures import Column
from support import only

pytestmark = only("tensorflow")  # needs no Keras


@pytest.fixture
def calls(monkeypatch):
    """What is called of that which takes long."""
    names = []

    def note(module, name):
        function = getattr(module, name)

        def noted(*args):
            names.append(name)
            return function(*args)

        monkeypatch.setattr(module, name, noted)

    note(_rebuild, "rebuild")
    note(_shapes, "outline")
    return names


@pytest.fixture
def in_litert(monkeypatch):
    """Lets LiteRT run some kinds of operators."""
    kinds = set()

    def choose(graph, units, prices, always):
        return [
            not unit.reason and kinds.isdisjoint(graph.kinds[place] for place in unit.places)
            for unit in units
        ]

    monkeypatch.setattr(_session, "choose", choose)
    return kinds


def test_large_constants_of_others_are_left_out(calls):
    file = File()
    x = file.input((1, 8, 8, 64))
    y = file.floor(file.conv(x, 256))  # 64 KB
    y = file.unary("CEIL", file.conv(y, 64))
    ours = compare(file.file([file.conv(y, 3)]), values(1, 8, 8, 64))
    plan = ours.plan()
    assert plan.segments == ("native", "LiteRT", "native", "LiteRT", "native")
    assert 0 < plan.litert_bytes < 20_000
    assert not calls


def test_the_constants_that_a_part_reads_are_there(in_litert, calls):
    in_litert.add("FULLY_CONNECTED")
    file = File()
    y = file.mean(file.conv(file.input((1, 8, 8, 64)), 96), keep=False)
    ours = compare(file.file([file.dense(y, 300)]), values(1, 8, 8, 64))
    assert ours.plan().segments == ("native", "LiteRT")
    assert ours.plan().litert_bytes > 4 * 96 * 300
    assert not calls


@pytest.mark.parametrize("how", ["float16", "int8"])
def test_operators_that_unpack_constants_come_along(how, in_litert, calls):
    in_litert.add("FULLY_CONNECTED")
    file = File()
    y = file.mean(file.conv(file.input((1, 8, 8, 16)), 32, how=how), keep=False)
    compare(file.file([file.dense(y, 40, how=how)]), values(1, 8, 8, 16), tolerance=1e-3)
    assert not calls


@pytest.mark.parametrize("batch", [1, 3])
def test_sparse_weights_are_written_dense(batch, in_litert, calls):
    in_litert.add("FULLY_CONNECTED")
    file = File()
    x = file.input((1, 8, 8, 16), signature=(-1, 8, 8, 16))
    y = file.mean(file.conv(x, 32), keep=False)
    compare(file.file([file.dense(y, 40, zeros=0.8, sparse=True)]), values(batch, 8, 8, 16))
    assert calls == ["rebuild"]


@pytest.mark.parametrize("batch", [1, 3])
def test_a_reshape_whose_shape_is_computed(batch, in_litert, calls):
    in_litert.add("RESHAPE")
    file = File()
    x = file.input((1, 4, 4, 8), signature=(-1, 4, 4, 8))
    y = file.flatten(file.unary("ABS", file.flatten(file.conv(x, 16))))
    ours = compare(file.file([file.dense(y, 5)]), values(batch, 4, 4, 8))
    found = [(layer.operators, layer.where) for layer in ours.plan().layers]
    assert found == [
        (("CONV_2D",), "native"),
        (("RESHAPE",), "LiteRT"),
        (("ABS",), "native"),
        (("RESHAPE",), "LiteRT"),
        (("FULLY_CONNECTED",), "native"),
    ]
    assert not calls


def test_several_inputs_and_outputs(calls):
    """In an order of their own."""
    file = File()
    x, y = file.input((1, 6, 6, 8)), file.input((1, 6, 6, 8))
    a, b = file.conv(x, 12), file.conv(y, 12)
    parts = [
        file.op(KINDS.SPLIT, [file.constant(np.array(3, "int32")), z], (), None) for z in (b, a)
    ]
    for part in parts:
        operator = next(o for o in file.graph.operators if part in o.outputs)
        operator.builtinOptionsType = schema.BuiltinOptions.SplitOptions
        operator.builtinOptions = schema.SplitOptionsT()
        operator.builtinOptions.numSplits = 2
        halves = [file.tensor((1, 6, 6, 6), "float32") for _ in range(2)]
        operator.outputs = np.array(halves, np.int32)
        parts[parts.index(part)] = halves
    z = file.binary("SUB", parts[0][1], parts[1][0])
    w = file.binary("MUL", parts[1][1], parts[0][0])
    compare(
        file.file([w, file.conv(z, 4), parts[0][1]]), *(values(1, 6, 6, 8, seed=i) for i in (1, 2))
    )
    assert not calls


# -- shapes --


def test_shapes_in_the_file_are_believed_of_operators_that_litert_runs(calls):
    file = File()
    x = file.input((1, 8, 8, 6), signature=(-1, 8, 8, 6))
    axes = file.constant(np.array([0, 3, 1, 2]), "int32")
    y = file.conv(x, 12)
    z = file.op(KINDS.TRANSPOSE, [y, axes], (1, 12, 8, 8), schema.TransposeOptionsT())
    content = file.file([file.conv(z, 4)])
    graph = read_graph(content)
    assert graph.infer({x: (1, 8, 8, 6)})
    assert (graph.shapes[y], graph.shapes[z]) == ((1, 8, 8, 12), (1, 12, 8, 8))
    compare(content, values(1, 8, 8, 6))
    assert not calls
    assert not graph.infer({x: (2, 8, 8, 6)})
    compare(content, values(2, 8, 8, 6))
    assert calls == ["outline"]


@pytest.mark.parametrize("shape", [(1, 4, 16, 12), (1, 8, 8, 11), (8, 8, 12), (1, 9, 9, 12), ()])
def test_shapes_that_are_not_so(shape, calls):
    """LiteRT tells, and is then asked for all of them."""
    file = File()
    x = file.input((1, 8, 8, 6))
    y = file.floor(file.conv(x, 12))
    content = file.file([file.unary("ABS", y)])
    model = read_model(content)
    model.subgraphs[0].tensors[y].shape = np.array(shape, np.int32)
    lying = write_model(model)
    ours = compare(lying, values(1, 8, 8, 6))
    assert ours.plan().segments == ("native", "LiteRT", "native")
    assert calls == ["outline"]


def test_shapes_that_depend_on_values_are_not_believed(calls):
    file = File()
    x = file.input((2, 6))
    count = file.input((2,), "int32")
    y = file.dense(x, 12)
    z = file.op(KINDS.TILE, [y, count], (2, 12))
    content = file.file([file.unary("ABS", z)])
    graph = read_graph(content)
    assert graph.infer({x: (2, 6), count: (2,)})
    assert (graph.shapes[y], graph.shapes[z], graph.known) == ((2, 12), None, 1)
    ours = compare(content, values(2, 6), np.array([3, 2], "int32"))
    assert ours.plan().segments == ("native", "LiteRT")
    assert not calls


def test_shapes_of_a_run_go_from_part_to_part():
    file = File()
    x, count = file.input((1, 6)), file.input((2,), "int32")
    y = file.dense(x, 12)
    z = file.dense(file.floor(y), 12)
    repeated = file.op(KINDS.TILE, [y, count], (1, 12))
    content = file.file([file.binary("ADD", repeated, z)])
    ours = runtime.Interpreter(model_content=content, native="always")
    for counts in ([1, 1], [3, 1], [2, 1]):
        arrays = values(1, 6), np.array(counts, "int32")
        found, expected = (
            outputs_of(ours, *arrays),
            outputs_of(LiteRT(model_content=content), *arrays),
        )
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-4, atol=1e-5)
    assert ours.plan().segments == ("native", "LiteRT", "native", "LiteRT")


# -- files that are not as usual --


def test_a_constant_that_covers_tables(calls):
    """It cannot be left out without them."""
    file = File()
    wide = file.constant(np.zeros(5000, "float32"))
    y = file.floor(file.conv(file.input((1, 6, 6, 4)), 8))
    content = bytearray(file.file([file.conv(y, 3)]))
    found = NativeColumns(memoryview(bytes(content)))
    position, begin = (found.column(c)[wide] for c in (Column.POSITION, Column.DATA_BEGIN))
    rest = (len(content) - begin) // 4
    struct.pack_into("<I", content, begin - 4, 4 * rest)
    vtable = position - struct.unpack_from("<i", content, position)[0]
    field = position + struct.unpack_from("<H", content, vtable + 4)[0]
    struct.pack_into("<i", content, field + struct.unpack_from("<I", content, field)[0] + 4, rest)
    covered = bytes(content)
    assert max(NativeColumns(memoryview(covered)).column(Column.POSITION)) > begin
    compare(covered, values(1, 6, 6, 4))
    assert calls == ["rebuild"]
    graph = read_graph(covered)
    assert _extract.outline(graph)[-len(covered) :] == covered
