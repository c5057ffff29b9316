"""What was wrong in tfmot 0.8.1 with steps, masks and sparse weights, and is gone."""

import keras
import numpy as np
import pytest
from keras import layers as L
from keras import ops
from tfmot_support import K, X, Y, kernel, pruned_dense, sparsity, train, value

# --- schedules and steps ---------------------------------------------------------------------------


def test_default_settings_prune_in_trainings_of_fewer_than_100_steps():
    assert sparsity(kernel(train(pruned_dense(), steps=3))) == 0.5


def test_final_sparsity_is_reached_off_the_frequency_grid():
    model = train(pruned_dense(K.PolynomialDecay(0.0, 0.75, 0, 5, frequency=100)), steps=5)
    assert sparsity(kernel(model)) == 0.75


def test_begin_step_equal_to_end_step():
    model = train(pruned_dense(K.PolynomialDecay(0.25, 0.75, 2, 2)), steps=2)
    assert sparsity(kernel(model)) == 0.75


def test_training_shorter_than_the_schedule_warns_with_the_numbers():
    schedule = K.PolynomialDecay(0.0, 0.75, 0, 100, frequency=1)
    with pytest.warns(
        UserWarning, match="ended at step 2 of a pruning schedule that runs to step 100"
    ):
        train(pruned_dense(schedule), steps=2)


def test_begin_step_beyond_the_training_warns():
    with pytest.warns(
        UserWarning, match="ended at step 2 of a pruning schedule that runs to step 9"
    ):
        train(pruned_dense(K.ConstantSparsity(0.5, 9)), steps=2)


def test_a_layer_used_twice_counts_each_update_once():
    shared = K.prune_low_magnitude(L.Dense(8), K.ConstantSparsity(0.5, 3, frequency=1))
    inputs = keras.Input((8,))
    model = keras.Model(inputs, L.Dense(4)(shared(shared(inputs))))
    with pytest.warns(UserWarning, match="Training ended at step 2"):
        train(model, steps=2)
    assert (shared.pruning_step, sparsity(shared.layer.kernel)) == (2, 0.0)


def test_further_training_calls_do_not_count():
    model = train(pruned_dense(), steps=2)
    model(X, training=True)
    assert model.layers[0].pruning_step == 2


def test_micro_batches_do_not_count():
    optimizer = keras.optimizers.SGD(0.01, gradient_accumulation_steps=2)
    model = train(pruned_dense(), steps=6, optimizer=optimizer)
    assert model.layers[0].pruning_step == 3


def test_schedule_configs_are_accepted_nested_and_flat():
    schedule = K.PolynomialDecay(0.1, 0.5, 2, 4, power=2, frequency=7)
    arguments = {
        "initial_sparsity": 0.1,
        "final_sparsity": 0.5,
        "begin_step": 2,
        "end_step": 4,
        "power": 2,
        "frequency": 7,
    }
    nested = {"class_name": "PolynomialDecay", "config": arguments}
    assert schedule.get_config() == nested
    assert K.PolynomialDecay.from_config(nested).get_config() == nested
    assert K.PolynomialDecay.from_config(arguments).get_config() == nested
    config = keras.saving.serialize_keras_object(schedule)
    assert keras.saving.deserialize_keras_object(config).get_config() == nested


@keras.saving.register_keras_serializable(package="test_tfmot")
class Linear(K.PruningSchedule):
    """A schedule as users wrote them for tfmot."""

    def __init__(self, final, steps):
        self._validate_sparsity(final, "final")
        self._validate_step(0, steps, 1, False)
        self.final, self.steps = final, steps

    def __call__(self, step):
        share = ops.minimum(1.0, ops.cast(step, "float32") / self.steps)
        return self._should_prune_in_step(step, 0, self.steps, 1), self.final * share

    def get_config(self):
        config = {"final": self.final, "steps": self.steps}
        return {"class_name": "Linear", "config": config}

    @classmethod
    def from_config(cls, config):
        return cls(config["final"], config["steps"])


def test_a_schedule_of_ones_own_prunes_and_is_saved(tmp_path):
    schedule = Linear(0.75, 3)
    model = pruned_dense(schedule)
    model.compile("sgd", "mse")
    model.fit(X, Y, batch_size=8, verbose=0, callbacks=[K.UpdatePruningStep()])
    assert sparsity(kernel(model)) == 0.75
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert loaded.layers[0].pruning_schedule.get_config() == schedule.get_config()
    assert loaded.optimizer.groups[0].schedule.get_config() == schedule.get_config()


# --- masks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "kept"),
    [([1, 1, 1, 2], [0, 3]), ([0, 0, 0, 0], []), ([1, 1, 1, 1], [0, 1]), ([3, 1, 1, 2], [0, 3])],
)
def test_ties_do_not_lower_the_sparsity(start, kept):
    layer = L.Dense(4, use_bias=False, name="d")
    model = keras.Sequential([keras.Input((1,)), K.prune_low_magnitude(layer)])
    layer.kernel.assign(np.array([start], "float32"))
    train(model, x=np.zeros((8, 1), "float32"))
    assert np.flatnonzero(value(layer.kernel)).tolist() == kept


@pytest.mark.parametrize(
    ("units", "block", "zeros"),
    [
        (1, (2, 2), 0.5),  # a column: blocks of 2x1
        (4, (8, 1), 0.5),  # a whole dimension
        (4, (8, 4), 0.0),  # the whole kernel, of which one block is kept
        (4, (1, 16), 0.5),  # longer than a row: whole rows
        (4, (4, 4), 0.5),
    ],
)
def test_blocks_of_any_shape(units, block, zeros):
    layer = L.Dense(units)
    model = keras.Sequential(
        [keras.Input((8,)), K.prune_low_magnitude(layer, block_size=block), L.Dense(4)]
    )
    train(model)
    assert sparsity(layer.kernel) == zeros


def test_blocks_in_convolutions():
    layer = L.Conv2D(4, 1, use_bias=False)
    model = keras.Sequential(
        [keras.Input((2, 2, 4)), K.prune_low_magnitude(layer, block_size=(4, 1))]
    )
    layer.kernel.assign(np.arange(1, 17, dtype="float32").reshape(1, 1, 4, 4))
    train(model, x=np.zeros((8, 2, 2, 4), "float32"), y=np.zeros((8, 2, 2, 4), "float32"))
    assert (value(layer.kernel)[0, 0] != 0).all(0).tolist() == [False, False, True, True]


def test_m_by_n_waits_for_begin_step():
    schedule = K.ConstantSparsity(0.9, 3, frequency=1)
    model = pruned_dense(schedule, sparsity_m_by_n=(2, 4))
    with pytest.warns(UserWarning, match="Training ended at step 2"):
        train(model, steps=2)
    assert sparsity(kernel(model)) == 0.0
    train(model, steps=1)
    assert sparsity(kernel(model)) == 0.5


def test_m_by_n_survives_a_reload(tmp_path):
    model = pruned_dense(K.ConstantSparsity(0.5, 0, frequency=1), sparsity_m_by_n=(1, 4))
    model.compile(keras.optimizers.SGD(0.01), "mse")
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert loaded.layers[0].sparsity_m_by_n == (1, 4)
    loaded.fit(X, Y, batch_size=8, verbose=0, callbacks=[K.UpdatePruningStep()])
    groups = value(kernel(loaded)).T.reshape(4, 2, 4) == 0
    assert (groups.sum(-1) == 1).all()


def test_m_by_n_of_kernels_of_any_rank():
    inputs = keras.Input((6, 4))
    conv = K.prune_low_magnitude(L.Conv1D(4, 3), sparsity_m_by_n=(2, 4))
    attention = K.prune_low_magnitude(L.MultiHeadAttention(2, 4), sparsity_m_by_n=(2, 4))
    x = conv(inputs)
    model = keras.Model(inputs, attention(x, x))
    train(model, x=np.ones((8, 6, 4), "float32"), y=np.ones((8, 4, 4), "float32"))
    assert sparsity(conv.layer.kernel) == 0.5
    kernels = [v for v in attention.variables if v.name == "kernel"]
    assert [sparsity(v) for v in kernels] == [0.5] * 4


def test_frozen_layers_are_left_alone():
    model = K.prune_low_magnitude(
        keras.Sequential([keras.Input((8,)), L.Dense(8, name="frozen"), L.Dense(4, name="free")])
    )
    model.layers[0].trainable = False
    train(model)
    assert (sparsity(kernel(model, 0)), sparsity(kernel(model, 1))) == (0.0, 0.5)


def test_masks_of_a_layer_frozen_for_a_while_are_kept():
    model = K.prune_low_magnitude(
        keras.Sequential([keras.Input((8,)), L.Dense(8, name="a"), L.Dense(4, name="b")]),
        K.ConstantSparsity(0.5, 0, 1),
    )
    train(model)
    zero = value(kernel(model)) == 0
    model.layers[0].trainable = False
    train(model)
    model.layers[0].trainable = True
    train(model, steps=2)  # after the schedule's end: no mask is computed again
    np.testing.assert_array_equal(value(kernel(model)) == 0, zero)


# --- weights are sparse after each step ------------------------------------------------------------


@pytest.mark.parametrize("save_freq", ["epoch", 1])
def test_checkpoints_before_the_callback_and_within_an_epoch_are_sparse(tmp_path, save_freq):
    model = pruned_dense()
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "c.keras", save_freq=save_freq)
    train(model, steps=2, callbacks=[checkpoint])
    assert sparsity(kernel(keras.models.load_model(tmp_path / "c.keras"))) == 0.5


def test_predict_changes_no_weights():
    model = train(pruned_dense(K.ConstantSparsity(0.5, 1, frequency=1)))
    kernel(model).assign(np.ones((8, 4)))
    model.predict(X, verbose=0)
    model.evaluate(X, Y, verbose=0)
    assert sparsity(kernel(model)) == 0.0


def test_strip_pruning_applies_the_masks():
    model = train(pruned_dense())
    kernel(model).assign(np.ones((8, 4)))
    assert sparsity(K.strip_pruning(model).layers[0].kernel) == 0.5


def test_strip_pruning_applies_masks_read_from_a_file(tmp_path):
    model = train(pruned_dense())
    model.save_weights(tmp_path / "w.weights.h5")
    again = pruned_dense()
    again.load_weights(tmp_path / "w.weights.h5")
    kernel(again).assign(np.ones((8, 4)))
    assert sparsity(K.strip_pruning(again).layers[0].kernel) == 0.5
