"""The sparse encoding: exact both ways, as small as can be, and as LiteRT itself reads it."""

import itertools
import math

import numpy as np
import pytest
from ai_edge_litert.format_converter_wrapper_pybind11 import (
    FormatConverterFp32,
    TfLiteDimensionType,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from litert_files import KINDS, Graph, run

from secateur.litert.sparse_encoding import Layout, best_layout, decode, encode
from support import only

pytestmark = only("tensorflow")  # needs no Keras

MATRIX = np.array([[0, 0, 3, 0], [0, 0, 0, 0], [1, 0, 0, 2]], "float32")


def pruned(shape, sparsity, dtype="float32", seed=0):
    """Random values of which a share is zero."""
    generator = np.random.default_rng(seed)
    values = generator.integers(1, 100, shape) * generator.choice([-1, 1], shape)
    return np.where(generator.random(shape) < sparsity, 0, values).astype(dtype)


def densified(sparse, shape, dtype):
    """What LiteRT's DENSIFY makes of an encoded tensor."""
    graph = Graph()
    x = graph.input((1,))
    weight = graph.tensor(shape, dtype, sparse.values, sparse.parameters)
    dense = graph.op(KINDS.DENSIFY, [weight], shape, dtype)
    data = graph.file([dense, graph.op(KINDS.RELU, [x], (1,))])
    return run(data, np.ones(1, "float32"), delegate=False)[0]


def test_rows_of_a_matrix():
    sparse = encode(MATRIX, Layout((0, 1), compressed=1))
    rows, columns = sparse.parameters.dimMetadata
    assert sparse.values.tolist() == [3, 1, 2]
    assert (rows.format, rows.denseSize, columns.format) == (0, 3, 1)
    assert columns.arraySegments.values.tolist() == [0, 1, 1, 3]
    assert columns.arrayIndices.values.tolist() == [2, 0, 3]
    assert sparse.parameters.traversalOrder.tolist() == [0, 1]
    assert sparse.nbytes == 3 * 4 + 4 + 3


def test_columns_of_a_matrix():
    sparse = encode(MATRIX, Layout((1, 0), compressed=0))
    assert sparse.values.tolist() == [1, 3, 2]
    assert sparse.parameters.dimMetadata[1].arraySegments.values.tolist() == [0, 1, 1, 2, 3]
    assert sparse.parameters.dimMetadata[1].arrayIndices.values.tolist() == [2, 0, 2]
    assert sparse.parameters.traversalOrder.tolist() == [1, 0]


def test_blocks_of_a_matrix():
    sparse = encode(MATRIX, Layout((0, 1), compressed=1, blocks=((1, 2),)))
    _, columns, block = sparse.parameters.dimMetadata
    assert sparse.values.tolist() == [3, 0, 1, 0, 0, 2]
    assert columns.arraySegments.values.tolist() == [0, 1, 1, 3]
    assert columns.arrayIndices.values.tolist() == [1, 0, 1]
    assert (block.format, block.denseSize) == (0, 2)
    assert sparse.parameters.traversalOrder.tolist() == [0, 1, 2]
    assert sparse.parameters.blockMap.tolist() == [1]


def test_kernels_stored_whole():
    kernel = np.zeros((2, 2, 2, 3), "int8")
    kernel[1, :, :, 2] = [[1, 2], [3, 4]]
    sparse = encode(kernel, Layout((0, 3, 1, 2), compressed=3))
    assert sparse.values.tolist() == [1, 2, 3, 4]
    assert sparse.nbytes == 4 + 3 + 1  # values, segments, one index


@pytest.mark.parametrize(
    ("length", "count", "widths"),
    [(256, 255, (1, 1)), (257, 256, (2, 2)), (65536, 3, (1, 2)), (65537, 70000, (4, 4))],
)
def test_widths_are_chosen_for_segments_and_for_indices(length, count, widths):
    rows = -(-count // length)
    dense = np.zeros((rows, length), "int8")
    dense.reshape(-1)[-1] = 1
    dense.reshape(-1)[: count - 1] = 1
    compressed = encode(dense, Layout((0, 1), compressed=1)).parameters.dimMetadata[1]
    segments, indices = compressed.arraySegments.values, compressed.arrayIndices.values
    assert (segments.itemsize, indices.itemsize) == widths
    assert segments[-1] == len(indices) == count


def test_the_axis_with_the_narrowest_indices_is_taken():
    dense = pruned((100, 1, 1, 400), 0.9, "int8")
    assert best_layout(dense).compressed == 0
    assert encode(dense).parameters.dimMetadata[3].arrayIndices.values.dtype == np.uint8
    assert best_layout(pruned((400, 1, 1, 100), 0.9, "int8")).compressed == 3


def test_pairs_beat_indices_of_two_bytes():
    dense = pruned((512, 512), 0.8, "int8")
    best = encode(dense)
    assert best.layout.blocks == ((1, 2),)
    assert best.nbytes < encode(dense, Layout((0, 1), compressed=1)).nbytes


def test_blocks_of_four_are_found():
    blocks = pruned((64, 256), 0.9, seed=1) != 0
    dense = np.repeat(blocks, 4, axis=1) * pruned((64, 1024), 0)
    assert best_layout(dense).blocks == ((1, 4),)


@pytest.mark.parametrize("shape", [(6, 8), (5, 1, 1, 7), (1, 3, 3, 8), (4, 2, 3, 6)])
@pytest.mark.parametrize("sparsity", [0.7, 0.9])
def test_no_layout_is_smaller_than_the_best(shape, sparsity):
    dense = pruned(shape, sparsity, "int8")
    axes = range(len(shape))
    sizes = [
        encode(dense, Layout(order, compressed, blocks)).nbytes
        for order in itertools.permutations(axes)
        for compressed in axes
        for blocks in [(), *((pair,) for pair in itertools.product(axes, (2, 4)))]
        if all(shape[axis] % size == 0 for axis, size in blocks)
    ]
    assert encode(dense).nbytes <= min(sizes)


@st.composite
def tensors_with_layouts(draw):
    shape = draw(st.lists(st.sampled_from([1, 2, 3, 4, 6, 8]), min_size=1, max_size=4))
    dtype = draw(st.sampled_from(["float32", "float16", "int8"]))
    dense = pruned(shape, draw(st.sampled_from([0, 0.5, 0.9, 1])), dtype, draw(st.integers(0, 99)))
    order = tuple(draw(st.permutations(range(len(shape)))))
    axes = draw(st.lists(st.sampled_from(range(len(shape))), unique=True, max_size=2))
    blocks = tuple(
        (axis, draw(st.sampled_from([n for n in (1, 2, 3, 4) if shape[axis] % n == 0])))
        for axis in sorted(axes)
    )
    return dense, Layout(order, draw(st.sampled_from(order)), blocks)


@settings(max_examples=150, deadline=None)
@given(tensors_with_layouts())
def test_any_layout_is_exact_both_ways_and_in_litert(case):
    dense, layout = case
    sparse = encode(dense, layout)
    back = decode(sparse.values, sparse.parameters, dense.shape)
    assert back.dtype == dense.dtype
    np.testing.assert_array_equal(back, dense)
    np.testing.assert_array_equal(densified(sparse, dense.shape, str(dense.dtype)), dense)


@settings(max_examples=50, deadline=None)
@given(tensors_with_layouts())
def test_the_best_layout_is_exact(case):
    dense, _ = case
    sparse = encode(dense)
    np.testing.assert_array_equal(decode(sparse.values, sparse.parameters, dense.shape), dense)


@settings(max_examples=100, deadline=None)
@given(tensors_with_layouts())
def test_the_same_numbers_as_litert_s_own_encoder(case):
    dense, layout = case
    dense = dense.astype("float32")
    # It knows no levels behind the compressed one but blocks.
    assume(layout.order[-1] == layout.compressed and dense.any())
    rank, blocks = dense.ndim, dict(layout.blocks)
    order = [*layout.order, *range(rank, rank + len(blocks))]
    formats = [TfLiteDimensionType.TF_LITE_DIM_DENSE] * rank
    # It looks the format of axis `i` up at place `order[i]`.
    for level in range(rank):
        if layout.order.index(layout.compressed) == level:
            formats[order[level]] = TfLiteDimensionType.TF_LITE_DIM_SPARSE_CSR
    theirs = FormatConverterFp32(
        list(dense.shape), order, formats, list(blocks.values()), list(blocks)
    )
    theirs.DenseToSparse(np.ascontiguousarray(dense))
    sparse = encode(dense, layout)
    assert theirs.GetData() == sparse.values.tolist()
    ours = []
    for level in sparse.parameters.dimMetadata:
        if level.format:
            ours += [level.arraySegments.values.tolist(), level.arrayIndices.values.tolist()]
        else:
            ours += [[level.denseSize], []]
    assert theirs.GetDimMetadata() == ours


def test_negative_zero_is_zero_and_nan_is_not():
    dense = np.array([[-0.0, np.nan, 0.0, -1.0]], "float32")
    sparse = encode(dense)
    np.testing.assert_array_equal(sparse.values, [np.nan, -1])
    np.testing.assert_array_equal(decode(sparse.values, sparse.parameters, (1, 4)), dense)


def test_a_tensor_of_zeros():
    sparse = encode(np.zeros((3, 5), "int8"))
    assert sparse.values.tolist() == [0]  # LiteRT takes a constant of no bytes for no constant
    assert not decode(sparse.values, sparse.parameters, (3, 5)).any()
    assert not densified(sparse, (3, 5), "int8").any()


@pytest.mark.parametrize(
    "layout",
    [
        Layout((0,), 0),
        Layout((0, 0), 0),
        Layout((0, 1), 2),
        Layout((0, 1), 1, ((1, 3),)),
        Layout((0, 1), 1, ((2, 2),)),
        Layout((0, 1), 1, ((1, 2), (0, 1))),
    ],
)
def test_a_layout_that_does_not_fit(layout):
    with pytest.raises(ValueError, match=r"does not fit the tensor.*Received: layout=Layout"):
        encode(MATRIX, layout)


def change(level, name, value):
    def apply(parameters):
        setattr(parameters.dimMetadata[level], name, value)

    return apply


def numbers(level, name, values):
    def apply(parameters):
        getattr(parameters.dimMetadata[level], name).values = np.array(values, "int32")

    return apply


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (change(0, "denseSize", 4), "4 places, not 3"),
        (change(0, "denseSize", 0), "0 places, not 3"),
        (change(2, "denseSize", 0), "blocks of 0"),
        (change(2, "denseSize", 3), "blocks of 3"),
        (change(1, "format", 0), "0 places, not 2"),
        (change(2, "format", 1), "misplaced format 1"),
        (change(0, "format", 7), "format 7"),
        (change(1, "arraySegments", None), "segments"),
        (numbers(1, "arraySegments", [0, 2, 1, 3]), "rising segments"),
        (numbers(1, "arraySegments", [0, 1, 1, 2]), "segments end at 2"),
        (numbers(1, "arraySegments", [0, 3]), "4 rising segments"),
        (numbers(1, "arrayIndices", [1, 0, 2]), "outside of an axis of length 2"),
        (numbers(1, "arrayIndices", [1, 0, -1]), "outside of an axis of length 2"),
        (lambda p: setattr(p, "traversalOrder", np.array([1, 1, 2])), "order"),
        (lambda p: setattr(p, "traversalOrder", np.array([2, 0, 1])), "order"),
        (lambda p: setattr(p, "blockMap", np.array([2])), "axes"),
        (lambda p: p.dimMetadata.pop(), "levels"),
    ],
)
def test_a_damaged_encoding_is_refused(damage, says):
    sparse = encode(MATRIX, Layout((0, 1), compressed=1, blocks=((1, 2),)))
    damage(sparse.parameters)
    with pytest.raises(ValueError, match=says):
        decode(sparse.values, sparse.parameters, MATRIX.shape)


def test_too_few_values():
    sparse = encode(MATRIX)
    with pytest.raises(ValueError, match="3 values are described and 2 stored"):
        decode(sparse.values[:2], sparse.parameters, MATRIX.shape)


def test_a_shape_that_would_take_all_memory():
    sparse = encode(MATRIX)
    with pytest.raises(ValueError, match="a sparse tensor of"):
        decode(sparse.values, sparse.parameters, (2**20, 2**20))


def test_decoding_is_what_the_positions_say():
    dense = pruned((3, 4, 5, 6), 0.7)
    sparse = encode(dense, Layout((2, 0, 3, 1), 3, ((1, 2),)))
    assert math.isclose(decode(sparse.values, sparse.parameters, dense.shape).sum(), dense.sum())
