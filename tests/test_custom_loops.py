"""Loops written by hand: whatever calls `apply` or `stateless_apply` prunes."""

import keras
import numpy as np
import pytest

import secateur
from support import BACKEND, array, data, dense_model, only, same, zeros

EXPECTED = [8, 16, 16, 24, 24]


def model_and_optimizer(**kwargs):
    """A model that is not compiled, and an engine that reaches 3/4 at step 4."""
    model = dense_model(8, 4, inputs=4, activation="tanh")
    schedule = secateur.PolynomialDecay(0.25, 0.75, 0, 4, power=1, frequency=2)
    optimizer = secateur.SparseOptimizer(keras.optimizers.Adam(0.01, **kwargs), schedule)
    optimizer.build(model.trainable_variables)
    return model, optimizer


def by_fit():
    """The weights after the same steps with `train_on_batch`."""
    model, optimizer = model_and_optimizer()
    model.compile(optimizer, "mse")
    x, y = data(8, 4, 4)
    for _ in EXPECTED:
        model.train_on_batch(x, y)
    return [array(v) for v in model.weights]


def assert_like_fit(model, optimizer, step):
    """Runs `step(x, y)` and compares the zeros after each, and the weights at the end."""
    x, y = data(8, 4, 4)
    counts = []
    for _ in EXPECTED:
        step(x, y)
        counts.append([zeros(layer.kernel) for layer in model.layers])
    assert counts == [[n, n] for n in EXPECTED]
    assert optimizer.step == 5
    for variable, weight in zip(model.weights, by_fit(), strict=True):
        np.testing.assert_allclose(array(variable), weight, rtol=1e-5, atol=1e-6)


# --- TensorFlow ------------------------------------------------------------------------------------


@only("tensorflow")
@pytest.mark.parametrize("way", ["eager", "graph", "xla"])
@pytest.mark.parametrize("method", ["apply", "apply_gradients"])
def test_gradient_tape(way, method):
    import tensorflow as tf

    model, optimizer = model_and_optimizer()

    def step(x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
        variables = model.trainable_variables
        grads = tape.gradient(loss, [v.value for v in variables])
        if method == "apply":
            optimizer.apply(grads, variables)
        else:
            optimizer.apply_gradients(zip(grads, variables, strict=True))

    if way != "eager":
        step = tf.function(step, jit_compile=way == "xla")
    assert_like_fit(model, optimizer, step)


@only("tensorflow")
def test_an_engine_that_is_built_inside_a_function():
    import tensorflow as tf

    model = dense_model(8, 4, inputs=4, activation="tanh")
    schedule = secateur.PolynomialDecay(0.25, 0.75, 0, 4, power=1, frequency=2)
    optimizer = secateur.SparseOptimizer(keras.optimizers.Adam(0.01), schedule)

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)

    assert_like_fit(model, optimizer, step)


# --- JAX -------------------------------------------------------------------------------------------


@only("jax")
@pytest.mark.parametrize("donate", [False, True])
def test_stateless_apply(donate):
    import jax

    model, optimizer = model_and_optimizer()

    def loss(trainable, other, x, y):
        predicted, other = model.stateless_call(trainable, other, x, training=True)
        return ((predicted - y) ** 2).mean(), other

    def pure_step(state, x, y):
        trainable, other, slots = state
        (_, other), grads = jax.value_and_grad(loss, has_aux=True)(trainable, other, x, y)
        trainable, slots = optimizer.stateless_apply(slots, grads, trainable)
        return trainable, other, slots

    jitted = jax.jit(pure_step, donate_argnums=(0,) if donate else ())
    state = tuple(
        [v.value for v in variables]
        for variables in (
            model.trainable_variables,
            model.non_trainable_variables,
            optimizer.variables,
        )
    )

    def step(x, y):
        nonlocal state
        state = jitted(state, x, y)
        for variables, values in zip(
            (model.trainable_variables, model.non_trainable_variables, optimizer.variables),
            state,
            strict=True,
        ):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

    if donate:
        # The variables hold the donated arrays no longer: only the state goes on.
        x, y = data(8, 4, 4)
        for _ in EXPECTED:
            state = jitted(state, x, y)
        kernels = [np.asarray(state[0][0]), np.asarray(state[0][2])]
        assert [int((k == 0).sum()) for k in kernels] == [24, 24]
    else:
        assert_like_fit(model, optimizer, step)


@only("jax")
def test_apply_outside_jit():
    import jax

    model, optimizer = model_and_optimizer()

    def step(x, y):
        def loss(trainable):
            predicted, _ = model.stateless_call(trainable, [], x, training=True)
            return ((predicted - y) ** 2).mean()

        optimizer.apply(jax.grad(loss)([v.value for v in model.trainable_variables]))

    assert_like_fit(model, optimizer, step)


@only("jax")
def test_a_loop_of_jax():
    import jax

    model, optimizer = model_and_optimizer()
    x, y = data(8, 4, 4)

    def loss(trainable):
        predicted, _ = model.stateless_call(trainable, [], x, training=True)
        return ((predicted - y) ** 2).mean()

    def step(state, _):
        trainable, slots = state
        trainable, slots = optimizer.stateless_apply(slots, jax.grad(loss)(trainable), trainable)
        return (trainable, slots), [(k == 0).sum() for k in (trainable[0], trainable[2])]

    start = [v.value for v in model.trainable_variables], [v.value for v in optimizer.variables]
    _, counts = jax.lax.scan(step, start, length=len(EXPECTED))
    assert [c.tolist() for c in counts] == [EXPECTED, EXPECTED]


# --- PyTorch ---------------------------------------------------------------------------------------


@only("torch")
@pytest.mark.parametrize("no_grad", [True, False])
def test_autograd(no_grad):
    import torch

    model, optimizer = model_and_optimizer()

    def step(x, y):
        model.zero_grad()
        loss = ((model(x, training=True) - torch.as_tensor(y)) ** 2).mean()
        loss.backward()
        variables = model.trainable_variables
        grads = [v.value.grad for v in variables]
        with torch.no_grad() if no_grad else torch.enable_grad():
            optimizer.apply(grads, variables)

    assert_like_fit(model, optimizer, step)
    assert all(v.value.requires_grad for v in model.trainable_variables)


# --- on all of them --------------------------------------------------------------------------------


def ones_like(variables):
    return [keras.ops.ones(v.shape) for v in variables]


def test_apply_takes_its_variables_from_the_build():
    model, optimizer = model_and_optimizer()
    for expected in EXPECTED:
        optimizer.apply(ones_like(model.trainable_variables))
        assert [zeros(layer.kernel) for layer in model.layers] == [expected] * 2


def test_some_of_the_variables():
    model, optimizer = model_and_optimizer()
    for _ in EXPECTED:
        optimizer.apply(ones_like(model.layers[0].trainable_variables), model.layers[0].variables)
    assert [zeros(layer.kernel) for layer in model.layers] == [24, 24]


def test_the_wrong_number_of_gradients_changes_nothing():
    model, optimizer = model_and_optimizer()
    before = [array(v) for v in [*model.weights, *optimizer.variables]]
    with pytest.raises(ValueError, match="gradients|Gradients"):
        optimizer.apply(ones_like(model.trainable_variables)[:-1])
    same([array(v) for v in [*model.weights, *optimizer.variables]], before)


def test_unknown_variables_change_nothing():
    model, optimizer = model_and_optimizer()
    other = dense_model(8, 4, inputs=4)
    before = [array(v) for v in [*model.weights, *optimizer.variables]]
    with pytest.raises(ValueError, match="Unknown variable|unknown|not recognized"):
        optimizer.apply(ones_like(other.trainable_variables), other.trainable_variables)
    same([array(v) for v in [*model.weights, *optimizer.variables]], before)


def test_another_optimizer_in_charge():
    model, engine = model_and_optimizer()
    plain = keras.optimizers.SGD(0.01)
    plain.build(model.trainable_variables)
    for expected in EXPECTED:
        plain.apply(ones_like(model.trainable_variables))
        engine.advance()
        assert [zeros(layer.kernel) for layer in model.layers] == [expected] * 2
    assert engine.step == 5


def test_a_model_with_a_training_step_of_its_own():
    class Twice(keras.Model):
        """Applies each batch's gradients twice, a step each."""

        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(4)

        def call(self, x, training=False):
            return self.dense(x)

        if BACKEND == "tensorflow":

            def train_step(self, data):
                import tensorflow as tf

                x, y = data
                for _ in range(2):
                    with tf.GradientTape() as tape:
                        loss = self.compute_loss(x, y, self(x, training=True))
                    grads = tape.gradient(loss, self.trainable_variables)
                    self.optimizer.apply_gradients(
                        zip(grads, self.trainable_variables, strict=True)
                    )
                return {"loss": loss}

        elif BACKEND == "torch":

            def train_step(self, data):
                x, y = data
                for _ in range(2):
                    self.zero_grad()
                    loss = self.compute_loss(x, y, self(x, training=True))
                    loss.backward()
                    import torch

                    with torch.no_grad():
                        grads = [v.value.grad for v in self.trainable_variables]
                        self.optimizer.apply(grads, self.trainable_variables)
                return {"loss": loss}

        else:

            def train_step(self, state, data):
                import jax

                x, y = data
                trainable, other, slots, metrics = state
                for _ in range(2):

                    def loss(trainable, other=other):
                        predicted, _ = self.stateless_call(trainable, other, x, training=True)
                        return self.compute_loss(x, y, predicted)

                    value, grads = jax.value_and_grad(loss)(trainable)
                    trainable, slots = self.optimizer.stateless_apply(slots, grads, trainable)
                return {"loss": value}, (trainable, other, slots, metrics)

    model = Twice()
    x, y = data(8, 8, 4)
    model(x)
    model.compile("sgd", "mse")
    secateur.prune(model, secateur.PolynomialDecay(0.25, 0.75, 0, 4, power=1, frequency=2))
    model.fit(x, y, batch_size=4, verbose=0)
    assert model.optimizer.step == 4
    assert zeros(model.dense.kernel) == 24
