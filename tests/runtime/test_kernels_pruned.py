"""Weights without their zeros: how many there are, and which are kept."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.runtime import _pruned
from secateur.runtime._native import NativeError
from secateur.runtime._pruned import Pruned
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
