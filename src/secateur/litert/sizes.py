"""How large a file is, as it lies and as gzip stores it."""

from __future__ import annotations

import gzip
import os
from dataclasses import dataclass

from secateur.litert._paths import read_bytes


@dataclass(frozen=True)
class Size:
    """The size of a file in bytes.

    Args:
        bytes: As it lies on the disk.
        gzip_bytes: Compressed by gzip at its best level, as in a download. This is where
            pruning shows: zeros take next to no room.
    """

    bytes: int
    gzip_bytes: int


def measure(file: str | os.PathLike[str] | bytes) -> Size:
    """Measure a file, or bytes in memory.

    Args:
        file: A path, or the content itself.

    Returns:
        Both sizes. The same content always gives the same figures: gzip level 9, with no time
        stamp and no file name in its header.

    Raises:
        FileNotFoundError: If there is no such file.

    Example:
        >>> measure(bytes(10_000))
        Size(bytes=10000, gzip_bytes=45)
    """
    data = file if isinstance(file, bytes) else read_bytes(file)
    return Size(len(data), len(gzip.compress(data, compresslevel=9, mtime=0)))
