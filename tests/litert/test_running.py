"""Running files in a child process: outputs, differences, crashes, damaged and hostile files."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litert_files import KINDS, Graph

import secateur
from secateur.litert import RunError, read_model
from secateur.litert.flatbuffer import write_model
from secateur.litert.running import Call, Run, differences, entries, random_call, run_files
from secateur.litert.signature import InputSpec
from support import only

pytestmark = only("tensorflow")  # needs no Keras


def relu(shape=(1, 4)):
    graph = Graph()
    return graph.file([graph.op(KINDS.RELU, [graph.input(shape)], shape)])


def test_outputs_of_several_files_and_calls():
    graph = Graph()
    absolute = graph.file([graph.op(KINDS.ABS, [graph.input((1, 4))], (1, 4))])
    calls = [Call(None, {"0": np.array([[-1, 2, -3, n]], "float32")}) for n in (4, -5)]
    found = run_files([Run(relu()), Run(absolute), Run(absolute, delegate=False)], calls)
    assert [[call["0"].tolist() for call in file] for file in found] == [
        [[[0, 2, 0, 4]], [[0, 2, 0, 0]]],
        [[[1, 2, 3, 4]], [[1, 2, 3, 5]]],
        [[[1, 2, 3, 4]], [[1, 2, 3, 5]]],
    ]


def test_what_an_entry_takes():
    assert entries(read_model(relu((2, 3)))) == [(None, (InputSpec("0", (2, 3), "float32"),))]


def test_made_up_inputs():
    inputs = [InputSpec("x", (None, None, 3), "float32"), InputSpec("token", (2, 5), "int32")]
    call = random_call("serve", inputs)
    assert call.signature == "serve"
    assert call.inputs["x"].shape == (4, 32, 3)
    assert 0 <= call.inputs["x"].min() < call.inputs["x"].max() < 1
    assert call.inputs["token"].shape == (2, 5)
    assert set(call.inputs["token"].ravel()) == {0, 1}
    np.testing.assert_array_equal(random_call("serve", inputs).inputs["x"], call.inputs["x"])


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1, 2], [1, 2], (0, 0)),
        ([1, 2], [1, 4], (2, 0.5)),
        ([np.nan, np.inf, 1], [np.nan, np.inf, 1], (0, 0)),
        ([np.nan, 1], [2, 1], (np.inf, np.inf)),
        ([np.inf, 1], [-np.inf, 1], (np.inf, np.inf)),
        ([3, 0], [0, 0], (3, 3)),
        ([True, False], [True, True], (1, 1)),
    ],
)
def test_differences(first, second, expected):
    assert differences([{"y": np.array(first)}], [{"y": np.array(second)}]) == expected


def test_differences_of_other_outputs():
    with pytest.raises(RunError, match=r"The outputs are \['y'\] and \['z'\]"):
        differences([{"y": np.ones(2)}], [{"z": np.ones(2)}])
    with pytest.raises(RunError, match="'y' has shape"):
        differences([{"y": np.ones(2)}], [{"y": np.ones(3)}])


def test_a_file_that_litert_refuses():
    graph = Graph()
    x = graph.input((1, 4))
    file = graph.file([graph.op(KINDS.CONV_2D, [x, x, x], (1, 4))])
    call = Call(None, {"0": np.ones((1, 4), "float32")})
    with pytest.raises(RunError, match="LiteRT (failed|crashed).*") as caught:
        run_files([Run(relu()), Run(file)], [call])
    assert caught.value.run == 1


def test_a_file_that_takes_too_long():
    graph = Graph()
    x = graph.input((1, 2000, 2000))
    for _ in range(200):
        x = graph.op(
            KINDS.BATCH_MATMUL, [x, x], (1, 2000, 2000), options=schema.BatchMatMulOptionsT()
        )
    call = Call(None, {"0": np.zeros((1, 2000, 2000), "float32")})
    with pytest.raises(RunError, match="took more than 2 seconds"):
        run_files([Run(graph.file([x]))], [call], timeout=2)


def test_a_file_that_asks_for_all_memory():
    graph = Graph()
    x = graph.input((1,))
    shape = graph.constant(np.array([2**10] * 4, "int32"))  # 4 TiB
    y = graph.op(KINDS.BROADCAST_TO, [x, shape], (2**10,) * 4)
    with pytest.raises(RunError, match="LiteRT"):
        run_files([Run(graph.file([y]))], [Call(None, {"0": np.ones(1, "float32")})])


def mixed_file():
    """Convolution, depthwise convolution and a matrix, sparse and quantized, as an export has it."""
    generator = np.random.default_rng(0)

    def weights(*shape):
        values = generator.normal(size=shape).astype("float32")
        return np.where(np.abs(values) > 1.5, values, 0)

    steps = {"strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1}
    graph = Graph()
    x = graph.input((1, 4, 4, 8))
    bias = graph.constant(np.zeros(24, "float32"))
    conv = schema.Conv2DOptionsT()
    for key, value in steps.items():
        setattr(conv, key, value)
    w = graph.constant(weights(24, 3, 3, 8))
    y = graph.op(KINDS.CONV_2D, [x, w, bias], (1, 4, 4, 24), options=conv)
    y = graph.op(KINDS.RESHAPE, [y], (1, 384), options=reshape([1, 384]))
    w = graph.constant(weights(10, 384))
    fc = schema.FullyConnectedOptionsT()
    return graph.file([graph.op(KINDS.FULLY_CONNECTED, [y, w, -1], (1, 10), options=fc)])


def reshape(shape):
    options = schema.ReshapeOptionsT()
    options.newShape = np.array(shape, "int32")
    return options


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small sparse int8 file, its bytes."""
    path = tmp_path_factory.mktemp("small") / "small.tflite"
    secateur.export(mixed_file(), path, quantize="weights", sparse="always")
    return path.read_bytes()


harms = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 7)), min_size=1, max_size=3)
checks = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def harmed(data, flips, length):
    broken = bytearray(data[: len(data) * length // 100])
    for place, bit in flips:
        # Most of a file is weights, where a flipped bit does no harm: aim at the rest.
        broken[-1 - place % min(len(broken), 4000)] ^= 1 << bit
    return bytes(broken)


@checks
@given(flips=harms, length=st.sampled_from([100] * 9 + [60]))
def test_damaged_files_are_run_without_harm(small, flips, length):
    data = harmed(small, flips, length)
    call = Call(None, {"0": np.ones((1, 4, 4, 8), "float32")})
    try:
        found = run_files([Run(data)], [call], timeout=60)
    except RunError as error:
        assert "LiteRT" in str(error)  # noqa: PT017 - either is right
    else:
        assert len(found) == 1


@checks
@given(flips=harms, length=st.sampled_from([100] * 9 + [60]))
def test_damaged_files_are_exported_or_refused(small, tmp_path, flips, length):
    target = tmp_path / "out.tflite"
    target.unlink(missing_ok=True)
    try:
        secateur.export(harmed(small, flips, length), target, sparse="always")
    except (ValueError, RunError) as error:
        assert not target.exists()
        assert "Received: " in str(error)  # noqa: PT017 - either is right
    else:
        read_model(target)


def test_inputs_larger_than_memory_are_refused(small, tmp_path):
    """As one flipped bit in a shape makes them; nothing of that size is made."""
    model = read_model(small)
    graph = model.subgraphs[0]
    tensor = graph.tensors[int(graph.inputs[0])]
    tensor.shape = np.array([1, 4, 4, 2**27], np.int32)
    tensor.shapeSignature = None
    with pytest.raises(ValueError, match=r"at most 2\^28 numbers.*Received: input"):
        secateur.export(write_model(model), tmp_path / "out.tflite", sparse="always")
    assert not (tmp_path / "out.tflite").exists()
