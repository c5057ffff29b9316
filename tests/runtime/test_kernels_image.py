"""The native operations that pool, resize and move, against numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_reference import One, activations, apply, close, out_size, patches, windows

from secateur.runtime._forms import Window
from secateur.runtime._hand_signatures import Pool, Resize
from secateur.runtime._program import isas
from support import only

pytestmark = [only("tensorflow"), pytest.mark.parametrize("isa", isas())]  # needs no Keras

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 12), st.integers(1, 40))
SEEDS = st.integers(0, 2**16)


def random(shape, seed):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@settings(deadline=None, max_examples=60)
@given(data=st.data(), shape=SHAPES, seed=SEEDS, activation=activations())
@pytest.mark.parametrize("function", Pool)
def test_pool(isa, function, data, shape, seed, activation):
    window = data.draw(windows(*shape[1:3], kernels=(2, 3, 5), dilations=(1,)))
    (kh, kw), padding = window.kernel, window.padding
    limits = (kh - 1, kw - 1, kh - 1, kw - 1)
    padding = tuple(min(p, most) for p, most in zip(padding, limits, strict=True))
    height, width = out_size(Window(window.kernel, window.stride, padding), *shape[1:3])
    if height < 1 or width < 1:
        return
    window = Window(window.kernel, window.stride, padding)
    x = random(shape, seed)
    one = One(isa)
    one.program.pool(function, one.value(x), one.out(height, width, shape[3]), window, activation)
    seen = patches(x, window, height, width, fill=np.nan)
    expected = (np.nanmax if function is Pool.MAX else np.nanmean)(seen, axis=(3, 4))
    close(one.run(2), apply(activation, expected))


@settings(deadline=None, max_examples=20)
@given(shape=SHAPES, seed=SEEDS)
def test_mean(isa, shape, seed):
    x = random(shape, seed)
    one = One(isa)
    one.program.mean(one.value(x), one.out(1, 1, shape[3]))
    close(one.run(2), np.float64(x).mean((1, 2), keepdims=True))


def axis(size, out, align, half):
    """Where outputs lie between inputs, by the definition of TFLite's kernels."""
    scale = (size - 1) / (out - 1) if align and out > 1 else size / out
    return (np.arange(out) + 0.5) * scale - 0.5 if half else np.arange(out) * scale


@settings(deadline=None, max_examples=60)
@given(
    shape=SHAPES,
    seed=SEEDS,
    to=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    flags=st.sampled_from([(False, False), (True, False), (False, True)]),
)
def test_resize_bilinear(isa, shape, seed, to, flags):
    x = random(shape, seed)
    expected = np.float64(x)
    for a, out in zip((1, 2), to, strict=True):
        size = shape[a]
        at = axis(size, out, *flags)
        first = np.clip(np.floor(at), 0, size - 1).astype(int)
        second = np.clip(np.ceil(at), 0, size - 1).astype(int)
        weight = np.expand_dims(at - first, tuple(range(1, 4 - a)))
        low, high = expected.take(first, a), expected.take(second, a)
        expected = low + (high - low) * weight
    one = One(isa)
    one.program.resize(Resize.BILINEAR, one.value(x), one.out(*to, shape[3]), *flags)
    close(one.run(2), expected, 1e-3)


@settings(deadline=None, max_examples=40)
@given(shape=SHAPES, seed=SEEDS, factors=st.tuples(st.integers(1, 4), st.integers(1, 4)))
@pytest.mark.parametrize("half", [False, True])
def test_resize_nearest(isa, shape, seed, factors, half):
    x = random(shape, seed)
    one = One(isa)
    to = (shape[1] * factors[0], shape[2] * factors[1])
    one.program.resize(
        Resize.NEAREST, one.value(x), one.out(*to, shape[3]), half_pixel_centers=half
    )
    np.testing.assert_array_equal(one.run(), x.repeat(factors[0], 1).repeat(factors[1], 2))


def test_resize_nearest_to_fewer(isa):
    x = np.arange(5, dtype="float32").reshape(1, 1, 5, 1)
    for flags, expected in [
        ((False, False), [0, 1, 3]),  # floor(i * 5/3)
        ((True, False), [0, 2, 4]),  # round(i * 4/2)
        ((False, True), [0, 2, 4]),  # floor((i + 0.5) * 5/3)
    ]:
        one = One(isa)
        one.program.resize(Resize.NEAREST, one.value(x), one.out(1, 3, 1), *flags)
        np.testing.assert_array_equal(one.run().ravel(), expected)


@settings(deadline=None, max_examples=20)
@given(shape=SHAPES, channels=st.lists(st.integers(1, 20), min_size=1, max_size=4), seed=SEEDS)
def test_concat(isa, shape, channels, seed):
    parts = [random((*shape[:3], c), seed + i) for i, c in enumerate(channels)]
    one = One(isa)
    ids = [one.value(x) for x in parts]
    one.program.concat(ids, one.out(*shape[1:3], sum(channels)))
    np.testing.assert_array_equal(one.run(), np.concatenate(parts, -1))


@settings(deadline=None, max_examples=40)
@given(shape=SHAPES, seed=SEEDS, data=st.data())
def test_layouts(isa, shape, seed, data):
    """Many channels, against planes of one channel each, which are the same in both layouts."""
    x = random(shape, seed)
    channel = data.draw(st.integers(0, shape[3] - 1))
    one = One(isa)
    one.program.slice(one.value(x), one.out(*shape[1:3], 1), (channel, 0, 0))
    np.testing.assert_array_equal(one.run(2), x[..., channel : channel + 1])
    one = One(isa)
    planes = [one.value(np.ascontiguousarray(x[..., c : c + 1])) for c in range(shape[3])]
    one.program.concat(planes, one.out(*shape[1:]))
    np.testing.assert_array_equal(one.run(2), x)


@settings(deadline=None, max_examples=40)
@given(shape=SHAPES, before=st.tuples(*[st.integers(0, 3)] * 3), seed=SEEDS, data=st.data())
def test_pad_and_slice(isa, shape, before, seed, data):
    x = random(shape, seed)
    after = data.draw(st.tuples(*[st.integers(0, 3)] * 3))
    (c0, y0, x0), (c1, y1, x1) = before, after
    expected = np.pad(x, ((0, 0), (y0, y1), (x0, x1), (c0, c1)), constant_values=2.5)
    one = One(isa)
    one.program.pad(one.value(x), one.out(*expected.shape[1:]), before, 2.5)
    np.testing.assert_array_equal(one.run(2), expected)
    one = One(isa)
    one.program.slice(one.value(expected), one.out(*shape[1:]), before)
    np.testing.assert_array_equal(one.run(2), x)


@settings(deadline=None, max_examples=30)
@given(shape=SHAPES, seed=SEEDS, data=st.data())
def test_reshape(isa, shape, seed, data):
    x = random(shape, seed)
    size = x[0].size
    height = data.draw(st.sampled_from([d for d in range(1, size + 1) if size % d == 0]))
    rest = size // height
    width = data.draw(st.sampled_from([d for d in range(1, rest + 1) if rest % d == 0]))
    to = (height, width, rest // width)
    one = One(isa)
    one.program.reshape(one.value(x), one.out(*to))
    np.testing.assert_array_equal(one.run(2), x.reshape(len(x), *to))
