"""Structures: which weights live and die together, against loops in plain Python."""

import itertools

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import secateur
from support import array, dense_model, kept, masks, random, whole_numbers


def blocks_of(shape, block):
    """The slices of each block, in the order of the kernel's axes."""
    full = (1,) * (len(shape) - len(block)) + tuple(block)
    steps = [range(0, s, b) for s, b in zip(shape, full, strict=True)]
    for corner in itertools.product(*steps):
        yield tuple(slice(c, c + b) for c, b in zip(corner, full, strict=True))


def block_mask(kernel, block, pooling, sparsity):
    """The mask by definition: rank the blocks, keep as many as come nearest to the target."""
    places = list(blocks_of(kernel.shape, block))
    pool = np.mean if pooling == "AVG" else np.max
    scores = [pool(np.abs(kernel[place].astype("float64"))) for place in places]
    order = sorted(range(len(places)), key=lambda i: (-scores[i], i))
    if len({kernel[place].size for place in places}) == 1:
        keep = kept(len(places), sparsity)
    else:
        wanted = np.float32(kernel.size) * (np.float32(1) - np.float32(sparsity))
        sizes = np.cumsum([kernel[places[i]].size for i in order])
        keep = int(np.argmin(np.abs(sizes.astype("float32") - wanted))) + 1
    mask = np.zeros(kernel.shape, bool)
    for i in order[:keep]:
        mask[places[i]] = True
    return mask


def m_by_n_mask(kernel, m, n, axis):
    """The mask by definition, group by group."""
    lanes = np.moveaxis(kernel, axis, -1)
    mask = np.zeros(lanes.shape, bool)
    for lane in np.ndindex(lanes.shape[:-1]):
        for start in range(0, lanes.shape[-1], n):
            group = np.abs(lanes[lane][start : start + n].astype("float64"))
            group = np.concatenate([group, np.zeros(n - len(group))])
            order = sorted(range(n), key=lambda i: (-group[i], i))
            for i in order[: n - m]:
                if start + i < lanes.shape[-1]:
                    mask[(*lane, start + i)] = True
    return np.moveaxis(mask, -1, axis)


SHAPES = st.lists(st.integers(1, 6), min_size=2, max_size=4).map(tuple)


@st.composite
def kernels_and_blocks(draw):
    shape = draw(SHAPES)
    length = draw(st.integers(1, len(shape)))
    block = tuple(draw(st.integers(1, size)) for size in shape[-length:])
    return whole_numbers(shape, draw(st.integers(0, 99))), block


# --- unstructured ----------------------------------------------------------------------------------


def test_unstructured_by_hand():
    kernel = np.array([[1, -5, 3], [0.5, 4, -2]], "float32")
    (mask,) = masks(secateur.Unstructured(), [kernel], 0.5)
    assert mask.tolist() == [[False, True, True], [False, True, False]]


@given(SHAPES, st.integers(0, 99), st.floats(0, 0.999))
def test_unstructured_keeps_exactly_what_is_asked(shape, seed, sparsity):
    kernel = whole_numbers(shape, seed)
    (mask,) = masks(secateur.Unstructured(), [kernel], sparsity)
    assert mask.sum() == kept(kernel.size, sparsity)
    if not mask.all():
        assert np.abs(kernel[mask]).min() >= np.abs(kernel[~mask]).max()


# --- blocks ----------------------------------------------------------------------------------------


def test_block_by_hand():
    kernel = np.array([[1, 9, 0, 0], [1, 0, 3, 4]], "float32")
    # Sums of the 2x2 blocks: 11 and 7.
    (mask,) = masks(secateur.Block((2, 2)), [kernel], 0.5)
    assert mask.tolist() == [[True, True, False, False]] * 2


def test_pooling_decides_between_a_high_mean_and_a_high_maximum():
    kernel = np.array([[5, 5, 9, 0]], "float32")
    (by_mean,) = masks(secateur.Block((2,), "AVG"), [kernel], 0.5)
    (by_max,) = masks(secateur.Block((2,), "MAX"), [kernel], 0.5)
    assert by_mean.tolist() == [[True, True, False, False]]
    assert by_max.tolist() == [[False, False, True, True]]


def test_a_block_pools_absolute_values():
    kernel = np.array([[6, -6, 1, 2]], "float32")
    (mask,) = masks(secateur.Block((1, 2)), [kernel], 0.5)
    assert mask.tolist() == [[True, True, False, False]]


def test_a_block_covers_the_last_axes_of_a_convolution():
    kernel = np.zeros((2, 1, 4, 2), "float32")
    kernel[0, 0, :, 0] = 1
    kernel[1, 0, :, 1] = 2
    (mask,) = masks(secateur.Block((4, 1)), [kernel], 0.5)
    np.testing.assert_array_equal(mask, kernel != 0)


def test_of_blocks_that_do_not_divide_as_many_stay_as_come_nearest():
    # Blocks of 2, 2 and 1 columns; 60 % of 5 are 3 zeros: one whole block and the short one.
    kernel = np.array([[5, 5, 4, 4, 1]], "float32")
    (mask,) = masks(secateur.Block((1, 2)), [kernel], 0.6)
    assert mask.tolist() == [[True, True, False, False, False]]


def test_a_short_block_is_ranked_by_the_mean_of_what_it_holds():
    kernel = np.array([[3, 3, 1, 1, 4]], "float32")
    (mask,) = masks(secateur.Block((1, 2)), [kernel], 0.8)
    assert mask.tolist() == [[False, False, False, False, True]]


@given(kernels_and_blocks(), st.sampled_from(["AVG", "MAX"]), st.floats(0, 0.999))
@settings(deadline=None, max_examples=200)
def test_blocks_agree_with_their_definition(case, pooling, sparsity):
    kernel, block = case
    (mask,) = masks(secateur.Block(block, pooling), [kernel], sparsity)
    np.testing.assert_array_equal(mask, block_mask(kernel, block, pooling, sparsity))


@given(kernels_and_blocks(), st.floats(0, 0.999))
@settings(deadline=None)
def test_blocks_live_and_die_whole(case, sparsity):
    kernel, block = case
    (mask,) = masks(secateur.Block(block), [kernel], sparsity)
    assert mask.any()
    for place in blocks_of(kernel.shape, block):
        assert mask[place].all() or not mask[place].any()


@given(kernels_and_blocks(), st.floats(0, 0.999))
@settings(deadline=None)
def test_the_share_of_zeros_is_within_half_a_block_of_the_target(case, sparsity):
    kernel, block = case
    (mask,) = masks(secateur.Block(block), [kernel], sparsity)
    largest = max(kernel[place].size for place in blocks_of(kernel.shape, block))
    missed = abs((~mask).sum() - sparsity * kernel.size)
    at_least_one = mask.sum() <= largest  # one block always stays
    assert missed <= largest / 2 + 1e-3 or at_least_one


# --- m by n ----------------------------------------------------------------------------------------


def test_two_by_four_by_hand():
    kernel = np.array([[1], [-4], [2], [3], [0], [0], [5], [0]], "float32")
    (mask,) = masks(secateur.MByN(2, 4), [kernel], 0.5)
    assert mask[:, 0].tolist() == [False, True, False, True, True, False, True, False]


@given(SHAPES, st.integers(2, 5), st.data(), st.integers(0, 99))
@settings(deadline=None, max_examples=200)
def test_m_by_n_agrees_with_its_definition(shape, n, data, seed):
    m = data.draw(st.integers(1, n - 1))
    axis = data.draw(st.integers(-len(shape), -1))
    kernel = whole_numbers(shape, seed)
    (mask,) = masks(secateur.MByN(m, n), [kernel], m / n, input_axis=axis)
    np.testing.assert_array_equal(mask, m_by_n_mask(kernel, m, n, axis))


def test_whole_groups_have_exactly_m_zeros():
    kernel = random(3, 3, 8, 5)
    (mask,) = masks(secateur.MByN(1, 4), [kernel], 0.25)
    zeros = (~mask).reshape(3, 3, 2, 4, 5).sum(axis=3)
    assert (zeros == 1).all()


def test_missing_weights_of_the_last_group_count_as_zeros():
    kernel = np.arange(1, 7, dtype="float32")[:, None]
    (mask,) = masks(secateur.MByN(2, 4), [kernel], 0.5)
    assert mask[:, 0].tolist() == [False, False, True, True, True, True]


# --- inside a compiled function --------------------------------------------------------------------

CASES = {
    "unstructured": (secateur.Unstructured(), (5, 7), -2),
    "block of a matrix": (secateur.Block((2, 3)), (6, 9), -2),
    "block by maximum": (secateur.Block((2, 1), "MAX"), (8, 3), -2),
    "block of a convolution": (secateur.Block((2, 2)), (3, 3, 4, 6), -2),
    "ragged block": (secateur.Block((4, 2)), (7, 5), -2),
    "ragged block of a convolution": (secateur.Block((2, 3, 2), "MAX"), (3, 3, 4, 5), -2),
    "2 by 4": (secateur.MByN(2, 4), (8, 3), -2),
    "2 by 4, transposed": (secateur.MByN(2, 4), (3, 3, 2, 8), -1),
    "1 by 3, ragged": (secateur.MByN(1, 3), (5, 2, 4), -3),
}


@pytest.mark.parametrize("case", CASES)
def test_a_compiled_function_makes_the_masks_of_the_host(case):
    structure, shape, axis = CASES[case]
    kernel, sparsity = whole_numbers(shape, 3), structure.fixed_sparsity or 0.6
    (host,) = masks(structure, [kernel], sparsity, axis)
    (graph,) = masks(structure, [kernel], sparsity, axis, xp=keras.ops)
    np.testing.assert_array_equal(graph, host)
    assert not host.all()


# --- through the verb ------------------------------------------------------------------------------


def test_prune_once_in_blocks_sets_the_smallest_to_zero():
    model = dense_model(4, inputs=6)
    before = array(model.layers[0].kernel)
    secateur.prune_once(model, 0.5, structure=secateur.Block((3, 2)))
    expected = np.where(block_mask(before, (3, 2), "AVG", 0.5), before, 0)
    np.testing.assert_array_equal(array(model.layers[0].kernel), expected)


def test_the_report_gives_the_true_share_where_blocks_do_not_divide():
    model = dense_model(3, inputs=5)
    report = secateur.prune_once(model, 0.5, structure=secateur.Block((5, 2)))
    # Columns come in a pair and a single one: 5 or 10 of the 15 weights.
    assert report.target == 0.5
    assert report.pruned[0].zeros in (5, 10)
    assert report.sparsity == report.pruned[0].zeros / 15


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Conv2DTranspose(3, 2),
        keras.layers.Conv1DTranspose(3, 2),
        keras.layers.Conv3DTranspose(3, 2),
    ],
    ids=["2d", "1d", "3d"],
)
def test_groups_of_a_transposed_convolution_run_along_its_last_axis(layer):
    rank = {"1": 1, "2": 2, "3": 3}[type(layer).__name__[4]]
    layer.build((None,) + (4,) * rank + (8,))
    before = array(layer.kernel)
    secateur.prune_once(layer, structure=secateur.MByN(2, 4))
    np.testing.assert_array_equal(array(layer.kernel) != 0, m_by_n_mask(before, 2, 4, -1))


@pytest.mark.parametrize(
    ("equation", "output", "shape", "axis"),
    [
        ("abc,cd->abd", (None, 6), (5, 8), -2),
        ("abc,cde->abde", (None, 2, 3), (5, 8), -3),
        ("abcd,cde->abe", (None, 3), (5, 2, 8), -2),
        ("abx,yx->aby", (None, 6), (5, 8), -1),
    ],
)
def test_groups_of_an_einsum_run_along_its_last_summed_axis(equation, output, shape, axis):
    layer = keras.layers.EinsumDense(equation, output_shape=output)
    layer.build((None, *shape))
    before = array(layer.kernel)
    secateur.prune_once(layer, structure=secateur.MByN(2, 4))
    np.testing.assert_array_equal(array(layer.kernel) != 0, m_by_n_mask(before, 2, 4, axis))


# --- arguments -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (0, 1), (2, -1), (1.5, 2), "21", None, 4], ids=str)
def test_a_block_of_nonsense_is_refused(shape):
    with pytest.raises(ValueError, match=r"`shape` must be a tuple of positive.*Received: shape="):
        secateur.Block(shape)


def test_an_unknown_pooling_is_refused():
    with pytest.raises(ValueError, match=r"`pooling` must be.*Received: pooling='SUM'"):
        secateur.Block((2, 2), pooling="SUM")


@pytest.mark.parametrize(("m", "n"), [(4, 4), (5, 4), (0, 4), (-1, 4), (1.5, 4), ("2", 4)])
def test_m_must_be_smaller_than_n(m, n):
    with pytest.raises(ValueError, match=r"m must be.*smaller than n.*Received: m=.*, n=4"):
        secateur.MByN(m, n)


@pytest.mark.parametrize("block", [(9, 1), (1, 5), (1, 2, 2)])
def test_a_block_larger_than_the_kernel_is_refused_and_nothing_changes(block):
    model = dense_model(4, inputs=8)
    before = array(model.layers[0].kernel)
    with pytest.raises(ValueError, match=r"larger than the kernel 'sequential/dense/kernel'"):
        secateur.prune_once(model, 0.5, structure=secateur.Block(block))
    np.testing.assert_array_equal(array(model.layers[0].kernel), before)


@pytest.mark.parametrize(
    "structure",
    [secateur.Unstructured(), secateur.Block((2, 1), "MAX"), secateur.MByN(1, 4)],
    ids=lambda s: type(s).__name__,
)
def test_a_config_makes_the_same_structure(structure):
    config = keras.saving.serialize_keras_object(structure)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(structure)
    assert vars(again) == vars(structure)
