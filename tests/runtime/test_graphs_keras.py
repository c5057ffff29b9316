"""Stock Keras networks, pruned and exported plainly, run natively and give LiteRT's numbers."""

import keras
import numpy as np
import pytest
from runtime_files import compare, values

from secateur.litert import convert_model
from support import only

pytestmark = only("tensorflow")  # the converter is TensorFlow's

SIZE = 64
NETWORKS = {
    "MobileNet": {"alpha": 0.5},
    "MobileNetV2": {"alpha": 0.35},
    "MobileNetV3Small": {"minimalistic": False, "alpha": 0.75},
    "EfficientNetB0": {},
}


def pruned(name):
    """A network of random weights with 90 % zeros in its 1x1 kernels and uneven batch statistics."""
    build = getattr(keras.applications, name)
    model = build(weights=None, input_shape=(SIZE, SIZE, 3), classes=10, **NETWORKS[name])
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            scale, shift, *others = layer.get_weights()
            shift = shift + 0.1 * rng.normal(size=shift.shape)
            layer.set_weights([scale + 0.1 * rng.normal(size=scale.shape), shift, *others])
        if type(layer) is keras.layers.Conv2D and layer.kernel_size == (1, 1):
            kernel, *others = layer.get_weights()
            limit = np.quantile(np.abs(kernel), 0.9)
            layer.set_weights([np.where(np.abs(kernel) <= limit, 0, kernel), *others])
    return model


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_runs_natively_and_sparse(name):
    model = pruned(name)
    content = convert_model(model)
    pointwise = sum(
        type(layer) is keras.layers.Conv2D and layer.kernel_size == (1, 1) for layer in model.layers
    )
    for batch in (1, 2):
        ours = compare(content, values(batch, SIZE, SIZE, 3), num_threads=batch)
        plan = ours.plan()
        assert plan.segments == ("native",)
        sparse = [layer for layer in plan.layers if layer.zeros and layer.zeros > 0.8]
        assert len(sparse) == pointwise
        assert all(layer.sparse for layer in sparse if layer.shape and np.prod(layer.shape) > 4096)
    chosen = compare(content, values(1, SIZE, SIZE, 3), native="auto")
    assert chosen.plan().sparse
    expected = keras.ops.convert_to_numpy(model(values(1, SIZE, SIZE, 3), training=False))
    found = chosen.get_tensor(chosen.get_output_details()[0]["index"])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
