"""PruningSummaries and PruningProgress."""

import builtins
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers as L

import secateur

X = np.random.default_rng(0).normal(size=(32, 8)).astype("float32")
Y = np.ones((32, 4), "float32")


def model_and_prune(schedule=None, optimizer="sgd", **kwargs):
    model = keras.Sequential([keras.Input((8,)), L.Dense(8, name="a"), L.Dense(4, name="b")])
    model.compile(optimizer, "mse")
    secateur.prune(model, schedule, **kwargs)
    return model


def fit(model, *callbacks, epochs=1, **kwargs):
    return model.fit(
        X, Y, batch_size=8, epochs=epochs, verbose=0, callbacks=list(callbacks), **kwargs
    )


def read(folder):
    """Returns {tag: {step: value}}, read by TensorBoard's own reader."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: {e.step: e.value for e in events.Scalars(tag)} for tag in events.Tags()["scalars"]}


# --- PruningSummaries ------------------------------------------------------------------------------


def test_summaries_hold_the_state_at_each_epoch(tmp_path):
    schedule = secateur.PolynomialDecay(0.0, 0.75, 0, 8, frequency=4)
    model = model_and_prune(schedule, layers="/a/kernel")
    # Magnitudes 1 to 64, which training does not change.
    a = model.layers[0].kernel
    a.assign(np.arange(1, 65, dtype="float32").reshape(8, 8))
    model.optimizer.learning_rate = 0.0
    fit(model, secateur.PruningSummaries(tmp_path), epochs=2)
    found = read(tmp_path / "metrics")
    # At step 4, half way, 0.75 * (1 - (1/2)**3) = 0.65625: 42 of 64; at step 8 48 of 64.
    expected = {
        f"{a.path}/mask_sparsity": {0: 0.0, 4: 0.65625, 8: 0.75},
        f"{a.path}/weight_sparsity": {0: 0.0, 4: 0.65625, 8: 0.75},
        f"{a.path}/threshold": {0: 1.0, 4: 43.0, 8: 49.0},
        "total/weight_sparsity": {0: 0.0, 4: 0.65625, 8: 0.75},
    }
    assert found == expected


def test_summaries_tell_mask_and_weight_sparsity_apart(tmp_path):
    model = model_and_prune(sparsity=0.5, layers="/a/kernel")
    fit(model)
    kernel = model.layers[0].kernel
    kernel.assign(np.ones((8, 8), "float32"))
    summaries = secateur.PruningSummaries(tmp_path)
    summaries.set_model(model)
    summaries.on_epoch_begin(0)
    found = read(tmp_path / "metrics")
    assert found[f"{kernel.path}/mask_sparsity"] == {4: 0.5}
    assert found[f"{kernel.path}/weight_sparsity"] == {4: 0.0}


@pytest.mark.parametrize(("freq", "steps"), [(3, [0, 3, 4, 6, 8]), ("batch", list(range(9)))])
def test_summaries_every_few_batches(tmp_path, freq, steps):
    model = model_and_prune(sparsity=0.5)
    fit(model, secateur.PruningSummaries(tmp_path, update_freq=freq), epochs=2)
    assert list(read(tmp_path / "metrics")["total/weight_sparsity"]) == steps


def test_summaries_of_a_model_that_is_not_pruned_warn(tmp_path):
    model = keras.Sequential([keras.Input((8,)), L.Dense(4)])
    model.compile("sgd", "mse")
    summaries = secateur.PruningSummaries(tmp_path)
    summaries.set_model(model)
    with pytest.warns(UserWarning, match="not being pruned"):
        summaries.on_epoch_begin(0)


@pytest.mark.parametrize("value", ["", None, 3])
def test_summaries_need_a_log_dir(value):
    with pytest.raises(ValueError, match=rf"^`log_dir` must be .* You passed `log_dir`={value}\.$"):
        secateur.PruningSummaries(value)


@pytest.mark.parametrize("value", [0, -1, "step", 1.5, None])
def test_summaries_need_a_frequency(tmp_path, value):
    with pytest.raises(
        ValueError, match=rf"`update_freq` must be .* Received: update_freq={value!r}"
    ):
        secateur.PruningSummaries(tmp_path, update_freq=value)


def test_summaries_without_tensorboard_say_what_to_install(tmp_path, monkeypatch):
    def without(name, *args, real=builtins.__import__, **kwargs):
        if name.split(".")[0] == "tensorboard":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r'pip install "secateur\[tensorboard\]"'):
        secateur.PruningSummaries(tmp_path)


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="TensorFlow is loaded anyway")
def test_summaries_do_not_import_tensorflow(tmp_path):
    code = (
        "import sys; from secateur._events import EventWriter; "
        f"EventWriter({str(tmp_path)!r}).write({{'a': 1.0}}, 2); print('tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.split() == ["False"]
    assert read(tmp_path) == {"a": {2: 1.0}}


# --- PruningProgress -------------------------------------------------------------------------------


class Recorder(keras.callbacks.Callback):
    """Keeps the `logs` that the progress bar gets."""

    async_safe = True

    def __init__(self):
        super().__init__()
        self.batches = {}

    def on_train_batch_end(self, batch, logs=None):
        self.batches[batch] = logs.get("sparsity")


@pytest.mark.filterwarnings("ignore:The pruning schedule runs to", "ignore:Training ended")
def test_progress_shows_the_schedule_and_the_history_the_truth():
    schedule = secateur.PolynomialDecay(0.0, 0.75, 0, 8, frequency=2)
    model, seen = model_and_prune(schedule), Recorder()
    history = fit(model, secateur.PruningProgress(), seen)
    # Updates at steps 2 and 4: 0.75 * (1 - (6/8)**3) and 0.75 * (1 - (4/8)**3).
    assert [seen.batches[i] for i in range(4)] == [0.0, 0.43359375, 0.43359375, 0.65625]
    # 0.65625 of 64 and of 32 weights.
    assert history.history["sparsity"] == [(42 + 21) / 96]
    history = fit(model, secateur.PruningProgress(), seen)
    assert seen.batches[0] == pytest.approx(63 / 96)
    assert history.history["sparsity"] == [0.75]


def test_progress_weighs_kernels_with_targets_of_their_own():
    model, seen = model_and_prune(layers={"/a/": 0.5, "/b/": 0.25}), Recorder()
    history = fit(model, secateur.PruningProgress(), seen)
    assert set(seen.batches.values()) == {(0.5 * 64 + 0.25 * 32) / 96}
    assert history.history["sparsity"] == [(0.5 * 64 + 0.25 * 32) / 96]


def test_progress_of_a_fixed_pattern():
    model, seen = model_and_prune(structure=secateur.MByN(1, 4)), Recorder()
    fit(model, secateur.PruningProgress(), seen)
    assert set(seen.batches.values()) == {0.25}


def test_progress_does_not_count_micro_batches():
    optimizer = keras.optimizers.SGD(0.01, gradient_accumulation_steps=2)
    schedule = secateur.ConstantSparsity(0.5, begin_step=2)
    model, seen = model_and_prune(schedule, optimizer), Recorder()
    fit(model, secateur.PruningProgress(), seen)
    assert [seen.batches[i] for i in range(4)] == [0.0, 0.0, 0.0, 0.5]


def test_progress_appears_in_the_bar(capsys):
    model = model_and_prune(sparsity=0.75)
    model.fit(X, Y, batch_size=8, verbose=2, callbacks=[secateur.PruningProgress()])
    assert "sparsity: 0.7500" in capsys.readouterr().out


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="only JAX keeps state off the model")
def test_progress_does_not_fetch_the_state_after_each_batch(monkeypatch):
    model = model_and_prune(sparsity=0.5)
    fetched = []
    real = type(model).jax_state_sync

    def counting(self):
        if getattr(self, "_jax_state", None) and not self._jax_state_synced:
            fetched.append(1)
        real(self)

    monkeypatch.setattr(type(model), "jax_state_sync", counting)
    fit(model, secateur.PruningProgress())
    assert len(fetched) == 1  # at the end of the epoch, by Keras itself


def test_progress_warns_of_a_schedule_longer_than_the_training():
    model = model_and_prune(secateur.PolynomialDecay(0.0, 0.75, 0, 100))
    progress = secateur.PruningProgress()
    progress.set_model(model)
    progress.set_params({"epochs": 2, "steps": 4, "verbose": 0})
    with pytest.warns(
        UserWarning, match=r"runs to step 100, .* ends at step 8: 2 epochs of 4 batches"
    ):
        progress.on_train_begin()


def test_progress_does_not_warn_where_the_training_is_long_enough_or_unknown():
    model = model_and_prune(secateur.PolynomialDecay(0.0, 0.75, 0, 8))
    progress = secateur.PruningProgress()
    progress.set_model(model)
    for steps in (4, None):
        progress.set_params({"epochs": 2, "steps": steps, "verbose": 0})
        progress.on_train_begin()


def test_progress_of_a_model_that_is_not_pruned_warns():
    model = keras.Sequential([keras.Input((8,)), L.Dense(4)])
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="not being pruned"):
        history = fit(model, secateur.PruningProgress())
    assert "sparsity" not in history.history
