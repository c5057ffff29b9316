"""What the tests of the tfmot face share."""

import keras
import numpy as np
from keras import layers as L

import secateur.tfmot as tfmot

K = tfmot.sparsity.keras
RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 8)).astype("float32")
Y = RNG.normal(size=(32, 4)).astype("float32")
EAGER = keras.backend.backend() == "jax"  # where each new step takes XLA a second to compile


def train(model, steps=1, x=X, y=Y, lr=0.01, optimizer=None, callbacks=(), **kwargs):
    """Compiles the model and trains it for some steps of 8 samples."""
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


def dense_model(*names):
    """Dense layers of these names."""
    names = names or ("a", "b")
    units = [16] * (len(names) - 1) + [4]
    return keras.Sequential(
        [keras.Input((8,)), *[L.Dense(u, name=n) for u, n in zip(units, names, strict=True)]]
    )


def fit(model, epochs=1, optimizer="sgd", x=X, y=Y, **kwargs):
    """Compiles the model, unless `optimizer` is None, and trains it for epochs of 4 steps."""
    if optimizer is not None:
        model.compile(optimizer, "mse")
    callbacks = [*kwargs.pop("callbacks", []), K.UpdatePruningStep()]
    model.fit(x, y, batch_size=8, epochs=epochs, verbose=0, callbacks=callbacks, **kwargs)
    return model


def pruned_dense(*args, **kwargs):
    """One layer, wrapped with these settings."""
    layer = K.prune_low_magnitude(L.Dense(4, name="dense"), *args, **kwargs)
    return keras.Sequential([keras.Input((8,)), layer])


def value(variable):
    """The value of a variable or tensor."""
    return np.asarray(keras.ops.convert_to_numpy(variable))


def sparsity(variable):
    """The share of zeros."""
    return float((value(variable) == 0).mean())


def kernel(model, layer=0):
    """The kernel inside a wrapper."""
    return model.layers[layer].layer.kernel


def weights(model):
    """Copies of all weights."""
    return [w.copy() for w in model.get_weights()]


def assert_same(a, b):
    """Asserts that lists of arrays are equal, bit by bit."""
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


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
