"""What is pruned by default, layer kind by layer kind, and the reason for everything else."""

import keras
import numpy as np
import pytest

import secateur
from secateur import Reason
from support import BACKEND, array, only, random, zeros

L = keras.layers


def report(layer, *shapes, **kwargs):
    """Prunes the half of a layer that is built for inputs of the given shapes."""
    if not layer.built:
        inputs = [keras.Input(shape) for shape in shapes]
        layer(*inputs)
    return secateur.prune_once(layer, 0.5, **kwargs)


def names(weights):
    """The last part of each path, in order."""
    return [w.path.split("/")[-1] for w in weights]


KINDS = {
    "Dense": (lambda: L.Dense(4), [(6,)], ["kernel"]),
    "EinsumDense": (lambda: L.EinsumDense("ab,bc->ac", 4, bias_axes="c"), [(6,)], ["kernel"]),
    "Conv1D": (lambda: L.Conv1D(4, 2), [(5, 3)], ["kernel"]),
    "Conv2D": (lambda: L.Conv2D(4, 2), [(5, 5, 3)], ["kernel"]),
    "Conv2D in groups": (lambda: L.Conv2D(4, 2, groups=2), [(5, 5, 4)], ["kernel"]),
    "Conv3D": (lambda: L.Conv3D(4, 2), [(3, 3, 3, 2)], ["kernel"]),
    "Conv1DTranspose": (lambda: L.Conv1DTranspose(4, 2), [(5, 3)], ["kernel"]),
    "Conv2DTranspose": (lambda: L.Conv2DTranspose(4, 2), [(5, 5, 3)], ["kernel"]),
    "Conv3DTranspose": (lambda: L.Conv3DTranspose(4, 2), [(3, 3, 3, 2)], ["kernel"]),
    "SeparableConv1D": (lambda: L.SeparableConv1D(4, 2), [(5, 3)], ["pointwise_kernel"]),
    "SeparableConv2D": (lambda: L.SeparableConv2D(4, 2), [(5, 5, 3)], ["pointwise_kernel"]),
    "SimpleRNN": (lambda: L.SimpleRNN(4), [(3, 2)], ["kernel", "recurrent_kernel"]),
    "LSTM": (lambda: L.LSTM(4), [(3, 2)], ["kernel", "recurrent_kernel"]),
    "GRU": (lambda: L.GRU(4), [(3, 2)], ["kernel", "recurrent_kernel"]),
    "ConvLSTM1D": (lambda: L.ConvLSTM1D(2, 2), [(3, 4, 2)], ["kernel", "recurrent_kernel"]),
    "Bidirectional": (
        lambda: L.Bidirectional(L.GRU(4)),
        [(3, 2)],
        ["kernel", "recurrent_kernel"] * 2,
    ),
    "stacked cells": (
        lambda: L.RNN([L.GRUCell(3), L.LSTMCell(4)]),
        [(3, 2)],
        ["kernel", "recurrent_kernel"] * 2,
    ),
    "TimeDistributed": (lambda: L.TimeDistributed(L.Dense(4)), [(3, 6)], ["kernel"]),
    "MultiHeadAttention": (lambda: L.MultiHeadAttention(2, 3), [(3, 4), (3, 4)], ["kernel"] * 4),
    "GroupQueryAttention": (
        lambda: L.GroupQueryAttention(3, 4, 2),
        [(3, 4), (3, 4)],
        ["kernel"] * 4,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kernels_are_pruned_and_nothing_else(kind):
    make, shapes, expected = KINDS[kind]
    layer = make()
    found = report(layer, *shapes)
    assert names(found.pruned) == expected
    for weight in found.pruned:
        assert weight.zeros == weight.size // 2
    untouched = {w.path for w in found.left_alone}
    assert len(untouched) + len(expected) == len(layer.weights)
    assert "kernel" not in [n for n in names(found.left_alone) if "depthwise" not in n]


NOT_PRUNED = {
    "BatchNormalization": (L.BatchNormalization, Reason.NORMALIZATION, ["gamma", "beta"]),
    "LayerNormalization": (L.LayerNormalization, Reason.NORMALIZATION, ["gamma", "beta"]),
    "GroupNormalization": (
        lambda: L.GroupNormalization(2),
        Reason.NORMALIZATION,
        ["gamma", "beta"],
    ),
    "RMSNormalization": (L.RMSNormalization, Reason.NORMALIZATION, ["scale"]),
    "PReLU": (L.PReLU, Reason.NOT_A_KERNEL, ["alpha"]),
    "DepthwiseConv2D": (lambda: L.DepthwiseConv2D(2), Reason.DEPTHWISE, ["kernel"]),
}


@pytest.mark.parametrize("kind", NOT_PRUNED)
def test_other_weights_are_left_alone_with_a_reason(kind):
    make, reason, expected = NOT_PRUNED[kind]
    layer = make()
    model = keras.Sequential([keras.Input((4, 4, 6)), L.Dense(6), layer])
    found = report(model)
    assert names(found.pruned) == ["kernel"]
    left = [w for w in found.left_alone if w.layer == type(layer).__name__]
    assert names([w for w in left if w.reason == reason]) == expected
    assert {w.reason for w in left} <= {reason, Reason.NOT_A_KERNEL}
    assert {w.reason for w in found.left_alone if w.layer == "Dense"} == {Reason.NOT_A_KERNEL}


def test_embeddings_are_left_alone():
    model = keras.Sequential([keras.Input((3,)), L.Embedding(5, 4), L.Dense(2)])
    found = report(model)
    assert found.pruned[0].layer == "Dense"
    assert found.left_alone[0].reason == Reason.EMBEDDING


@pytest.mark.parametrize("asked", ["path", "layer", "callable", "variable"])
@pytest.mark.parametrize("kind", ["embedding", "depthwise"])
def test_embeddings_and_depthwise_kernels_are_pruned_if_asked_for(kind, asked):
    if kind == "embedding":
        layer, shape = L.Embedding(5, 4, name="it"), (3,)
    else:
        layer, shape = L.DepthwiseConv2D(2, name="it", depth_multiplier=2), (4, 4, 3)
    model = keras.Sequential([keras.Input(shape), layer, L.Dense(2)])
    layers = {
        "path": "it/",
        "layer": layer,
        "callable": lambda each: each is layer,
        "variable": layer.weights[0],
    }[asked]
    found = report(model, layers=layers)
    assert [w.path for w in found.pruned] == [layer.weights[0].path]
    weight = layer.weights[0]
    assert zeros(weight) == np.prod(weight.shape) // 2


def test_a_model_around_an_embedding_does_not_ask_for_it_by_itself():
    inner = keras.Sequential([keras.Input((3,)), L.Embedding(5, 4), L.Dense(2)], name="inner")
    model = keras.Sequential([keras.Input((3,)), inner])
    found = report(model, layers=inner)
    assert [w.layer for w in found.pruned] == ["Dense"]


def test_a_pruned_embedding_trains():
    """Its gradients are sparse, on TensorFlow."""
    model = keras.Sequential([keras.Input((3,)), L.Embedding(8, 4), L.Flatten(), L.Dense(2)])
    model.compile("adam", "mse")
    secateur.prune(model, sparsity=0.5, layers=["embedding", "dense"])
    x = np.arange(12).reshape(4, 3) % 8
    for _ in range(2):
        model.train_on_batch(x, np.ones((4, 2)))
        assert [zeros(k) for _, k, _ in model.optimizer.pruned()] == [16, 12]


def test_adapters_are_left_alone():
    layer = L.Dense(6)
    model = keras.Sequential([keras.Input((6,)), layer, L.Dense(2)])
    layer.enable_lora(2)
    found = report(model)
    assert [w.shape for w in found.pruned] == [(6, 2)]
    reasons = {w.path.split("/")[-1]: w.reason for w in found.left_alone if w.shape != (2,)}
    assert reasons["kernel"] == Reason.FROZEN
    assert reasons["lora_kernel_a"] == reasons["lora_kernel_b"] == Reason.NOT_A_KERNEL


def test_the_depthwise_half_of_a_separable_convolution_is_left_alone():
    found = report(L.SeparableConv2D(4, 2), (5, 5, 3))
    reasons = {w.path.split("/")[-1]: w.reason for w in found.left_alone}
    assert reasons == {"depthwise_kernel": Reason.DEPTHWISE, "bias": Reason.NOT_A_KERNEL}


def test_statistics_and_seeds_are_no_weights():
    model = keras.Sequential(
        [keras.Input((6,)), L.Dense(4), L.BatchNormalization(), L.Dropout(0.5)]
    )
    assert names(report(model).weights) == ["kernel", "bias", "gamma", "beta"]


# --- frozen ----------------------------------------------------------------------------------------


def test_a_frozen_layer_is_left_alone():
    frozen = L.Dense(4, trainable=False)
    model = keras.Sequential([keras.Input((6,)), frozen, L.Dense(2)])
    before = array(frozen.kernel)
    found = report(model)
    assert [w.reason for w in found.left_alone[:2]] == [Reason.FROZEN] * 2
    np.testing.assert_array_equal(array(frozen.kernel), before)


def test_a_frozen_model_inside_is_left_alone():
    inner = keras.Sequential([keras.Input((6,)), L.Dense(4)])
    inner.trainable = False
    model = keras.Sequential([keras.Input((6,)), inner, L.Dense(2)])
    assert len(report(model).pruned) == 1


def test_a_frozen_variable_is_left_alone():
    layer = L.Dense(4)
    layer.build((None, 6))
    layer.kernel.trainable = False
    with pytest.raises(ValueError, match="nothing to prune.*kernel.*frozen"):
        secateur.prune_once(layer, 0.5)


def test_a_layer_thawed_inside_a_frozen_model_is_not_trained_and_not_pruned():
    model = keras.Sequential([keras.Input((6,)), L.Dense(4), L.Dense(2)])
    model.trainable = False
    model.layers[1].trainable = True
    with pytest.raises(ValueError, match=r"nothing to prune.*kernel \(frozen\)"):
        secateur.prune_once(model, 0.5)


def test_a_layer_thawed_inside_a_frozen_model_inside_is_pruned():
    inner = keras.Sequential([keras.Input((6,)), L.Dense(6), L.Dense(6)])
    model = keras.Sequential([keras.Input((6,)), L.Dense(6), inner])
    inner.trainable = False
    inner.layers[1].trainable = True
    model.compile("sgd", "mse")
    report_ = secateur.prune(model, sparsity=0.5)
    assert [w.path for w in report_.pruned] == [
        model.layers[0].kernel.path,
        inner.layers[1].kernel.path,
    ]
    model.train_on_batch(np.ones((2, 6)), np.ones((2, 6)))
    assert [zeros(k) for _, k, _ in model.optimizer.pruned()] == [18, 18]
    assert zeros(inner.layers[0].kernel) == 0


def test_a_layer_thawed_is_pruned():
    layer = L.Dense(4, trainable=False)
    model = keras.Sequential([keras.Input((6,)), layer])
    layer.trainable = True
    assert len(report(model).pruned) == 1


# --- nested, shared, subclassed --------------------------------------------------------------------


def test_models_in_models_in_models():
    model = keras.Sequential([keras.Input((6,)), L.Dense(6)])
    for _ in range(30):
        model = keras.Sequential([keras.Input((6,)), model])
    assert [w.zeros for w in report(model).pruned] == [18]


def test_a_shared_layer_is_pruned_once():
    shared = L.Dense(6)
    inputs = keras.Input((6,))
    model = keras.Model(inputs, shared(shared(shared(inputs))))
    found = report(model)
    assert len(found.weights) == 2
    assert [w.zeros for w in found.pruned] == [18]


def test_a_model_used_twice_is_pruned_once():
    inner = keras.Sequential([keras.Input((6,)), L.Dense(6)])
    inputs = keras.Input((6,))
    assert len(report(keras.Model(inputs, inner(inner(inputs)))).pruned) == 1


class Tied(keras.layers.Layer):
    """Uses the kernel of another layer."""

    def __init__(self, other):
        super().__init__()
        self.other = other

    def build(self, shape):
        self.kernel = self.other.kernel
        self.built = True

    def call(self, x):
        return keras.ops.matmul(x, keras.ops.transpose(self.kernel))

    def compute_output_shape(self, shape):
        return (*shape[:-1], 6)


def test_tied_weights_are_pruned_once():
    first = L.Dense(4)
    inputs = keras.Input((6,))
    hidden = first(inputs)
    model = keras.Model(inputs, Tied(first)(hidden))
    model.compile("sgd", "mse")
    secateur.prune(model, sparsity=0.5)
    assert [t.path for t, _, _ in model.optimizer.pruned()] == [first.kernel.path]
    model.train_on_batch(np.ones((2, 6)), np.ones((2, 6)))
    assert zeros(first.kernel) == 12


class Subclassed(keras.Model):
    """Layers in attributes, lists, dictionaries, and twice under one name."""

    def __init__(self):
        super().__init__()
        self.first = L.Dense(6, name="same")
        self.listed = [L.Dense(6, name="same"), L.Dense(6)]
        self.mapped = {"a": L.Dense(6)}

    def call(self, x):
        for layer in (self.first, *self.listed, self.mapped["a"]):
            x = layer(x)
        return x


def test_every_layer_of_a_subclassed_model_is_pruned():
    model = Subclassed()
    model(np.ones((1, 6)))
    assert [w.zeros for w in report(model).pruned] == [18] * 4


def trained_subclassed(*schedules):
    """Pruned and trained for a step with each of the schedules."""
    model = Subclassed()
    x = random(4, 6)
    model(x)
    model.compile("sgd", "mse")
    for schedule in schedules:
        secateur.prune(model, schedule)
        model.train_on_batch(x, x)
    return model


def test_layers_of_one_name_are_told_apart(tmp_path):
    model = trained_subclassed(secateur.ConstantSparsity(0.5, 0))
    kernels = [k for _, k, _ in model.optimizer.pruned()]
    assert len({id(k) for k in kernels}) == 4
    assert [zeros(k) for k in kernels] == [18] * 4
    model.save_weights(tmp_path / "a.weights.h5")
    again = trained_subclassed(secateur.ConstantSparsity(0.25, 0))
    again.load_weights(tmp_path / "a.weights.h5")
    for (_, _, one), (_, _, two) in zip(
        model.optimizer.pruned(), again.optimizer.pruned(), strict=True
    ):
        np.testing.assert_array_equal(array(one), array(two))


def test_layers_of_one_name_keep_their_masks_when_pruned_again():
    model = trained_subclassed(
        secateur.ConstantSparsity(0.5, 0), secateur.ConstantSparsity(0.75, begin_step=9)
    )
    assert [zeros(k) for _, k, _ in model.optimizer.pruned()] == [18] * 4


# --- custom layers ---------------------------------------------------------------------------------


class Custom(keras.layers.Layer):
    """A layer with weights of every kind, under names of its own."""

    def build(self, shape):
        self.matrix = self.add_weight(shape=(6, 6), initializer="normal", name="matrix")
        self.cube = self.add_weight(shape=(2, 3, 4), initializer="normal", name="cube")
        self.vector = self.add_weight(shape=(6,), initializer="normal", name="vector")
        self.row = self.add_weight(shape=(1, 6), initializer="normal", name="row")
        self.table = self.add_weight(shape=(5, 6), initializer="normal", name="word_embeddings")
        self.constant = self.add_weight(
            shape=(6, 6), initializer="normal", name="constant", trainable=False
        )
        self.count = self.add_weight(shape=(3, 3), dtype="int32", trainable=False, name="count")
        self.built = True

    def call(self, x):
        return x


def test_every_matrix_of_a_custom_layer_is_pruned():
    layer = Custom()
    layer.build((None, 6))
    found = report(layer)
    assert names(found.pruned) == ["matrix", "cube"]
    assert {w.path.split("/")[-1]: w.reason for w in found.left_alone} == {
        "vector": Reason.VECTOR,
        "row": Reason.VECTOR,
        "word_embeddings": Reason.EMBEDDING,
        "constant": Reason.FROZEN,
    }


class Saying(Custom, secateur.PrunableLayer):
    """Says what to prune: also the vector, but not the cube."""

    def get_prunable_weights(self):
        return [self.matrix, self.vector, self.constant]


def test_a_layer_may_say_what_to_prune():
    layer = Saying()
    layer.build((None, 6))
    found = report(layer)
    assert names(found.pruned) == ["matrix", "vector"]
    reasons = {w.path.split("/")[-1]: w.reason for w in found.left_alone}
    assert reasons["cube"] == Reason.NOT_A_KERNEL
    assert reasons["constant"] == Reason.FROZEN


def test_a_layer_that_says_nothing_is_left_alone():
    class Silent(keras.layers.Dense):
        def get_prunable_weights(self):
            return []

    model = keras.Sequential([keras.Input((6,)), Silent(6), L.Dense(2)])
    assert [w.layer for w in report(model).pruned] == ["Dense"]


def test_a_bias_may_be_asked_for():
    class WithBias(keras.layers.Dense):
        def get_prunable_weights(self):
            return [self.kernel, self.bias]

    layer = WithBias(4, bias_initializer="normal")
    assert [w.zeros for w in report(layer, (6,)).pruned] == [12, 2]


class Block(keras.layers.Layer):
    """A layer of layers that says what to prune inside it."""

    def __init__(self, chosen):
        super().__init__()
        self.one, self.two = L.Dense(6), L.Dense(6)
        self.chosen = chosen

    def build(self, shape):
        self.one.build(shape)
        self.two.build(shape)
        self.built = True

    def call(self, x):
        return self.two(self.one(x))

    def get_prunable_weights(self):
        return [getattr(self, name).kernel for name in self.chosen]


@pytest.mark.parametrize("chosen", [["one"], ["two"], ["one", "two"]])
def test_a_layer_speaks_for_the_layers_inside_it(chosen):
    block = Block(chosen)
    found = report(block, (6,))
    assert [w.path for w in found.pruned] == [getattr(block, name).kernel.path for name in chosen]


def test_a_layer_may_keep_all_inside_it_dense():
    inputs = keras.Input((6,))
    model = keras.Model(inputs, L.Dense(2)(Block([])(inputs)))
    assert len(report(model).pruned) == 1


# --- whole families --------------------------------------------------------------------------------

APPLICATIONS = {
    "ConvNeXtTiny": 32,
    "DenseNet121": 32,
    "EfficientNetB0": 32,
    "EfficientNetV2B0": 32,
    "InceptionResNetV2": 75,
    "InceptionV3": 75,
    "MobileNet": 32,
    "MobileNetV2": 32,
    "MobileNetV3Small": 32,
    **({} if BACKEND == "torch" else {"NASNetMobile": 32}),  # Keras has none for PyTorch
    "ResNet50": 32,
    "ResNet50V2": 32,
    "VGG16": 32,
    "Xception": 71,
}


PRUNED = ["MobileNetV2", "ResNet50", "EfficientNetV2B0"]


# JAX takes ten seconds to build some of them, and what is selected does not depend on it.
@pytest.mark.parametrize("name", PRUNED[: 1 if BACKEND == "jax" else None])
def test_applications_prune(name):
    model = application(name)
    found = secateur.prune_once(model, 0.8)
    assert found.sparsity == pytest.approx(0.8, abs=1e-3)
    depthwise = [w for w in found.left_alone if w.reason == Reason.DEPTHWISE]
    assert bool(depthwise) == (name != "ResNet50")
    assert_accounted_for(model, found)


def application(name):
    size = APPLICATIONS[name]
    build = getattr(keras.applications, name)
    return build(weights=None, include_top=False, input_shape=(size, size, 3))


def assert_accounted_for(model, found):
    """Every trainable weight is in the report, once."""
    assert len({w.path for w in found.weights}) == len(found.weights)
    assert {v.path for v in model.trainable_variables} <= {w.path for w in found.weights}


@only("tensorflow", "torch")
@pytest.mark.parametrize("name", sorted(APPLICATIONS.keys() - set(PRUNED)))
def test_every_family_of_applications_has_something_to_prune(name):
    from secateur.selection import select

    model = application(name)
    selected, left = select(model)
    kernels = {s.candidate.variable.path for s in selected}
    convolutions = [
        layer.kernel.path
        for layer in model._flatten_layers()
        if type(layer) in (keras.layers.Conv2D, keras.layers.Dense)
    ]
    assert kernels >= set(convolutions)
    assert not kernels & {c.variable.path for c in left}


def test_a_transformer_of_keras_hub_prunes():
    hub = pytest.importorskip("keras_hub")
    model = hub.models.BertBackbone(
        vocabulary_size=20,
        num_layers=2,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=6,
    )
    found = secateur.prune_once(model, 0.5)
    # Query, key, value, output and two of the feed-forward in each layer, and the pooler.
    assert len(found.pruned) == 2 * 6 + 1
    assert all(w.zeros == w.size // 2 for w in found.pruned)
    assert {w.reason for w in found.left_alone} == {
        Reason.EMBEDDING,
        Reason.NORMALIZATION,
        Reason.NOT_A_KERNEL,
    }


def test_a_transformer_trains_sparse():
    hub = pytest.importorskip("keras_hub")
    inputs = keras.Input((3,), dtype="int32")
    embedding = hub.layers.TokenAndPositionEmbedding(20, 3, 8)(inputs)
    encoded = hub.layers.TransformerEncoder(intermediate_dim=16, num_heads=2)(embedding)
    model = keras.Model(inputs, L.Dense(4)(encoded))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    secateur.prune(model, sparsity=0.5)
    tokens = np.arange(12).reshape(4, 3)
    model.fit(tokens, tokens % 4, verbose=0)
    assert len(model.optimizer.masks) == 7
    assert secateur.sparsity(model).sparsity == 0.5
