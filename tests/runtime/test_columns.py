"""Files that are read as columns, all tables at once: the same as those that are read into objects."""

import inspect
import pathlib
import re
import struct

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hostile_worker import DAMAGE, network
from runtime_files import File, compare, outputs_of, values
from test_interpreter_shapes import BUILDS

from secateur import runtime
from secateur.litert import convert_model, read_model, write_model
from secateur.litert._columns import columns_of
from secateur.runtime import Interpreter, Reason
from secateur.runtime._opening import Opened
from secateur.runtime._quick import NativeColumns, read_quickly
from secateur.runtime._reading import Graph, read_graph
from secateur.runtime._session import Session
from secateur.runtime._signatures import Column
from secateur.runtime._sound import check_sound
from support import only

pytestmark = only("tensorflow")  # the converter is TensorFlow's, most files are made by hand

LISTS = (
    *("types", "shapes", "signatures", "sizes", "variables", "quantized", "sparse", "kinds"),
    *("reads", "writes", "inputs", "outputs"),
)


def plain(thing):
    """Objects of the schema, arrays and lists of them as what can be compared."""
    if isinstance(thing, np.ndarray):
        return str(thing.tolist())  # two NaN differ otherwise
    if isinstance(thing, list):
        return [plain(part) for part in thing]
    if hasattr(thing, "__dict__"):
        return type(thing).__name__, {name: plain(part) for name, part in vars(thing).items()}
    return str(thing)


def check_equal(quick, model):
    """Compare a file that was read in both ways."""
    head, mine, other = quick.head(), quick.columns, columns_of(model, model.subgraphs[0])
    assert len(model.subgraphs) == 1
    for name in LISTS:
        found, expected = getattr(mine, name), getattr(other, name)
        assert found == expected if isinstance(found, set) else [*found] == [*expected], name
    assert plain([*mine.options]) == plain(other.options)
    for tensor, size in enumerate(mine.sizes):
        assert plain(mine.tensor(tensor)) == plain(other.tensor(tensor))
        assert mine.name(tensor) == other.name(tensor)
        if size:
            assert bytes(mine.data(tensor)) == bytes(other.data(tensor))
    for name in vars(model).keys() - {"subgraphs", "buffers"}:
        assert plain(getattr(head, name)) == plain(getattr(model, name)), name


def check_quick(content):
    quick = read_quickly(memoryview(content))
    assert quick is not None
    check_equal(quick, read_model(content))


@pytest.mark.parametrize("name", BUILDS)
def test_every_operator(name):
    file = File()
    x = file.input((1, 7, 9, 6), signature=(-1, 7, 9, 6))
    check_quick(file.file([BUILDS[name](file, x)]))


@pytest.mark.parametrize("floor", [False, True])
def test_every_way_to_store_weights(floor):
    content = network(floor)
    check_quick(content)
    check_quick(write_model(read_model(content)))


@pytest.mark.parametrize("quantize", [None, "dynamic", "float16"])
def test_what_the_converter_writes(quantize):
    model = keras.applications.MobileNet(
        weights=None, alpha=0.25, input_shape=(32, 32, 3), classes=10
    )
    check_quick(convert_model(model, quantize))


@pytest.mark.parametrize("kind", DAMAGE)
def test_what_is_damaged_is_left_to_the_other_reader(kind):
    sound, read = [network(floor=True), network(floor=False)], 0
    for number in range(400):
        damaged = DAMAGE[kind](sound[number % 2], np.random.default_rng(number))
        damaged = damaged[:4] + b"TFL3" + damaged[8:]  # is looked at before
        quick = read_quickly(memoryview(damaged))
        if quick is not None:
            model = read_model(damaged)  # which finds nothing wrong either
            check_equal(quick, model)
            check_sound(columns_of(model, model.subgraphs[0]))
            read += 1
    assert (20 if kind != "cut" else 0) <= read < 400


def test_options_with_a_field_outside_of_them_are_refused():
    kinds = set()
    for build in BUILDS.values():
        file = File()
        content = bytearray(file.file([build(file, file.input((1, 7, 9, 6)))]))
        found, damaged = NativeColumns(memoryview(bytes(content))), False
        options = zip(found.column(Column.OPTIONS_TYPE), found.column(Column.OPTIONS), strict=True)
        for kind, position in options:
            if position < 0:
                continue
            vtable = position - struct.unpack_from("<i", content, position)[0]
            length, size = struct.unpack_from("<HH", content, vtable)
            places = struct.unpack_from(f"<{length // 2 - 2}H", content, vtable + 4)
            for field, place in enumerate(places):
                if place:
                    struct.pack_into("<H", content, vtable + 4 + 2 * field, size)
                    kinds.add(kind)
                    damaged = True
        if damaged:
            assert read_quickly(memoryview(bytes(content))) is None
            with pytest.raises(ValueError, match="damaged"):
                read_model(bytes(content))
    assert len(kinds) >= 9


def test_the_native_library_knows_the_options_of_the_schema():
    """By the functions that LiteRT's module has to write each field of each kind of options."""
    native = pathlib.Path(runtime.__file__).parent / "native"
    text = (native / "options.h").read_text() + (native / "options.cpp").read_text()
    found = re.findall(r"Options\{(\d+), TableKind\(\{([^}]*)\}, \{\}\)(.*?)\}", text)
    known = {int(n): ([int(w) for w in widths.split(",")], rest) for n, widths, rest in found}
    assert len(known) == len(found)
    source = inspect.getsource(schema)
    bytes_of = {"Bool": 1, "Int8": 1, "Int32": 4, "Uint32": 4, "Float32": 4, "Int64": 8}
    for kind, number in vars(schema.BuiltinOptions).items():
        if kind.startswith("_") or not 0 < number <= 126:  # later ones are refused
            continue
        adds = re.findall(rf"def {kind}Add.*\n? *builder.Prepend(\w+)Slot\((\d+),", source)
        fields = {int(field): what for what, field in adds}
        vectors = [field for field, what in fields.items() if what == "UOffsetTRelative"]
        if kind in ("ConcatEmbeddingsOptions", "VarHandleOptions"):
            assert len(vectors) == 2
            assert number not in known
            continue
        widths, rest = known.get(number, ([], ""))
        count = 1 + max(fields, default=-1)
        assert widths == [
            bytes_of.get(fields.get(i), 4 if i in fields else 0) for i in range(count)
        ]
        assert rest == (f", {vectors[0]}" if vectors else "") + (", 1" if number == 8 else "")
        known.pop(number, None)
    assert not known


def rare(name, value):
    """A file of two operators that is unusual in one thing, by the table it is of."""

    def change(kind):
        file = File()
        x = file.input((1, 7, 9, 6))
        model = read_model(file.file([file.unary("RELU", file.conv(x, 4))]))
        graph = model.subgraphs[0]
        tables = {"model": model, "operator": graph.operators[0], "tensor": graph.tensors[0]}
        setattr(tables[kind], name, value(model))
        return write_model(model)

    return change


RARE = {
    "two subgraphs": ("model", rare("subgraphs", lambda m: m.subgraphs * 2)),
    "intermediates": ("operator", rare("intermediates", lambda m: np.array([0], "int32"))),
    "custom options": ("operator", rare("customOptions", lambda m: np.array([1], "uint8"))),
    "variants": ("tensor", rare("variantTensors", lambda m: [schema.VariantSubTypeT()])),
}


@pytest.mark.parametrize("name", RARE)
def test_what_is_rare_is_left_to_the_other_reader(name):
    kind, change = RARE[name]
    content = change(kind)
    assert read_quickly(memoryview(content)) is None
    read_model(content)


def test_litert_runs_a_file_with_something_rare():
    kind, change = RARE["intermediates"]
    interpreter = Interpreter(model_content=bytes(change(kind)), native="always")
    interpreter.allocate_tensors()
    assert interpreter.plan().reason == Reason.RARE
    compare(bytes(change(kind)), values(1, 7, 9, 6))


@pytest.mark.parametrize("how", ["float32", "float16", "int8"])
@pytest.mark.parametrize("zeros", [0.0, 0.9])
def test_weights_that_lie_at_any_place(how, zeros):
    """In a file that begins at no multiple of four they lie at none, either."""
    file = File()
    x = file.input((1, 5, 4, 16))
    y = file.depthwise(file.conv(x, 24, how=how, zeros=zeros), 3, how=how)
    z = file.dense(file.binary("ADD", y, file.constant(file.weights((24,)))), 7, zeros=zeros)
    content, image = bytes(file.file([z])), values(1, 5, 4, 16)
    (expected,) = outputs_of(compare(content, image), image)
    for shift in range(1, 4):
        shifted = memoryview(bytes(shift) + content)[shift:]
        quick = read_quickly(shifted, prune=True)
        graph = Graph(Opened(quick.head, [quick.columns], lambda: None, quick.ahead))
        assert graph.infer({x: image.shape})
        found = np.zeros(expected.shape, "float32")
        session = Session(graph, {x: lambda: image, z: lambda to=found: to}, 1, always=True)
        assert all(layer.where == "native" for layer in session.plan.layers)
        session.run()
        np.testing.assert_array_equal(found, expected)


def test_an_output_that_is_left_out_has_no_writer():
    file = File()
    x = file.input((1, 7, 9, 6))
    y = file.unary("RELU", file.conv(x, 4))
    model = read_model(file.file([y]))
    model.subgraphs[0].operators[0].outputs = np.array(
        [model.subgraphs[0].operators[0].outputs[0], -1]
    )
    graph = read_graph(bytes(write_model(model)))
    assert graph.writers == {
        tensor: place for place in (0, 1) for tensor in graph.writes[place][:1]
    }
    assert len(graph.reads) == 2
    with pytest.raises(IndexError):
        graph.reads[-1]


@pytest.mark.filterwarnings("error")
def test_a_file_without_operator_codes():
    file = File()
    model = read_model(file.file([file.conv(file.input((1, 7, 9, 6)), 4)]))
    model.operatorCodes = None
    content = bytes(write_model(model))
    assert read_quickly(memoryview(content)) is None
    with pytest.raises(ValueError, match="operator codes"):
        Interpreter(model_content=content)


@pytest.mark.filterwarnings("error")
def test_a_file_of_no_bytes():
    assert read_quickly(memoryview(b"")) is None


def test_names_are_read_where_they_are_asked_for():
    file = File()
    x = file.input((1, 6, 6, 8))
    y = file.conv(x, 16)
    file.graph.tensors[y].name = "ein Bäumchen"
    file.graph.tensors[x].name = None
    content = file.file([y])
    check_quick(content)
    interpreter = Interpreter(model_content=content, native="always")
    assert [layer.name for layer in interpreter.plan().layers] == ["ein Bäumchen"]
