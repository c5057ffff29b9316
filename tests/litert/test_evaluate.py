"""Evaluation: the same outputs as Keras, whatever the batch size, and clear refusals."""

import contextlib

import numpy as np
import pytest

from secateur.litert import accuracy, predict


@pytest.mark.parametrize("batch_size", [1, 7, 20, 1000])
def test_predicts_what_keras_predicts(cnn_bytes, images, keras_scores, batch_size):
    scores = predict(cnn_bytes, images, batch_size=batch_size)
    np.testing.assert_allclose(scores, keras_scores, atol=1e-5)


def test_a_path_does_as_well_as_bytes(cnn_bytes, images, tmp_path):
    (tmp_path / "model.tflite").write_bytes(cnn_bytes)
    np.testing.assert_array_equal(
        predict(tmp_path / "model.tflite", images), predict(cnn_bytes, images)
    )


def test_accuracy_is_the_share_of_right_labels(cnn_bytes, images, keras_scores):
    right = keras_scores.argmax(axis=1)
    labels = right.copy()
    labels[:5] = (labels[:5] + 1) % 3  # a quarter of 20 is now wrong
    assert accuracy(cnn_bytes, images, right) == 1.0
    assert accuracy(cnn_bytes, images, labels, batch_size=6) == 0.75


def test_whole_numbers_are_taken_as_they_are(cnn_bytes):
    pixels = np.random.default_rng(0).integers(0, 255, (3, 8, 8, 1), dtype="uint8")
    np.testing.assert_array_equal(
        predict(cnn_bytes, pixels), predict(cnn_bytes, pixels.astype("float32"))
    )


def test_quantized_weights_give_nearly_the_same(cnn_dynamic_bytes, images, keras_scores):
    scores = predict(cnn_dynamic_bytes, images)
    assert np.abs(scores - keras_scores).max() < 0.1


def test_examples_of_another_shape(cnn_bytes):
    with pytest.raises(ValueError, match=r"\(n, 8, 8, 1\).*Received: x.shape=\(2, 9, 8, 1\)"):
        predict(cnn_bytes, np.zeros((2, 9, 8, 1), "float32"))
    with pytest.raises(ValueError, match="do not fit the model"):
        predict(cnn_bytes, np.zeros((2, 64), "float32"))


def test_no_examples(cnn_bytes):
    with pytest.raises(ValueError, match="at least one"):
        predict(cnn_bytes, np.zeros((0, 8, 8, 1), "float32"))


def test_examples_of_another_kind(cnn_bytes):
    with pytest.raises(ValueError, match=r"Expected float32. Received: x.dtype=complex64"):
        predict(cnn_bytes, np.zeros((2, 8, 8, 1), "complex64"))


def test_a_batch_size_of_nothing(cnn_bytes, images):
    with pytest.raises(ValueError, match="Received: batch_size=0"):
        predict(cnn_bytes, images, batch_size=0)


def test_as_many_labels_as_examples(cnn_bytes, images):
    with pytest.raises(ValueError, match=r"shape \(20,\).*Received: y.shape=\(20, 1\)"):
        accuracy(cnn_bytes, images, np.zeros((20, 1), int))


@pytest.mark.parametrize("content", [b"", b"not a model at all", b"\x1c\0\0\0TFL3" + b"\xff" * 64])
def test_a_file_that_is_no_model(content, images):
    with pytest.raises(ValueError, match=r"Received: file="):
        predict(content, images)


def test_a_missing_file(tmp_path, images):
    with pytest.raises(FileNotFoundError, match="Received: path="):
        predict(tmp_path / "gone.tflite", images)


@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_file_does_not_end_this_process(cnn_bytes, images, seed):
    data, rng = np.frombuffer(cnn_bytes, np.uint8).copy(), np.random.default_rng(seed)
    for place in rng.integers(8, len(data), 10):
        data[place] ^= 1 << rng.integers(8)
    with contextlib.suppress(ValueError):
        assert len(predict(data.tobytes(), images)) == len(images)


def test_threads(cnn_bytes, images):
    np.testing.assert_allclose(
        predict(cnn_bytes, images, num_threads=2), predict(cnn_bytes, images), atol=1e-6
    )
