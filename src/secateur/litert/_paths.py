"""Files to read, with errors that name those that are not there.

Without pathlib, which takes longer to import than the reader of `.tflite` files.
"""

from __future__ import annotations

import os


def existing(path: str | os.PathLike[str]) -> str:
    """The path of a file as text.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    name = os.fspath(path)
    if not os.path.isfile(name):
        raise FileNotFoundError(
            f"There is no such file. Check the path and its suffix. Received: path={name!r}"
        )
    return name


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Read a file, with an error that names it where there is none."""
    with open(existing(path), "rb") as file:
        return file.read()
