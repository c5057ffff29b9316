"""`adapt`: the rewritten model computes the same, can run sparse, and is the same to work with."""

import keras
import numpy as np
import pytest
from battery import (
    SIZE,
    head,
    layer,
    map_and_head,
    network,
    pointwise,
    pool,
    separable,
    shrink,
    sparsify,
    stem,
)
from keras import layers as L
from keras import ops

import secateur
from secateur import xnnpack
from support import BACKEND, array, only


def dense_gate(x):
    """Squeeze-and-excite out of Dense layers."""
    y = L.GlobalAveragePooling2D()(x)
    y = L.Dense(16, activation="hard_sigmoid")(L.Dense(8, activation="relu")(y))
    return L.Multiply()([x, L.Reshape((1, 1, 16))(y)])


def hard_gate(x):
    y = pointwise(pool(x), 8)
    return L.Multiply()([x, L.Conv2D(16, 1, activation="hard_sigmoid")(y)])


def gate_by_hand(x):
    """As in keras.applications.MobileNetV3."""
    y = L.Conv2D(16, 1)(pointwise(pool(x), 8))
    y = L.ReLU(6.0)(y + 3.0) * (1.0 / 6.0)
    return L.Conv2D(16, 1)(L.Multiply()([x, y]))


def strided_residual(x):
    y = L.DepthwiseConv2D(3, 2, padding="same")(x)
    return L.Add()([L.Conv2D(16, 1, 2)(x), L.Conv2D(16, 1)(y)])


def normalized_5x5(x):
    x = L.DepthwiseConv2D(5, 2, padding="same", use_bias=False)(x)
    return L.ReLU()(L.BatchNormalization()(x))


def padded_below(x):
    return L.DepthwiseConv2D(3, 2)(L.ZeroPadding2D(((0, 1), (0, 1)))(x))


def three_times(make):
    """On sizes 12, 6 and 3."""
    return lambda x: make(make(make(x)))


SAME = layer(L.DepthwiseConv2D, 3, 2, padding="same")
# Networks that are not eligible, and have an exact form that is.
EXACT = {
    "depthwise same": lambda: network(SAME),
    "depthwise same, odd size": lambda: network(three_times(SAME)),
    "depthwise padded below": lambda: network(padded_below),
    "depthwise 5x5 same": lambda: network(normalized_5x5),
    "depthwise dilation 2": lambda: network(
        layer(L.DepthwiseConv2D, 3, padding="same", dilation_rate=2)
    ),
    "depthwise 3x5": lambda: network(layer(L.DepthwiseConv2D, (3, 5), padding="same")),
    "depthwise 2x2": lambda: network(layer(L.DepthwiseConv2D, 2, 2)),
    "SeparableConv2D same": lambda: network(
        layer(L.SeparableConv2D, 16, 3, 2, padding="same", activation="relu")
    ),
    "Dense on a map": lambda: network(layer(L.Dense, 16, activation="relu"), batch=None),
    "squeeze and excite by Dense": lambda: network(dense_gate, batch=None),
    "hard_sigmoid": lambda: network(hard_gate),
    "hard_sigmoid by hand": lambda: network(gate_by_hand),
    "pooled gate": lambda: network(lambda x: x * ops.sigmoid(pool(x))),
    "pointwise head": lambda: network(end=lambda x: L.Conv2D(10, 1)(pool(x))),
    "pointwise head, flattened": lambda: network(
        end=lambda x: L.Softmax()(L.Flatten()(L.Conv2D(10, 1)(L.Dropout(0.1)(pool(x))))), batch=None
    ),
    "softmax of pooled pixels": lambda: network(end=lambda x: L.Softmax()(pool(x))),
    "normalization behind an activation": lambda: network(
        lambda x: L.DepthwiseConv2D(3, padding="same")(L.BatchNormalization()(pointwise(x)))
    ),
    "normalization before 1x1": lambda: network(
        lambda x: pointwise(L.BatchNormalization()(pointwise(x)))
    ),
    "PReLU": lambda: network(
        lambda x: L.PReLU(shared_axes=[1, 2], alpha_initializer="uniform")(L.Conv2D(16, 1)(x))
    ),
    "Subtract": lambda: network(lambda x: L.Subtract()([x, pointwise(x)])),
    "Concatenate": lambda: network(lambda x: pointwise(L.Concatenate()([x, pointwise(x)]))),
    "average of 2x2": lambda: network(layer(L.AveragePooling2D, 2)),
    "average of all": lambda: network(
        end=lambda x: L.Dense(10)(L.Flatten()(L.AveragePooling2D(SIZE // 2)(x)))
    ),
    "flattened pixel": lambda: network(end=lambda x: L.Dense(3)(L.Flatten()(shrink(shrink(x))))),
    "strided and grouped 1x1": lambda: network(layer(L.Conv2D, 16, 1, groups=2, strides=2)),
    "strided residual": lambda: network(strided_residual),
    "gray images": lambda: network(channels=1),
    "stem 2x2": lambda: network(begin=layer(L.Conv2D, 8, 2, 2)),
    "models in models": lambda: keras.Sequential(
        [keras.Input((SIZE, SIZE, 3)), network(SAME, batch=None), L.Softmax()]
    ),
    "end Flatten": lambda: network(end=lambda x: L.Dense(10)(L.Flatten()(x))),
    "end GlobalMaxPooling": lambda: network(end=lambda x: L.Dense(10)(L.GlobalMaxPooling2D()(x))),
    "map and head": lambda: network(end=map_and_head),
    "output inside": lambda: network(end=lambda x: [x, head(separable(x))]),
}


def outputs(model, image):
    return [array(y) for y in keras.tree.flatten(model(image, training=False))]


def image_for(model, seed=1):
    shape = (model.input_shape[0] or 2, *model.input_shape[1:])
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


# Eager operations are slow on JAX; the rewrites are the same code on every backend.
SOME = ("depthwise 5x5 same", "squeeze and excite by Dense", "pointwise head, flattened", "PReLU")


@pytest.mark.parametrize("name", EXACT if BACKEND == "tensorflow" else SOME)
def test_exact_rewrites(name):
    model = sparsify(EXACT[name]())
    assert not xnnpack.check(model).eligible
    adapted = xnnpack.adapt(model)
    report = xnnpack.check(adapted)
    assert report.eligible, report.obstacles
    assert report.safe
    assert adapted.adaptation.exact
    assert adapted.adaptation.changes
    image = image_for(model)
    for y, expected in zip(outputs(adapted, image), outputs(model, image), strict=True):
        assert y.shape == expected.shape
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=2e-5 * np.max(np.abs(expected)))


@only("tensorflow")
@pytest.mark.parametrize("name", ["depthwise 5x5 same", "Concatenate", "end Flatten", "PReLU"])
def test_the_file_runs_sparse_as_the_check_says(name):
    from xnnpack_support import convert

    model = sparsify(EXACT[name]())
    adapted = xnnpack.adapt(model)
    plan = xnnpack.sparse_weights(convert(adapted))
    assert plan.safe
    assert len(plan.weights) == len(xnnpack.check(adapted).convolutions)


def test_what_runs_sparse_up_to_a_layer_ends_there():
    model = sparsify(network(layer(L.MaxPooling2D)))
    adapted = xnnpack.adapt(model)
    report = xnnpack.check(adapted)
    assert (report.safe, report.eligible, len(report.sparse)) == (True, False, 2)
    assert report.obstacles == ["max_pooling2d: XNNPACK has no sparse form of it"]
    assert "max_pooling2d: XNNPACK has no sparse form of it" in str(adapted.adaptation)
    image = image_for(model)
    np.testing.assert_allclose(outputs(adapted, image)[0], outputs(model, image)[0], rtol=1e-4)


def even_stem(batch=None):
    return network(SAME, begin=layer(L.Conv2D, 8, 3, 2, "same", name="stem"), batch=batch)


def test_an_even_stem_is_changed_only_where_that_is_allowed():
    model = sparsify(even_stem())
    adapted = xnnpack.adapt(model)
    assert adapted.adaptation.changes == ()
    assert "allow_approximate=True" in str(adapted.adaptation)
    image = image_for(model)
    np.testing.assert_array_equal(outputs(adapted, image)[0], outputs(model, image)[0])

    moved = xnnpack.adapt(model, allow_approximate=True)
    assert xnnpack.check(moved).eligible
    assert not moved.adaptation.exact
    assert [c.layer for c in moved.adaptation.changes if not c.exact] == ["stem"]
    assert moved.adaptation.difference > 0
    assert moved.adaptation.measured_on == "4 random images"


def test_a_moved_stem_sees_the_image_moved_by_a_pixel():
    inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(4, 3, 2, "same", name="stem")(inputs)
    model = keras.Model(inputs, head(L.Conv2D(4, 1)(x)))
    moved = xnnpack.adapt(model, allow_approximate=True)
    image = np.random.default_rng(0).normal(size=(1, 8, 8, 3)).astype("float32")
    image[:, 0] = image[:, :, 0] = image[:, -1] = image[:, :, -1] = 0  # else the border differs
    back = np.roll(image, (-1, -1), (1, 2))
    np.testing.assert_allclose(
        outputs(moved, back)[0], outputs(model, image)[0], rtol=1e-5, atol=1e-6
    )


def test_5x5_windows_move_only_where_that_is_allowed():
    model = network(layer(L.DepthwiseConv2D, 5, 2, padding="same", name="wide"))
    (exact,) = xnnpack.adapt(model).adaptation.changes
    (moved,) = xnnpack.adapt(model, allow_approximate=True).adaptation.changes
    assert (exact.layer, exact.exact) == ("wide", True)
    assert (moved.layer, moved.exact) == ("wide", False)


def test_the_difference_on_data():
    model = network(SAME, batch=None)
    data = np.random.default_rng(0).normal(size=(3, SIZE, SIZE, 3)).astype("float32")
    adaptation = xnnpack.adapt(model, data=data).adaptation
    assert adaptation.difference < 1e-5
    assert adaptation.measured_on == "the given data"


def test_layers_keep_names_weights_and_whether_they_are_trainable():
    model = network(lambda x: L.BatchNormalization(name="norm")(SAME(x)))
    model.get_layer("norm").trainable = False
    before = [array(v) for v in model.variables]
    adapted = xnnpack.adapt(model)
    for old in model.layers:
        new = adapted.get_layer(old.name)
        assert new.trainable == old.trainable
        if type(old) is not L.DepthwiseConv2D:
            for a, b in zip(new.weights, old.weights, strict=True):
                np.testing.assert_array_equal(array(a), array(b))
    (name,) = [layer.name for layer in model.layers if "depthwise" in layer.name][2:3]
    old, new = model.get_layer(name), adapted.get_layer(name)
    # 12 pixels: "same" starts at the pixel itself, so the taps are the last 3x3 of the 5x5.
    np.testing.assert_array_equal(array(new.kernel)[2:, 2:], array(old.kernel))
    assert np.count_nonzero(array(new.kernel)) == np.count_nonzero(array(old.kernel))
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(array(variable), value)
    assert adapted.name == model.name
    assert adapted.layers[0].name == model.layers[0].name


def test_the_result_is_pruned_trained_saved_and_runs_sparse(tmp_path):
    model = xnnpack.adapt(network(lambda x: dense_gate(SAME(x)), batch=None))
    model.compile("sgd", "mse")
    policy = secateur.PruneForLatencyOnXNNPack()
    report = secateur.prune(model, sparsity=0.75, policy=policy)
    assert len(report.pruned) == 5
    image = np.random.default_rng(0).normal(size=(4, SIZE, SIZE, 3)).astype("float32")
    model.fit(image, np.zeros((4, 10), "float32"), batch_size=2, verbose=0)
    assert xnnpack.check(model).runs_sparse
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert xnnpack.check(again).runs_sparse


def test_a_model_that_is_eligible_is_copied():
    model = network()
    adapted = xnnpack.adapt(model)
    assert adapted is not model
    assert adapted.adaptation.changes == ()
    assert "from the start" in str(adapted.adaptation)
    image = image_for(model)
    np.testing.assert_array_equal(outputs(adapted, image)[0], outputs(model, image)[0])


def test_inputs_and_outputs_keep_their_structure():
    one, two = keras.Input((SIZE, SIZE, 3), name="one"), keras.Input((SIZE, SIZE, 3), name="two")
    first, second = head(SAME(separable(stem(one)))), head(separable(stem(two)))
    model = keras.Model({"one": one, "two": two}, {"a": first, "b": [second, first]})
    adapted = xnnpack.adapt(model)
    assert adapted.adaptation.changes
    images = {name: image_for(network(batch=None), seed) for name, seed in (("one", 1), ("two", 2))}
    found, expected = adapted(images), model(images)
    assert set(found) == {"a", "b"}
    assert len(found["b"]) == 2
    np.testing.assert_allclose(array(found["b"][1]), array(expected["b"][1]), rtol=1e-4, atol=1e-5)


def test_shared_layers():
    inputs = keras.Input((SIZE, SIZE, 3))
    shared = L.Conv2D(16, 1, activation="relu", name="shared")
    x = L.Conv2D(16, 1)(stem(inputs))
    model = keras.Model(inputs, head(shared(SAME(shared(x)))))
    adapted = xnnpack.adapt(model)
    assert xnnpack.check(adapted).eligible
    assert adapted.count_params() == model.count_params() + 16 * (25 - 9)


# How many 1x1 convolutions they have. JAX takes long to compile the larger ones.
APPLICATIONS = {"MobileNet": 13}
if BACKEND != "jax":
    APPLICATIONS |= {"MobileNetV2": 34, "MobileNetV3Small": 41}


@pytest.mark.parametrize("name", APPLICATIONS)
def test_applications(name):
    """A stem that is padded unevenly, and everything else exact."""
    small = {"MobileNet": 0.25, "MobileNetV2": 0.35}.get(name, 1.0)
    model = getattr(keras.applications, name)(
        input_shape=(64, 64, 3), alpha=small, weights=None, classes=7
    )
    before = xnnpack.check(model)
    assert (before.eligible, before.runs_sparse) == (False, False)
    adapted = xnnpack.adapt(model, allow_approximate=True)
    assert xnnpack.check(adapted).eligible
    secateur.prune_once(adapted, 0.75, policy=secateur.PruneForLatencyOnXNNPack())
    report = xnnpack.check(adapted)
    assert len(report.sparse) == APPLICATIONS[name]
    assert {op.name for op in report.operations if op.pointwise and not op.sparse} <= {
        *("conv_preds", "predictions", "logits")
    }


@only("tensorflow")
def test_efficientnet():
    model = keras.applications.EfficientNetB0(input_shape=(32, 32, 3), weights=None, classes=5)
    adapted = xnnpack.adapt(model, allow_approximate=True)
    report = xnnpack.check(adapted)
    assert report.eligible
    assert len(report.convolutions) == 64


def test_subclassed_models_are_refused():
    class Subclassed(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match="Export it with"):
        xnnpack.adapt(Subclassed())
    with pytest.raises(ValueError, match="no input shape yet"):
        xnnpack.adapt(keras.Sequential([L.Dense(2)]))


def test_the_report_as_data():
    adaptation = xnnpack.adapt(sparsify(network(SAME))).adaptation
    found = adaptation.to_dict()
    assert found["exact"]
    assert found["eligible"]
    assert found["changes"][0]["exact"]
    assert found["before"]["eligible"] is False
    assert found["after"]["parts"][0]["sparse"] is True
    assert "5x5" in adaptation._repr_html_()
    assert '"exact": true' in adaptation.to_json()
