"""The patterns of tfmot's comprehensive guide, on the backend that KERAS_BACKEND names."""

import h5py
import keras
import numpy as np
import pytest
from keras import layers as L

import secateur
import secateur.tfmot as tfmot

K = tfmot.sparsity.keras
X = np.random.default_rng(0).normal(size=(32, 8)).astype("float32")
Y = np.random.default_rng(1).normal(size=(32, 4)).astype("float32")


def dense_model(*names):
    names = names or ("a", "b")
    units = [16] * (len(names) - 1) + [4]
    return keras.Sequential(
        [keras.Input((8,)), *[L.Dense(u, name=n) for u, n in zip(units, names, strict=True)]]
    )


def fit(model, epochs=1, optimizer="sgd", x=X, y=Y, **kwargs):
    if optimizer is not None:
        model.compile(optimizer, "mse")
    callbacks = [*kwargs.pop("callbacks", []), K.UpdatePruningStep()]
    model.fit(x, y, batch_size=8, epochs=epochs, verbose=0, callbacks=callbacks, **kwargs)
    return model


def zeros(variable):
    return float((np.asarray(keras.ops.convert_to_numpy(variable)) == 0).mean())


def gradients(model, x, y):
    """The gradients of the mean squared error, in each backend's own way."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
        return tape.gradient(loss, [v.value for v in model.trainable_variables])
    if backend == "torch":
        model.zero_grad()
        ((model(x, training=True) - keras.ops.convert_to_tensor(y)) ** 2).mean().backward()
        return [v.value.grad for v in model.trainable_variables]
    import jax

    state = [v.value for v in model.non_trainable_variables]

    def loss(values):
        prediction, _ = model.stateless_call(values, state, x, training=True)
        return ((prediction - y) ** 2).mean()

    return jax.grad(loss)([v.value for v in model.trainable_variables])


# --- what can be pruned ----------------------------------------------------------------------------


def test_whole_sequential_model_shares_its_layers_and_ends_at_the_target():
    base = dense_model()
    pruned = K.prune_low_magnitude(base, K.PolynomialDecay(0.0, 0.75, 0, 4, frequency=2))
    assert [x.name for x in pruned.layers] == ["prune_low_magnitude_a", "prune_low_magnitude_b"]
    assert pruned.layers[0].layer is base.layers[0]
    np.testing.assert_allclose(pruned.predict(X, verbose=0), base.predict(X, verbose=0))
    fit(pruned)
    assert [zeros(x.layer.kernel) for x in pruned.layers] == [0.75, 0.75]
    assert zeros(pruned.layers[0].layer.bias) == 0.0


def test_whole_functional_model_with_nested_models_branches_and_operations():
    inner = keras.Sequential([keras.Input((16,)), L.Dense(16, name="inner")], name="block")
    a = keras.Input((8,))
    b = L.Dense(16, name="one")(a)
    c = inner(b) + b
    base = keras.Model(a, L.Dense(4, name="two")(L.Concatenate()([c, b])))
    pruned = K.prune_low_magnitude(base)
    np.testing.assert_allclose(pruned.predict(X, verbose=0), base.predict(X, verbose=0))
    fit(pruned)
    kernels = [v for v in pruned.variables if v.name == "kernel"]
    assert [zeros(v) for v in kernels] == [0.5, 0.5, 0.5]
    stripped = K.strip_pruning(pruned)
    names = [x.name for x in stripped._flatten_layers(include_self=False)]
    assert not any("prune" in name for name in names)
    np.testing.assert_allclose(stripped.predict(X, verbose=0), pruned.predict(X, verbose=0))


def test_one_layer():
    model = keras.Sequential(
        [
            keras.Input((8,)),
            L.Dense(16, name="dense"),
            K.prune_low_magnitude(L.Dense(4, name="sparse"), K.ConstantSparsity(0.75, 0)),
        ]
    )
    fit(model)
    assert zeros(model.layers[0].kernel) == 0.0
    assert zeros(model.layers[1].layer.kernel) == 0.75


def test_first_layer_with_input_shape():
    with pytest.warns(UserWarning, match="Do not pass an `input_shape`"):
        layer = L.Dense(4, input_shape=(8,))
    model = keras.Sequential([K.prune_low_magnitude(layer)])
    assert model.built
    assert model.input_shape == (None, 8)


def test_input_shape_given_to_prune_low_magnitude():
    with pytest.warns(UserWarning, match="Do not pass an `input_shape`"):
        layer = K.prune_low_magnitude(L.Dense(4), input_shape=(8,))
    assert keras.Sequential([layer]).input_shape == (None, 8)


def test_list_of_layers_leaves_wrapped_layers_and_inputs():
    ready = K.prune_low_magnitude(L.Dense(8))
    inputs = L.InputLayer(shape=(8,))
    found = K.prune_low_magnitude([inputs, L.Dense(4, name="x"), ready])
    assert isinstance(found[0], L.InputLayer)
    assert found[1].name == "prune_low_magnitude_x"
    assert found[2] is ready
    fit(keras.Sequential([*found, L.Dense(4)]))
    assert zeros(found[1].layer.kernel) == 0.5


def test_clone_model_with_a_clone_function():
    def only_a(layer):
        return K.prune_low_magnitude(layer) if layer.name == "a" else layer

    model = keras.models.clone_model(dense_model(), clone_function=only_a)
    fit(model)
    assert [x.name for x in model.layers] == ["prune_low_magnitude_a", "b"]
    assert [zeros(v) for v in model.variables] == [0.5, 0.0, 0.0, 0.0]


@keras.saving.register_keras_serializable(package="test_tfmot")
class Scaled(L.Layer):
    """A custom layer with two matrices."""

    def build(self, shape):
        self.first = self.add_weight(shape=(shape[-1], 6), name="first")
        self.second = self.add_weight(shape=(6, 4), name="second")

    def call(self, x):
        return keras.ops.matmul(keras.ops.matmul(x, self.first), self.second)


@keras.saving.register_keras_serializable(package="test_tfmot")
class ScaledByMethod(Scaled):
    def get_prunable_weights(self):
        return [self.second]


@keras.saving.register_keras_serializable(package="test_tfmot")
class ScaledByMixin(Scaled, K.PrunableLayer):
    def get_prunable_weights(self):
        return [self.second]


@pytest.mark.parametrize("layer", [ScaledByMethod, ScaledByMixin])
def test_custom_layer_says_which_weights(layer):
    model = keras.Sequential([keras.Input((8,)), K.prune_low_magnitude(layer())])
    fit(model)
    assert zeros(model.layers[0].layer.first) == 0.0
    assert zeros(model.layers[0].layer.second) == 0.5


def test_bias_pruned_by_subclassing():
    class DenseWithBias(L.Dense, K.PrunableLayer):
        def get_prunable_weights(self):
            return [self.kernel, self.bias]

    layer = DenseWithBias(4, bias_initializer=keras.initializers.Constant([3.0, 1.0, 2.0, 4.0]))
    model = keras.Sequential([keras.Input((8,)), K.prune_low_magnitude(layer)])
    fit(model, optimizer=keras.optimizers.SGD(0.0))
    assert zeros(layer.kernel) == 0.5
    assert keras.ops.convert_to_numpy(layer.bias).tolist() == [3.0, 0.0, 0.0, 4.0]


def test_two_by_four_and_blocks_of_one_model():
    first = K.prune_low_magnitude(L.Dense(4, use_bias=False), sparsity_m_by_n=(2, 4))
    second = K.prune_low_magnitude(
        L.Dense(4, use_bias=False), K.ConstantSparsity(0.5, 0), (2, 2), "MAX"
    )
    model = keras.Sequential([keras.Input((8,)), first, second])
    # Magnitudes 1..32 down the columns: of each four input channels the last two stay.
    kernel = np.arange(1, 33, dtype="float32").reshape(4, 8).T
    first.layer.kernel.assign(kernel)
    # Blocks by their largest value: 6, 8, 14, 16. The last two stay.
    second.layer.kernel.assign(np.arange(1, 17, dtype="float32").reshape(4, 4))
    fit(model, optimizer=keras.optimizers.SGD(0.0))
    kept = keras.ops.convert_to_numpy(first.layer.kernel) != 0
    assert kept[:, 0].tolist() == [False, False, True, True] * 2
    assert (kept == kept[:, :1]).all()
    assert (keras.ops.convert_to_numpy(second.layer.kernel) != 0).all(1).tolist() == [
        False, False, True, True,
    ]  # fmt: skip


def test_policy_says_which_layers_of_a_model():
    class OnlyA(K.PruningPolicy):
        checked = None

        def allow_pruning(self, layer):
            return layer.name == "a"

        def ensure_model_supports_pruning(self, model):
            self.checked = model

    base, policy = dense_model(), OnlyA()
    pruned = K.prune_low_magnitude(base, pruning_policy=policy)
    assert policy.checked is base
    assert [x.name for x in pruned.layers] == ["prune_low_magnitude_a", "b"]


# --- loops of one's own ----------------------------------------------------------------------------


@pytest.mark.parametrize("before", ["set_model", "on_train_begin"])
def test_loop_by_hand_with_an_optimizer_of_its_own(before, tmp_path):
    """The custom training loop of the guide, word for word."""
    model = K.prune_low_magnitude(dense_model(), K.PolynomialDecay(0.0, 0.75, 0, 4, frequency=2))
    optimizer = keras.optimizers.Adam(0.01)
    step_callback = K.UpdatePruningStep()
    if before == "set_model":
        model.optimizer = optimizer
        step_callback.set_model(model)
    else:
        step_callback.set_model(model)
        model.optimizer = optimizer
    log_callback = K.PruningSummaries(log_dir=str(tmp_path))
    log_callback.set_model(model)
    kernel = model.layers[0].layer.kernel
    step_callback.on_train_begin()
    after = []
    for _ in range(3):
        log_callback.on_epoch_begin(epoch=-1)
        for _ in range(2):
            step_callback.on_train_batch_begin(batch=-1)
            after.append(zeros(kernel))
            grads = gradients(model, X, Y)
            optimizer.apply_gradients(zip(grads, model.trainable_variables, strict=True))
        step_callback.on_epoch_end(batch=-1)
    # Mask updates at steps 2 and 4: 0.75 * (1 - (1/2)**3) = 0.65625 is 84 of 128, then 96.
    assert after == [0.0, 0.0, 84 / 128, 84 / 128, 0.75, 0.75]
    assert zeros(kernel) == 0.75
    assert model.layers[0].pruning_step == 6
    assert any((tmp_path / "metrics").iterdir())


def test_loop_by_hand_through_model_optimizer_counts_each_update_once():
    model = K.prune_low_magnitude(dense_model(), K.ConstantSparsity(0.5, 3, frequency=1))
    model.optimizer = keras.optimizers.SGD(0.01)
    callback = K.UpdatePruningStep()
    callback.set_model(model)
    callback.on_train_begin()
    seen = []
    for batch in range(4):
        callback.on_train_batch_begin(batch)
        model.optimizer.apply_gradients(
            zip(gradients(model, X, Y), model.trainable_variables, strict=True)
        )
        seen.append((model.layers[0].pruning_step, zeros(model.layers[0].layer.kernel)))
    assert seen == [(1, 0.0), (2, 0.0), (3, 0.5), (4, 0.5)]


def test_train_on_batch_with_the_callback_by_hand():
    model = K.prune_low_magnitude(dense_model())
    model.compile("sgd", "mse")
    callback = K.UpdatePruningStep()
    callback.set_model(model)
    callback.on_train_begin()
    for _ in range(3):
        model.train_on_batch(X, Y)
        assert zeros(model.layers[0].layer.kernel) == 0.5
    callback.on_epoch_end(batch=0)
    assert model.layers[0].pruning_step == 3


def test_loop_without_optimizer_says_what_to_do():
    model = K.prune_low_magnitude(dense_model())
    callback = K.UpdatePruningStep()
    callback.set_model(model)
    with pytest.raises(ValueError, match=r"Set `model.optimizer`"):
        callback.on_train_begin()


# --- saving, checkpoints, resuming -----------------------------------------------------------------


def polynomial(seed=0):
    keras.utils.set_random_seed(seed)
    schedule = K.PolynomialDecay(0.25, 0.75, 0, 12, frequency=3)
    return K.prune_low_magnitude(dense_model(), schedule)


def weights(model):
    return [w.copy() for w in model.get_weights()]


def assert_same(a, b):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


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


def test_weights_file_restores_step_and_masks_under_a_new_optimizer(tmp_path):
    model = polynomial()
    with pytest.warns(UserWarning, match="Training ended"):
        fit(model, 1, "sgd")
    model.save_weights(tmp_path / "half.weights.h5")
    again = polynomial(seed=1)
    again.load_weights(tmp_path / "half.weights.h5")
    assert again.layers[0].pruning_step == 4
    before = zeros(again.layers[0].layer.kernel)
    # With a learning rate of 0 and no mask update before step 6, nothing may change.
    with pytest.warns(UserWarning, match="Training ended at step 5"):
        fit(again, 1, keras.optimizers.SGD(0.0), x=X[:8], y=Y[:8])
    assert zeros(again.layers[0].layer.kernel) == before > 0.5
    assert again.layers[0].pruning_step == 5


def test_compiling_again_continues():
    model = polynomial()
    with pytest.warns(UserWarning, match="Training ended at step 4"):
        fit(model, 1, "sgd")
    before = zeros(model.layers[0].layer.kernel)
    with pytest.warns(UserWarning, match="Training ended at step 5"):
        fit(model, 1, "adam", x=X[:8], y=Y[:8])  # moves all weights; step 5 updates no masks
    assert model.layers[0].pruning_step == 5
    assert zeros(model.layers[0].layer.kernel) == before
    fit(model, 2, "sgd")
    assert zeros(model.layers[0].layer.kernel) == 0.75


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
    assert zeros(loaded.layers[0].layer.kernel) == 0.5


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
        found = [
            path
            for path in ("layers/prune_low_magnitude/vars", "layers/prune_low_magnitude_a/vars")
            if path in file
        ]
        del file[found[0]]["mask_0"]
        file[found[0]]["mask_0"] = np.zeros(3, "uint8")
    again = K.prune_low_magnitude(dense_model())
    again.load_weights(tmp_path / "w.weights.h5")
    again.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"do not fit the layer 'prune_low_magnitude_a'.*bytes=\[3\]"):
        again.fit(X, Y, verbose=0, callbacks=[K.UpdatePruningStep()])


def test_default_clone_keeps_the_settings():
    pruned = K.prune_low_magnitude(dense_model(), K.ConstantSparsity(0.25, 1), (2, 1), "MAX")
    copy = keras.models.clone_model(pruned).layers[0]
    assert copy.get_config()["pruning_schedule"] == pruned.layers[0].get_config()["pruning_schedule"]
    assert (copy.block_size, copy.block_pooling_type) == ((2, 1), "MAX")
    assert copy.pruning_step == -1
