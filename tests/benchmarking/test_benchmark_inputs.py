"""The same inputs for all models, whatever type they take, and how outputs are compared."""

import doctest
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from secateur.benchmarking import inputs
from secateur.benchmarking.inputs import make_inputs, real_numbers, relative_difference
from secateur.benchmarking.models import ModelFile, TensorSpec, read_models, with_fixed_shapes

FLOATS = hnp.arrays(np.float64, 5, elements=st.floats(-1e6, 1e6, allow_subnormal=False))


def taking(*specs, name="m"):
    return ModelFile(Path(name), name, 1, specs, ())


def spec(dtype="float32", shape=(1, 4), scale=0.0, zero_point=0):
    return TensorSpec("x", 0, shape, dtype, scale, zero_point)


def test_difference_is_relative_to_the_largest_value_of_each_output():
    first = (np.array([1.0, -4.0]), np.array([100.0]))
    other = (np.array([1.5, -4.0]), np.array([101.0]))
    assert relative_difference(first, other) == 0.125  # 0.5 of 4; the other is 1 of 100


def test_nothing_is_near_to_what_is_no_number():
    one, nan = (np.array([1.0]),), (np.array([np.nan]),)
    assert relative_difference(one, nan) == relative_difference(nan, one) == np.inf
    assert relative_difference((np.zeros(1),), one) == np.inf
    assert relative_difference((np.zeros(1),), (np.zeros(1),)) == 0


def test_the_example_in_the_docstring_runs():
    found = doctest.testmod(inputs)
    assert (found.failed, found.attempted) == (0, 1)


def test_outputs_of_different_sizes_are_not_compared():
    assert relative_difference((np.zeros(2),), (np.zeros(3),)) is None
    assert relative_difference((np.zeros(2),), ()) is None


@given(FLOATS, FLOATS)
def test_difference_bounds_every_single_one(first, other):
    found = relative_difference((first,), (other,))
    if found not in (0, np.inf):
        apart = np.abs(first - other) / np.abs(first).max()
        assert apart.max() == pytest.approx(found)
    assert relative_difference((first,), (first,)) == 0


def test_random_inputs_are_the_same_for_the_same_seed():
    a, b = taking(spec()), taking(spec(), name="n")
    (first,), (second,) = make_inputs([a, b], seed=5)
    np.testing.assert_array_equal(first, second)
    assert ((first >= 0) & (first < 1)).all()
    assert (make_inputs([a], seed=6)[0][0] != first).any()


def test_quantized_models_get_the_same_values_quantized():
    value = np.array([[0.0, 0.1, 0.25, 1.0]], np.float32)
    float_model, int8_model = taking(spec()), taking(spec("int8", scale=1 / 128, zero_point=-128))
    (exact,), (quantized,) = make_inputs([float_model, int8_model], value)
    np.testing.assert_array_equal(exact, value)
    assert quantized.dtype == np.int8
    np.testing.assert_array_equal(quantized, [[-128, -115, -96, 0]])


def test_quantized_outputs_stand_for_real_numbers():
    output = TensorSpec("y", 1, (1, 2), "int8", 0.5, -10)
    (values,) = real_numbers([np.array([[-10, 2]], np.int8)], [output])
    np.testing.assert_array_equal(values, [0.0, 6.0])


def test_whole_numbers_are_given_as_they_are():
    (value,) = make_inputs([taking(spec("int32"))], np.array([[1, 2, 30_000, 4]]))[0]
    assert value.dtype == np.int32
    np.testing.assert_array_equal(value, [[1, 2, 30_000, 4]])


@pytest.mark.parametrize(
    ("models", "given_", "message"),
    [
        ([taking(spec()), taking(spec(shape=(1, 5)), name="n")], None, "take different inputs"),
        ([taking(spec(dtype=""))], None, "inputs are numbers"),
        ([taking(spec(shape=(1, 2**31 - 1)))], None, "probably damaged"),
        ([taking(spec())], np.zeros((1, 5)), "do not fit the models"),
        ([taking(spec())], [np.zeros((1, 4))] * 2, "do not fit the models"),
    ],
)
def test_what_does_not_fit_is_refused(models, given_, message):
    with pytest.raises(ValueError, match=f"{message}.*Received: "):
        make_inputs(models, given_)


def test_files_are_described_as_they_are(dense, int8):
    floating, whole = read_models([dense, int8])
    assert floating.name == "dense.tflite"
    assert floating.bytes == dense.stat().st_size
    assert [(s.shape, s.dtype) for s in floating.inputs] == [((1, 32, 32, 3), "float32")]
    assert [(s.shape, s.dtype) for s in floating.outputs] == [((1, 10), "float32")]
    assert whole.inputs[0].dtype == "int8"
    assert whole.inputs[0].scale == pytest.approx(1 / 255, rel=0.05)  # of numbers from 0 to 1


def test_files_of_one_name_are_told_apart(dense, tmp_path):
    other = tmp_path / "dense.tflite"
    other.write_bytes(dense.read_bytes())
    assert [m.name for m in read_models([dense, other])] == [str(dense), str(other)]


def test_an_open_batch_size_is_fixed_and_nothing_else(dense):
    from ai_edge_litert.interpreter import Interpreter

    data = dense.read_bytes()
    fixed = with_fixed_shapes(data)
    assert len(fixed) == len(data)
    before, after = (Interpreter(model_content=d).get_input_details()[0] for d in (data, fixed))
    assert list(before["shape_signature"]) == [-1, 32, 32, 3]
    assert list(after["shape_signature"]) == [1, 32, 32, 3]
    changed = np.frombuffer(data, np.uint8) != np.frombuffer(fixed, np.uint8)
    assert 0 < changed.sum() < 400


@pytest.mark.parametrize("seed", range(20))
def test_damaged_files_are_told(sparse, tmp_path, seed):
    rng = np.random.default_rng(seed)
    data = bytearray(sparse.read_bytes())
    for place in rng.integers(8, len(data) // 4, 40):
        data[place] ^= 1 << rng.integers(8)
    path = tmp_path / "flipped.tflite"
    path.write_bytes(data)
    for read in (lambda: read_models([path]), lambda: with_fixed_shapes(bytes(data))):
        try:
            assert read()
        except ValueError as error:
            message = str(error)
        else:
            continue
        assert "damaged" in message
