"""Schedules: when and how much; the same for a Python step and for one in a compiled function."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import secateur
from support import compiled

SPARSITY = st.floats(0.0, 0.999)
STEPS = st.tuples(st.integers(0, 300), st.integers(0, 300)).map(sorted)


def due_steps(schedule, steps):
    return [step for step in range(steps) if schedule(step)[0]]


def test_a_constant_schedule_is_due_on_its_grid_and_at_its_end():
    schedule = secateur.ConstantSparsity(0.5, begin_step=10, end_step=25, frequency=10)
    assert due_steps(schedule, 60) == [10, 20, 25]


def test_a_constant_schedule_without_an_end_goes_on():
    schedule = secateur.ConstantSparsity(0.5, begin_step=3, frequency=100)
    assert due_steps(schedule, 500) == [3, 103, 203, 303, 403]


def test_a_constant_schedule_has_one_sparsity():
    schedule = secateur.ConstantSparsity(0.7, begin_step=3, end_step=9)
    assert {float(schedule(step)[1]) for step in range(20)} == {float(np.float32(0.7))}


def test_polynomial_decay_by_hand():
    # p = 0, 1/4, 1/2, 3/4, 1; 0.8 - 0.8 * (1 - p) ** 3
    schedule = secateur.PolynomialDecay(0.0, 0.8, begin_step=10, end_step=18, frequency=2)
    found = [(step, float(schedule(step)[1])) for step in range(30) if schedule(step)[0]]
    assert [step for step, _ in found] == [10, 12, 14, 16, 18]
    np.testing.assert_allclose([s for _, s in found], [0.0, 0.4625, 0.7, 0.7875, 0.8], rtol=1e-6)


def test_polynomial_decay_of_power_one_is_a_line():
    schedule = secateur.PolynomialDecay(0.2, 0.6, begin_step=0, end_step=4, power=1)
    found = [float(schedule(step)[1]) for step in range(5)]
    np.testing.assert_allclose(found, [0.2, 0.3, 0.4, 0.5, 0.6], rtol=1e-6)


def test_polynomial_decay_is_flat_outside_its_range():
    schedule = secateur.PolynomialDecay(0.25, 0.75, begin_step=5, end_step=9)
    assert float(schedule(0)[1]) == float(schedule(5)[1]) == 0.25
    assert float(schedule(9)[1]) == float(schedule(1000)[1]) == 0.75


def test_where_begin_is_end_there_is_one_update_to_the_final_sparsity():
    schedule = secateur.PolynomialDecay(0.5, 0.75, begin_step=7, end_step=7)
    assert due_steps(schedule, 300) == [7]
    assert float(schedule(7)[1]) == 0.75


def test_polynomial_decay_can_fall():
    schedule = secateur.PolynomialDecay(0.75, 0.25, begin_step=0, end_step=2, power=1)
    assert [float(schedule(step)[1]) for step in range(4)] == [0.75, 0.5, 0.25, 0.25]


def test_last_step_and_target():
    constant = secateur.ConstantSparsity(0.5, begin_step=30, end_step=90)
    decay = secateur.PolynomialDecay(0.0, 0.75, begin_step=30, end_step=90)
    assert (constant.last_step, constant.target) == (30, 0.5)
    assert (decay.last_step, decay.target) == (90, 0.75)


@pytest.mark.parametrize(
    "schedule",
    [
        secateur.ConstantSparsity(0.5, 3, 40, 7),
        secateur.ConstantSparsity(0.5, 3),
        secateur.PolynomialDecay(0.1, 0.9, 3, 40, 2.5, 7),
        secateur.PolynomialDecay(0.1, 0.9, 4, 4),
    ],
)
def test_a_config_makes_the_same_schedule(schedule):
    config = keras.saving.serialize_keras_object(schedule)
    again = keras.saving.deserialize_keras_object(config)
    assert again.get_config() == schedule.get_config()
    assert type(again) is type(schedule)


@given(SPARSITY, SPARSITY, STEPS, st.integers(1, 400), st.floats(0.25, 6), st.integers(0, 700))
def test_decay_stays_between_its_ends_and_moves_one_way(first, last, ends, frequency, power, step):
    begin, end = ends
    schedule = secateur.PolynomialDecay(first, last, begin, end, power, frequency)
    now, later = (float(schedule(s)[1]) for s in (step, step + 1))
    low, high = sorted((float(np.float32(first)), float(np.float32(last))))
    assert low - 1e-6 <= now <= high + 1e-6
    assert (later - now) * (last - first) >= -1e-6


@given(SPARSITY, SPARSITY, STEPS, st.integers(1, 400), st.floats(0.25, 6))
def test_the_last_update_of_a_decay_is_at_its_end_and_exact(first, last, ends, frequency, power):
    begin, end = ends
    schedule = secateur.PolynomialDecay(first, last, begin, end, power, frequency)
    due = due_steps(schedule, 800)
    assert due[0] == begin
    assert due[-1] == end
    assert np.float32(schedule(end)[1]) == np.float32(last)


@given(SPARSITY, STEPS, st.booleans(), st.integers(1, 400))
def test_a_constant_schedule_is_due_first_at_begin_and_never_after_end(
    share, ends, open_, frequency
):
    begin, end = ends
    schedule = secateur.ConstantSparsity(share, begin, -1 if open_ else end, frequency)
    due = due_steps(schedule, 800)
    assert due[0] == begin
    assert open_ or due[-1] == end


# Each of these is compiled once; the step is its argument.
COMPILED = [
    secateur.ConstantSparsity(0.3, 0),
    secateur.ConstantSparsity(0.9, 17, 60, 9),
    secateur.PolynomialDecay(0.0, 0.8, 0, 250),
    secateur.PolynomialDecay(0.5, 0.8, 10, 45, 3, 7),
    secateur.PolynomialDecay(0.9, 0.2, 0, 77, 0.5, 1),
    secateur.PolynomialDecay(0.5, 0.8, 20, 20),
]


@pytest.mark.parametrize("schedule", COMPILED, ids=[str(i) for i in range(len(COMPILED))])
def test_a_step_in_a_compiled_function_agrees_with_one_in_python(schedule):
    def answer(step):
        due, sparsity = schedule(step)
        return keras.ops.cast(due, "bool"), keras.ops.cast(sparsity, "float32")

    function = compiled(answer)

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 300))
    def agree(step):
        due, sparsity = function(keras.ops.convert_to_tensor(step, "int32"))
        assert bool(due) == bool(schedule(step)[0])
        np.testing.assert_allclose(float(sparsity), float(schedule(step)[1]), atol=2e-7)

    agree()


def test_the_end_is_exact_in_a_compiled_function():
    schedule = secateur.PolynomialDecay(0.1, 0.9, 3, 40)
    sparsity = compiled(lambda step: schedule(step)[1])(keras.ops.convert_to_tensor(40, "int32"))
    assert np.float32(sparsity) == np.float32(0.9)


@pytest.mark.parametrize("value", [-0.1, 1.0, 1.5, float("nan"), "much", None, "0.5", True])
def test_sparsity_out_of_range_is_refused(value):
    with pytest.raises(ValueError, match=r"\[0, 1\).*Received: target_sparsity="):
        secateur.ConstantSparsity(value, begin_step=0)


@pytest.mark.parametrize("name", ["initial_sparsity", "final_sparsity"])
def test_the_error_names_the_sparsity(name):
    arguments = {"initial_sparsity": 0.1, "final_sparsity": 0.5, name: 1.2}
    with pytest.raises(ValueError, match=f"Received: {name}=1.2"):
        secateur.PolynomialDecay(**arguments, begin_step=0, end_step=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"begin_step": -1}, r"`begin_step` should be >= 0.*Received: begin_step=-1"),
        ({"begin_step": 5, "end_step": 4}, r"begin_step.*<=.*Received: begin_step=5, end_step=4"),
        ({"begin_step": 0, "end_step": -2}, r"`end_step`.*Received: end_step=-2"),
        ({"begin_step": 0, "frequency": 0}, r"`frequency` should be > 0.*Received: frequency=0"),
        ({"begin_step": 0.5}, r"`begin_step`.*integer.*Received: begin_step=0.5"),
        ({"begin_step": "0"}, r"`begin_step`.*integer.*Received: begin_step='0'"),
        ({"begin_step": 0, "frequency": 1.5}, r"`frequency`.*integer.*Received: frequency=1.5"),
        ({"begin_step": 0, "end_step": None}, r"`end_step`.*integer.*Received: end_step=None"),
    ],
)
def test_steps_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        secateur.ConstantSparsity(0.5, **arguments)


def test_a_decay_needs_an_end():
    with pytest.raises(ValueError, match=r"`end_step` cannot be -1.*Received: end_step=-1"):
        secateur.PolynomialDecay(0.0, 0.5, begin_step=0, end_step=-1)


@pytest.mark.parametrize("power", [0, -1, float("nan"), "3"])
def test_a_power_that_never_arrives_is_refused(power):
    with pytest.raises(ValueError, match=r"`power`.*Received: power="):
        secateur.PolynomialDecay(0.0, 0.5, begin_step=0, end_step=9, power=power)


def test_numpy_arguments_survive_json():
    schedule = secateur.PolynomialDecay(
        np.float32(0.25), np.float64(0.5), np.int64(2), np.int32(9), np.float64(3), np.int64(4)
    )
    import json

    config = json.loads(json.dumps(schedule.get_config()))
    assert secateur.PolynomialDecay(**config)(9) == schedule(9)


class EverySecond(secateur.PruningSchedule):
    """A schedule as a user would write it."""

    def __call__(self, step):
        due = keras.ops.equal(keras.ops.mod(step, 2), 0)
        return due, keras.ops.convert_to_tensor(0.5, "float32")

    def get_config(self):
        return {}


def test_a_schedule_of_ones_own_needs_no_last_step():
    assert EverySecond().last_step is None
    assert EverySecond().target == 0.5
