"""The native functions of single numbers and of pairs, against numpy."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_reference import FUNCTIONS, POSITIVE, One, activations, apply, close
from scipy.special import softmax

from secateur.runtime._forms import Activation
from secateur.runtime._hand_signatures import Binary, Function
from secateur.runtime._program import isas
from support import only

pytestmark = [only("tensorflow"), pytest.mark.parametrize("isa", isas())]  # needs no Keras

BINARY = {
    Binary.ADD: np.add,
    Binary.SUB: np.subtract,
    Binary.MUL: np.multiply,
    Binary.DIV: np.divide,
    Binary.MAXIMUM: np.maximum,
    Binary.MINIMUM: np.minimum,
    Binary.SQUARED_DIFFERENCE: lambda a, b: (a - b) ** 2,
}
SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 12), st.integers(1, 40))


@settings(deadline=None, max_examples=15)
@given(shape=SHAPES, seed=st.integers(0, 2**16), spread=st.sampled_from([0.01, 1, 10]))
@pytest.mark.parametrize("function", FUNCTIONS)
def test_unary(isa, function, shape, seed, spread):
    x = np.random.default_rng(seed).normal(size=shape).astype("float32") * np.float32(spread)
    x = np.abs(x) + np.float32(1e-3) if function in POSITIVE else x
    activation = Activation(function, -0.5, 2.0)
    one = One(isa)
    one.program.unary(one.value(x), one.out(*shape[1:]), activation)
    # float32 rounds exp(x)'s argument: what is lost grows with it.
    np.testing.assert_allclose(one.run(2), apply(activation, x), rtol=2e-5, atol=4e-7)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_extremes(isa, function):
    """As in numpy; what is too small to be normal is 0 as in LiteRT, what is no number stays none."""
    values = [0, -0.0, 1e-38, -1e-38, 1e-45, 88, -88, 89, -89, 150, -150, math.inf, -math.inf]
    x = np.array([*values, math.nan], "float32").reshape(1, 1, 1, -1)
    x = np.abs(x) if function in POSITIVE else x
    activation = Activation(function, 0.25, 2.0)
    one = One(isa)
    one.program.unary(one.value(x), one.out(1, 1, x.shape[3]), activation)
    with np.errstate(all="ignore"):
        normal = np.where(np.abs(x) < np.finfo("float32").tiny, np.copysign(0, x), x)
        expected = apply(activation, normal).astype("float32")
        # x * f(x) is no number at infinity in numpy where f(x) is 0 there; the limit is 0, or none.
        decided = ~np.isnan(expected) | np.isnan(x)
    found = one.run()
    np.testing.assert_allclose(found[decided], expected[decided], rtol=2e-5, atol=1e-36)


def test_numbers_too_small_to_be_normal_are_zeros_only_within(isa):
    """As in LiteRT: arithmetic with them is slow. The caller's stays as it was."""
    x = np.full((1, 8, 8, 40), 1e-40, "float32")
    for threads in (1, 2):
        one = One(isa)
        one.program.unary(one.value(x), one.out(8, 8, 40), Activation(Function.LINEAR, 0.5, 0.0))
        assert not one.run(threads).any()
        assert (x * np.float32(0.5)).all()


def test_small_arguments_keep_their_digits(isa):
    x = np.float32([[[[1e-6, -1e-6, 1e-3, -1e-3, 0.1, -0.1, 0.62, 0.63, -0.62, -0.63]]]])
    for function in (Function.TANH, Function.ELU):
        one = One(isa)
        one.program.unary(one.value(x), one.out(1, 1, x.shape[3]), Activation(function))
        np.testing.assert_allclose(one.run(), apply(Activation(function), x), rtol=1e-6)


@st.composite
def operands(draw):
    """A shape, and two that broadcast to it."""
    shape = draw(SHAPES)
    kinds = draw(st.tuples(*[st.tuples(st.booleans(), st.booleans())] * 2))
    if not (kinds[0] == (True, True) or kinds[1] == (True, True)):
        kinds = ((True, True), kinds[1])
    return shape, *(
        (shape[0], *(shape[1:3] if image else (1, 1)), shape[3] if channels else 1)
        for image, channels in draw(st.permutations(kinds))
    )


@settings(deadline=None, max_examples=40)
@given(shapes=operands(), seed=st.integers(0, 2**16), activation=activations(), data=st.data())
@pytest.mark.parametrize("function", BINARY)
def test_binary(isa, function, shapes, seed, activation, data):
    shape, *both = shapes
    rng = np.random.default_rng(seed)
    one, arrays, ids = One(isa), [], []
    for s in both:
        x = rng.normal(size=s).astype("float32")
        x += np.sign(x) / 4
        if ids and data.draw(st.booleans()):
            x = np.repeat(x[:1], len(x), 0)
            ids.append(one.program.constant((s[3], *s[1:3]), x[0]))
        else:
            ids.append(one.value(x))
        arrays.append(np.float64(x))
    one.program.binary(function, *ids, one.out(*shape[1:]), activation)
    close(one.run(2), apply(activation, BINARY[function](*arrays)))


@settings(deadline=None, max_examples=20)
@given(shape=SHAPES, seed=st.integers(0, 2**16), beta=st.sampled_from([0.5, 1.0, 3.0]))
def test_softmax(isa, shape, seed, beta):
    x = np.random.default_rng(seed).normal(size=shape).astype("float32") * 20
    one = One(isa)
    one.program.softmax(one.value(x), one.out(*shape[1:]), beta)
    close(one.run(2), softmax(np.float64(x) * beta, axis=-1))
