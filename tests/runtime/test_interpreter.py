"""The methods of LiteRT's interpreter: same details, same results, same kinds of errors."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter as LiteRT
from runtime_files import KINDS, VALID, File, compare, outputs_of, values

from secateur.runtime import Interpreter, Reason
from support import only

pytestmark = only("tensorflow")  # needs no Keras: the files are made by hand


def sign(file, inputs, outputs, key="serving_default"):
    """Give a file a signature."""
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = key, 0
    signature.inputs, signature.outputs = [], []
    for names, entries in ((inputs, signature.inputs), (outputs, signature.outputs)):
        for name, tensor in names.items():
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = name, tensor
            entries.append(entry)
    file.model.signatureDefs = [*(file.model.signatureDefs or []), signature]


def network(zeros=0.9, batch=1, floor=False):
    """A small network with two inputs, two outputs, a residual and an open batch size."""
    file = File()
    x = file.input((batch, 16, 16, 8), signature=(-1, 16, 16, 8))
    z = file.input((batch, 4), signature=(-1, 4))
    y = file.conv(x, 32, activation="relu6", zeros=zeros)
    y = file.depthwise(y, 3, 2)
    if floor:
        y = file.floor(file.unary("ABS", y))
    y = file.binary("ADD", file.conv(y, 32, zeros=zeros), y, "relu")
    top = file.dense(file.concat([file.mean(y, keep=False), z]), 10, zeros=zeros)
    out = file.softmax(top)
    sign(file, {"image": x, "side": z}, {"classes": out, "logits": top})
    return file.file([top, out])


INPUTS = values(1, 16, 16, 8), values(1, 4, seed=2)


def pair(content, **options):
    return Interpreter(model_content=content, **options), LiteRT(model_content=content)


def plain(thing):
    """Details with arrays as lists, to compare them."""
    if isinstance(thing, np.ndarray):
        return [str(thing.dtype), thing.tolist()]
    if isinstance(thing, dict):
        return {key: plain(value) for key, value in thing.items()}
    return [plain(item) for item in thing] if isinstance(thing, list | tuple) else thing


@pytest.mark.parametrize("native", ["auto", "always", "never"])
@pytest.mark.parametrize("floor", [False, True])
def test_outputs_and_details_are_those_of_litert(native, floor):
    content = network(floor=floor)
    ours = compare(content, *INPUTS, native=native)
    theirs = LiteRT(model_content=content)
    theirs.allocate_tensors()
    assert plain(ours.get_input_details()) == plain(theirs.get_input_details())
    assert plain(ours.get_output_details()) == plain(theirs.get_output_details())
    assert ours.get_signature_list() == theirs.get_signature_list()
    assert ours.num_subgraphs() == theirs.num_subgraphs()
    ours.reset_all_variables()
    for mine, other in zip(ours.get_tensor_details(), theirs.get_tensor_details(), strict=False):
        assert plain(mine) == plain(other)


def test_a_file_by_its_path(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(network())
    expected = outputs_of(LiteRT(model_path=str(path)), *INPUTS)
    for given in (path, str(path)):
        found = outputs_of(Interpreter(given, native="always"), *INPUTS)
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_neither_file_nor_thread_stays_behind_loading(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(network())

    def mapped():
        return str(path) in Path("/proc/self/maps").read_text()

    def threads():
        return len(list(Path("/proc/self/task").iterdir()))

    before = threads()
    found = Interpreter(path, native="always")
    assert mapped()  # until there is a plan
    found.allocate_tensors()
    for _ in range(20):
        Interpreter(path, native="always")  # dropped while weights are pruned
    assert not mapped()
    assert threads() <= before


def test_a_model_that_runs_natively_needs_no_litert(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(network())
    code = """
import sys
import numpy as np
from secateur.runtime import Interpreter
interpreter = Interpreter(sys.argv[1], native="always")
interpreter.allocate_tensors()
for entry in interpreter.get_input_details():
    interpreter.set_tensor(entry["index"], np.ones(entry["shape"], entry["dtype"]))
interpreter.invoke()
print(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).shape)
print(*interpreter.plan().segments, "ai_edge_litert" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "native False"


def test_signatures_by_name():
    content = network()
    ours, theirs = pair(content, native="always")
    mine, other = ours.get_signature_runner(), theirs.get_signature_runner("serving_default")
    assert plain(mine.get_input_details()) == plain(other.get_input_details())
    for batch in (1, 3, 2):
        arrays = {"image": values(batch, 16, 16, 8), "side": values(batch, 4)}
        found, expected = mine(**arrays), other(**arrays)
        assert found.keys() == expected.keys() == {"classes", "logits"}
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5)
    assert plain(mine.get_output_details()) == plain(other.get_output_details())
    for runner in (mine, other):
        with pytest.raises(ValueError):
            runner(image=INPUTS[0])
        with pytest.raises(ValueError):
            runner(image=INPUTS[0], wrong=INPUTS[1])
    for interpreter in (ours, theirs):
        with pytest.raises(ValueError):
            interpreter.get_signature_runner("none")


@pytest.mark.parametrize("native", ["always", "never"])
def test_batch_sizes(native):
    content = network(floor=True)
    ours, theirs = pair(content, native=native)
    for batch in (1, 5, 2, 1):
        arrays = values(batch, 16, 16, 8), values(batch, 4)
        found, expected = outputs_of(ours, *arrays), outputs_of(theirs, *arrays)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        if native == "always":
            assert ours.plan().layers[0].shape == (batch, 16, 16, 32)


def test_open_heights_and_widths():
    file = File()
    x = file.input((1, 1, 1, 3), signature=(-1, -1, -1, 3))
    y = file.conv(x, 40, 3, 2, zeros=0)
    content = file.file([file.dense(file.mean(file.conv(y, 64), keep=False), 5)])
    for size in ((1, 32, 48, 3), (2, 9, 7, 3)):
        compare(content, values(*size))


def test_memory_of_inputs_and_outputs_without_copies():
    content = network()
    ours, theirs = pair(content, native="always")
    results = []
    for interpreter in (ours, theirs):
        interpreter.allocate_tensors()
        for entry, value in zip(interpreter.get_input_details(), INPUTS, strict=True):
            interpreter.tensor(entry["index"])()[:] = value
        read = interpreter.tensor(interpreter.get_output_details()[0]["index"])
        interpreter.invoke()
        results.append(read().copy())
        held = read()
        with pytest.raises(RuntimeError):
            interpreter.allocate_tensors()
        with pytest.raises(RuntimeError):
            interpreter.resize_tensor_input(0, [2, 16, 16, 8])
        del held
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-5)


def errors(interpreter):
    """What each wrong call raises."""
    first = interpreter.get_input_details()[0]["index"]
    calls = [
        lambda: interpreter.invoke(),
        lambda: interpreter.allocate_tensors(),
        lambda: interpreter.set_tensor(first, np.zeros((1, 16, 16, 8))),
        lambda: interpreter.set_tensor(first, np.zeros((1, 16, 16, 9), "float32")),
        lambda: interpreter.set_tensor(first, np.zeros((1, 16), "float32")),
        lambda: interpreter.set_tensor(10_000, np.zeros(1, "float32")),
        lambda: interpreter.set_tensor(-1, np.zeros(1, "float32")),
        lambda: interpreter.get_tensor(10_000),
        lambda: interpreter.get_tensor(-1),
        lambda: interpreter.tensor(10_000)(),
        lambda: interpreter.resize_tensor_input(first, [1, 3, 3, 8], strict=True),
        lambda: interpreter.resize_tensor_input(10_000, [1]),
        lambda: interpreter.invoke(),
        lambda: interpreter.resize_tensor_input(first, [1, 16, 16, 7]),
        lambda: interpreter.invoke(),
        lambda: interpreter.allocate_tensors(),
        lambda: interpreter.invoke(),
    ]
    found = []
    for call in calls:
        try:
            call()
            found.append(None)
        except Exception as error:
            found.append(type(error))
    return found


@pytest.mark.parametrize("native", ["always", "never"])
def test_errors_are_of_litert_s_types(native):
    ours, theirs = pair(network(), native=native)
    assert errors(ours) == errors(theirs)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"model_path": "a", "model_content": b"b"},
        {"model_content": network(), "num_threads": 0},
        {"model_content": network(), "num_threads": "2"},
        {"model_path": "no_such_file.tflite"},
        {"model_content": b"no model"},
    ],
)
def test_bad_arguments(arguments):
    with pytest.raises(ValueError):
        LiteRT(**arguments)
    with pytest.raises(ValueError, match="Received: "):
        Interpreter(**arguments)


def test_a_native_mode_that_is_none():
    with pytest.raises(ValueError, match="Received: native='sometimes'"):
        Interpreter(model_content=network(), native="sometimes")


def test_constants_can_be_read_and_what_lies_between_cannot():
    file = File()
    x = file.input((1, 4))
    weights = file.weights((300, 4), 0.5)
    w = file.constant(weights)
    y = file.op(KINDS.FULLY_CONNECTED, [x, w, -1], (1, 300), schema.FullyConnectedOptionsT())
    z = file.unary("ABS", y)
    ours = Interpreter(model_content=file.file([z]), native="always")
    ours.allocate_tensors()
    np.testing.assert_array_equal(ours.get_tensor(w), weights)
    with pytest.raises(ValueError, match=f"Received: tensor_index={y}"):
        ours.get_tensor(y)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_two_interpreters_in_two_threads(threads):
    content = network(floor=True)
    images = [(values(1, 16, 16, 8, seed=i), values(1, 4, seed=i)) for i in range(20)]
    expected = [outputs_of(LiteRT(model_content=content), *arrays)[0] for arrays in images]
    found: dict[int, list] = {0: [], 1: []}

    def work(number):
        interpreter = Interpreter(model_content=content, native="always", num_threads=threads)
        for arrays in images:
            found[number].append(outputs_of(interpreter, *arrays)[0])

    workers = [threading.Thread(target=work, args=(i,)) for i in found]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for results in found.values():
        np.testing.assert_allclose(results, expected, rtol=1e-4, atol=1e-5)


def test_runs_are_repeatable_and_inputs_stay():
    interpreter = Interpreter(model_content=network(), native="always", num_threads=2)
    first = outputs_of(interpreter, *INPUTS)
    for _ in range(3):
        interpreter.invoke()
        entries = interpreter.get_output_details()
        for a, entry in zip(first, entries, strict=True):
            np.testing.assert_array_equal(a, interpreter.get_tensor(entry["index"]))
    np.testing.assert_array_equal(interpreter.get_tensor(0), INPUTS[0])


# -- plans --


def test_a_plan_says_where_and_why():
    ours = Interpreter(model_content=network(floor=True), native="always")
    plan = ours.plan()
    assert plan.segments == ("native", "LiteRT", "native")
    assert [layer.operators for layer in plan.layers if layer.where == "LiteRT"] == [("FLOOR",)]
    by_kind = {layer.operators[0]: layer for layer in plan.layers}
    assert by_kind["FLOOR"].reason == Reason.KIND
    assert by_kind["MEAN"].reason == Reason.WITH_OTHERS
    assert ("CONV_2D", "ADD") in [layer.operators for layer in plan.layers]
    sparse = plan.layers[0]
    assert sparse.sparse
    assert sparse.reason == Reason.SPARSE
    assert sparse.shape == (1, 16, 16, 32)
    assert sparse.zeros == pytest.approx(0.9, abs=0.07)
    assert "sparse 1x1 8>32" in sparse.kernel
    text = str(plan)
    assert "FLOOR" in text
    assert "layers run natively" in text
    assert plan.to_dict()["layers"][0]["operators"] == ("CONV_2D",)
    assert "<table>" in plan._repr_html_()


def test_weights_without_their_zeros_take_less_memory():
    file = File()
    x = file.input((1, 8, 8, 128))
    content = file.file([file.conv(x, 256, zeros=0.9)])
    plan = Interpreter(model_content=content, native="always").plan()
    assert plan.weight_bytes < 128 * 256 * 4 / 4
    assert plan.litert_bytes == 0


@pytest.mark.parametrize(
    ("zeros", "reason"), [(0.1, Reason.NO_ZEROS), (0.35, Reason.NOT_WORTH), (0.97, "")]
)
def test_what_gains_nothing_runs_in_litert_as_it_is(zeros, reason, monkeypatch):
    monkeypatch.setenv("SECATEUR_ISA", "portable")  # of which little is expected on any processor
    file = File()
    x = file.input((1, 56, 56, 128))
    y = file.conv(x, 128, zeros=zeros)
    for _ in range(4):
        y = file.conv(y, 128, zeros=zeros)
    plan = Interpreter(model_content=file.file([y])).plan()
    assert plan.reason == reason
    assert bool(plan.native) == (not reason)
    assert ("The whole model runs in LiteRT" in str(plan)) == bool(reason)


@pytest.mark.parametrize("how", ["anywhere", "rows", "columns", "end"])
def test_zeros_of_large_kernels_are_seen_wherever_they_are(how):
    """Not all of the values are looked at."""
    file = File()
    x = file.input((1, 4, 4, 512))
    kernel = file.weights((1024, 1, 1, 512), zeros=0.6 if how == "anywhere" else 0)
    if how == "rows":
        kernel[::2] = 0
    elif how == "columns":
        kernel[..., ::2] = 0
    elif how == "end":
        kernel[500:] = 0
    file.weights = lambda *_: kernel
    content = file.file([file.conv(x, 1024)])
    assert Interpreter(model_content=content).plan().reason != Reason.NO_ZEROS
    compare(content, values(1, 4, 4, 512))


def test_pages_of_a_file_are_read_again_where_that_is_needed(tmp_path):
    """Those of pruned and packed kernels are let go while it loads; a second operator may want them."""
    file = File()
    x = file.input((1, 8, 8, 512))
    y = file.conv(x, 512)
    operator = file.graph.operators[-1]
    z = file.op(KINDS.CONV_2D, [y, *operator.inputs[1:]], (1, 8, 8, 512), operator.builtinOptions)
    z = file.depthwise(file.conv(z, 64, 3, zeros=0), 3)
    z = file.dense(file.reshape(z, (1, 8 * 8 * 64)), 300, zeros=0.05)
    path = tmp_path / "model.tflite"
    path.write_bytes(file.file([z]))
    image = values(1, 8, 8, 512)
    expected = outputs_of(LiteRT(model_path=str(path)), image)
    ours = Interpreter(model_path=path, native="always")
    for _ in range(2):
        np.testing.assert_allclose(
            outputs_of(ours, image), expected, rtol=0, atol=1e-4 * np.abs(expected).max()
        )
    kernel = operator.inputs[1]
    np.testing.assert_array_equal(
        ours.get_tensor(kernel), np.asarray(LiteRT(model_path=str(path)).get_tensor(kernel))
    )


def quantized():
    file = File()
    x = file.input((1, 8), "int8")
    y = file.tensor((1, 8), "int8")
    operator = file.op(KINDS.RELU, [x], (1, 8), dtype="int8")
    for tensor in (x, y, operator):
        quantization = schema.QuantizationParametersT()
        quantization.scale, quantization.zeroPoint = np.array([0.1], "f4"), np.array([0], "i8")
        file.graph.tensors[tensor].quantization = quantization
    return file.file([operator])


def test_quantized_models_run_in_litert():
    x = np.arange(-4, 4, dtype="int8").reshape(1, 8)
    ours = compare(quantized(), x, native="auto")
    assert ours.plan().reason == Reason.NO_ZEROS
    compare(quantized(), x, native="always")


def test_other_reasons_for_litert():
    content = network()
    assert Interpreter(model_content=content, native="never").plan().reason == Reason.NEVER
    options = {"experimental_preserve_all_tensors": False}
    assert Interpreter(model_content=content, **options).plan().reason == Reason.OPTIONS_GIVEN


def test_without_the_native_library(monkeypatch):
    from secateur.runtime import _native

    monkeypatch.setattr(_native, "available", lambda: False)
    ours = compare(network(), *INPUTS, native="auto")
    assert ours.plan().reason == Reason.MISSING


def test_several_subgraphs_run_in_litert():
    file = File()
    x = file.input((1, 8))
    y = file.dense(x, 8)
    file.graph.outputs = np.array([y], np.int32)
    other = File()
    z = other.dense(other.input((1, 8)), 4)
    other.file([z])
    for operator in other.graph.operators:
        operator.opcodeIndex += len(file.model.operatorCodes)
    for tensor in other.graph.tensors:
        tensor.buffer += len(file.model.buffers) if tensor.buffer else 0
    file.model.operatorCodes += other.model.operatorCodes
    file.model.buffers += other.model.buffers
    file.model.subgraphs.append(other.graph)
    ours = compare(file.file([y]), values(1, 8))
    assert ours.plan().reason == Reason.SUBGRAPHS
    assert ours.num_subgraphs() == 2


# -- profiles --


@pytest.mark.parametrize("native", ["always", "never"])
def test_a_profile_has_a_time_for_each_layer(native):
    ours = Interpreter(model_content=network(floor=True), native=native)
    profile = ours.profile(runs=3)
    assert profile.runs == 3
    assert profile.ms == pytest.approx(sum(layer.ms for layer in profile.layers))
    assert all(layer.ms >= 0 for layer in profile.layers)
    assert sum(count for _, count, _ in profile.kernels) == len(profile.layers)
    assert profile.to_dict()["kernels"][0].keys() == {"name", "count", "cost"}
    assert "ms in all" in str(profile)
    assert "<table>" in profile._repr_html_()
    if native == "never":
        assert [layer.where for layer in profile.layers] == ["LiteRT"]
        return
    assert {layer.where for layer in profile.layers} == {"native", "LiteRT"}
    sparse = profile.layers[0]
    assert sparse.name == ours.plan().layers[0].name
    kept = round((1 - ours.plan().layers[0].zeros) * 8 * 32)
    assert sparse.multiply_adds == kept * 16 * 16
    assert any(name == "sparse 1x1 SPMM" for name, _, _ in profile.kernels)


def test_a_profile_of_no_runs():
    with pytest.raises(ValueError, match="Received: runs=0"):
        Interpreter(model_content=network()).profile(runs=0)


# -- patterns that become one operation --


def operators(content, *inputs):
    ours = compare(content, *inputs)
    return [layer.operators for layer in ours.plan().layers]


def test_padding_becomes_a_part_of_the_window():
    file = File()
    x = file.input((1, 9, 9, 4))
    y = file.pad(x, [(0, 0), (1, 0), (2, 1), (0, 0)])
    y = file.depthwise(y, 3, 2, padding=VALID)
    assert operators(file.file([y]), values(1, 9, 9, 4)) == [("PAD", "DEPTHWISE_CONV_2D")]


def test_padding_that_others_read_stays():
    file = File()
    x = file.input((1, 9, 9, 4))
    y = file.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    z = file.conv(y, 4, 3, padding=VALID)
    assert operators(file.file([y, z]), values(1, 9, 9, 4)) == [("PAD",), ("CONV_2D",)]


def test_swish_becomes_a_part_of_the_convolution():
    file = File()
    y = file.conv(file.input((1, 6, 6, 4)), 8)
    y = file.binary("MUL", file.unary("LOGISTIC", y), y)
    assert operators(file.file([y]), values(1, 6, 6, 4)) == [("CONV_2D", "LOGISTIC", "MUL")]


def test_swish_of_what_others_read_is_one_function():
    file = File()
    y = file.conv(file.input((1, 6, 6, 4)), 8)
    z = file.binary("MUL", y, file.unary("LOGISTIC", y))
    found = operators(file.file([y, z]), values(1, 6, 6, 4))
    assert found == [("CONV_2D",), ("LOGISTIC", "MUL")]


def test_a_residual_and_the_function_behind_it():
    file = File()
    x = file.input((1, 6, 6, 8))
    y = file.binary("ADD", x, file.conv(x, 8, activation="relu6"))
    y = file.unary("HARD_SWISH", y)
    assert operators(file.file([y]), values(1, 6, 6, 8)) == [("CONV_2D", "ADD", "HARD_SWISH")]


def test_a_convolution_added_to_itself_is_no_residual():
    file = File()
    y = file.conv(file.input((1, 6, 6, 8)), 8)
    found = operators(file.file([file.binary("ADD", y, y)]), values(1, 6, 6, 8))
    assert found == [("CONV_2D",), ("ADD",)]


def test_operators_nobody_needs_are_left_out():
    file = File()
    x = file.input((1, 6, 6, 8))
    y = file.conv(x, 8)
    file.floor(x)
    assert operators(file.file([y]), values(1, 6, 6, 8)) == [("CONV_2D",)]


def test_reshapes_that_read_the_batch_size():
    """What Keras' Flatten and Reshape become: four operators."""
    file = File()
    x = file.input((1, 4, 4, 8), signature=(-1, 4, 4, 8))
    content = file.file([file.dense(file.flatten(file.conv(x, 16)), 5)])
    for batch in (1, 3):
        ours = compare(content, values(batch, 4, 4, 8))
        found = [layer.operators for layer in ours.plan().layers]
        assert found == [("CONV_2D",), ("RESHAPE",), ("FULLY_CONNECTED",)]


def test_shapes_that_only_a_run_tells():
    """Behind such an operator everything runs in LiteRT."""
    file = File()
    x = file.input((2, 6))
    size = file.input((2,), "int32")
    y = file.dense(x, 12)
    y = file.op(KINDS.RESHAPE, [y, size], (2, 12), schema.ReshapeOptionsT())
    y = file.unary("ABS", y)
    content = file.file([y])
    ours = Interpreter(model_content=content, native="always")
    for shape in ([4, 6], [2, 12], [8, 3]):
        theirs = LiteRT(model_content=content)  # it does not notice the change by itself
        arrays = values(2, 6), np.array(shape, "int32")
        found, expected = outputs_of(ours, *arrays), outputs_of(theirs, *arrays)
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-4, atol=1e-5)
        assert plain(ours.get_output_details()) == plain(theirs.get_output_details())
        np.testing.assert_array_equal(
            ours.tensor(ours.get_output_details()[0]["index"])(), found[0]
        )
    layers = ours.plan().layers
    assert [layer.where for layer in layers] == ["native", "LiteRT", "LiteRT"]
    assert layers[1].reason == layers[2].reason == Reason.UNKNOWN
