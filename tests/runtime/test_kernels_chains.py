"""Programs of many operations on large images, which take turns by rows, against numpy."""

import numpy as np
import pytest
from kernel_reference import (
    apply,
    close,
    finished,
    out_size,
    patches,
    sparse_weights,
)

from secateur.runtime._composer import Composer
from secateur.runtime._forms import IDENTITY, RELU, RELU6, Activation, Epilogue, Window
from secateur.runtime._hand_signatures import Binary, Function
from secateur.runtime._program import isas
from secateur.runtime._pruned import Pruned
from support import only

pytestmark = [only("tensorflow"), pytest.mark.parametrize("isa", isas())]  # needs no Keras


@pytest.fixture(autouse=True, params=["this machine's", "16384", "200000"])
def cache(request, monkeypatch):
    """The size of the cache that turns are made for: small ones make small images take turns, too."""
    if request.param.isdigit():
        monkeypatch.setenv("SECATEUR_L2_BYTES", request.param)


class Network:
    """Adds operations to a program and computes them in numpy, side by side."""

    def __init__(self, isa, x):
        self.rng = np.random.default_rng(0)
        self.program, self.x = Composer(isa), x
        self.source = self.program.input((x.shape[3], *x.shape[1:3]))
        self.known = {self.source: np.float64(x)}

    def value(self, expected):
        shape = (expected.shape[3], *expected.shape[1:3])
        value = self.program.value(shape)
        self.known[value] = expected
        return value

    def conv(self, source, channels, window=None, sparse=True, activation=RELU6, residual=None):
        window = window or Window()
        x = self.known[source]
        weights = sparse_weights(self.rng, (channels, *window.kernel, x.shape[3]), 0.8) / 3
        bias = self.rng.normal(size=channels).astype("float32")
        epilogue = Epilogue(activation, residual, IDENTITY if residual is None else RELU)
        seen = patches(x, window, *out_size(window, *x.shape[1:3]))
        expected = np.einsum("nyxhwc,ohwc->nyxo", seen, np.float64(weights), optimize=True) + bias
        expected = finished(epilogue, expected, self.known.get(residual))
        out = self.value(expected)
        if sparse:
            add, data = self.program.sparse_conv2d, Pruned(weights, keep=True)
        else:
            add, data = self.program.conv2d, weights
        add(source, out, data, bias, window=window, epilogue=epilogue)
        return out

    def depthwise(self, source, window):
        x = self.known[source]
        weights = self.rng.normal(size=(*window.kernel, x.shape[3])).astype("float32") / 3
        seen = patches(x, window, *out_size(window, *x.shape[1:3]))
        out = self.value(apply(RELU6, np.einsum("nyxhwc,hwc->nyxc", seen, np.float64(weights))))
        self.program.depthwise_conv2d(source, out, weights, None, window, Epilogue(RELU6))
        return out

    def multiply(self, left, right):
        out = self.value(self.known[left] * self.known[right])
        self.program.binary(Binary.MUL, left, right, out)
        return out

    def unary(self, source, activation):
        out = self.value(apply(activation, self.known[source]))
        self.program.unary(source, out, activation)
        return out

    def mean(self, source):
        out = self.value(self.known[source].mean((1, 2), keepdims=True))
        self.program.mean(source, out)
        return out

    def check(self, *values):
        for value in values:
            shape = self.known[value].shape
            self.program.to_nhwc(value, self.program.output((shape[3], *shape[1:3])))
        for threads in (1, 2, 3):
            self.program.finalize(len(self.x))
            found = self.program.run([self.x], threads=threads)
            for array, value in zip(found, values, strict=True):
                close(array, self.known[value])


def random(*shape):
    return np.random.default_rng(9).normal(size=shape).astype("float32")


@pytest.mark.parametrize("size", [(112, 112), (97, 51)])
def test_as_mobilenet_begins(isa, size):
    net = Network(isa, random(2, *(2 * s for s in size), 3))
    x = net.conv(net.source, 24, Window((3, 3), (2, 2), (0, 0, 1, 1)), sparse=False)
    x = net.depthwise(x, Window((3, 3), (1, 1), (1, 1, 1, 1)))
    x = net.conv(x, 48)
    x = net.depthwise(x, Window((3, 3), (2, 2), (1, 1, 1, 1)))
    x = net.conv(x, 70)
    x = net.depthwise(x, Window((5, 5), (1, 1), (2, 2, 2, 2)))
    net.check(net.conv(x, 33, activation=Activation(Function.SWISH)))


def test_residuals(isa):
    net = Network(isa, random(1, 60, 77, 5))
    first = net.conv(net.source, 32)
    x = net.conv(first, 96)
    x = net.depthwise(x, Window((3, 3), (1, 1), (1, 1, 1, 1)))
    second = net.conv(x, 32, residual=first, activation=IDENTITY)
    x = net.conv(second, 40, Window((3, 3), (1, 1), (1, 1, 1, 1)))
    net.check(first, net.conv(x, 32, residual=second, activation=IDENTITY))


@pytest.mark.parametrize("size", [(60, 77), (63, 64)])
def test_larger_kernels_between(isa, size):
    """Convolutions of any kernel read rows that are about to be overwritten, and add others."""
    net = Network(isa, random(2, *size, 3))
    x = net.conv(net.source, 24)
    x = net.conv(x, 40, Window((3, 3), (1, 1), (1, 1, 1, 1)))
    x = second = net.conv(x, 33, Window((3, 3), (2, 2), (0, 0, 1, 1)))
    x = net.conv(x, 33, Window((5, 3), (1, 1), (4, 2, 4, 2), (2, 2)))
    x = net.conv(x, 33, Window((3, 3), (1, 1), (1, 1, 1, 1)), residual=second, activation=IDENTITY)
    x = net.depthwise(x, Window((5, 5), (2, 2), (2, 1, 2, 2)))
    net.check(net.conv(x, 20, sparse=False))


def test_what_is_read_is_added(isa):
    """The rows around a pixel, and its own for the residual, are of one value."""
    net = Network(isa, random(1, 63, 64, 3))
    x = net.conv(net.source, 24)
    x = net.conv(x, 24, Window((5, 3), (1, 1), (4, 2, 4, 2), (2, 2)), residual=x)
    net.check(net.conv(x, 20, residual=None))


def test_gates(isa):
    """A gate from all pixels is there before it is used."""
    net = Network(isa, random(1, 64, 64, 3))
    x = net.conv(net.source, 40, Window((3, 3), (1, 1), (1, 1, 1, 1)))
    x = net.depthwise(x, Window((3, 3), (1, 1), (1, 1, 1, 1)))
    gate = net.conv(net.mean(x), 40, activation=Activation(Function.SIGMOID))
    x = net.multiply(x, gate)
    x = net.unary(x, Activation(Function.HARD_SWISH))
    net.check(net.conv(x, 30), gate)


def excited(net, sparse=True):
    """An image of 40 channels times a gate, and what a 1x1 convolution makes of that."""
    x = net.conv(net.source, 40, Window((3, 3), (1, 1), (1, 1, 1, 1)))
    gate = net.conv(net.mean(x), 40, activation=Activation(Function.SIGMOID))
    product = net.multiply(*((x, gate) if sparse else (gate, x)))
    return product, net.conv(product, 30, sparse=sparse)


def operations(net):
    return [net.program.describe(i) for i in range(net.program.operations)]


@pytest.mark.parametrize("sparse", [True, False])
def test_gates_go_into_weights(isa, sparse):
    """Of each image of a batch its own, in turns and at once."""
    net = Network(isa, random(3, 33, 40, 3))
    _, y = excited(net, sparse)
    net.check(net.depthwise(y, Window((3, 3), (2, 2), (0, 0, 1, 1))))
    assert ["with the weights" in text for text in operations(net)].count(True) == 1


@pytest.mark.parametrize("batch", [1, 3])
def test_gates_go_into_pairs_of_rows(isa, batch):
    """Of a matrix with many numbers in a column, whose columns are cut into blocks."""
    net = Network(isa, random(batch, 24, 24, 3))
    x = net.conv(net.source, 200)
    gate = net.conv(net.mean(x), 200, activation=Activation(Function.SIGMOID))
    y = net.conv(net.multiply(x, gate), 121)
    net.check(net.conv(y, 110, residual=None), net.conv(y, 121, residual=y))
    assert ["with the weights" in text for text in operations(net)].count(True) == 1


def test_gates_that_others_read_too_stay(isa):
    for others in ("another convolution", "the caller"):
        net = Network(isa, random(2, 20, 20, 3))
        product, y = excited(net)
        net.check(y, net.conv(product, 8) if others == "another convolution" else product)
        assert not any("with the weights" in text for text in operations(net))


def test_gates_of_few_pixels_stay(isa):
    net = Network(isa, random(2, 3, 3, 3))
    net.check(excited(net)[1])
    assert not any("with the weights" in text for text in operations(net))


def test_a_gated_image_is_added_itself(isa):
    net = Network(isa, random(2, 30, 30, 3))
    x = net.conv(net.source, 40, Window((3, 3), (1, 1), (1, 1, 1, 1)))
    gate = net.unary(net.conv(net.mean(x), 40), Activation(Function.SIGMOID))
    net.check(net.conv(net.multiply(x, gate), 40, residual=x), x)


def test_padding_below(isa):
    """Rows of padding need nothing."""
    net = Network(isa, random(1, 64, 64, 3))
    x = net.conv(net.source, 40)
    x = net.depthwise(x, Window((3, 3), (1, 1), (3, 0, 4, 2)))
    x = net.depthwise(x, Window((3, 3), (3, 3), (0, 0, 3, 3)))
    x = net.depthwise(x, Window((3, 3), (1, 1), (2, 2, 40, 40), (2, 2)))
    net.check(net.conv(x, 20))


def test_the_last_operation_need_not_be_the_last_to_end(isa):
    net = Network(isa, random(1, 64, 64, 3))
    x = net.conv(net.source, 16)
    y = net.unary(x, Activation(Function.SWISH))
    z = net.unary(y, Activation(Function.ABS))
    net.check(y, z, net.depthwise(x, Window((3, 3), (3, 3), (0, 0, 0, 0))))


def test_chains_keep_less_in_memory(isa, monkeypatch):
    def arena(cache):
        monkeypatch.setenv("SECATEUR_L2_BYTES", cache)
        net = Network(isa, random(1, 256, 64, 3))
        x = net.conv(net.source, 32)
        for _ in range(4):
            x = net.depthwise(x, Window((3, 3), (1, 1), (1, 1, 1, 1)))
        net.program.to_nhwc(net.mean(net.conv(x, 8)), net.program.output((8, 1, 1)))
        net.program.finalize(1)
        return net.program.arena_bytes

    assert arena("1000000") < arena(str(1 << 30)) / 2
