"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it when the block succeeds.

    Args:
        path: The file to write. Its folder must exist; its suffix is kept on the temporary file.

    Yields:
        The path to write to. Where the block raises, it is removed and `path` is untouched.

    Raises:
        FileNotFoundError: If the folder of `path` does not exist.
    """
    path = Path(path)
    check_folder(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # mkstemp makes files that only their owner may read
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Write bytes to a file that appears whole or not at all.

    Args:
        path: The file to write; one that is there is replaced.
        data: Its content.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def check_folder(path: Path) -> None:
    """Raise where a file's folder is missing, before the work for that file begins."""
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"The folder of the file to write does not exist. Create {str(path.parent)!r} first. "
            f"Received: path={str(path)!r}"
        )
