"""The walkthrough from start to end, on a few hundred easy images."""

import json

import keras
import numpy as np
import pytest

from secateur import datasets
from secateur.litert import accuracy, measure
from secateur.tutorials import mnist

FILES = [
    "baseline.keras",
    "baseline.h5",
    "baseline.tflite",
    "pruned.keras",
    "pruned.h5",
    "pruned.tflite",
    "pruned_quantized.tflite",
]


def bars(n, seed):
    """Images of a bright bar at the height of its class, in some noise."""
    generator = np.random.default_rng(seed)
    y = np.arange(n) % 10
    x = generator.integers(0, 60, (n, 28, 28))
    for image, label in zip(x, y, strict=True):
        image[2 * label + 3 : 2 * label + 6] += 190
    return x.astype("uint8"), y.astype("uint8")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "bars.npz"
    (x_train, y_train), (x_test, y_test) = bars(600, 0), bars(100, 1)
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return path


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    """The result and the folder of a short run, at another sparsity than the default."""
    folder = tmp_path_factory.mktemp("walkthrough") / "new" / "folder"
    result = mnist.run(sparsity=0.7, epochs=2, baseline_epochs=3, seed=3, output=folder, data=data)
    return result, folder


def test_the_model_is_that_of_the_tutorial():
    model = mnist.build_model()
    assert model.count_params() == 20_410
    assert model.output_shape == (None, 10)


def test_a_row_for_each_file(done):
    result, folder = done
    assert [row.file for row in result.rows] == FILES
    for row in result.rows:
        assert row.bytes == (folder / row.file).stat().st_size
        assert row.gzip_bytes == measure(folder / row.file).gzip_bytes


def test_the_target_is_met_exactly_and_only_by_the_pruned_files(done):
    result, folder = done
    kernels = 12 * 9 + 2028 * 10
    for name in ("pruned.keras", "pruned.h5", "pruned.tflite"):
        assert result.row(name).sparsity == pytest.approx(0.7, abs=1 / kernels)
    assert result.row("pruned_quantized.tflite").sparsity >= 0.7  # small weights round to zero
    for name in ("baseline.keras", "baseline.h5", "baseline.tflite"):
        assert result.row(name).sparsity < 0.01
    weights = keras.saving.load_model(folder / "pruned.keras").get_weights()
    zeros = sum(int((w == 0).sum()) for w in weights if w.ndim > 1)
    assert zeros / kernels == result.row("pruned.keras").sparsity


def test_zeros_are_positive(done):
    """A negative zero has a bit set: thousands of them cost a sixth of the compressed file."""
    weights = keras.saving.load_model(done[1] / "pruned.h5").get_weights()
    assert not any(np.signbit(w[w == 0]).any() for w in weights)


def test_the_files_shrink(done):
    result, _ = done
    assert result.row("baseline.h5").times_smaller == 1.0
    assert result.row("pruned.h5").times_smaller > 2
    assert result.row("pruned.tflite").gzip_bytes < result.row("pruned.h5").gzip_bytes
    assert result.row("pruned_quantized.tflite").times_smaller > 5


def test_the_model_learns_and_keeps_its_accuracy(done, data):
    result, folder = done
    assert result.row("baseline.keras").accuracy > 0.9
    assert result.row("pruned.keras").accuracy > 0.9
    _, (x_test, y_test) = datasets.load(data)
    assert result.row("pruned.tflite").accuracy == accuracy(
        folder / "pruned.tflite", x_test / np.float32(255), y_test
    )
    assert result.row("pruned.tflite").accuracy == result.row("pruned.keras").accuracy


def test_tensorboard_logs_are_written(done):
    pytest.importorskip("tensorboard")
    assert list((done[1] / "logs").rglob("events.out.tfevents.*"))


def test_the_result_as_text_and_for_machines(done):
    result, _ = done
    text = str(result)
    assert all(name in text for name in FILES)
    assert f"{result.row('pruned.tflite').gzip_bytes:,}" in text
    plain = json.loads(json.dumps(result.to_dict()))
    assert plain["backend"] == keras.config.backend()
    assert plain["settings"]["end_step"] == 2 * 5  # 540 of 600 images in batches of 128
    assert plain["data"]["train"] == 600
    assert [row["file"] for row in plain["rows"]] == FILES
    with pytest.raises(KeyError, match="Received: file='x'"):
        result.row("x")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"sparsity": 1.0}, "1.0"),
        ({"sparsity": -0.1}, "-0.1"),
        ({"epochs": 0}, "Received: epochs=0"),
        ({"baseline_epochs": -1}, "Received: baseline_epochs=-1"),
        ({"allocation": "fair"}, "Received: allocation='fair'"),
        ({"data": "minst"}, "Received: name='minst'"),
    ],
)
def test_bad_arguments_are_told_before_anything_is_written(data, tmp_path, arguments, says):
    with pytest.raises(ValueError, match=says):
        mnist.run(**{"data": data, "output": tmp_path / "out", **arguments})
    assert not (tmp_path / "out").exists()


def test_colour_images_are_refused(tmp_path):
    x, y = np.zeros((20, 32, 32, 3), "uint8"), np.zeros(20, "uint8")
    np.savez(tmp_path / "colour.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    with pytest.raises(ValueError, match=r"grey images.*\(20, 32, 32, 3\)"):
        mnist.run(data=tmp_path / "colour.npz", output=tmp_path / "out")
