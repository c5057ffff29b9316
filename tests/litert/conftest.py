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


def mobile_net(pool=False, name="mobile"):
    """A MobileNet in small that XNNPACK runs sparse, unless pooling is put into the middle."""
    keras.utils.set_random_seed(3)
    image = keras.Input((16, 16, 3), name="image")
    x = layers.ZeroPadding2D(1)(image)
    x = layers.Conv2D(8, 3, 2, name="stem")(x)
    x = layers.ReLU(6)(x)
    for i, channels in enumerate((24, 48)):
        x = layers.DepthwiseConv2D(3, padding="same", name=f"depthwise_{i}")(x)
        x = layers.ReLU(6)(x)
        x = layers.Conv2D(channels, 1, name=f"pointwise_{i}")(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU(6)(x)
        if pool and i == 0:
            x = layers.MaxPooling2D()(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, layers.Dense(5, name="logits")(x), name=name)
    for layer in model.layers:
        if layer.name.startswith("pointwise"):
            kernel = keras.ops.convert_to_numpy(layer.kernel)
            limit = np.quantile(np.abs(kernel), 0.9)
            layer.kernel.assign(np.where(np.abs(kernel) < limit, -0.0, kernel))
    return model


@pytest.fixture(scope="session")
def mobile():
    return mobile_net()


@pytest.fixture(scope="session")
def mobile_file(mobile, tmp_path_factory):
    """The path of the same as a dense float32 `.tflite` file."""
    path = tmp_path_factory.mktemp("mobile") / "mobile.tflite"
    path.write_bytes(convert_model(mobile))
    return path
