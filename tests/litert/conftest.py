"""Models and files that the tests of this folder share.

A conversion takes seconds where the backend is not TensorFlow, so each file is made once.
"""

import keras
import numpy as np
import pytest

from secateur.litert import convert_model

layers = keras.layers


def small_cnn():
    """A Sequential classifier of 8x8 images, with 75 % zeros in its kernels."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.Flatten(),
            layers.Dense(8, activation="relu", name="hidden"),
            layers.Dense(3, name="logits"),
        ],
        name="cnn",
    )
    for variable in model.trainable_variables:
        value = keras.ops.convert_to_numpy(variable)
        if value.ndim > 1:
            smallest = np.argsort(np.abs(value), axis=None)[: value.size * 3 // 4]
            value = value.copy()
            value.flat[smallest] = 0
            variable.assign(value)
    return model


@pytest.fixture(scope="session")
def cnn():
    return small_cnn()


@pytest.fixture(scope="session")
def cnn_bytes(cnn):
    return convert_model(cnn)


@pytest.fixture(scope="session")
def cnn_dynamic_bytes(cnn):
    return convert_model(cnn, "dynamic")


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(0).random((20, 8, 8, 1)).astype("float32")


@pytest.fixture(scope="session")
def keras_scores(cnn, images):
    return keras.ops.convert_to_numpy(cnn(images, training=False))
