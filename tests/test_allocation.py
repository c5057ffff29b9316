"""Allocations: the layers' targets, which average to the whole's."""

import math

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import secateur
from support import array, dense_model, kept, largest, masks, random, whole_numbers

SHAPES = st.lists(
    st.lists(st.integers(1, 40), min_size=1, max_size=4).map(tuple), min_size=1, max_size=6
)
ALLOCATIONS = [
    secateur.Uniform(),
    secateur.Global(),
    secateur.ErdosRenyi(),
    secateur.ErdosRenyi(kernel=False),
]


@pytest.mark.parametrize("allocation", ALLOCATIONS, ids=["uniform", "global", "erk", "er"])
def test_targets_are_in_range_and_average_to_the_whole(allocation):
    @given(SHAPES, st.floats(0, 0.999))
    def check(shapes, sparsity):
        targets = allocation.targets(shapes, sparsity)
        sizes = [math.prod(shape) for shape in shapes]
        assert all(0 <= t < 1 for t in targets)
        assert np.average(targets, weights=sizes) == pytest.approx(sparsity, abs=1e-9)

    check()


def test_erdos_renyi_by_hand():
    # Raw densities (3 + 3 + 4 + 8) / 288 and (8 + 2) / 16; half of 304 weights stay.
    # 18 * s + 10 * s = 152 would need s > 16 / 10, so the small kernel stays dense: 18 * s = 136.
    targets = secateur.ErdosRenyi().targets([(3, 3, 4, 8), (8, 2)], 0.5)
    assert targets == pytest.approx([1 - 136 / 288, 0.0])


def test_erdos_renyi_without_the_window_looks_at_channels_only():
    # Raw densities 12 / 32 and 20 / 100: the kernels' 288 and 100 weights weigh 108 and 20.
    targets = secateur.ErdosRenyi(kernel=False).targets([(3, 3, 4, 8), (10, 10)], 0.75)
    scale = 0.25 * 388 / 128
    assert targets == pytest.approx([1 - scale * 12 / 32, 1 - scale * 20 / 100])


def test_erdos_renyi_of_nothing_to_prune():
    assert secateur.ErdosRenyi().targets([(4, 4), (9, 2)], 0.0) == pytest.approx([0.0, 0.0])


def test_erdos_renyi_prunes_each_layer_to_its_share():
    model = dense_model(100, 10, inputs=100)
    report = secateur.prune_once(model, 0.8, allocation=secateur.ErdosRenyi())
    # (100 + 100) / 10,000 and (100 + 10) / 1,000 weigh 200 and 110; 2,200 of 11,000 stay.
    expected = [round(10_000 - 2_200 * 200 / 310), round(1_000 - 2_200 * 110 / 310)]
    assert [w.zeros for w in report.pruned] == expected
    assert report.target == pytest.approx(0.8)


def test_erdos_renyi_works_in_an_optimizer_made_by_hand():
    model = dense_model(20, 5, inputs=40)
    schedule = secateur.ConstantSparsity(0.8, begin_step=0)
    optimizer = secateur.SparseOptimizer("sgd", schedule, allocation=secateur.ErdosRenyi())
    model.compile(optimizer, "mse")
    model.train_on_batch(random(2, 40), random(2, 5))
    first, second = (layer.sparsity for layer in secateur.sparsity(model).pruned)
    # 60 and 25 of 180 weights: shares 180 * 60 / 85 of 800 and 180 * 25 / 85 of 100.
    assert first == pytest.approx(1 - 127 / 800)
    assert second == pytest.approx(1 - 53 / 100)


# --- one threshold over all ------------------------------------------------------------------------


def test_global_prunes_the_smallest_wherever_they_are():
    kernels = [random(6, 5), 0.1 * random(4, 8, seed=1), 3 * random(3, 3, seed=2)]
    found = masks(secateur.Unstructured(), kernels, 0.6, allocation=secateur.Global())
    flat = np.concatenate([k.reshape(-1) for k in kernels])
    expected = largest(flat, kept(flat.size, 0.6))
    # At least the best of each stays, here the second kernel's, in place of the last of the others.
    assert not expected[30:62].any()
    best = 30 + int(np.argmax(np.abs(kernels[1])))
    expected = largest(flat, kept(flat.size, 0.6) - 1)
    expected[best] = True
    np.testing.assert_array_equal(np.concatenate([m.reshape(-1) for m in found]), expected)


@pytest.mark.parametrize("xp", [np, keras.ops], ids=["host", "graph"])
def test_global_cuts_no_layer_off(xp):
    kernels = [100 * random(8, 8), 1e-3 * random(8, 8), np.zeros((2, 2), "float32")]
    found = masks(secateur.Unstructured(), kernels, 0.99, allocation=secateur.Global(), xp=xp)
    assert [m.sum() for m in found] == [1, 1, 1]


@pytest.mark.parametrize("xp", [np, keras.ops], ids=["host", "graph"])
def test_global_ranks_blocks_by_their_means(xp):
    kernels = [whole_numbers((4, 4), 1), whole_numbers((4, 8), 2)]
    structure = secateur.Block((2, 2))
    found = masks(structure, kernels, 0.5, allocation=secateur.Global(), xp=xp)
    means = [np.abs(k).reshape(2, 2, -1, 2).mean(axis=(1, 3)).reshape(-1) for k in kernels]
    keep = largest(np.concatenate(means), 6)
    expected = np.split(keep, [4])
    for mask, part in zip(found, expected, strict=True):
        blocks = mask.reshape(2, 2, -1, 2).transpose(0, 2, 1, 3).reshape(-1, 4)
        np.testing.assert_array_equal(blocks.all(axis=1), part)
        np.testing.assert_array_equal(blocks.any(axis=1), part)


@pytest.mark.parametrize("xp", [np, keras.ops], ids=["host", "graph"])
def test_global_cuts_no_layer_off_where_blocks_are_ragged(xp):
    kernels = [100 * random(8, 8), 1e-3 * random(5, 3), 1e-4 * random(3, 4)]
    structure = secateur.Block((2, 2))
    found = masks(structure, kernels, 0.99, allocation=secateur.Global(), xp=xp)
    assert all(mask.any() for mask in found)


@pytest.mark.parametrize("xp", [np, keras.ops], ids=["host", "graph"])
def test_global_with_ragged_blocks_comes_near_its_target(xp):
    kernels = [random(9, 9), random(7, 5, seed=1), random(4, 6, seed=2)]
    structure = secateur.Block((2, 2))
    found = masks(structure, kernels, 0.6, allocation=secateur.Global(), xp=xp)
    zeros = sum((~mask).sum() for mask in found)
    assert abs(zeros - 0.6 * 140) <= 2


def test_global_reaches_its_target_through_the_verb():
    model = dense_model(8, 4, inputs=8)
    model.layers[1].kernel.assign(0.01 * array(model.layers[1].kernel))
    report = secateur.prune_once(model, 0.5, allocation=secateur.Global())
    assert report.sparsity == 0.5
    assert report.pruned[1].zeros > report.pruned[0].zeros
    assert [w.target for w in report.pruned] == [None, None]


@pytest.mark.parametrize(
    "arguments",
    [
        {"structure": secateur.MByN(2, 4)},
        {"layers": {"dense/": 0.5}},
    ],
    ids=["2 by 4", "own targets"],
)
def test_global_with_what_it_cannot_share_is_refused(arguments):
    model = dense_model(8, inputs=8)
    before = array(model.layers[0].kernel)
    with pytest.raises(ValueError, match=r"Global ranks all kernels together.*Received:"):
        secateur.prune_once(model, allocation=secateur.Global(), **arguments)
    np.testing.assert_array_equal(array(model.layers[0].kernel), before)


# --- targets of single layers ----------------------------------------------------------------------


def test_layers_have_targets_of_their_own():
    model = dense_model(8, 8, 4, inputs=8)
    report = secateur.prune_once(model, layers={"dense/": 0.25, model.layers[1]: 0.75})
    assert [w.zeros for w in report.pruned] == [16, 48]
    assert [w.path for w in report.left_alone if "kernel" in w.path] == [
        "sequential/dense_2/kernel"
    ]


def test_of_several_entries_that_match_the_first_decides():
    model = dense_model(8, 8, inputs=8)
    report = secateur.prune_once(model, layers={"dense_1": 0.75, "dense": 0.25})
    assert [w.target for w in report.pruned] == [0.25, 0.75]


@pytest.mark.parametrize("allocation", ALLOCATIONS, ids=["uniform", "global", "erk", "er"])
def test_a_config_makes_the_same_allocation(allocation):
    config = keras.saving.serialize_keras_object(allocation)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(allocation)
    assert vars(again) == vars(allocation)
