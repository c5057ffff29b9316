"""What was wrong in tfmot 0.8.1 with the wrapping of layers, and is gone."""

import keras
import numpy as np
import pytest
from keras import layers as L
from keras import ops
from tfmot_support import RNG, K, X, pruned_dense, sparsity, train, value

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
    layer = K.prune_low_magnitude(L.Flatten())
    layer(X)
    assert layer.variables == []


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
