"""Random small Keras models, exported in every way, against Keras itself."""

import keras
import numpy as np
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from litert_files import run

import secateur
from support import only

pytestmark = only("tensorflow")  # one conversion a model, which takes long elsewhere
layers = keras.layers


@st.composite
def networks(draw):
    """A stack of layers on images, some of them pruned, as a function that builds it."""
    channels = st.sampled_from([8, 12, 32])
    convolution = st.builds(
        lambda n, k, s, p, a: lambda: layers.Conv2D(n, k, s, p, activation=a),
        channels,
        st.sampled_from([1, 1, 3]),
        st.sampled_from([1, 2]),
        st.sampled_from(["same", "valid"]),
        st.sampled_from(["relu", "tanh", "swish", None]),
    )
    depthwise = st.builds(
        lambda k, s: lambda: layers.DepthwiseConv2D(k, s, "same"),
        st.sampled_from([3, 5]),
        st.sampled_from([1, 2]),
    )
    others = [
        layers.BatchNormalization,
        lambda: layers.MaxPooling2D(2, padding="same"),
        lambda: layers.ReLU(6),
        lambda: layers.PReLU(shared_axes=[1, 2]),
        lambda: layers.Conv2DTranspose(8, 3, 2, "same"),
        lambda: layers.UpSampling2D(2, interpolation="bilinear"),
        lambda: layers.Dense(24),
    ]
    body = draw(
        st.lists(st.one_of(convolution, depthwise, st.sampled_from(others)), min_size=1, max_size=5)
    )
    stem = draw(st.booleans())
    head = draw(st.sampled_from([layers.GlobalAveragePooling2D, layers.Flatten]))
    return draw(st.integers(0, 99)), draw(st.sampled_from([0.5, 0.9])), stem, body, head


def build(seed, sparsity, stem, body, head):
    keras.utils.set_random_seed(seed)
    stack = [keras.Input((12, 12, 3))]
    if stem:
        stack += [layers.ZeroPadding2D(1), layers.Conv2D(16, 3, 2, activation="relu")]
    model = keras.Sequential([*stack, *(make() for make in body), head(), layers.Dense(16)])
    secateur.prune_once(model, sparsity=sparsity, layers=list(kernels(model)))
    return model


def kernels(model):
    return [layer for layer in model.layers if isinstance(layer, (layers.Conv2D, layers.Dense))]


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(network=networks(), data=st.data())
def test_the_file_computes_what_keras_computes(tmp_path, network, data):
    try:
        model = build(*network)
    except ValueError:  # nothing is left of the image
        reject()
    path = tmp_path / "base.tflite"
    report = secateur.export(model, path, sparse="always")
    x = np.random.default_rng(0).random((3, 12, 12, 3)).astype("float32")
    expected = keras.ops.convert_to_numpy(model(x, training=False))
    scale = np.abs(expected).max() + 1e-6
    np.testing.assert_allclose(run(path.read_bytes(), x)[0], expected, atol=1e-4 * scale)
    assert report.dense_difference in (None, 0) or report.dense_relative_difference < 1e-4
    mode = data.draw(st.sampled_from(["weights", "float16"]))
    secateur.export(path, tmp_path / "small.tflite", quantize=mode, sparse="always")
    found = run((tmp_path / "small.tflite").read_bytes(), x)[0]
    np.testing.assert_allclose(found, expected, atol=0.1 * scale)
