"""Small models, data, and references that are independent of the package."""

import os

import keras
import numpy as np
import pytest

import secateur
from secateur.groups import Target

BACKEND = os.environ["KERAS_BACKEND"]


def only(*backends):
    """Marks a test that makes sense on some backends only."""
    return pytest.mark.skipif(BACKEND not in backends, reason=f"is about {' and '.join(backends)}")


def random(*shape, seed=0):
    """Normal float32 numbers, the same for the same arguments."""
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def dense_model(*units, inputs=8, seed=0, activation=None, **kwargs):
    """A stack of Dense layers with the same weights on every backend, not compiled."""
    names = ["dense", *(f"dense_{i}" for i in range(1, len(units)))]
    layers = [
        keras.layers.Dense(n, activation=activation, name=name)
        for n, name in zip(units, names, strict=True)
    ]
    model = keras.Sequential([keras.Input((inputs,)), *layers], **kwargs)
    for i, layer in enumerate(layers):
        layer.kernel.assign(random(*layer.kernel.shape, seed=seed + i))
    return model


def data(samples=16, inputs=8, outputs=4, seed=100):
    """Inputs and targets of a regression."""
    return random(samples, inputs, seed=seed), random(samples, outputs, seed=seed + 1)


def array(variable):
    """The value of a variable as it is now."""
    return np.array(keras.ops.convert_to_numpy(variable))


def zeros(variable):
    """How many values are zero."""
    return int(np.sum(array(variable) == 0))


def weights(model):
    """Copies of all weights."""
    return [array(v) for v in model.weights]


def largest(scores, keep):
    """Bool mask of the `keep` largest |scores|, of equal ones the first, by a stable sort."""
    flat = np.abs(np.asarray(scores, "float64")).reshape(-1)
    flat = np.where(np.isnan(flat), np.inf, flat)
    mask = np.zeros(flat.size, bool)
    mask[np.argsort(-flat, kind="stable")[:keep]] = True
    return mask.reshape(np.shape(scores))


def compiled(function):
    """The function as a training step would run it: traced, compiled where the backend compiles."""
    if BACKEND == "jax":
        import jax

        return jax.jit(function)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True)
    return function


def same(first, second):
    """Asserts that two lists of arrays are equal, bit for bit."""
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def whole_numbers(shape, seed, low=-9):
    """Small whole numbers: many ties, and every sum is exact."""
    return np.random.default_rng(seed).integers(low, 10, shape).astype("float32")


def masks(structure, kernels, sparsity, input_axis=-2, allocation=None, xp=np):
    """What the package computes for `kernels` in one group, on the host or in a compiled function."""
    targets = [Target(f"k{i}", i, k.shape, input_axis=input_axis) for i, k in enumerate(kernels)]
    schedule = secateur.ConstantSparsity(sparsity, 0)
    group = secateur.PruningGroup(schedule, structure, allocation=allocation, targets=targets)
    if xp is np:
        return group.compute_masks(kernels, np.float32(sparsity), np)
    ops = keras.ops
    function = compiled(lambda ks, s: group.compute_masks(ks, s, ops))
    tensors = [ops.convert_to_tensor(k) for k in kernels]
    found = function(tensors, ops.convert_to_tensor(sparsity, "float32"))
    return [ops.convert_to_numpy(m) for m in found]


def kept(size, sparsity):
    """How many of `size` weights or blocks stay."""
    return int(max(np.rint(np.float32(size) * (np.float32(1) - np.float32(sparsity))), 1))
