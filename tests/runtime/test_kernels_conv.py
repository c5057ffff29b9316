"""The native convolutions, against numpy: every instruction set, shape, window and sparsity."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_reference import (
    One,
    activations,
    apply,
    close,
    finished,
    out_size,
    patches,
    sparse_weights,
    windows,
)

from secateur.runtime._composer import Composer
from secateur.runtime._forms import Activation, Epilogue, Window
from secateur.runtime._hand_signatures import Function
from secateur.runtime._program import isas
from secateur.runtime._pruned import Pruned
from support import only

pytestmark = [only("tensorflow"), pytest.mark.parametrize("isa", isas())]  # needs no Keras

SIZES = st.integers(1, 20) | st.sampled_from([33, 64])
CHANNELS = st.integers(1, 20) | st.sampled_from([31, 64, 70])
ZEROS = st.sampled_from([0.0, 0.3, 0.75, 0.9, 0.97, 1.0])
SEEDS = st.integers(0, 2**16)


@st.composite
def images(draw, channels=CHANNELS):
    """A batch of images."""
    shape = draw(st.tuples(st.integers(1, 3), SIZES, SIZES, channels))
    return np.random.default_rng(draw(SEEDS)).normal(size=shape).astype("float32")


def epilogue_for(draw, one, rng, shape):
    """An epilogue, with a residual or not, and the residual."""
    first = draw(activations())
    if not draw(st.booleans()):
        return Epilogue(first), None
    residual = rng.normal(size=shape).astype("float32")
    return Epilogue(first, one.value(residual), draw(activations())), residual


def expected_conv(x, weights, bias, window, shape):
    seen = patches(x, window, *shape[1:3])
    return np.einsum("nyxhwc,ohwc->nyxo", seen, np.float64(weights)) + bias


def check_convolution(isa, draw, x, weights, window, threads, sparse=True):
    rng = np.random.default_rng(draw(SEEDS))
    channels = len(weights)
    bias = rng.normal(size=channels).astype("float32")
    one = One(isa)
    source = one.value(x) if draw(st.booleans()) else one.raw(x)
    shape = (len(x), *out_size(window, *x.shape[1:3]), channels)
    epilogue, residual = epilogue_for(draw, one, rng, shape)
    out = one.out(*shape[1:])
    if sparse:
        one.program.sparse_conv2d(source, out, Pruned(weights, keep=True), bias, window, epilogue)
    else:
        one.program.conv2d(source, out, weights, bias, window, epilogue)
    expected = expected_conv(x, weights, bias, window, shape)
    close(one.run(threads), finished(epilogue, expected, residual), sums=expected)


@settings(deadline=None, max_examples=60)
@given(data=st.data(), x=images(), channels=CHANNELS, zeros=ZEROS, threads=st.integers(1, 3))
@pytest.mark.parametrize("kind", ["pointwise", "window"])
@pytest.mark.parametrize("sparse", [True, False])
def test_convolution(isa, kind, sparse, data, x, channels, zeros, threads):
    window = Window() if kind == "pointwise" else data.draw(windows(*x.shape[1:3]))
    rng = np.random.default_rng(data.draw(SEEDS))
    weights = sparse_weights(rng, (channels, *window.kernel, x.shape[3]), zeros)
    check_convolution(isa, data.draw, x, weights, window, threads, sparse)


@settings(deadline=None, max_examples=60)
@given(
    data=st.data(),
    x=images(st.sampled_from([63, 64, 65, 150, 301])),
    channels=st.sampled_from([40, 77, 130, 257]),
    zeros=st.sampled_from([0.0, 0.3, 0.6, 0.9]),
    threads=st.integers(1, 3),
    stride=st.integers(1, 2),
)
def test_pairs_of_rows(isa, data, x, channels, zeros, threads, stride):
    """Of matrices with many numbers in a column; rows of all lengths, also of none."""
    rng = np.random.default_rng(data.draw(SEEDS))
    weights = sparse_weights(rng, (channels, 1, 1, x.shape[3]), zeros)
    for row in weights[data.draw(st.integers(0, channels)) :]:
        row[..., rng.integers(x.shape[3]) :] = 0
    window = Window(stride=(stride, stride))
    check_convolution(isa, data.draw, x, weights, window, threads)


def test_pairs_of_rows_leave_out_what_is_zero(isa):
    """Of two rows one has an infinite input; the other ends before or behind it."""
    x = np.ones((1, 5, 5, 80), "float32")
    x[..., 7] = np.inf
    weights = np.ones((60, 1, 1, 80), "float32")
    weights[::2, ..., 7:40] = 0
    weights[1::2, ..., 70:] = 0
    one = One(isa)
    source, out = one.value(x), one.out(5, 5, 60)
    one.program.sparse_conv2d(source, out, Pruned(weights, keep=True))
    found = one.run()
    np.testing.assert_array_equal(found[..., ::2], 47)
    np.testing.assert_array_equal(found[..., 1::2], np.inf)


@settings(deadline=None, max_examples=100)
@given(data=st.data(), x=images(), multiplier=st.sampled_from([1, 1, 2, 3]))
def test_depthwise(isa, data, x, multiplier):
    window = data.draw(windows(*x.shape[1:3], kernels=(1, 2, 3, 4, 5, 7)))
    rng = np.random.default_rng(data.draw(SEEDS))
    weights = rng.normal(size=(*window.kernel, x.shape[3] * multiplier)).astype("float32")
    bias = rng.normal(size=weights.shape[2]).astype("float32")
    one = One(isa)
    source = one.value(x)
    shape = (len(x), *out_size(window, *x.shape[1:3]), weights.shape[2])
    epilogue, residual = epilogue_for(data.draw, one, rng, shape)
    one.program.depthwise_conv2d(source, one.out(*shape[1:]), weights, bias, window, epilogue)
    seen = np.repeat(patches(x, window, *shape[1:3]), multiplier, axis=-1)
    expected = np.einsum("nyxhwc,hwc->nyxc", seen, np.float64(weights)) + bias
    close(
        one.run(data.draw(st.integers(1, 3))), finished(epilogue, expected, residual), sums=expected
    )


@pytest.mark.parametrize("zeros", [0.5, 0.9])
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_fully_connected(isa, zeros, batch):
    rng = np.random.default_rng(batch)
    x = rng.normal(size=(batch, 1, 1, 300)).astype("float32")
    weights = sparse_weights(rng, (101, 1, 1, 300), zeros)
    one = One(isa)
    activation = Activation(Function.SIGMOID)
    one.program.sparse_conv2d(
        one.raw(x), one.out(1, 1, 101), Pruned(weights, keep=True), epilogue=Epilogue(activation)
    )
    expected = np.einsum("nyxc,ohwc->nyxo", np.float64(x), np.float64(weights))
    close(one.run(), apply(activation, expected))


@pytest.mark.parametrize(("shape", "channels"), [((1, 56, 56, 128), 128), ((1, 7, 7, 1024), 300)])
def test_inputs_larger_than_the_cache(isa, shape, channels):
    """Columns are then cut into blocks."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=shape).astype("float32")
    weights = sparse_weights(rng, (channels, 1, 1, shape[3]), 0.8)
    one = One(isa)
    source, out = one.value(x), one.out(*shape[1:3], channels)
    one.program.sparse_conv2d(source, out, Pruned(weights, keep=True))
    close(one.run(2), expected_conv(x, weights, 0, Window(), (*shape[:3], channels)))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("size", "channels"), [(9, 40), (14, 17), (16, 96)])
def test_weights_larger_than_the_cache(isa, monkeypatch, size, channels, threads):
    """Rows are then done in parts, each for the whole image."""
    monkeypatch.setenv("SECATEUR_L2_BYTES", "20000")
    rng = np.random.default_rng(2)
    x = rng.normal(size=(2, size, size, 21)).astype("float32")
    weights = rng.normal(size=(channels, 3, 3, 21)).astype("float32")
    window = Window((3, 3), padding=(1, 1, 1, 1))
    one = One(isa)
    one.program.conv2d(one.value(x), one.out(size, size, channels), weights, window=window)
    close(one.run(threads), expected_conv(x, weights, 0, window, (2, size, size, channels)))


@pytest.mark.parametrize(("channels", "stride"), [(3, 2), (2, 3), (6, 1), (1, 6), (3, 1), (4, 2)])
@pytest.mark.parametrize("size", [15, 32, 37, 71, 224])
def test_first_layers(isa, channels, stride, size):
    """Images as they are given are sorted by channels and columns of the stride."""
    rng = np.random.default_rng(size)
    x = rng.normal(size=(1, 8, size, channels)).astype("float32")
    weights = rng.normal(size=(7, 3, 3, channels)).astype("float32")
    window = Window((3, 3), (1, stride), padding=(0, 1, 0, 1))
    height, width = out_size(window, 8, size)
    one = One(isa)
    one.program.conv2d(one.raw(x), one.out(height, width, 7), weights, window=window)
    close(one.run(), expected_conv(x, weights, 0, window, (1, height, width, 7)))


def test_an_infinite_input_stays_where_it_is(isa):
    """Rows that do not read it stay finite: zeros are left out, not multiplied."""
    x = np.ones((1, 1, 1, 40), "float32")
    x[..., 0] = np.inf
    weights = np.zeros((20, 1, 1, 40), "float32")
    weights[0, ..., 0] = 1
    weights[1:, ..., 1:20] = 1
    one = One(isa)
    one.program.sparse_conv2d(one.raw(x), one.out(1, 1, 20), Pruned(weights, keep=True))
    np.testing.assert_array_equal(one.run()[0, 0, 0], [np.inf] + [19] * 19)


def test_another_batch_later(isa):
    """The same program runs with another batch."""
    rng = np.random.default_rng(3)
    weights = sparse_weights(rng, (9, 3, 3, 5), 0.5)
    window = Window((3, 3), padding=(1, 1, 1, 1))
    program = Composer(isa)
    x, y = program.input((5, 8, 8)), program.value((9, 8, 8))
    program.sparse_conv2d(x, y, Pruned(weights, keep=True), window=window)
    program.to_nhwc(y, program.output((9, 8, 8)))
    for batch in (1, 4, 2):
        images = rng.normal(size=(batch, 8, 8, 5)).astype("float32")
        program.finalize(batch)
        expected = expected_conv(images, weights, 0, window, (batch, 8, 8, 9))
        close(program.run([images])[0], expected)
