"""The verb `prune`: what it changes in a model, when it may be called, and what it leaves."""

import keras
import numpy as np
import pytest

import secateur
from support import array, data, dense_model, largest, same, zeros


def compiled_model(optimizer="adam", **kwargs):
    model = dense_model(8, 4, inputs=4, activation="tanh")
    model.compile(optimizer, "mse", **kwargs)
    return model


def fit(model, steps=4):
    x, y = data(2 * steps, 4, 4)
    model.fit(x, y, batch_size=2, shuffle=False, verbose=0)


def kernels(model):
    return [array(layer.kernel) for layer in model.layers]


def counts(model):
    return [zeros(layer.kernel) for layer in model.layers]


# --- what it does ----------------------------------------------------------------------------------


def test_prune_wraps_the_optimizer_and_touches_no_weight():
    model = compiled_model()
    adam, before = model.optimizer, kernels(model)
    secateur.prune(model, sparsity=0.5)
    assert isinstance(model.optimizer, secateur.SparseOptimizer)
    assert model.optimizer.inner_optimizer is adam
    same(kernels(model), before)


def test_the_model_stays_what_it_was():
    model = compiled_model()
    config, names = model.get_config(), [v.path for v in model.variables]
    secateur.prune(model, sparsity=0.5)
    fit(model)
    assert model.get_config() == config
    assert [v.path for v in model.weights] == names[: len(model.weights)]


def test_a_sparsity_is_reached_with_the_first_step():
    model = compiled_model()
    secateur.prune(model, sparsity=0.75)
    model.train_on_batch(*data(2, 4, 4))
    assert counts(model) == [24, 24]


def test_the_smallest_weights_go():
    model = compiled_model(keras.optimizers.SGD(0.0))
    before = kernels(model)
    secateur.prune(model, sparsity=0.75)
    fit(model)
    for after, kernel in zip(kernels(model), before, strict=True):
        np.testing.assert_array_equal(after, np.where(largest(kernel, 8), kernel, 0))


def test_a_sparsity_of_zero_prunes_nothing():
    model = compiled_model()
    secateur.prune(model, sparsity=0.0)
    fit(model)
    assert counts(model) == [0, 0]


def test_the_report_says_what_will_be_pruned():
    model = compiled_model()
    report = secateur.prune(model, secateur.PolynomialDecay(0.0, 0.75, 0, 9))
    assert [(w.path, w.target) for w in report.pruned] == [
        ("sequential/dense/kernel", 0.75),
        ("sequential/dense_1/kernel", 0.75),
    ]
    assert [w.path for w in report.left_alone] == [
        "sequential/dense/bias",
        "sequential/dense_1/bias",
    ]
    assert report.target == 0.75
    assert report.sparsity == 0.0
    assert "PolynomialDecay(initial_sparsity=0.0, final_sparsity=0.75" in str(report)


def test_sparsity_looks_at_the_pruned_weights():
    model = compiled_model()
    secateur.prune(model, sparsity=0.75, layers="dense_1")
    fit(model)
    report = secateur.sparsity(model)
    assert [w.path for w in report.pruned] == ["sequential/dense_1/kernel"]
    assert report.sparsity == 0.75
    # 24 zeros among 64 + 12 weights.
    assert report.total_sparsity == 24 / 76


def test_sparsity_of_a_model_never_pruned():
    model = dense_model(8, inputs=4)
    kernel = array(model.layers[0].kernel)
    kernel[:1] = 0
    model.layers[0].kernel.assign(kernel)
    assert secateur.sparsity(model).sparsity == 0.25


# --- called again, early, late ---------------------------------------------------------------------


def test_pruning_again_replaces_the_settings_and_starts_at_step_0():
    model = compiled_model()
    secateur.prune(model, sparsity=0.25)
    fit(model)
    adam = model.optimizer.inner_optimizer
    secateur.prune(model, sparsity=0.75)
    assert model.optimizer.step == 0
    assert model.optimizer.inner_optimizer is adam
    assert len(model.optimizer.groups) == 1
    fit(model)
    assert counts(model) == [24, 24]


def test_pruning_again_keeps_what_is_pruned_until_the_first_update():
    model = compiled_model()
    secateur.prune(model, sparsity=0.5)
    fit(model)
    before = kernels(model)
    secateur.prune(model, secateur.ConstantSparsity(0.75, begin_step=3))
    for expected in (16, 16, 24):
        model.train_on_batch(*data(2, 4, 4))
        assert counts(model) == [expected, expected]
    for after, kernel in zip(kernels(model), before, strict=True):
        assert (after[kernel == 0] == 0).all()


def test_a_model_may_be_fitted_before():
    model = compiled_model()
    fit(model)
    secateur.prune(model, sparsity=0.75)
    fit(model)
    assert counts(model) == [24, 24]


def test_a_model_may_be_evaluated_before():
    model = compiled_model()
    x, y = data(4, 4, 4)
    model.evaluate(x, y, verbose=0)
    model.predict(x, verbose=0)
    secateur.prune(model, sparsity=0.75)
    fit(model)
    # What was compiled before must see the pruned weights.
    hidden = np.tanh(x @ array(model.layers[0].kernel) + array(model.layers[0].bias))
    expected = np.tanh(hidden @ array(model.layers[1].kernel) + array(model.layers[1].bias))
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-4, atol=1e-5)


def test_pruning_may_go_on_in_another_fit():
    model = compiled_model()
    secateur.prune(model, secateur.PolynomialDecay(0.25, 0.75, 0, 8, power=1, frequency=4))
    with pytest.warns(UserWarning, match="Training ended at step 4"):
        fit(model)
    assert counts(model) == [16, 16]
    fit(model)
    assert counts(model) == [24, 24]


def test_compiling_with_a_new_optimizer_ends_the_pruning():
    model = compiled_model()
    secateur.prune(model, sparsity=0.75)
    fit(model)
    model.compile("sgd", "mse")
    fit(model)
    assert secateur.sparsity(model).sparsity < 0.5


def test_freezing_a_layer_then_compiling_and_pruning_again():
    model = compiled_model()
    secateur.prune(model, sparsity=0.5)
    fit(model)
    model.layers[0].trainable = False
    model.compile("adam", "mse")
    frozen = kernels(model)[0]
    report = secateur.prune(model, sparsity=0.75)
    assert len(report.pruned) == 1
    fit(model)
    assert counts(model) == [16, 24]
    same([kernels(model)[0]], [frozen])


def test_the_wrapped_optimizer_may_be_used_for_nothing_else():
    first, second = compiled_model(), compiled_model()
    secateur.prune(first, sparsity=0.5)
    secateur.prune(second, sparsity=0.75)
    fit(first)
    fit(second)
    assert (counts(first), counts(second)) == ([16, 16], [24, 24])


def test_a_model_of_several_inputs_and_outputs():
    a, b = keras.Input((4,)), keras.Input((4,))
    hidden = keras.layers.Concatenate()([a, b])
    outputs = [keras.layers.Dense(2, name=name)(hidden) for name in ("one", "two")]
    model = keras.Model([a, b], outputs)
    model.compile("adam", ["mse", "mse"])
    secateur.prune(model, sparsity=0.5)
    x, y = data(4, 4, 2)
    model.fit([x, x], [y, y], verbose=0)
    assert secateur.sparsity(model).sparsity == 0.5


def test_a_model_with_a_state_of_its_own():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(4),
        ]
    )
    model.compile("adam", "mse")
    secateur.prune(model, sparsity=0.5)
    fit(model)
    assert secateur.sparsity(model).sparsity == 0.5
    assert (array(model.layers[1].moving_variance) != 1).all()


def test_regularizers_and_constraints_do_not_bring_weights_back():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(
                8,
                kernel_regularizer=keras.regularizers.L1L2(0.1, 0.1),
                kernel_constraint=keras.constraints.UnitNorm(),
            ),
            keras.layers.Dense(4),
        ]
    )
    model.compile("adam", "mse")
    secateur.prune(model, sparsity=0.5)
    fit(model)
    assert secateur.sparsity(model).sparsity == 0.5


# --- a criterion of one's own ----------------------------------------------------------------------


@keras.saving.register_keras_serializable(package="tests")
class NearHalf(secateur.Criterion):
    """Keeps the weights that are farthest from a value."""

    def __init__(self, value=0.5):
        self.value = value

    def score(self, weight):
        return weight - self.value

    def get_config(self):
        return {"value": self.value}


def test_a_criterion_of_ones_own_decides(tmp_path):
    model = compiled_model(keras.optimizers.SGD(0.0))
    before = kernels(model)
    secateur.prune(model, sparsity=0.75, criterion=NearHalf())
    fit(model)
    expected = [np.where(largest(k - np.float32(0.5), 8), k, 0) for k in before]
    same(kernels(model), expected)
    model.save(tmp_path / "a.keras")
    (group,) = keras.models.load_model(tmp_path / "a.keras").optimizer.groups
    assert group.criterion.value == 0.5


@keras.saving.register_keras_serializable(package="tests")
class Steps(secateur.PruningSchedule):
    """A quarter, then three quarters; written with `keras.ops` only."""

    def __call__(self, step):
        due = keras.ops.logical_or(keras.ops.equal(step, 1), keras.ops.equal(step, 3))
        return due, keras.ops.where(keras.ops.less(step, 3), 0.25, 0.75)

    def get_config(self):
        return {}


def test_a_schedule_of_ones_own_decides(tmp_path):
    model = compiled_model()
    secateur.prune(model, Steps())
    found = []
    for _ in range(4):
        model.train_on_batch(*data(2, 4, 4))
        found.append(counts(model)[0])
    assert found == [8, 8, 24, 24]
    model.save(tmp_path / "a.keras")
    assert isinstance(
        keras.models.load_model(tmp_path / "a.keras").optimizer.groups[0].schedule, Steps
    )
