"""Exactly the k largest: on the host and in a compiled function, against a stable sort."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from secateur import ranking
from support import compiled, largest, random

SIZES = (1, 2, 7, 64, 300)
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, float("inf"), -float("inf"), 1e-38, -3e38]
# The smallest positive float32, and one with a few bits more: smaller than any normal number.
DENORMAL = [1e-45, -1e-45, 3e-42]


def values(size, special=()):
    few = st.sampled_from([*SPECIAL, *special])  # many ties
    any_ = st.floats(width=32, allow_nan=False)
    return hnp.arrays(np.float32, size, elements=st.one_of(few, any_))


def cases(special=()):
    return st.sampled_from(SIZES).flatmap(
        lambda size: st.tuples(values(size, special), st.integers(1, size))
    )


@given(cases(DENORMAL))
@settings(deadline=None, max_examples=300)
def test_the_host_agrees_with_a_stable_sort(case):
    scores, keep = case
    np.testing.assert_array_equal(ranking.largest([scores], [keep], np)[0], largest(scores, keep))


@pytest.fixture(scope="module")
def graph():
    """`largest` as a compiled training step runs it; compiled once for each shape."""
    function = compiled(lambda scores, keep: ranking.largest([scores], [keep], keras.ops)[0])

    def call(scores, keep):
        keep = keras.ops.convert_to_tensor(keep, "int32")
        mask = function(keras.ops.convert_to_tensor(scores), keep)
        return keras.ops.convert_to_numpy(mask)

    return call


@pytest.fixture
def both(graph):
    """`largest`, once it is clear that the host and the compiled function agree."""

    def call(scores, keep):
        host = ranking.largest([scores], [keep], np)[0]
        np.testing.assert_array_equal(host, graph(scores, keep))
        assert host.dtype == bool
        return host

    return call


def test_a_compiled_function_agrees_with_a_stable_sort(graph):
    @given(cases(DENORMAL))
    @settings(deadline=None, max_examples=100)
    def agree(case):
        scores, keep = case
        np.testing.assert_array_equal(graph(scores, keep), largest(scores, keep))

    agree()


def test_ranks_by_absolute_value(both):
    scores = np.array([0.5, -3.0, 2.0, -0.1], "float32")
    assert both(scores, 2).tolist() == [False, True, True, False]


def test_of_equal_scores_the_first_stay(both):
    scores = np.array([1, 2, -1, 1], "float32")
    assert both(scores, 3).tolist() == [True, True, True, False]


def test_zeros_of_both_signs_are_equal(both):
    scores = np.array([-0.0, 0.0, -0.0, 0.0], "float32")
    assert both(scores, 2).tolist() == [True, True, False, False]


def test_nan_ranks_highest(both):
    scores = np.array([1, np.nan, np.inf, -np.nan], "float32")
    assert both(scores, 2).tolist() == [False, True, False, True]


def test_denormal_numbers_are_no_zeros(both):
    scores = np.array([0, 1e-45, 0, -3e-42], "float32")
    assert both(scores, 2).tolist() == [False, True, False, True]


def test_keeps_the_shape(both):
    scores = np.array([[[5, 1], [4, 2]], [[3, 6], [0, 7]]], "float32")
    assert both(scores, 3).tolist() == [
        [[True, False], [False, False]],
        [[False, True], [False, True]],
    ]


def test_one_score(both):
    assert both(np.array([0.0], "float32"), 1).tolist() == [True]


@pytest.mark.parametrize("keep", [1, 2, 500, 999, 1000])
def test_every_share_of_a_thousand(keep, both):
    scores = random(1000)
    np.testing.assert_array_equal(both(scores, keep), largest(scores, keep))


# Larger than the pieces in which the host works, and than the samples of both.
SIZE = 300_001
BIG = {
    "normal": random(SIZE),
    "sorted": np.arange(SIZE, dtype="float32"),
    "falling": -np.arange(SIZE, 0, -1, dtype="float32"),
    "all equal": np.full(SIZE, 0.25, "float32"),
    "nearly all zero": np.where(np.arange(SIZE) % 1000 == 3, random(SIZE), 0).astype("float32"),
    "two values": np.where(np.arange(SIZE) % 3, 1.0, -2.0).astype("float32"),
    # A sample that takes every ninth sees nothing of what decides.
    "periodic": np.where(np.arange(SIZE) % 9, random(SIZE), 0).astype("float32"),
    "one giant": np.where(np.arange(SIZE) == 7, 1e38, random(SIZE) * 1e-30).astype("float32"),
    "over all exponents": np.exp2(np.random.default_rng(1).uniform(-140, 120, SIZE)).astype(
        "float32"
    ),
}


@pytest.mark.parametrize("keep", [1, 60_000, SIZE - 1])
@pytest.mark.parametrize("kind", BIG)
def test_many_scores(kind, keep, both):
    np.testing.assert_array_equal(both(BIG[kind], keep), largest(BIG[kind], keep))


def test_several_arrays_are_ranked_each_by_itself():
    """Of all sizes, with and without ties, so that each has its own number of passes."""
    rng = np.random.default_rng(3)
    arrays = [
        rng.standard_normal((300, 200)).astype("float32"),
        np.zeros((5, 7), "float32"),
        rng.integers(0, 3, (90, 100)).astype("float32"),
        np.array([2.0], "float32"),
        rng.standard_normal(8192).astype("float32"),
        np.repeat(rng.standard_normal(50), 200).astype("float32"),
    ]
    keep = [12_000, 9, 4_000, 1, 8_191, 777]
    tensors = [keras.ops.convert_to_tensor(a) for a in arrays]
    masks = ranking.largest(tensors, keep, keras.ops)
    for array, k, mask in zip(arrays, keep, masks, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(mask), largest(array, k))


def test_large_and_small_arrays_together():
    """Large ones are counted where they are; more of them than that is done for, and some with ends
    that fill no row, where the equal scores are that decide.
    """
    rng = np.random.default_rng(4)
    row = 8192
    ends = np.arange(16 * row + 5) < 16 * row
    arrays = [
        rng.standard_normal(20).astype("float32"),
        np.where(ends, rng.random(ends.size) + 1, 0.5).astype("float32"),
        rng.standard_normal((300, 500)).astype("float32"),
        rng.integers(0, 5, 18 * row).astype("float32"),
        np.where(ends, 0.1, 0.5).astype("float32"),
        *rng.standard_normal((15, 16 * row + 1)).astype("float32"),
        np.ones(3, "float32"),
    ]
    keep = [7, 16 * row + 2, 100_000, 40_000, 3, *range(1, 15 * 9000, 9000), 2]
    tensors = [keras.ops.convert_to_tensor(a) for a in arrays]
    counts = [keras.ops.convert_to_tensor(k, "int32") for k in keep]
    masks = compiled(lambda a, k: ranking.largest(a, k, keras.ops))(tensors, counts)
    for array, k, mask in zip(arrays, keep, masks, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(mask), largest(array, k))


def test_all_of_many_scores(both):
    assert both(BIG["normal"], SIZE).all()


@pytest.mark.parametrize(
    ("size", "sparsity", "expected"),
    [
        (32, 0.75, 8),
        (10, 0.0, 10),
        (10, 0.5, 5),
        (5, 0.5, 2),  # 2.5, halves to even
        (7, 0.5, 4),  # 3.5
        (10, 0.999, 1),  # never nothing
        (1, 0.5, 1),
        (3, 0.8, 1),
        (1000, 0.8, 200),
    ],
)
def test_how_many_are_kept(size, sparsity, expected):
    assert ranking.kept(size, np.float32(sparsity), np) == expected
    tensor = keras.ops.convert_to_tensor(sparsity, "float32")
    assert int(ranking.kept(size, tensor, keras.ops)) == expected
