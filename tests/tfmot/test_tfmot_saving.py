"""The patterns of tfmot's comprehensive guide: saving, checkpoints, resuming."""

import h5py
import keras
import numpy as np
import pytest
from keras import layers as L
from tfmot_support import K, X, Y, assert_same, dense_model, fit, sparsity, weights

import secateur

# --- saving, checkpoints, resuming -----------------------------------------------------------------


def polynomial(seed=0):
    keras.utils.set_random_seed(seed)
    schedule = K.PolynomialDecay(0.25, 0.75, 0, 12, frequency=3)
    return K.prune_low_magnitude(dense_model(), schedule)


@pytest.fixture(scope="module")
def uninterrupted():
    """The weights after 12 steps in one go."""
    return weights(fit(polynomial(), 3, "adam", shuffle=False))


def test_reloaded_keras_file_continues_exactly(tmp_path, uninterrupted):
    model = polynomial()
    with pytest.warns(UserWarning, match="Training ended at step 4 of a pruning schedule"):
        fit(model, 1, "adam", shuffle=False)
    model.save(tmp_path / "half.keras")
    loaded = keras.models.load_model(tmp_path / "half.keras")
    assert loaded.layers[0].pruning_step == 4
    fit(loaded, 2, None, shuffle=False)
    assert loaded.layers[0].pruning_step == 12
    assert_same(weights(loaded), uninterrupted)


@pytest.mark.filterwarnings("ignore:Training ended")
@pytest.mark.parametrize("first", [True, False])
def test_backup_and_restore_continues_exactly(tmp_path, uninterrupted, first):
    class Killed(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    def train(model, *more):
        model.compile("adam", "mse")
        backup = keras.callbacks.BackupAndRestore(tmp_path)
        callbacks = [K.UpdatePruningStep(), backup]
        callbacks = [*(callbacks if first else callbacks[::-1]), *more]
        model.fit(X, Y, batch_size=8, epochs=3, verbose=0, shuffle=False, callbacks=callbacks)

    with pytest.raises(KeyboardInterrupt):
        train(polynomial(), Killed())
    model = polynomial(seed=1)
    train(model)
    assert_same(weights(model), uninterrupted)
    assert model.layers[0].pruning_step == model.optimizer.step == 12


@pytest.mark.parametrize("compiled", [False, True])
def test_weights_file_restores_step_and_masks_under_a_new_optimizer(tmp_path, compiled):
    model = polynomial()
    with pytest.warns(UserWarning, match="Training ended"):
        fit(model, 1, "sgd")
    model.save_weights(tmp_path / "half.weights.h5")
    again = polynomial(seed=1)
    # With a learning rate of 0 and no mask update before step 6, nothing may change.
    optimizer = keras.optimizers.SGD(0.0)
    if compiled:
        again.compile(optimizer, "mse")
        with pytest.warns(UserWarning, match="Skipping variable loading for optimizer"):
            again.load_weights(tmp_path / "half.weights.h5")
    else:
        again.load_weights(tmp_path / "half.weights.h5")
        again.compile(optimizer, "mse")
    assert again.layers[0].pruning_step == 4
    before = weights(again)
    with pytest.warns(UserWarning, match="Training ended at step 5"):
        fit(again, 1, None, x=X[:8], y=Y[:8])
    assert_same(weights(again), before)
    assert sparsity(again.layers[0].layer.kernel) > 0.5
    assert again.layers[0].pruning_step == 5


def test_compiling_again_continues():
    model = polynomial()
    with pytest.warns(UserWarning, match="Training ended at step 4"):
        fit(model, 1, "sgd")
    before = sparsity(model.layers[0].layer.kernel)
    with pytest.warns(UserWarning, match="Training ended at step 5"):
        fit(model, 1, "adam", x=X[:8], y=Y[:8])  # moves all weights; step 5 updates no masks
    assert model.layers[0].pruning_step == 5
    assert sparsity(model.layers[0].layer.kernel) == before
    fit(model, 2, "sgd")
    assert sparsity(model.layers[0].layer.kernel) == 0.75


def test_fitting_again_continues():
    model = fit(K.prune_low_magnitude(dense_model()))
    engine = model.optimizer
    fit(model, optimizer=None)
    assert model.optimizer is engine
    assert model.layers[0].pruning_step == 8


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_stripped_model_saves_and_loads_without_secateur_layers(tmp_path, name):
    stripped = K.strip_pruning(fit(K.prune_low_magnitude(dense_model())))
    assert [x.name for x in stripped.layers] == ["a", "b"]
    stripped.save(tmp_path / name)
    loaded = keras.models.load_model(tmp_path / name, compile=False)
    assert [type(x) for x in loaded.layers] == [L.Dense, L.Dense]
    assert_same(weights(loaded), weights(stripped))
    assert secateur.sparsity(loaded).sparsity == 0.5


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a SavedModel is TensorFlow's")
def test_stripped_model_exports(tmp_path):
    import tensorflow as tf

    stripped = K.strip_pruning(fit(K.prune_low_magnitude(dense_model())))
    stripped.export(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_allclose(loaded.serve(X), stripped.predict(X, verbose=0), rtol=1e-5)


def test_wrapped_model_saves_as_h5_before_training(tmp_path):
    pruned = K.prune_low_magnitude(dense_model(), sparsity_m_by_n=(2, 4))
    pruned.save(tmp_path / "pruned.h5")
    with K.prune_scope():
        loaded = keras.models.load_model(tmp_path / "pruned.h5", compile=False)
    assert_same(weights(loaded), weights(pruned))
    assert loaded.layers[0].sparsity_m_by_n == (2, 4)
    fit(loaded)
    assert sparsity(loaded.layers[0].layer.kernel) == 0.5


def test_h5_file_of_a_model_in_training_continues_exactly(tmp_path, uninterrupted):
    """Checkpoint and deserialize, with the format of the guide."""
    model = polynomial()
    model.compile("adam", keras.losses.MeanSquaredError())
    with pytest.warns(UserWarning, match="Training ended"):
        fit(model, 1, None, shuffle=False)
    model.save(tmp_path / "half.h5", include_optimizer=True)
    with K.prune_scope():
        loaded = keras.models.load_model(tmp_path / "half.h5")
    fit(loaded, 2, None, shuffle=False)
    assert loaded.layers[0].pruning_step == 12
    assert_same(weights(loaded), uninterrupted)


def test_damaged_masks_in_a_weights_file_are_refused(tmp_path):
    model = fit(K.prune_low_magnitude(dense_model()))
    model.save_weights(tmp_path / "w.weights.h5")
    with h5py.File(tmp_path / "w.weights.h5", "r+") as file:
        masks = []
        file["layers"].visit(lambda path: masks.append(path) if path.endswith("mask_0") else None)
        assert len(masks) == 2  # for the model continues under any optimizer
        del file["layers"][masks[0]]
        file["layers"][masks[0]] = np.zeros(3, "uint8")
    again = K.prune_low_magnitude(dense_model())
    again.load_weights(tmp_path / "w.weights.h5")
    again.compile("sgd", "mse")
    with pytest.raises(
        ValueError, match=r"do not fit the layer 'prune_low_magnitude_a'.*bytes=\[3\]"
    ):
        again.fit(X, Y, verbose=0, callbacks=[K.UpdatePruningStep()])


def test_default_clone_keeps_the_settings():
    pruned = K.prune_low_magnitude(dense_model(), K.ConstantSparsity(0.25, 1), (2, 1), "MAX")
    copy = keras.models.clone_model(pruned).layers[0]
    assert (
        copy.get_config()["pruning_schedule"] == pruned.layers[0].get_config()["pruning_schedule"]
    )
    assert (copy.block_size, copy.block_pooling_type) == ((2, 1), "MAX")
    assert copy.pruning_step == -1
