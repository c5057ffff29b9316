"""Models that the tests of this folder share; nothing here depends on the Keras backend."""

from pathlib import Path

import keras
import numpy as np
import pytest
from benchmarking_support import convert, eligible_model

from secateur.benchmarking import litertjs
from secateur.benchmarking.arm64 import kit
from secateur.benchmarking.targets.web import Web


def pytest_collection_modifyitems(items):
    """These tests run once, not once for each backend: they need TensorFlow's converter."""
    if keras.config.backend() == "tensorflow":
        return
    here = Path(__file__).parent
    for item in items:
        if here in Path(item.fspath).parents:
            item.add_marker(pytest.mark.skip(reason="does not depend on the Keras backend"))


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def model():
    return eligible_model()


@pytest.fixture(scope="session")
def dense(folder, model):
    """A file with zeros in it, stored as all other weights."""
    return convert(model, folder / "dense.tflite")


@pytest.fixture(scope="session")
def sparse(folder, model):
    """The same weights in the encoding that switches XNNPACK's sparse kernels on."""
    import tensorflow as tf

    return convert(model, folder / "sparse.tflite", tf.lite.Optimize.EXPERIMENTAL_SPARSITY)


@pytest.fixture(scope="session")
def int8(folder, model):
    """The same network in whole numbers, input and output included."""
    import tensorflow as tf

    rng = np.random.default_rng(0)

    def images():
        for _ in range(8):
            yield [rng.random((1, 32, 32, 3), np.float32)]

    return convert(model, folder / "int8.tflite", tf.lite.Optimize.DEFAULT, representative=images)


@pytest.fixture(scope="session")
def image():
    return np.random.default_rng(1).random((1, 32, 32, 3), np.float32)


@pytest.fixture(scope="session")
def keras_output(model, image):
    return keras.ops.convert_to_numpy(model(image, training=False)).ravel()


@pytest.fixture(scope="session")
def node():
    """LiteRT.js in Node, installed if npm is there."""
    if (missing := Web().available()) is not None:
        pytest.skip(missing)
    litertjs.install()
    return Web()


@pytest.fixture(scope="session")
def arm64():
    """The emulated ARM processor, downloaded if this is a Debian that can."""
    if not kit.installed() and (obstacle := kit.obstacle()) is not None:
        pytest.skip(obstacle)
    kit.install()
    return kit.folder()


@pytest.fixture
def no_cache(tmp_path, monkeypatch):
    """An empty cache: nothing is installed."""
    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def no_programs(tmp_path, monkeypatch):
    """A PATH with no programs; returns the folder to put some in."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    return programs
