"""The weights inside `.keras` and `.h5` files, read without importing Keras."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from secateur.litert.tensors import TensorInfo

_WEIGHTS = "model.weights.h5"
# What a training leaves in a file beside the model.
_TRAINING = ("optimizer", "optimizer_weights")


def read_keras_tensors(path: Path) -> list[TensorInfo]:
    """List the weights of a `.keras`, `.h5` or `.weights.h5` file with their zeros.

    Args:
        path: The file.

    Returns:
        Its weights in the file's order, the optimizer's state left out. Weights of a `.keras`
        file have no names, so they are numbered within their layer: `dense/0` is the kernel.

    Raises:
        ValueError: If the file is damaged, or no Keras file.
    """
    import h5py

    try:
        content: Any = path
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                if _WEIGHTS not in archive.namelist():
                    raise KeyError(f"it holds no {_WEIGHTS}")
                content = io.BytesIO(archive.read(_WEIGHTS))
        with h5py.File(content, "r") as file:
            return list(_tensors(file))
    except (zipfile.BadZipFile, KeyError, OSError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"The file is damaged, half-written or no Keras model ({error}). Expected what "
            f"model.save() writes. Received: path={str(path)!r}"
        ) from error


def _tensors(file: Any) -> Iterator[TensorInfo]:
    import h5py

    paths: list[str] = []
    file.visititems(
        lambda path, item: paths.append(path) if isinstance(item, h5py.Dataset) else None
    )
    for path in paths:
        dataset = file[path]
        numeric = dataset.dtype.kind == "f" or dataset.dtype in (np.int8, np.uint8)
        if path.split("/")[0] in _TRAINING or not numeric or not dataset.shape:
            continue
        zeros = dataset.size - int(np.count_nonzero(dataset[()]))
        shape = tuple(int(length) for length in dataset.shape)
        dtype = str(dataset.attrs.get("dtype", dataset.dtype))
        yield TensorInfo(_name(file, path), shape, dtype, int(dataset.size), zeros)


def _name(file: Any, path: str) -> str:
    """The layers' own names, which the groups of a `.keras` file hold as an attribute."""
    parts = path.split("/")
    if parts[0] == "model_weights":  # a legacy .h5 file names its weights in full
        return "/".join(parts[2:])
    names = []
    for depth, part in enumerate(parts):
        own = file.get("/".join([*parts[: depth + 1], "vars"]))
        if own is not None and "name" in own.attrs:
            names.append(str(own.attrs["name"]))
        elif part not in ("layers", "vars"):
            names.append(part)
    return "/".join(names)
