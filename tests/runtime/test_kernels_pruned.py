"""Weights without their zeros: how many there are, and which are kept."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.runtime import _pruned
from secateur.runtime._composer import Composer
from secateur.runtime._native import NativeError
from secateur.runtime._program import isas
from secateur.runtime._pruned import Pruned, Pruner
from support import only

pytestmark = only("tensorflow")  # needs no Keras


def test_examples():
    result = doctest.testmod(_pruned)
    assert result.failed == 0
    assert result.attempted > 0


@settings(deadline=None, max_examples=100)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 300)),
    zeros=st.sampled_from([0.0, 0.2, 0.3, 0.9, 1.0]),
    keep=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_counts(shape, zeros, keep, seed):
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=shape).astype("float32")
    weights[rng.random(shape) < zeros] = 0
    weights[rng.random(shape) < 0.1] = -0.0
    weights[rng.random(shape) < 0.1] = 1e-42  # too small to be normal, but not zero
    found = Pruned(weights, keep)
    assert found.count == np.count_nonzero(weights)
    if keep or np.count_nonzero(weights) == 0:
        assert found.kept


@pytest.mark.parametrize("place", [(0, 0), (63, 63), (7, 63)])
@pytest.mark.parametrize("zeros", [0, 0.9])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none(number, zeros, place):
    weights = np.random.default_rng(0).normal(size=(64, 64)).astype("float32")
    weights[np.random.default_rng(1).random(weights.shape) < zeros] = 0
    weights[place] = number
    found = Pruned(weights)
    assert found.count is None
    assert not found.kept


def test_many_are_only_counted():
    weights = np.ones((64, 128), "float32")
    assert Pruned(weights).count == weights.size
    assert not Pruned(weights).kept
    assert Pruned(weights, keep=True).kept


def test_no_rows():
    with pytest.raises(NativeError, match="Received: "):
        Pruned(np.zeros((0, 4), "float32"))
    with pytest.raises(NativeError, match="Received: "):
        Pruner().prune([np.ones((2, 4), "float32"), np.zeros((0, 4), "float32")])


@settings(deadline=None, max_examples=20)
@given(count=st.integers(1, 40), asked=st.randoms(use_true_random=False))
def test_another_thread_prunes_ahead(count, asked):
    rng = np.random.default_rng(count)
    weights = [(rng.random((16, 500)) < 0.1).astype("float32") for _ in range(count)]
    expected = [np.count_nonzero(each) for each in weights]
    ahead = Pruner()
    found = ahead.prune(weights)
    del weights
    order = list(range(count))
    asked.shuffle(order)
    for i in order:
        assert found[i].count == expected[i]
    assert all(each.kept for each in found)


def test_what_was_not_begun_is_done_when_it_is_asked_for():
    weights = (np.random.default_rng(0).random((2000, 1000)) < 0.1).astype("float32")
    ahead = Pruner()
    found = ahead.prune([weights] * 8)
    del ahead  # with most of it to do
    assert {each.count for each in found} == {np.count_nonzero(weights)}


@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("shape", [(1, 1), (2, 3)])
def test_dense_weights_are_packed_ahead(shape, isa):
    """Where the output is one pixel, and the instruction set the one they were packed for."""
    rng = np.random.default_rng(0)
    image = rng.normal(size=(1, *shape, 70)).astype("float32")
    weights = rng.normal(size=(300, 1, 1, 70)).astype("float32")
    ahead, same = Pruner(), Pruned(weights)
    ahead.pack(same, weights)
    program = Composer(isa)
    x, y = program.input((70, *shape)), program.value((300, *shape))
    program.conv2d(x, y, weights, same=same)
    del same, ahead  # done or not
    program.to_nhwc(y, program.output((300, *shape)))
    program.finalize()
    found = program.run([image])[0]
    np.testing.assert_allclose(found, image @ weights[:, 0, 0].T, rtol=1e-4, atol=1e-4)


def test_other_weights_that_were_packed_ahead_do_not_matter():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(1, 1, 1, 40)).astype("float32")
    weights = rng.normal(size=(2, 33, 1, 1, 40)).astype("float32")
    ahead, other = Pruner(), Pruned(weights[1])
    ahead.pack(other, weights[1])
    program = Composer()
    x, y = program.input((40, 1, 1)), program.value((33, 1, 1))
    program.conv2d(x, y, weights[0], same=other)
    program.to_nhwc(y, program.output((33, 1, 1)))
    program.finalize()
    expected = image @ weights[0, :, 0, 0].T
    np.testing.assert_allclose(program.run([image])[0], expected, rtol=1e-4, atol=1e-4)


def test_they_are_taken_once():
    weights = np.eye(8, 64, dtype="float32").reshape(8, 1, 1, 64)
    program = Composer()
    x, *values = program.input((64, 1, 2)), *(program.value((8, 1, 2)) for _ in range(2))
    pruned = Pruned(weights)
    assert pruned.kept
    program.sparse_conv2d(x, values[0], pruned)
    assert not pruned.kept
    assert pruned.count == 8
    with pytest.raises(NativeError, match="kept"):
        program.sparse_conv2d(x, values[1], pruned)


def test_weights_are_needed_until_they_are_packed():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(1, 3, 5, 64)).astype("float32")
    weights = rng.normal(size=(96, 1, 1, 64)).astype("float32")
    weights[rng.random(weights.shape) < 0.9] = 0
    expected = image @ weights[:, 0, 0].T
    program = Composer()
    x, dense, sparse = (
        program.input((64, 3, 5)),
        program.value((96, 3, 5)),
        program.value((96, 3, 5)),
    )
    program.conv2d(x, dense, weights.copy())
    pruned = Pruned(weights)
    program.sparse_conv2d(x, sparse, pruned)
    del pruned
    program.pack()
    weights[:] = np.nan
    for value in (dense, sparse):
        program.to_nhwc(value, program.output((96, 3, 5)))
    assert program.weight_bytes == 0  # it is asked too early
    program.finalize()
    assert program.weight_bytes > 96 * 64 * 4
    for result in program.run([image]):
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)
