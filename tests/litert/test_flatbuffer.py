"""Reading and writing files as objects: nothing is lost, and nothing damaged gets through."""

import contextlib

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st
from litert_files import KINDS, Graph, run

from secateur.litert import read_model, write_model
from secateur.litert._schema import (
    _MEMBERS,
    _TABLES,
    class_of,
    dtype_of,
    fields_of,
    operator_name,
)
from secateur.litert._unpack import Reader
from secateur.litert.flatbuffer import map_file, parse
from secateur.litert.graph import indices, opcode_name, text
from support import only

pytestmark = only("tensorflow")  # needs no Keras: the converter makes the same files everywhere


def small_file():
    """relu(x @ w) + b, with names, a signature and metadata."""
    graph = Graph()
    x = graph.input((2, 8))
    w = graph.constant(np.arange(-12, 12, dtype="float32").reshape(3, 8))
    y = graph.op(KINDS.FULLY_CONNECTED, [x, w, -1], (2, 3), options=schema.FullyConnectedOptionsT())
    z = graph.op(KINDS.RELU, [y], (2, 3))
    signature = schema.SignatureDefT()
    signature.signatureKey = "serve"
    signature.inputs, signature.outputs = [schema.TensorMapT()], [schema.TensorMapT()]
    signature.inputs[0].name, signature.inputs[0].tensorIndex = "x", x
    signature.outputs[0].name, signature.outputs[0].tensorIndex = "z", z
    graph.model.signatureDefs = [signature]
    note = schema.MetadataT()
    note.name, note.buffer = "note", len(graph.model.buffers)
    graph.model.buffers.append(schema.BufferT())
    graph.model.buffers[-1].data = np.frombuffer(b"made by hand", np.uint8)
    graph.model.metadata = [note]
    graph.model.description = "a test"
    return graph.file([z])


SMALL = small_file()


def plain(thing):
    """Objects of the schema as plain values, to compare them."""
    if isinstance(thing, np.ndarray):
        return thing.tolist()
    if isinstance(thing, list):
        return [plain(item) for item in thing]
    if hasattr(thing, "__dict__"):
        return {key: plain(value) for key, value in vars(thing).items()}
    return thing


def test_nothing_is_lost():
    model = read_model(SMALL)
    assert model.description == b"a test"
    assert [text(tensor.name) for tensor in model.subgraphs[0].tensors][:2] == [
        "tensor_0",
        "tensor_1",
    ]
    assert [opcode_name(model, op) for op in model.subgraphs[0].operators] == [
        "FULLY_CONNECTED",
        "RELU",
    ]
    assert indices(model.subgraphs[0].operators[0].inputs) == [0, 1, -1]
    assert plain(read_model(write_model(model))) == plain(model)


def typed(thing):
    """Objects of the schema as plain values with their types."""
    if isinstance(thing, np.ndarray):
        return thing.dtype.str, thing.tolist()
    if isinstance(thing, list):
        return [typed(item) for item in thing]
    if hasattr(thing, "__dict__"):
        return type(thing).__name__, {key: typed(value) for key, value in vars(thing).items()}
    return type(thing), thing


@pytest.mark.parametrize("name", ["small", "cnn_bytes", "cnn_dynamic_bytes"])
def test_objects_are_those_of_the_schema_s_own_reader(name, request):
    data = SMALL if name == "small" else request.getfixturevalue(name)
    assert typed(read_model(data)) == typed(
        schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    )


@pytest.mark.parametrize("kind", _TABLES)
def test_tables_are_those_of_the_schema(kind):
    theirs = getattr(schema, f"{kind}T")
    assert vars(class_of(kind)()) == vars(theirs())  # names, order and defaults
    assert class_of(kind).__name__ == theirs.__name__
    full = class_of(kind)(**{field.name: sample(field) for field in fields_of(kind) if field.name})
    builder = flatbuffers.Builder(64)
    builder.Finish(full.Pack(builder))
    data = bytes(builder.Output())
    found = theirs.InitFromPackedBuf(data, 0)
    assert typed(found) == typed(full)
    again = flatbuffers.Builder(64)
    again.Finish(found.Pack(again))
    assert bytes(again.Output()) == data
    reader = Reader(memoryview(data))
    assert typed(reader.table(kind, reader.unsigned(0))) == typed(full)


def sample(field):
    """A value of a field that is not its default."""
    if field.how == "number":
        return {"?": not field.default, "f": 0.5}.get(field.what, 1)
    if field.how == "numbers":
        return np.arange(1, 4).astype(dtype_of(field.what))
    if field.how == "text":
        return b"a text"
    if field.how == "union":
        return {"SparseIndexVector": class_of("Int32Vector")()}.get(field.what)
    one = class_of(field.what)()
    return [one, one] if field.how == "tables" else one


def test_members_of_unions_are_those_of_the_schema():
    for union, members in _MEMBERS.items():
        assert {n: getattr(getattr(schema, union), kind) for n, kind in members.items()} == {
            n: n for n in members
        }


def test_names_of_operators_are_those_of_the_schema():
    names = {n: name for name, n in vars(schema.BuiltinOperator).items() if name[0] != "_"}
    assert {n: operator_name(n) for n in names} == names
    assert operator_name(-1) == "operator -1"
    assert operator_name(10_000) == "operator 10000"


def test_rare_options_are_read_by_the_schema_s_own_reader():
    graph = Graph()
    options = schema.CumsumOptionsT()
    options.reverse = True
    x = graph.input((2, 8))
    graph.op(KINDS.CUMSUM, [x, graph.constant(np.array(1, "int32"))], (2, 8), options=options)
    data = graph.file([2])
    found = read_model(data).subgraphs[0].operators[0].builtinOptions
    assert typed(found) == typed(options)
    assert write_model(read_model(data)) == data


def tables(change):
    """A file of one buffer, whose table `change` adds fields to; its data are behind."""
    builder = flatbuffers.Builder(64)
    content = builder.CreateNumpyVector(np.arange(8, dtype="uint8"))
    builder.StartObject(6)
    schema.BufferAddData(builder, content)
    change(builder)
    buffers = shared(builder, schema.ModelStartBuffersVector, builder.EndObject(), 1)
    graphs = shared(builder, schema.ModelStartSubgraphsVector, schema.SubGraphT().Pack(builder), 1)
    codes = shared(builder, schema.ModelStartOperatorCodesVector, 0, 0)
    schema.ModelStart(builder)
    schema.ModelAddVersion(builder, 3)
    schema.ModelAddSubgraphs(builder, graphs)
    schema.ModelAddBuffers(builder, buffers)
    schema.ModelAddOperatorCodes(builder, codes)
    builder.Finish(schema.ModelEnd(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def test_fields_of_a_later_schema_do_no_harm():
    data = tables(lambda builder: builder.PrependUint64Slot(5, 2**40, 0))
    assert read_model(data).buffers[0].data.tolist() == list(range(8))


def test_fields_that_overlap():
    data = bytearray(tables(lambda builder: builder.PrependUint64Slot(1, 16, 0)))
    table = schema.Model.GetRootAs(data, 0).Buffers(0)._tab
    vtable = table.Pos - int.from_bytes(data[table.Pos : table.Pos + 4], "little", signed=True)
    assert read_model(bytes(data)).buffers[0].data.size == 0  # 0 bytes behind the flatbuffer
    data[vtable + 6] = data[vtable + 4]  # the second field where the first one is
    with pytest.raises(ValueError, match=r"layout of tables at byte .* is malformed"):
        read_model(bytes(data))


@pytest.mark.parametrize("name", ["cnn_bytes", "cnn_dynamic_bytes"])
def test_what_the_converter_wrote_is_kept(name, request, images):
    data = request.getfixturevalue(name)
    again = write_model(read_model(data))
    assert plain(read_model(again)) == plain(read_model(data))
    assert write_model(read_model(again)) == again
    np.testing.assert_array_equal(run(again, images)[0], run(data, images)[0])


def test_a_path_does_as_well_as_bytes(tmp_path):
    (tmp_path / "small.tflite").write_bytes(SMALL)
    assert plain(read_model(tmp_path / "small.tflite")) == plain(read_model(SMALL))


def test_a_file_that_is_mapped(tmp_path):
    path = tmp_path / "small.tflite"
    path.write_bytes(SMALL)
    model = parse(map_file(path), str(path))
    assert plain(model) == plain(read_model(SMALL))
    assert not model.buffers[1].data.flags.writeable
    for content in (b"", SMALL[:40], b"PK\x03\x04...."):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="Received: file="):
            parse(map_file(str(path)), f"{path}")
    with pytest.raises(FileNotFoundError, match="no such file"):
        map_file(tmp_path / "gone.tflite")


def test_buffers_are_aligned():
    model = read_model(SMALL)
    buffers = [buffer.data for buffer in model.buffers if buffer.data is not None]
    start = np.frombuffer(SMALL, np.uint8).__array_interface__["data"][0]
    places = [data.__array_interface__["data"][0] - start for data in buffers]
    assert len(places) == 2
    assert [place % 16 for place in places] == [0, 0]


def test_equal_parts_are_stored_once():
    def size(count):
        graph = Graph()
        x = graph.input((7, 5, 3, 2))
        for _ in range(count):
            x = graph.op(KINDS.RELU, [x], (7, 5, 3, 2))
            graph.graph.tensors[x].name = "a name that is long and the same for every tensor" * 4
        return len(graph.file([x]))

    assert (size(101) - size(1)) / 100 < 150  # the name alone has 196 letters


def test_buffers_behind_the_flatbuffer_are_moved_into_it():
    model = read_model(SMALL)
    content = model.buffers[1].data.tobytes()

    def with_external(offset):
        builder = flatbuffers_of(model, {1: (offset, len(content))})
        return bytes(builder.Output())

    start = -(-len(with_external(2**40)) // 16) * 16  # as long, whatever the offset
    data = with_external(start).ljust(start, b"\0") + content
    assert run(data, np.ones((2, 8), "float32"))[0].shape == (2, 3)  # LiteRT understands it
    assert plain(read_model(data)) == plain(model)
    with pytest.raises(ValueError, match="a buffer ends at byte"):
        read_model(data[:-1])


def flatbuffers_of(model, external):
    """A builder that holds the model with some buffers replaced by (offset, size)."""
    saved = model.buffers
    model.buffers = [schema.BufferT() for _ in saved]
    for i, buffer in enumerate(model.buffers):
        buffer.data = saved[i].data
        if i in external:
            buffer.data, (buffer.offset, buffer.size) = None, external[i]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    model.buffers = saved
    return builder


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such file.*Received: path="):
        read_model(tmp_path / "gone.tflite")


def test_a_file_of_another_kind():
    with pytest.raises(ValueError, match=r"no \.tflite file.*Received: file=8 bytes"):
        read_model(b"PK\x03\x04....")


def test_a_file_of_more_than_2_gib(tmp_path):
    with open(tmp_path / "large.tflite", "wb") as file:
        file.truncate(2**31)  # holds nothing, so takes no room
    with pytest.raises(ValueError, match=r"at most 2 GiB.*Received: file=.*2147483648 bytes"):
        read_model(tmp_path / "large.tflite")


def test_a_model_of_more_than_2_gib():
    model = read_model(SMALL)
    model.buffers[1].data = np.broadcast_to(np.uint8(0), 2**31)
    with pytest.raises(ValueError, match="at most 2 GiB"):
        write_model(model)


def broken(change):
    model = read_model(SMALL)
    change(model, model.subgraphs[0])
    with pytest.raises(ValueError, match=r"damaged or half-written.*Received: file=") as caught:
        read_model(write_model(model))
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m, g: setattr(m, "version", 4), "version 4"),
        (lambda m, g: setattr(m, "subgraphs", []), "no subgraph"),
        (lambda m, g: setattr(g, "outputs", [9]), "output 9 does not exist; there are 4"),
        (lambda m, g: setattr(g, "inputs", [-1]), "input -1"),
        (lambda m, g: setattr(g.tensors[1], "buffer", 7), "buffer of a tensor 7"),
        (lambda m, g: setattr(g.tensors[1], "shape", [3, 9]), "lacks 3 of its 27 values"),
        (lambda m, g: setattr(g.tensors[1], "shape", [3, -8]), r"[3, -8]"),
        (lambda m, g: setattr(g.tensors[0], "shape", [2**20] * 3), "values"),
        (lambda m, g: setattr(g.tensors[0], "shapeSignature", [-1]), "2 axes in one place"),
        (lambda m, g: setattr(g.operators[0], "opcodeIndex", 2), "operator code 2"),
        (lambda m, g: setattr(g.operators[0], "inputs", [0, 5]), "tensor of an operator 5"),
        (lambda m, g: setattr(g.operators[0], "inputs", [0, -2]), "tensor of an operator -2"),
        (lambda m, g: setattr(g.operators[0], "outputs", [3]), "two operators write tensor 3"),
        (lambda m, g: g.operators.reverse(), "reads tensor 2 before it is written"),
        (lambda m, g: setattr(m.metadata[0], "buffer", 5), "buffer 5"),
        (lambda m, g: setattr(m.signatureDefs[0], "subgraphIndex", 1), "subgraph of a signature 1"),
        (lambda m, g: setattr(m.signatureDefs[0].inputs[0], "tensorIndex", 4), "of a signature 4"),
    ],
)
def test_parts_that_do_not_fit(change, says):
    assert says in broken(change)


def test_quantization_that_does_not_fit():
    def scales(count, axis):
        def change(model, graph):
            graph.tensors[1].quantization = schema.QuantizationParametersT()
            graph.tensors[1].quantization.scale = np.ones(count, "float32")
            graph.tensors[1].quantization.quantizedDimension = axis

        return change

    assert "4 scales for 3 channels" in broken(scales(4, 0))
    assert "quantized axis 2" in broken(scales(3, 2))


@pytest.mark.parametrize("step", range(1, 9))
def test_a_truncated_file(step):
    for length in range(0, len(SMALL), 8 + step):
        with pytest.raises(ValueError, match="Received: file="):
            read_model(SMALL[:length])


def read_and_write(data):
    with contextlib.suppress(ValueError):  # and no other error
        model = read_model(data)
        read_model(write_model(model))


def damaged(data, flips):
    damaged = bytearray(data)
    for place, bit in flips:
        damaged[place % len(data)] ^= 1 << bit
    return bytes(damaged)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 7)), min_size=1, max_size=4))
def test_flipped_bits_are_an_error_or_a_model_that_can_be_written(flips):
    read_and_write(damaged(SMALL, flips))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, len(SMALL) // 4 - 1))
def test_any_number_in_any_place(number, place):
    data = bytearray(SMALL)
    data[4 * place : 4 * place + 4] = number.to_bytes(4, "little")
    read_and_write(bytes(data))


def test_tables_that_refer_to_each_other_take_no_time():
    """A vector of subgraphs whose entries are all the same one, with a vector of the same tensors."""
    builder = flatbuffers.Builder(1024)
    one = schema.TensorT().Pack(builder)
    tensors = shared(builder, schema.SubGraphStartTensorsVector, one, 20_000)
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, tensors)
    graph = schema.SubGraphEnd(builder)
    graphs = shared(builder, schema.ModelStartSubgraphsVector, graph, 20_000)
    schema.ModelStart(builder)
    schema.ModelAddVersion(builder, 3)
    schema.ModelAddSubgraphs(builder, graphs)
    builder.Finish(schema.ModelEnd(builder), file_identifier=b"TFL3")
    with pytest.raises(ValueError, match="more tables than a file of its size can hold"):
        read_model(bytes(builder.Output()))


def shared(builder, start, table, count):
    start(builder, count)
    for _ in range(count):
        builder.PrependUOffsetTRelative(table)
    return builder.EndVector()
