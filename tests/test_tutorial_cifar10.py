"""The walkthrough for sparse inference from start to end, on a few hundred easy images."""

import io
import json

import keras
import numpy as np
import pytest
from rich.console import Console

from secateur import datasets
from secateur.litert import accuracy, read_tensors
from secateur.tutorials import cifar10
from support import only

FILES = ["dense.tflite", "pruned.tflite", "pruned_int8_weights.tflite"]


def patches(n, seed):
    """Images whose class is where a bright patch lies, in some noise."""
    generator = np.random.default_rng(seed)
    y = np.arange(n) % 10
    x = generator.integers(0, 60, (n, 32, 32, 3))
    for image, label in zip(x, y, strict=True):
        image[3 * label : 3 * label + 5, :, label % 3] += 190
    return x.astype("uint8"), y.astype("uint8")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "patches.npz"
    (x_train, y_train), (x_test, y_test) = patches(1280, 0), patches(100, 1)
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return path


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    """The result, the folder, and what was shown, of a short run."""
    folder = tmp_path_factory.mktemp("walkthrough") / "new" / "folder"
    console = Console(record=True, width=200, file=io.StringIO())
    result = cifar10.run(
        epochs=3,
        baseline_epochs=8,
        output=folder,
        data=data,
        on=["litert"],
        runs=3,
        console=console,
    )
    return result, folder, console.export_text()


@pytest.mark.parametrize(("name", "parameters"), [("small", 1_722), ("mobilenet", 253_706)])
def test_the_networks(name, parameters):
    model = cifar10.build_model(name)
    assert model.count_params() == parameters
    assert model.input_shape == (None, 32, 32, 3)
    assert model.output_shape == (None, 10)


def test_a_row_for_each_file(done):
    result, folder, _ = done
    assert [row.file for row in result.rows] == FILES
    for row in result.rows:
        assert row.bytes == (folder / row.file).stat().st_size
    dense = result.row("dense.tflite")
    assert dense.times_smaller == 1.0
    assert (
        result.row("pruned.tflite").times_smaller == dense.bytes / result.row("pruned.tflite").bytes
    )


def test_the_1x1_convolutions_reach_the_target_exactly(done):
    _, folder, _ = done
    model = keras.saving.load_model(folder / "pruned.keras", compile=False)
    for name, size in [("pointwise_1", 8 * 16), ("pointwise_2", 16 * 32)]:
        kernel = np.asarray(keras.ops.convert_to_numpy(model.get_layer(name).kernel))
        assert (kernel == 0).sum() == 0.75 * size
    assert not (np.asarray(keras.ops.convert_to_numpy(model.get_layer("logits").kernel)) == 0).any()


def test_the_pruned_file_stores_its_1x1_convolutions_sparse(done):
    from secateur.litert import read_model

    _, folder, _ = done
    for name, expected in [("dense.tflite", 0), ("pruned.tflite", 2)]:
        tensors = read_model(folder / name).subgraphs[0].tensors
        assert sum(t.sparsity is not None for t in tensors) == expected


def test_it_learns_and_the_accuracies_are_those_of_the_files(done, data):
    result, folder, _ = done
    _, (x_test, y_test) = datasets.load(data)
    assert result.row("dense.tflite").accuracy > 0.5
    for row in result.rows:
        assert row.accuracy > 0.2  # one in ten is chance
        assert row.accuracy == accuracy(folder / row.file, x_test / np.float32(255), y_test)
    zeros = [t.zeros for t in read_tensors(folder / "pruned.tflite") if t.sparsity > 0.7]
    assert sorted(zeros) == [96, 384]


def test_it_shows_the_policys_error_and_the_fix(done):
    _, _, text = done
    assert "Could not find `Conv2D 3x3` layer with stride 2x2" in text
    assert "ZeroPadding2D(1)" in text
    assert "needs no keepdims=True" in text


def test_the_files_are_timed(done):
    result, _, _ = done
    (timed,) = result.benchmark.results
    assert timed.target == "litert"
    assert [m.model for m in timed.measurements] == list(result.benchmark.models)
    assert all(m.runs == 3 for m in timed.measurements)
    plain = json.loads(json.dumps(result.to_dict()))
    assert plain["benchmark"]["results"][0]["target"] == "litert"
    assert plain["settings"]["end_step"] == 3 * 9
    assert all(name in str(result) for name in FILES)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"model": "large"}, "Received: model='large'"),
        ({"sparsity": 1.0}, "1.0"),
        ({"epochs": 0}, "Received: epochs=0"),
        ({"data": "cifar100"}, "Received: name='cifar100'"),
    ],
)
def test_bad_arguments_are_told_before_anything_is_written(data, tmp_path, arguments, says):
    with pytest.raises(ValueError, match=says):
        cifar10.run(**{"data": data, "output": tmp_path / "out", **arguments})
    assert not (tmp_path / "out").exists()


def test_a_sparsity_that_xnnpack_does_not_run_sparse_is_refused(data, tmp_path):
    with pytest.raises(ValueError, match="2/3"):
        cifar10.run(data=data, output=tmp_path / "out", sparsity=0.6)


@only("tensorflow")
def test_grey_images_become_colour(tmp_path):
    x = np.full((20, 28, 28), 255, "uint8")
    np.savez(
        tmp_path / "grey.npz",
        x_train=x,
        y_train=np.arange(20) % 10,
        x_test=x,
        y_test=np.zeros(20, int),
    )
    (colour, _), _ = cifar10._load(tmp_path / "grey.npz")
    assert colour.shape == (20, 32, 32, 3)
    assert colour[0, 2:30, 2:30].min() == colour.max() == 1.0
    assert colour.sum() == 20 * 28 * 28 * 3


@only("tensorflow")
def test_without_cifar10_the_error_names_mnist(monkeypatch, tmp_path):
    def missing(name):
        raise FileNotFoundError("cifar10 is nowhere.")

    monkeypatch.setattr(datasets, "load", missing)
    with pytest.raises(FileNotFoundError, match="cifar10 is nowhere.*--data mnist"):
        cifar10.run(output=tmp_path / "out")
