"""Keras' own callbacks and learning-rate schedules work on a pruned model as on any other."""

import keras
import numpy as np
import pytest

import secateur
from support import array, data, dense_model, zeros


def pruned_model(optimizer=None, **kwargs):
    model = dense_model(8, 4, inputs=4, activation="tanh")
    model.compile(optimizer or keras.optimizers.SGD(0.5), "mse", **kwargs)
    secateur.prune(model, sparsity=0.75)
    return model


def fit(model, epochs=3, **kwargs):
    x, y = data(8, 4, 4)
    return model.fit(x, y, batch_size=4, epochs=epochs, verbose=0, **kwargs)


def rate(model):
    return float(array(model.optimizer.learning_rate))


def test_learning_rate_scheduler():
    model = pruned_model()
    seen = []

    def halve(epoch, now):
        seen.append(now)
        return now / 2

    fit(model, callbacks=[keras.callbacks.LearningRateScheduler(halve)])
    assert seen == [0.5, 0.25, 0.125]
    assert rate(model) == 0.0625
    assert float(array(model.optimizer.inner_optimizer.learning_rate)) == 0.0625


def test_reduce_on_plateau():
    model = pruned_model()
    # A loss that never gets better by a million.
    reduce = keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1e6)
    fit(model, epochs=4, callbacks=[reduce])
    assert rate(model) == 0.0625


def test_a_learning_rate_set_by_hand_is_the_wrapped_optimizers():
    model = pruned_model()
    model.optimizer.learning_rate = 0.125
    assert rate(model) == float(array(model.optimizer.inner_optimizer.learning_rate)) == 0.125


def test_a_schedule_of_the_rate_moves_with_the_updates():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([2, 4], [0.5, 0.25, 0.125])
    model = pruned_model(keras.optimizers.SGD(schedule))
    rates = []
    for _ in range(6):
        rates.append(rate(model))
        model.train_on_batch(*data(8, 4, 4))
    assert rates == [0.5, 0.5, 0.5, 0.25, 0.25, 0.125]


def test_a_rate_of_zero_moves_nothing_but_the_masks():
    model = pruned_model(keras.optimizers.SGD(0.0))
    before = [array(layer.kernel) for layer in model.layers]
    fit(model)
    for layer, kernel in zip(model.layers, before, strict=True):
        after = array(layer.kernel)
        np.testing.assert_array_equal(after[after != 0], kernel[after != 0])
        assert zeros(layer.kernel) == 24


def test_early_stopping_restores_sparse_weights():
    model = pruned_model()
    stop = keras.callbacks.EarlyStopping(
        "loss", mode="max", patience=1, restore_best_weights=True, start_from_epoch=1
    )
    history = fit(model, epochs=9, callbacks=[stop])
    assert len(history.history["loss"]) < 9
    assert [zeros(layer.kernel) for layer in model.layers] == [24, 24]


@pytest.mark.parametrize("weights_only", [True, False])
def test_every_checkpoint_is_sparse(tmp_path, weights_only):
    model = pruned_model()
    name = "{epoch}-{batch}.weights.h5" if weights_only else "{epoch}-{batch}.keras"
    checkpoint = keras.callbacks.ModelCheckpoint(
        str(tmp_path / name), save_weights_only=weights_only, save_freq=1
    )
    fit(model, epochs=2, callbacks=[checkpoint])
    files = sorted(tmp_path.iterdir())
    assert len(files) == 4
    for file in files:
        if weights_only:
            again = dense_model(8, 4, inputs=4)
            again.load_weights(file)
        else:
            again = keras.models.load_model(file)
        assert secateur.sparsity(again).sparsity == 0.75


def test_a_csv_log_and_a_history_need_nothing(tmp_path):
    model = pruned_model()
    fit(model, callbacks=[keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))])
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 4


def test_validation_and_prediction_see_sparse_weights():
    model = pruned_model()
    seen = []
    look = keras.callbacks.LambdaCallback(
        on_test_begin=lambda logs: seen.append(zeros(model.layers[0].kernel))
    )
    fit(model, epochs=2, callbacks=[look], validation_data=data(4, 4, 4))
    assert seen == [24, 24]


def test_prediction_and_evaluation_change_nothing():
    model = pruned_model()
    before = [array(v) for v in [*model.weights, *model.optimizer.variables]]
    x, y = data(8, 4, 4)
    model.predict(x, verbose=0)
    model.evaluate(x, y, verbose=0)
    for variable, value in zip([*model.weights, *model.optimizer.variables], before, strict=True):
        np.testing.assert_array_equal(array(variable), value)


class ZerosAtTheEnd(keras.callbacks.Callback):
    """Counts zeros at the end of each epoch, and of each evaluation."""

    def __init__(self):
        super().__init__()
        self.found = []

    def on_epoch_end(self, epoch, logs=None):
        self.found.append(zeros(self.model.layers[0].kernel))

    def on_test_end(self, logs=None):
        self.found.append(zeros(self.model.layers[0].kernel))


@pytest.mark.parametrize("kind", ["plain", "mixed precision", "several optimizers"])
def test_swapped_averages_are_sparse(kind):
    optimizer = keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9)
    if kind == "mixed precision":
        keras.config.set_dtype_policy("mixed_float16")
    if kind == "several optimizers":
        if not hasattr(keras.optimizers, "MultiOptimizer"):
            pytest.skip("this Keras has no MultiOptimizer")
        optimizer = keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(optimizer))
    model = pruned_model(optimizer)
    counts = ZerosAtTheEnd()
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    fit(model, epochs=2, callbacks=[swap, counts], validation_data=data(4, 4, 4))
    assert counts.found
    assert set(counts.found) == {24}
    assert zeros(model.layers[0].kernel) == 24


def test_swapping_without_averages_is_keras_own_error():
    model = pruned_model()
    with pytest.raises((ValueError, AttributeError)):
        fit(model, callbacks=[keras.callbacks.SwapEMAWeights(swap_on_epoch=True)])


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("Keras' TensorBoard callback writes with TensorFlow")
    model = pruned_model()
    fit(model, callbacks=[keras.callbacks.TensorBoard(str(tmp_path))])
    assert any(tmp_path.rglob("events*"))


def test_a_training_that_ends_early_says_so_with_the_numbers():
    model = dense_model(8, 4, inputs=4)
    model.compile("sgd", "mse")
    secateur.prune(model, secateur.PolynomialDecay(0.5, 0.75, 0, 100, power=1))
    with pytest.warns(UserWarning, match=r"step 4 of.*to step 100.*0\.75.*at 0\.5.*96 more"):
        fit(model, epochs=2)


def test_a_schedule_that_has_not_begun_is_said_to_stand_at_zero():
    model = dense_model(8, 4, inputs=4)
    model.compile("sgd", "mse")
    secateur.prune(model, secateur.ConstantSparsity(0.75, begin_step=100))
    with pytest.warns(UserWarning, match=r"to reach 0\.75 and stands at 0\. "):
        fit(model, epochs=2)


def test_a_training_that_reaches_the_end_says_nothing():
    model = dense_model(8, 4, inputs=4)
    model.compile("sgd", "mse")
    secateur.prune(model, secateur.PolynomialDecay(0.5, 0.75, 0, 6))
    fit(model, epochs=3)  # warnings are errors


@pytest.mark.parametrize("first", [True, False], ids=["first step", "later"])
def test_an_error_in_a_training_step_is_the_one_that_is_seen(first):
    model = pruned_model(run_eagerly=not first)
    calls = []

    def loss(y, predicted):
        calls.append(1)
        if first or len(calls) > 3:
            raise RuntimeError("a mistake of my own")
        return (y - predicted) ** 2

    model.compile(model.optimizer, loss, run_eagerly=not first)
    with pytest.raises(RuntimeError, match="a mistake of my own"):
        fit(model)
