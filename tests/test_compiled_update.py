"""`jit_compile`: the same training, whether or not TensorFlow's update is one XLA computation."""

import keras
import numpy as np
import pytest

import secateur
from support import array

OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(),
    "momentum, clipped": lambda: keras.optimizers.SGD(0.1, momentum=0.9, global_clipnorm=1.0),
    "ema": lambda: keras.optimizers.Adam(use_ema=True, ema_overwrite_frequency=3),
    "accumulated": lambda: keras.optimizers.AdamW(gradient_accumulation_steps=2),
    "decayed": lambda: keras.optimizers.Adam(
        keras.optimizers.schedules.ExponentialDecay(0.01, 10, 0.9)
    ),
    "multi": lambda: keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(keras.optimizers.SGD(), {"last/.*": keras.optimizers.Adam()})
    ),
}


def trained(make, jit_compile, scaled=False):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((8,)), keras.layers.Dense(16), keras.layers.Dense(2, name="last")]
    )
    schedule = secateur.PolynomialDecay(0.25, 0.75, begin_step=0, end_step=6, frequency=2)
    optimizer = secateur.SparseOptimizer(make(), schedule, jit_compile=jit_compile)
    model.compile(keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer, "mse")
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((64, 8)), rng.standard_normal((64, 2))
    model.fit(x, y, batch_size=4, shuffle=False, verbose=0)
    return model


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_compiling_the_update_changes_nothing(name):
    plain, compiled = (trained(OPTIMIZERS[name], jit) for jit in (False, True))
    assert secateur.sparsity(compiled).sparsity == 0.75
    for a, b in zip(plain.variables, compiled.variables, strict=True):
        np.testing.assert_allclose(array(a), array(b), rtol=1e-4, atol=1e-6)


def test_compiling_the_update_inside_a_loss_scale_optimizer():
    plain, compiled = (trained(keras.optimizers.Adam, jit, scaled=True) for jit in (False, True))
    assert secateur.sparsity(compiled).sparsity == 0.75
    for a, b in zip(plain.variables, compiled.variables, strict=True):
        np.testing.assert_allclose(array(a), array(b), rtol=1e-4, atol=1e-6)


def test_jit_compile_is_saved():
    schedule = secateur.ConstantSparsity(0.5, begin_step=0)
    optimizer = secateur.SparseOptimizer("sgd", schedule, jit_compile=False)
    assert type(optimizer).from_config(optimizer.get_config()).jit_compile is False
