"""Every operator that runs natively gives LiteRT's numbers: all windows, sizes and storages."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter as LiteRT
from runtime_files import SAME, VALID, File, compare, outputs_of, values

from secateur.runtime import Interpreter
from support import only

pytestmark = only("tensorflow")  # needs no Keras: the files are made by hand


def check(build, *inputs, native=None):
    """Build a file of one operator, compare it, and see that it ran natively."""
    file = File()
    tensors = [file.input(x.shape) for x in inputs]
    ours = compare(file.file([build(file, *tensors)]), *inputs)
    layers = ours.plan().layers
    assert [layer.where for layer in layers] == ["native"] * (native or 1)
    return ours


@pytest.mark.parametrize("zeros", [0, 0.5, 0.9, 0.99, 1])
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (16, 16)])
@pytest.mark.parametrize("channels", [(1, 1), (3, 17), (33, 16), (64, 100)])
def test_pointwise(zeros, size, channels):
    x = values(2, *size, channels[0])
    check(lambda f, t: f.conv(t, channels[1], 1, zeros=zeros), x)


@pytest.mark.parametrize("padding", [SAME, VALID])
@pytest.mark.parametrize("stride", [1, 2, 3, (2, 1)])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5, (3, 1), (1, 7)])
@pytest.mark.parametrize("zeros", [0, 0.9])
def test_windows_of_convolutions(padding, stride, kernel, zeros):
    x = values(1, 9, 12, 5)
    check(lambda f, t: f.conv(t, 6, kernel, stride, padding=padding, zeros=zeros), x)


@pytest.mark.parametrize("dilation", [2, (1, 3)])
@pytest.mark.parametrize("padding", [SAME, VALID])
def test_dilated_convolutions(dilation, padding):
    x = values(1, 11, 13, 4)
    check(lambda f, t: f.conv(t, 8, 3, dilation=dilation, padding=padding), x)


@pytest.mark.parametrize("padding", [SAME, VALID])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [2, 3, 5, 7, (3, 5)])
@pytest.mark.parametrize("size", [(7, 7), (8, 13), (33, 20)])
def test_windows_of_depthwise_convolutions(padding, stride, kernel, size):
    x = values(1, *size, 5)
    check(lambda f, t: f.depthwise(t, kernel, stride, padding=padding), x)


@pytest.mark.parametrize("multiplier", [2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
def test_more_depthwise_convolutions(multiplier, dilation):
    x = values(2, 10, 9, 3)
    check(lambda f, t: f.depthwise(t, 3, dilation=dilation, multiplier=multiplier), x)


@pytest.mark.parametrize("activation", [None, "relu", "relu6", "relu_n1_to_1"])
@pytest.mark.parametrize("kind", ["conv", "depthwise", "dense", "max", "average", "ADD", "MUL"])
def test_fused_activations(activation, kind):
    x = 4 * values(1, 6, 6, 8)

    def build(file, t):
        if kind == "conv":
            return file.conv(t, 8, activation=activation)
        if kind == "depthwise":
            return file.depthwise(t, activation=activation)
        if kind == "dense":
            return file.dense(t, 8, activation=activation)
        if kind in ("max", "average"):
            return file.pool(kind, t, activation=activation)
        return file.binary(kind, t, file.constant(values(8)), activation)

    check(build, x)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("zeros", [0, 0.8, 1])
@pytest.mark.parametrize("bias", [True, False])
def test_fully_connected(rows, zeros, bias):
    check(lambda f, t: f.dense(t, 21, zeros=zeros, bias=bias), values(rows, 50))


@pytest.mark.parametrize("shape", [(2, 7, 20), (1, 2, 3, 20)])
def test_fully_connected_along_the_last_axis(shape):
    check(lambda f, t: f.dense(t, 9), values(*shape))


@pytest.mark.parametrize(
    "name",
    [
        *("RELU", "RELU6", "RELU_N1_TO_1", "LOGISTIC", "TANH", "HARD_SWISH", "ELU", "ABS"),
        *("SQUARE", "EXP", "SQRT", "RSQRT", "NEG"),
    ],
)
@pytest.mark.parametrize("shape", [(1, 5, 7, 3), (2, 33), (2, 4, 5)])
def test_functions(name, shape):
    x = 3 * values(*shape)
    if "SQRT" in name:
        x = np.abs(x) + 0.1
    check(lambda f, t: f.unary(name, t), x)


def test_numbers_too_small_to_be_normal_are_zeros():
    """In LiteRT, too; sqrt(1e-40) would be 1e-20."""
    x = np.full((1, 5, 7, 3), 1e-40, "float32")
    file = File()
    data = file.file([file.unary("SQRT", file.input(x.shape))])
    assert not outputs_of(LiteRT(model_content=data), x)[0].any()
    assert not outputs_of(Interpreter(model_content=data, native="always"), x)[0].any()


@pytest.mark.parametrize("approximate", [False, True])
def test_gelu(approximate):
    options = schema.GeluOptionsT()
    options.approximate = approximate
    check(lambda f, t: f.unary("GELU", t, options), 3 * values(1, 6, 5, 9))


def test_leaky_relu():
    options = schema.LeakyReluOptionsT()
    options.alpha = 0.3
    check(lambda f, t: f.unary("LEAKY_RELU", t, options), values(1, 6, 5, 9))


BINARY = ["ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE"]


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("other", [(2, 5, 6, 7), (2, 1, 1, 7), (2, 5, 6, 1), (2, 1, 1, 1)])
@pytest.mark.parametrize("first", [True, False])
def test_two_operands(name, other, first):
    x, y = values(2, 5, 6, 7), 1.5 + np.abs(values(*other, seed=2))
    pair = (x, y) if first else (np.abs(y), np.abs(x) + 1)
    check(lambda f, a, b: f.binary(name, a, b), *pair)


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("other", [(), (7,), (1, 1, 7), (1, 1, 1, 1), (5, 6, 1), (1, 5, 6, 7)])
@pytest.mark.parametrize("first", [True, False])
def test_a_constant_operand(name, other, first):
    y = 1.5 + np.abs(values(*other, seed=2))

    def build(file, t):
        constant = file.constant(y, "float32")
        return file.binary(name, *((t, constant) if first else (constant, t)))

    check(build, 1 + np.abs(values(2, 5, 6, 7)))


@pytest.mark.parametrize("kind", ["max", "average"])
@pytest.mark.parametrize("padding", [SAME, VALID])
@pytest.mark.parametrize("window", [(2, 2), (3, 2), (3, 1), ((1, 3), 2), (5, 3)])
def test_pooling(kind, padding, window):
    check(lambda f, t: f.pool(kind, t, *window, padding), values(1, 9, 12, 5))


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("axes", [(1, 2), (2, 1), (-3, -2)])
def test_mean_of_all_pixels(keep, axes):
    check(lambda f, t: f.mean(t, keep, axes), values(2, 7, 5, 19))


@pytest.mark.parametrize("kind", ["bilinear", "nearest"])
@pytest.mark.parametrize("flags", [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("size", [(10, 14), (3, 20), (1, 1), (5, 7)])
def test_resizing(kind, flags, size):
    check(lambda f, t: f.resize(kind, t, size, *flags), values(1, 5, 7, 6))


@pytest.mark.parametrize("shape", [(2, 4, 5, 3), (2, 5, 3), (2, 3)])
def test_concatenation_slices_padding_and_softmax(shape):
    x, y = values(*shape), values(*shape, seed=3)
    check(lambda f, a, b: f.concat([a, b, a]), x, y)
    begin = [0, *(1 for _ in shape[1:])]
    sizes = [shape[0], *(n - 1 for n in shape[1:])]
    check(lambda f, a: f.slice(a, begin, sizes), x)
    pads = [(0, 0), *((1, 2) for _ in shape[1:])]
    check(lambda f, a: f.pad(a, pads), x)
    check(lambda f, a: f.pad(a, pads, fill=-1.5), x)
    check(lambda f, a: f.softmax(a), x)
    check(lambda f, a: f.softmax(a, 0.5), x)


@pytest.mark.parametrize("shape", [(2, 60), (2, 1, 1, 60), (2, 5, 12), (2, 4, 3, 5)])
def test_reshaping(shape):
    check(lambda f, a: f.reshape(a, shape), values(2, 3, 4, 5))


@pytest.mark.parametrize("how", ["float32", "float16", "int8"])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("kind", ["conv", "dense"])
def test_weights_as_they_are_stored(how, sparse, kind):
    x = values(1, 8, 8, 40) if kind == "conv" else values(1, 40)

    def build(packed):
        file = File(seed=5)
        t = file.input(x.shape)
        options = {"zeros": 0.8, "how": how, "sparse": packed}
        y = file.conv(t, 24, **options) if kind == "conv" else file.dense(t, 24, **options)
        return file.file([y])

    # LiteRT may read a packed weight wrongly where XNNPACK does not take the operator.
    ours = compare(build(sparse), x, reference=build(False))
    assert ours.plan().layers[0].zeros > 0.75
    assert ours.plan().segments == ("native",)


def test_depthwise_weights_of_int8():
    check(lambda f, t: f.depthwise(t, how="int8"), values(1, 8, 8, 12))


@pytest.mark.parametrize("isa", ["avx512", "avx2", "neon", "portable"])
def test_every_instruction_set(isa, monkeypatch):
    from secateur.runtime._program import isas

    if isa not in isas():
        pytest.skip(f"this processor has no {isa}")
    monkeypatch.setenv("SECATEUR_ISA", isa)
    ours = check(lambda f, t: f.conv(t, 30, 1), values(1, 13, 11, 20))
    assert ours.plan().isa == isa


def test_no_such_instruction_set(monkeypatch):
    monkeypatch.setenv("SECATEUR_ISA", "mmx")
    with pytest.raises(ValueError, match=r"SECATEUR_ISA.*portable.*isa=mmx"):
        check(lambda f, t: f.conv(t, 30, 1), values(1, 13, 11, 20))


@pytest.mark.parametrize(("how", "sparse"), [("float32", False), ("float16", True)])
def test_operators_that_share_their_weights(how, sparse):
    """What is packed takes the place of what was pruned, which serves one operator only."""
    file = File()
    x = file.input((1, 5, 6, 24))
    weights = file.stored(file.weights((24, 1, 1, 24), 0.9), how, sparse)
    file.stored = lambda *_: weights
    y = file.conv(file.conv(file.conv(x, 24), 24), 24)
    ours = compare(file.file([y]), values(1, 5, 6, 24))
    assert [layer.sparse for layer in ours.plan().layers] == [True] * 3
