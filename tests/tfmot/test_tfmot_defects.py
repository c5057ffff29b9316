"""What was wrong in tfmot 0.8.1, each with a test that shows it gone."""

import pickle

import keras
import numpy as np
import pytest
from keras import layers as L
from keras import ops

import secateur.tfmot as tfmot

K = tfmot.sparsity.keras
RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 8)).astype("float32")
Y = RNG.normal(size=(32, 4)).astype("float32")
EAGER = keras.backend.backend() == "jax"  # where each new step takes XLA a second to compile


def train(model, steps=1, x=X, y=Y, lr=0.01, optimizer=None, callbacks=(), **kwargs):
    """Trains for some steps of 8 samples."""
    model.compile(optimizer or keras.optimizers.SGD(lr), "mse", run_eagerly=EAGER)
    model.fit(
        np.resize(x, (8 * steps, *x.shape[1:])),
        np.resize(y, (8 * steps, *y.shape[1:])),
        batch_size=8,
        verbose=0,
        callbacks=[*callbacks, K.UpdatePruningStep()],
        **kwargs,
    )
    return model


def pruned_dense(*args, **kwargs):
    layer = K.prune_low_magnitude(L.Dense(4, name="dense"), *args, **kwargs)
    return keras.Sequential([keras.Input((8,)), layer])


def value(variable):
    return np.asarray(ops.convert_to_numpy(variable))


def sparsity(variable):
    return float((value(variable) == 0).mean())


def kernel(model, layer=0):
    return model.layers[layer].layer.kernel


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
    with pytest.warns(UserWarning, match="ended at step 2 of a pruning schedule that runs to step 100"):
        train(pruned_dense(schedule), steps=2)


def test_begin_step_beyond_the_training_warns():
    with pytest.warns(UserWarning, match="ended at step 2 of a pruning schedule that runs to step 9"):
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
    model = train(pruned_dense())
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


# --- wrapping --------------------------------------------------------------------------------------


def test_embedding_with_mask_zero_and_lstm_compute_the_same():
    base = keras.Sequential(
        [keras.Input((6,), dtype="int32"), L.Embedding(9, 4, mask_zero=True), L.LSTM(4)]
    )
    tokens = np.array([[3, 5, 1, 0, 0, 0], [2, 0, 4, 8, 0, 0]])
    before = base.predict(tokens, verbose=0)
    pruned = K.prune_low_magnitude(base)
    np.testing.assert_array_equal(pruned.predict(tokens, verbose=0), before)
    unmasked = base.layers[1](base.layers[0](tokens), mask=np.ones((2, 6), bool))
    assert np.abs(value(unmasked) - before).max() > 1e-4  # so the mask matters
    train(pruned, x=tokens[[0, 1] * 4], y=np.ones((8, 4), "float32"))
    embedding, lstm = (x.layer for x in pruned.layers)
    assert sparsity(embedding.embeddings) == 0.5
    assert [sparsity(v) for v in lstm.weights] == [0.5, 0.5, sparsity(lstm.weights[2])]
    np.testing.assert_array_equal(
        K.strip_pruning(pruned).predict(tokens, verbose=0), pruned.predict(tokens, verbose=0)
    )


def test_explicit_masks_reach_the_layer():
    rnn = L.SimpleRNN(3)
    x, mask = X.reshape(8, 4, 8), np.array([[True, True, False, False]] * 8)
    expected = value(rnn(x, mask=mask))
    assert np.abs(expected - value(rnn(x))).max() > 1e-4
    np.testing.assert_allclose(value(K.prune_low_magnitude(rnn)(x, mask=mask)), expected, rtol=1e-6)


def test_layers_with_many_arguments():
    attention = L.MultiHeadAttention(2, 4)
    query, value_, mask = X.reshape(2, 16, 8), X.reshape(2, 16, 8), np.tri(16, dtype=bool)[None]
    arguments = {"attention_mask": mask, "return_attention_scores": True}
    wrapped = K.prune_low_magnitude(attention)
    output, scores = wrapped(query, value_, **arguments)
    expected, expected_scores = attention(query, value_, **arguments)
    np.testing.assert_allclose(value(output), value(expected), rtol=1e-6)
    np.testing.assert_allclose(value(scores), value(expected_scores), rtol=1e-6)


def test_training_reaches_the_layer():
    dropout = K.prune_low_magnitude(L.Dropout(0.999999))
    assert value(dropout(X, training=True)).any() == np.False_
    np.testing.assert_array_equal(value(dropout(X)), X)


def test_weights_and_parameters_are_those_of_the_model():
    base = keras.Sequential([keras.Input((8,)), L.Dense(4), L.BatchNormalization()])
    pruned = K.prune_low_magnitude(base)
    assert pruned.count_params() == base.count_params() == 8 * 4 + 4 + 16
    pruned.set_weights(base.get_weights())
    assert [w.shape for w in pruned.get_weights()] == [w.shape for w in base.get_weights()]


def test_layers_without_weights_have_no_state():
    assert K.prune_low_magnitude(L.Flatten()).variables == []


@keras.saving.register_keras_serializable(package="test_tfmot")
class MyDense(L.Dense):
    """A subclass, which tfmot refuses because it compares classes exactly."""


REFUSED = {
    "Bidirectional": (lambda: L.Bidirectional(L.LSTM(3)), (6, 4), 4),
    "TimeDistributed": (lambda: L.TimeDistributed(L.Dense(3)), (6, 4), 1),
    "EinsumDense": (lambda: L.EinsumDense("abc,cd->abd", (6, 4)), (6, 4), 1),
    "Conv1DTranspose": (lambda: L.Conv1DTranspose(4, 2), (6, 4), 1),
    "ConvLSTM1D": (lambda: L.ConvLSTM1D(4, 2), (3, 6, 4), 2),
    "Subclass": (lambda: MyDense(4), (4,), 1),
    "Rescaling": (lambda: L.Rescaling(2.0), (4,), 0),
    "Normalization": (lambda: L.Normalization(mean=0.0, variance=1.0), (4,), 0),
    "PReLU": (lambda: L.PReLU(), (4,), 0),
    "GroupNormalization": (lambda: L.GroupNormalization(2), (4,), 0),
    "UnitNormalization": (lambda: L.UnitNormalization(), (4,), 0),
    "RandomFlip": (lambda: L.RandomFlip(), (4, 4, 3), 0),
    "Resizing": (lambda: L.Resizing(2, 2), (4, 4, 3), 0),
    "Identity": (lambda: L.Identity(), (4,), 0),
    "CenterCrop": (lambda: L.CenterCrop(2, 2), (4, 4, 3), 0),
    "DepthwiseConv1D": (lambda: L.DepthwiseConv1D(2), (6, 4), 0),
    "SpectralNormalization": (lambda: L.SpectralNormalization(L.Dense(4)), (4,), 1),
}


@pytest.mark.parametrize("name", REFUSED)
def test_layers_that_tfmot_refuses_do_not_break_a_model(name):
    make, shape, count = REFUSED[name]
    layer = make()
    base = keras.Sequential([keras.Input(shape), layer, L.Flatten(), L.Dense(2, name="head")])
    x = RNG.normal(size=(8, *shape)).astype("float32")
    before = base.predict(x, verbose=0)
    pruned = K.prune_low_magnitude(base, K.ConstantSparsity(0.5, 0))
    np.testing.assert_allclose(pruned.predict(x, verbose=0), before, rtol=1e-5)
    callback = K.UpdatePruningStep()
    pruned.compile("sgd", "mse")
    callback.set_model(pruned)
    assert len(pruned.optimizer.pruned()) == count + 1
    wrapped = pruned.layers[0]
    assert (wrapped is layer) == (count == 0)


def test_a_rescaling_layer_alone_and_in_a_list():
    assert K.prune_low_magnitude(L.Rescaling(2.0, name="r")).name == "prune_low_magnitude_r"
    assert len(K.prune_low_magnitude([L.Rescaling(2.0), L.Dense(2)])) == 2


def test_operations_between_layers():
    a = keras.Input((8,))
    b = L.Dense(8)(a)
    model = keras.Model(a, ops.relu(b + a) * 2.0 - 1.0)
    pruned = K.prune_low_magnitude(model)
    np.testing.assert_allclose(pruned.predict(X, verbose=0), model.predict(X, verbose=0))


def test_a_custom_layer_with_unnamed_weights_is_left_alone_with_a_warning():
    class Matrix(L.Layer):
        def build(self, shape):
            self.matrix = self.add_weight(shape=(shape[-1], 3), name="matrix")

        def call(self, x):
            return ops.matmul(x, self.matrix)

    base = keras.Sequential([keras.Input((8,)), Matrix(name="mine"), L.Dense(4)])
    with pytest.warns(UserWarning, match=r"'mine'.*get_prunable_weights"):
        pruned = K.prune_low_magnitude(base)
    assert pruned.layers[0] is base.layers[0]


def test_depthwise_kernels_are_not_pruned_and_pointwise_ones_are():
    model = K.prune_low_magnitude(
        keras.Sequential([keras.Input((4, 4, 4)), L.SeparableConv2D(4, 2), L.DepthwiseConv2D(2)])
    )
    train(model, x=np.ones((8, 4, 4, 4), "float32"), y=np.ones((8, 2, 2, 4), "float32"))
    separable, depthwise = (x.layer for x in model.layers)
    assert sparsity(separable.pointwise_kernel) == 0.5
    assert sparsity(separable.depthwise_kernel) == sparsity(depthwise.kernel) == 0.0


def test_pruning_a_pruned_model_changes_nothing():
    model = pruned_dense(K.ConstantSparsity(0.75, 0))
    again = K.prune_low_magnitude(model)
    assert again.layers[0] is model.layers[0]


def test_the_policy_holds_for_layers_and_lists():
    policy = K.PruneForLatencyOnXNNPack()
    dense, conv = L.Dense(2), L.Conv2D(2, 1)
    assert K.prune_low_magnitude(dense, pruning_policy=policy) is dense
    wrapped = K.prune_low_magnitude([dense, conv], pruning_policy=policy)
    assert wrapped[0] is dense
    assert wrapped[1].layer is conv


def test_arguments_without_effect_on_a_model_warn():
    with pytest.warns(UserWarning, match=r"have no effect.*target"):
        K.prune_low_magnitude(keras.Sequential([keras.Input((2,)), L.Dense(2)]), target=0.5)


# --- models of all kinds ---------------------------------------------------------------------------


def test_a_sequential_model_without_input_shape():
    model = K.prune_low_magnitude(keras.Sequential([L.Dense(8), L.Dense(4)]))
    train(model)
    assert sparsity(kernel(model)) == 0.5


@keras.saving.register_keras_serializable(package="test_tfmot")
class Block(L.Layer):
    """A custom layer with pruned layers inside."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.parts = [K.prune_low_magnitude(L.Dense(8, name="p0")), L.Dense(8, name="p1")]
        self.named = {"x": K.prune_low_magnitude(L.Dense(8, name="p2"))}

    def build(self, shape):
        for part in [*self.parts, self.named["x"]]:
            part.build(shape)

    def call(self, x):
        return self.named["x"](self.parts[1](self.parts[0](x)))


class Net(keras.Model):
    """A subclassed model, with a custom layer, a wrapper and a nested graph."""

    def __init__(self):
        super().__init__()
        self.block = Block()
        self.inner = K.prune_low_magnitude(
            keras.Sequential([keras.Input((8,)), L.Dense(8, name="n0")])
        )
        self.head = K.prune_low_magnitude(L.Dense(4, name="head"))

    def call(self, x):
        return self.head(self.inner(self.block(x)))


def test_wrappers_inside_subclassed_models_and_custom_layers():
    model = train(Net(), steps=2)
    kernels = {v.path.split("/")[-2]: v for v in model.variables if v.name == "kernel"}
    zeros = {name: sparsity(v) for name, v in kernels.items()}
    assert zeros == {"p0": 0.5, "p1": 0.0, "p2": 0.5, "n0": 0.5, "head": 0.5}
    before = model.predict(X, verbose=0)
    kernels["head"].assign(np.ones((8, 4)))
    stripped = K.strip_pruning(model)
    assert stripped is model
    assert not any("prune" in x.name for x in stripped._flatten_layers(include_self=False))
    assert [type(x) for x in stripped.layers] == [Block, keras.Sequential, L.Dense]
    assert sparsity(kernels["head"]) == 0.5
    assert stripped.predict(X, verbose=0).shape == before.shape
    assert {id(v) for v in stripped.trainable_variables} >= {id(v) for v in kernels.values()}
    stripped.compile("sgd", "mse", run_eagerly=EAGER)
    stripped.fit(X, Y, verbose=0)  # plain training, without the callback


def test_the_step_counts_from_the_first_update_of_a_model_built_within_it():
    """TensorFlow builds such a model while it compiles the first step."""
    model = K.prune_low_magnitude(
        keras.Sequential([L.Dense(8), L.Dense(4)]), K.PolynomialDecay(0.0, 0.75, 0, 3, frequency=1)
    )
    train(model, steps=3)
    assert [x.pruning_step for x in model.layers] == [3, 3]
    assert [sparsity(x.layer.kernel) for x in model.layers] == [0.75, 0.75]


def test_a_compiled_model_with_a_loss_that_cannot_be_saved():
    base = keras.Sequential([keras.Input((8,)), L.Dense(4)])
    base.compile("sgd", lambda y, p: ops.mean((y - p) ** 2))
    model = K.prune_low_magnitude(base)
    assert base.compiled
    assert not model.compiled
    assert not K.strip_pruning(train(model)).compiled


def test_a_wrapper_inside_time_distributed():
    inner = K.prune_low_magnitude(L.Dense(4))
    base = keras.Sequential([keras.Input((6, 8)), L.TimeDistributed(inner)])
    model = K.prune_low_magnitude(base, K.ConstantSparsity(0.75, 0))  # leaves it as it is
    assert model.layers[0] is base.layers[0]
    train(model, x=np.ones((8, 6, 8), "float32"), y=np.ones((8, 6, 4), "float32"))
    assert sparsity(inner.layer.kernel) == 0.5
    assert type(K.strip_pruning(model).layers[0].layer) is L.Dense


def test_wrappers_inside_a_custom_layer_of_a_graph_save_and_load(tmp_path):
    model = keras.Sequential([keras.Input((8,)), Block(name="block"), L.Dense(4)])
    train(model)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(loaded.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-6)
    assert loaded.layers[0].parts[0].pruning_step == 1
    stripped = K.strip_pruning(loaded)
    assert type(stripped.layers[0].parts[0]) is L.Dense
    np.testing.assert_allclose(stripped.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-6)


def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        base = keras.Sequential([keras.Input((8,)), L.Dense(8), L.Dense(4, dtype="float32")])
        model = K.prune_low_magnitude(base)
        train(model, steps=2, lr=0.01)
    finally:
        keras.config.set_dtype_policy("float32")
    assert [x.compute_dtype for x in model.layers] == ["float16", "float32"]
    assert model.layers[0].pruning_step == 2
    assert [sparsity(x.layer.kernel) for x in model.layers] == [0.5, 0.5]


def test_a_trained_model_can_be_pickled():
    model = train(pruned_dense())
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(value(kernel(again)), value(kernel(model)))
    assert again.layers[0].pruning_step == 1
