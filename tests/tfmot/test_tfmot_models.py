"""Models that tfmot 0.8.1 could not prune, or not save."""

import pickle

import keras
import numpy as np
from keras import layers as L
from keras import ops
from tfmot_support import EAGER, K, X, Y, kernel, pruned_dense, sparsity, train, value

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
    np.testing.assert_allclose(
        stripped.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-6
    )


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
