"""Models that are spread over two devices: the same masks on both, laid out like the kernels."""

import keras
import numpy as np
import pytest

import secateur
from support import array, data, dense_model, only, zeros

EXPECTED = [8, 16, 16, 24, 24]


def ramp():
    return secateur.PolynomialDecay(0.25, 0.75, 0, 4, power=1, frequency=2)


def pruned_model(optimizer=None, **kwargs):
    model = dense_model(8, 4, inputs=4, activation="tanh")
    model.compile(optimizer or keras.optimizers.Adam(0.01), "mse", **kwargs)
    secateur.prune(model, ramp())
    return model


class Count(keras.callbacks.Callback):
    """The kernels' zeros after each step."""

    def __init__(self):
        super().__init__()
        self.found = []

    def on_train_batch_end(self, batch, logs=None):
        self.found.append([zeros(layer.kernel) for layer in self.model.layers])


def train(model):
    """Trains five steps on a batch of 8; the zeros after each."""
    x, y = (np.tile(a, (5, 1)) for a in data(8, 4, 4))
    count = Count()
    model.fit(x, y, batch_size=8, shuffle=False, verbose=0, callbacks=[count])
    return count.found


@pytest.fixture(scope="module")
def on_one_device():
    """The weights after the same training on one device."""
    keras.utils.set_random_seed(7)
    model = pruned_model()
    train(model)
    return [array(v) for v in model.weights]


def assert_close(model, weights):
    for variable, weight in zip(model.weights, weights, strict=True):
        found = array(variable)
        np.testing.assert_array_equal(found == 0, weight == 0)
        np.testing.assert_allclose(found, weight, rtol=1e-4, atol=1e-6)


# --- TensorFlow ------------------------------------------------------------------------------------


@pytest.fixture
def mirrored():
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def replicas(variable):
    """The values of a variable on each device."""
    return [np.array(v) for v in variable.value.values]


@only("tensorflow")
def test_mirrored(mirrored, on_one_device):
    with mirrored.scope():
        model = pruned_model()
    assert train(model) == [[n, n] for n in EXPECTED]
    assert_close(model, on_one_device)
    assert model.optimizer.step == 5
    for _, kernel, mask in model.optimizer.pruned():
        first, second = replicas(kernel)
        np.testing.assert_array_equal(first, second)
        first, second = replicas(mask)
        np.testing.assert_array_equal(first, second)


@only("tensorflow")
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.SGD(0.01, momentum=0.9),
        lambda: keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9),
    ],
    ids=["momentum", "EMA"],
)
def test_mirrored_with_other_optimizers(mirrored, optimizer):
    with mirrored.scope():
        model = pruned_model(optimizer())
    assert train(model) == [[n, n] for n in EXPECTED]
    assert [zeros(layer.kernel) for layer in model.layers] == [24, 24]


@only("tensorflow")
def test_mirrored_mixed_precision(mirrored):
    keras.config.set_dtype_policy("mixed_float16")
    with mirrored.scope():
        model = pruned_model()
    assert train(model) == [[n, n] for n in EXPECTED]


@only("tensorflow")
def test_mirrored_resumes(mirrored, tmp_path):
    with mirrored.scope():
        model = pruned_model()
    train(model)
    model.save(tmp_path / "a.keras")
    with mirrored.scope():
        again = keras.models.load_model(tmp_path / "a.keras")
    assert again.optimizer.step == 5
    assert train(again) == [[24, 24]] * 5


@only("tensorflow")
def test_mirrored_prune_outside_the_scope(mirrored, on_one_device):
    with mirrored.scope():
        model = dense_model(8, 4, inputs=4, activation="tanh")
        model.compile(keras.optimizers.Adam(0.01), "mse")
    secateur.prune(model, ramp())
    assert train(model) == [[n, n] for n in EXPECTED]
    assert_close(model, on_one_device)


@only("tensorflow")
def test_prune_once_on_mirrored_variables(mirrored):
    with mirrored.scope():
        model = dense_model(8, 4, inputs=4)
    secateur.prune_once(model, 0.75)
    for layer in model.layers:
        first, second = replicas(layer.kernel)
        assert (first == 0).sum() == 24
        np.testing.assert_array_equal(first, second)


# --- JAX -------------------------------------------------------------------------------------------


@pytest.fixture
def devices():
    found = keras.distribution.list_devices("cpu")
    assert len(found) == 2
    return found


def parallel(devices):
    """Kernels are split over the two devices along their outputs."""
    mesh = keras.distribution.DeviceMesh((1, 2), ("batch", "model"), devices)
    layout = keras.distribution.LayoutMap(mesh)
    layout[".*kernel"] = (None, "model")
    return keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch")


@only("jax")
@pytest.mark.parametrize("kind", ["data", "model"])
def test_parallel(devices, kind, on_one_device):
    if kind == "data":
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    else:
        keras.distribution.set_distribution(parallel(devices))
    model = pruned_model()
    assert train(model) == [[n, n] for n in EXPECTED]
    assert_close(model, on_one_device)


@only("jax")
@pytest.mark.parametrize(
    ("structure", "allocation"),
    [
        (secateur.Block((2, 2)), secateur.Uniform()),
        (secateur.Unstructured(), secateur.Global()),
        (secateur.MByN(2, 4), secateur.Uniform()),
    ],
    ids=["block", "global", "2 by 4"],
)
def test_model_parallel_with_structure(devices, structure, allocation):
    found = []
    for distribution in (None, parallel(devices)):
        keras.distribution.set_distribution(distribution)
        keras.utils.set_random_seed(7)
        model = dense_model(8, 4, inputs=4, activation="tanh")
        model.compile(keras.optimizers.SGD(0.01), "mse")
        secateur.prune(model, ramp(), structure=structure, allocation=allocation)
        train(model)
        found.append([array(v) for v in model.weights])
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one == 0, two == 0)
    assert (found[0][0] == 0).any()


@only("jax")
def test_masks_are_laid_out_like_their_kernels(devices):
    keras.distribution.set_distribution(parallel(devices))
    model = pruned_model()
    train(model)
    for _, kernel, mask in model.optimizer.pruned():
        assert tuple(kernel.value.sharding.spec) == (None, "model")
        assert mask.value.sharding == kernel.value.sharding
        assert len(mask.value.sharding.device_set) == 2


@only("jax")
def test_model_parallel_resumes(devices, tmp_path):
    keras.distribution.set_distribution(parallel(devices))
    model = pruned_model()
    train(model)
    model.save_weights(tmp_path / "a.weights.h5")
    again = pruned_model()
    again.load_weights(tmp_path / "a.weights.h5")
    assert again.optimizer.step == 5
    for _, kernel, mask in again.optimizer.pruned():
        assert mask.value.sharding == kernel.value.sharding
    assert train(again) == [[24, 24]] * 5


@only("jax")
def test_prune_once_keeps_the_layout(devices):
    keras.distribution.set_distribution(parallel(devices))
    model = dense_model(8, 4, inputs=4)
    before = [layer.kernel.value.sharding for layer in model.layers]
    secateur.prune_once(model, 0.75)
    assert [layer.kernel.value.sharding for layer in model.layers] == before
    assert [zeros(layer.kernel) for layer in model.layers] == [24, 24]
