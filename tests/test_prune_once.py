"""The verb `prune_once`: one shot, without training, with batch normalization computed anew."""

import keras
import numpy as np
import pytest

import secateur
from support import array, dense_model, largest, random, same, weights, zeros

L = keras.layers


def test_the_smallest_weights_go_at_once():
    model = dense_model(8, 4, inputs=4)
    before = [array(layer.kernel) for layer in model.layers]
    report = secateur.prune_once(model, 0.75)
    for layer, kernel in zip(model.layers, before, strict=True):
        expected = np.where(largest(kernel, 8), kernel, 0)
        np.testing.assert_array_equal(array(layer.kernel), expected)
    assert report.sparsity == 0.75
    assert report.target == 0.75


def test_no_negative_zeros():
    model = dense_model(8, inputs=4)
    secateur.prune_once(model, 0.75)
    kernel = array(model.layers[0].kernel)
    assert not np.signbit(kernel[kernel == 0]).any()


def test_equal_weights_are_pruned_to_the_number_from_the_end():
    model = dense_model(4, inputs=2)
    model.layers[0].kernel.assign(np.ones((2, 4), "float32"))
    secateur.prune_once(model, 0.5)
    np.testing.assert_array_equal(array(model.layers[0].kernel), [[1] * 4, [0] * 4])


def test_pruning_twice_at_once_changes_nothing_more():
    model = dense_model(8, inputs=4)
    secateur.prune_once(model, 0.75)
    before = weights(model)
    secateur.prune_once(model, 0.75)
    same(weights(model), before)


def test_a_smaller_target_after_a_larger_one_brings_nothing_back():
    model = dense_model(8, inputs=4)
    secateur.prune_once(model, 0.75)
    report = secateur.prune_once(model, 0.25)
    assert report.sparsity == 0.75


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision(dtype):
    keras.config.set_dtype_policy(dtype)
    model = dense_model(8, inputs=4)
    before = array(model.layers[0].kernel).astype("float32")
    secateur.prune_once(model, 0.75)
    after = array(model.layers[0].kernel)
    assert model.layers[0].kernel.dtype == dtype
    np.testing.assert_array_equal(after.astype("float32"), np.where(largest(before, 8), before, 0))


def test_a_compiled_model_keeps_its_optimizer():
    model = dense_model(8, inputs=4)
    model.compile("adam", "mse")
    adam = model.optimizer
    secateur.prune_once(model, 0.5)
    assert model.optimizer is adam


def test_a_prediction_made_before_is_not_remembered():
    model = dense_model(4, inputs=4)
    x = random(3, 4)
    model.predict(x, verbose=0)
    secateur.prune_once(model, 0.5)
    np.testing.assert_allclose(
        model.predict(x, verbose=0), x @ array(model.layers[0].kernel), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("sparsity", [1.0, -0.5, float("nan"), "0.5", None])
def test_a_sparsity_out_of_range_is_refused(sparsity):
    model = dense_model(4, inputs=4)
    before = weights(model)
    with pytest.raises(ValueError, match="Received: "):
        secateur.prune_once(model, sparsity)
    same(weights(model), before)


# --- batch normalization ---------------------------------------------------------------------------


def normalized_model(**kwargs):
    return keras.Sequential(
        [keras.Input((4,)), L.Dense(6, use_bias=False), L.BatchNormalization(**kwargs), L.Dense(2)]
    )


def statistics(model, index=1):
    layer = model.layers[index]
    return array(layer.moving_mean), array(layer.moving_variance)


def expected_statistics(model, batches):
    """Averages of the batches' means and variances, weighted by their sizes."""
    kernel = array(model.layers[0].kernel)
    sizes = [len(batch) for batch in batches]
    means = [(batch @ kernel).mean(axis=0) for batch in batches]
    variances = [(batch @ kernel).var(axis=0) for batch in batches]
    return np.average(means, axis=0, weights=sizes), np.average(variances, axis=0, weights=sizes)


def assert_statistics(model, batches):
    for found, expected in zip(statistics(model), expected_statistics(model, batches), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_statistics_are_those_of_the_pruned_model():
    model = normalized_model()
    x = random(64, 4)
    secateur.prune_once(model, 0.5, data=x, batch_size=16)
    assert_statistics(model, np.split(x, 4))


def test_the_momentum_does_not_matter_and_is_kept():
    model = normalized_model(momentum=0.123)
    x = random(64, 4)
    secateur.prune_once(model, 0.5, data=x, batch_size=16)
    assert_statistics(model, np.split(x, 4))
    assert model.layers[1].momentum == 0.123


def test_statistics_of_before_do_not_matter():
    model = normalized_model()
    model.layers[1].moving_mean.assign(np.full(6, 1e6, "float32"))
    model.layers[1].moving_variance.assign(np.full(6, 1e6, "float32"))
    x = random(32, 4)
    secateur.prune_once(model, 0.5, data=x)
    assert_statistics(model, [x])


def test_a_short_last_batch_counts_for_what_it_holds():
    model = normalized_model()
    x = random(33, 4)
    secateur.prune_once(model, 0.5, data=x, batch_size=32)
    assert_statistics(model, [x[:32], x[32:]])


@pytest.mark.parametrize("kind", ["list", "generator", "tuple"])
def test_an_iterable_of_batches(kind):
    model = normalized_model()
    batches = [random(8, 4), random(8, 4, seed=1)]
    given = {"list": batches, "generator": (b for b in batches), "tuple": tuple(batches)}[kind]
    secateur.prune_once(model, 0.5, data=given)
    assert_statistics(model, batches)


def test_a_tensorflow_dataset():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("is about tf.data")
    import tensorflow as tf

    model = normalized_model()
    x = random(16, 4)
    secateur.prune_once(model, 0.5, data=tf.data.Dataset.from_tensor_slices(x).batch(8))
    assert_statistics(model, [x[:8], x[8:]])


def test_several_inputs():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    hidden = L.BatchNormalization()(L.Dense(6)(L.Concatenate()([a, b])))
    model = keras.Model({"a": a, "b": b}, hidden)
    x = random(8, 4)
    secateur.prune_once(model, 0.5, data=[{"a": x, "b": 2 * x}])
    joined = np.concatenate([x, 2 * x], axis=1) @ array(model.layers[-2].kernel)
    np.testing.assert_allclose(statistics(model, -1)[0], joined.mean(axis=0), rtol=1e-4, atol=1e-5)


def test_dropout_is_off_and_stays_as_it_was():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            L.Dropout(0.9),
            L.Dense(6, use_bias=False),
            L.BatchNormalization(),
        ]
    )
    x = random(64, 4)
    secateur.prune_once(model, 0.5, data=x, batch_size=64)
    kernel = array(model.layers[1].kernel)
    np.testing.assert_allclose(statistics(model, 2)[1], (x @ kernel).var(axis=0), rtol=1e-4)
    assert model.layers[0].rate == 0.9


def test_noise_is_off():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            L.GaussianNoise(1.0),
            L.Dense(6, use_bias=False),
            L.BatchNormalization(),
        ]
    )
    x = random(64, 4)
    secateur.prune_once(model, 0.5, data=x, batch_size=64)
    kernel = array(model.layers[1].kernel)
    np.testing.assert_allclose(statistics(model, 2)[1], (x @ kernel).var(axis=0), rtol=1e-4)


def test_dropout_inside_recurrent_and_attention_layers_is_off():
    model = keras.Sequential(
        [
            keras.Input((3, 4)),
            L.LSTM(5, dropout=0.5, recurrent_dropout=0.5, return_sequences=True),
            L.BatchNormalization(),
        ]
    )
    x = random(16, 3, 4)
    secateur.prune_once(model, 0.5, data=x, batch_size=16)
    quiet = keras.Sequential([keras.Input((3, 4)), model.layers[0]])
    hidden = quiet.predict(x, verbose=0)
    np.testing.assert_allclose(statistics(model)[0], hidden.mean(axis=(0, 1)), rtol=1e-3, atol=1e-5)


def test_a_frozen_normalization_keeps_its_statistics():
    model = normalized_model()
    model.layers[1].trainable = False
    before = statistics(model)
    secateur.prune_once(model, 0.5, data=random(16, 4))
    same(statistics(model), before)


def test_without_data_the_statistics_stay():
    model = normalized_model()
    before = statistics(model)
    secateur.prune_once(model, 0.5)
    same(statistics(model), before)


def test_recalibration_changes_no_weight():
    first, second = normalized_model(), normalized_model()
    second.set_weights(first.get_weights())
    secateur.prune_once(first, 0.5)
    secateur.prune_once(second, 0.5, data=random(16, 4))
    same(
        [array(v) for v in first.trainable_variables],
        [array(v) for v in second.trainable_variables],
    )


def test_normalizations_inside_models_are_found():
    inner = normalized_model()
    model = keras.Sequential([keras.Input((4,)), inner])
    x = random(16, 4)
    secateur.prune_once(model, 0.5, data=x)
    assert_statistics(inner, [x])


BAD = {
    "empty list": lambda: [],
    "empty array": lambda: np.zeros((0, 4), "float32"),
    "no iterable": lambda: 3,
    "wrong shape": lambda: random(8, 5),
    "text": lambda: "data",
    "broken generator": lambda: (random(8, 4) if i < 2 else 1 / 0 for i in range(3)),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_data_changes_nothing(kind):
    model = normalized_model()
    before = weights(model)
    with pytest.raises(Exception):  # noqa: B017 (what Keras raises differs by backend)
        secateur.prune_once(model, 0.5, data=BAD[kind]())
    same(weights(model), before)
    assert model.layers[1].momentum == 0.99


@pytest.mark.parametrize("kind", ["empty list", "empty array", "no iterable"])
def test_bad_data_is_named(kind):
    with pytest.raises(ValueError, match="`data`.*Received: data="):
        secateur.prune_once(normalized_model(), 0.5, data=BAD[kind]())


def test_data_for_a_model_without_normalization_is_said_to_be_of_no_use():
    model = dense_model(4, inputs=4)
    report = secateur.prune_once(model, 0.5, data=random(8, 4))
    assert any("batch-normalization" in note for note in report.notes)
    assert "batch-normalization" in str(report)


def test_the_report_says_how_many_layers_were_recalibrated():
    report = secateur.prune_once(normalized_model(), 0.5, data=random(8, 4))
    assert any("1 batch-normalization" in note for note in report.notes)


def test_only_kernels_are_touched():
    model = normalized_model()
    secateur.prune_once(model, 0.9, structure=secateur.Block((2, 1)))
    assert zeros(model.layers[1].gamma) == 0
