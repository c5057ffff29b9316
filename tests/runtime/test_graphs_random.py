"""Random graphs give LiteRT's numbers, wherever they are cut."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from runtime_files import SAME, VALID, File, compare, outputs_of, values

from secateur.runtime import Interpreter
from support import only

pytestmark = only("tensorflow")  # needs no Keras: the files are made by hand

ZEROS = st.sampled_from([0.0, 0.3, 0.75, 0.9, 1.0])
ACTIVATIONS = st.sampled_from([None, "relu", "relu6"])
FUNCTIONS = ["RELU", "LOGISTIC", "TANH", "HARD_SWISH", "ELU", "ABS"]


@pytest.fixture(autouse=True, scope="module")
def small_cache():
    """Then operations on images as small as these take turns by rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECATEUR_L2_BYTES", "16384")
        yield


def grow(draw, file, images):
    """Add one operator that reads some of `images`; append what it writes."""
    x = draw(st.sampled_from(images))
    _, h, w, c = file.shape(x)
    kinds = ["conv", "pointwise", "depthwise", "function", "swish", "constant", "excite", "floor"]
    same = [t for t in images if file.shape(t) == file.shape(x)]
    kinds += ["add", "concat"] * (len(same) > 1)
    kinds += ["pool", "pad", "resize"] * (h > 2 and w > 2)
    kind = draw(st.sampled_from(kinds))
    padding = draw(st.sampled_from([SAME, VALID])) if min(h, w) > 6 else SAME
    if kind == "conv":
        options = {"padding": padding, "activation": draw(ACTIVATIONS), "zeros": draw(ZEROS)}
        kernel, stride = draw(st.sampled_from([2, 3, 5])), draw(st.integers(1, 2))
        y = file.conv(x, draw(st.integers(1, 20)), kernel, stride, **options)
    elif kind == "pointwise":
        how, sparse = draw(st.sampled_from(["float32", "float16"])), False
        channels = draw(st.sampled_from([c, 1, 7, 16, 24]))
        options = {"activation": draw(ACTIVATIONS), "zeros": draw(ZEROS), "how": how}
        y = file.conv(x, channels, sparse=sparse, **options)
    elif kind == "depthwise":
        kernel, stride = draw(st.sampled_from([2, 3, 5])), draw(st.integers(1, 2))
        y = file.depthwise(x, kernel, stride, padding=padding, activation=draw(ACTIVATIONS))
    elif kind == "function":
        y = file.unary(draw(st.sampled_from(FUNCTIONS)), x)
    elif kind == "swish":
        y = file.binary("MUL", x, file.unary("LOGISTIC", x))
    elif kind == "constant":
        shape = draw(st.sampled_from([(), (c,), (1, 1, 1, c), (h, w, 1)]))
        y = file.binary(draw(st.sampled_from(["ADD", "MUL"])), x, file.constant(values(*shape)))
    elif kind == "excite":
        gate = file.conv(file.mean(x), 4, activation="relu", zeros=draw(ZEROS))
        y = file.binary("MUL", x, file.unary("LOGISTIC", file.conv(gate, c)))
    elif kind == "floor":
        y = file.floor(file.binary("MUL", x, file.constant(np.float32(0))))
        y = file.binary("ADD", x, y)  # what is rounded must not decide
    elif kind == "add":
        y = file.binary("ADD", x, draw(st.sampled_from(same)), draw(ACTIVATIONS))
    elif kind == "concat":
        y = file.concat([x, draw(st.sampled_from(same))])
    elif kind == "pool":
        y = file.pool(draw(st.sampled_from(["max", "average"])), x)
    elif kind == "pad":
        pads = [(0, 0), (draw(st.integers(0, 2)), 1), (1, draw(st.integers(0, 2))), (0, 0)]
        y = file.pad(x, pads)
    else:
        y = file.resize("bilinear", x, (h + 3, w - 1))
    if np.prod(file.shape(y)) < 40_000:
        images.append(y)


@st.composite
def graphs(draw):
    """A file and its inputs."""
    file = File(draw(st.integers(0, 1000)))
    batch = draw(st.integers(1, 3))
    shapes = [
        (batch, draw(st.integers(3, 14)), draw(st.integers(3, 14)), draw(st.integers(1, 18)))
        for _ in range(draw(st.integers(1, 2)))
    ]
    images = [file.input(shape) for shape in shapes]
    for _ in range(draw(st.integers(1, 12))):
        grow(draw, file, images)
    made = images[len(shapes) :]
    outputs = [made[-1], *draw(st.lists(st.sampled_from(made), max_size=2))] if made else []
    if made and draw(st.booleans()):
        flat = file.mean(made[-1], keep=False)
        outputs.append(file.softmax(file.dense(flat, 10)))
    return file, list(dict.fromkeys(outputs)), [values(*shape) for shape in shapes]


RELAXED = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


@RELAXED
@given(graphs(), st.integers(1, 3))
def test_random_graphs(graph, threads):
    file, outputs, inputs = graph
    if outputs:
        compare(file.file(outputs), *inputs, num_threads=threads)


@RELAXED
@given(graphs(), st.data())
def test_random_cuts(graph, data):
    """Whatever runs where: seams in places that no estimate would choose."""
    from secateur.runtime import _session

    file, outputs, inputs = graph
    if not outputs:
        return
    chosen = []

    def at_random(graph, units, costs, always):
        sides = [not unit.reason and data.draw(st.booleans()) for unit in units]
        chosen.append(sides)
        return sides

    content = file.file(outputs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_session, "choose", at_random)
        ours = compare(content, *inputs)
    assert chosen
    assert ("native" in ours.plan().segments) == any(chosen[-1])


@RELAXED
@given(graphs())
def test_chosen_by_cost(graph):
    file, outputs, inputs = graph
    if outputs:
        compare(file.file(outputs), *inputs, native="auto")


@settings(max_examples=40, deadline=None, derandomize=True)
@given(graphs(), st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_other_batch_sizes(graph, batches):
    from ai_edge_litert.interpreter import Interpreter as LiteRT

    file, outputs, inputs = graph
    if not outputs:
        return
    content = file.file(outputs)
    ours, theirs = Interpreter(model_content=content, native="always"), None
    for batch in batches:
        resized = [values(batch, *x.shape[1:], seed=batch) for x in inputs]
        theirs = LiteRT(model_content=content)
        found, expected = outputs_of(ours, *resized), outputs_of(theirs, *resized)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * max(np.abs(b).max(), 1e-3))
