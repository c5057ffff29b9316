"""The patterns of tfmot's comprehensive guide: what is pruned, and loops of one's own."""

import keras
import numpy as np
import pytest
from keras import layers as L
from tfmot_support import K, X, Y, assert_same, dense_model, fit, gradients, sparsity

import secateur

# --- what can be pruned ----------------------------------------------------------------------------


def test_whole_sequential_model_shares_its_layers_and_ends_at_the_target():
    base = dense_model()
    pruned = K.prune_low_magnitude(base, K.PolynomialDecay(0.0, 0.75, 0, 4, frequency=2))
    assert [x.name for x in pruned.layers] == ["prune_low_magnitude_a", "prune_low_magnitude_b"]
    assert pruned.layers[0].layer is base.layers[0]
    np.testing.assert_allclose(pruned.predict(X, verbose=0), base.predict(X, verbose=0))
    fit(pruned)
    assert [sparsity(x.layer.kernel) for x in pruned.layers] == [0.75, 0.75]
    assert sparsity(pruned.layers[0].layer.bias) == 0.0


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
    assert [sparsity(v) for v in kernels] == [0.5, 0.5, 0.5]
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
    assert sparsity(model.layers[0].kernel) == 0.0
    assert sparsity(model.layers[1].layer.kernel) == 0.75


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
    assert sparsity(found[1].layer.kernel) == 0.5


def test_clone_model_with_a_clone_function():
    def only_a(layer):
        return K.prune_low_magnitude(layer) if layer.name == "a" else layer

    model = keras.models.clone_model(dense_model(), clone_function=only_a)
    fit(model)
    assert [x.name for x in model.layers] == ["prune_low_magnitude_a", "b"]
    assert [sparsity(v) for v in model.variables] == [0.5, 0.0, 0.0, 0.0]


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
    assert sparsity(model.layers[0].layer.first) == 0.0
    assert sparsity(model.layers[0].layer.second) == 0.5


def test_bias_pruned_by_subclassing():
    class DenseWithBias(L.Dense, K.PrunableLayer):
        def get_prunable_weights(self):
            return [self.kernel, self.bias]

    layer = DenseWithBias(4, bias_initializer=keras.initializers.Constant([3.0, 1.0, 2.0, 4.0]))
    model = keras.Sequential([keras.Input((8,)), K.prune_low_magnitude(layer)])
    fit(model, optimizer=keras.optimizers.SGD(0.0))
    assert sparsity(layer.kernel) == 0.5
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


def test_the_native_way_gives_the_same_weights():
    def trained(native):
        keras.utils.set_random_seed(3)
        model = dense_model()
        if native:
            model.compile("adam", "mse")
            secateur.prune(model, secateur.PolynomialDecay(0.25, 0.75, 0, 8, frequency=3))
            model.fit(X, Y, batch_size=8, epochs=2, verbose=0, shuffle=False)
            return model
        pruned = K.prune_low_magnitude(model, K.PolynomialDecay(0.25, 0.75, 0, 8, frequency=3))
        return K.strip_pruning(fit(pruned, 2, "adam", shuffle=False))

    assert_same(trained(True).get_weights(), trained(False).get_weights())


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
            after.append(sparsity(kernel))
            grads = gradients(model, X, Y)
            optimizer.apply_gradients(zip(grads, model.trainable_variables, strict=True))
        step_callback.on_epoch_end(batch=-1)
    # Mask updates at steps 2 and 4: 0.75 * (1 - (1/2)**3) = 0.65625 is 84 of 128, then 96.
    assert after == [0.0, 0.0, 84 / 128, 84 / 128, 0.75, 0.75]
    assert sparsity(kernel) == 0.75
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
        seen.append((model.layers[0].pruning_step, sparsity(model.layers[0].layer.kernel)))
    assert seen == [(1, 0.0), (2, 0.0), (3, 0.5), (4, 0.5)]


def test_train_on_batch_with_the_callback_by_hand():
    model = K.prune_low_magnitude(dense_model())
    model.compile("sgd", "mse")
    callback = K.UpdatePruningStep()
    callback.set_model(model)
    callback.on_train_begin()
    for _ in range(3):
        model.train_on_batch(X, Y)
        assert sparsity(model.layers[0].layer.kernel) == 0.5
    callback.on_epoch_end(batch=0)
    assert model.layers[0].pruning_step == 3


def test_loop_without_optimizer_says_what_to_do():
    model = K.prune_low_magnitude(dense_model())
    callback = K.UpdatePruningStep()
    callback.set_model(model)
    with pytest.raises(ValueError, match=r"Set `model.optimizer`"):
        callback.on_train_begin()


# --- summaries -------------------------------------------------------------------------------------


def read(folder):
    """Returns {tag: {step: value}}."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: {e.step: e.value for e in events.Scalars(tag)} for tag in events.Tags()["scalars"]}


def test_summaries_hold_the_sparsity_and_the_metrics(tmp_path):
    model = K.prune_low_magnitude(dense_model())
    model.compile("sgd", "mse", metrics=["mae"])
    history = model.fit(
        X,
        Y,
        batch_size=8,
        epochs=2,
        verbose=0,
        validation_data=(X, Y),
        callbacks=[K.PruningSummaries(str(tmp_path)), K.UpdatePruningStep()],
    ).history
    path = model.layers[0].layer.kernel.path
    assert read(tmp_path / "metrics")[f"{path}/mask_sparsity"] == {0: 0.0, 4: 0.5, 8: 0.5}
    for folder, prefix in (("train", ""), ("validation", "val_")):
        found = read(tmp_path / folder)
        assert sorted(found) == ["epoch_loss", "epoch_mae"]
        for name in ("loss", "mae"):
            values = [found[f"epoch_{name}"][epoch] for epoch in (0, 1)]
            np.testing.assert_allclose(values, history[prefix + name], rtol=1e-6)


def test_summaries_of_a_model_that_is_built_within_the_first_step(tmp_path):
    model = K.prune_low_magnitude(keras.Sequential([L.Dense(8), L.Dense(4)]))
    fit(model, callbacks=[K.PruningSummaries(str(tmp_path))])
    assert read(tmp_path / "metrics")["total/weight_sparsity"][4] == 0.5
