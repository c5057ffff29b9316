"""The native library: finds it, loads it, and turns its statuses into exceptions.

`native/secateur.h` says what each function does; the names, arguments and constants here are
the same. Calls release Python's global lock.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Mapping
from typing import Any

from secateur.runtime._signatures import SIGNATURES

API_VERSION = 11
LIBRARY = {"win32": "secateur_native.dll", "darwin": "libsecateur_native.dylib"}.get(
    sys.platform, "libsecateur_native.so"
)

INVALID, OUT_OF_MEMORY = -1, -2


class NativeMissingError(ImportError):
    """The native library is not there or does not load; the message says why and what to do."""


class NativeError(ValueError):
    """The native library refused a call; the message is its reason."""


def candidates() -> list[str]:
    """Where the library may be: in the source tree, or where the package is installed."""
    own = os.path.join(os.path.dirname(__file__), LIBRARY)
    if os.path.isfile(own):
        return [own]
    # An editable install leaves the sources where they are and the library in site-packages.
    # (importlib.metadata knows where, and takes longer to import than a model to load.)
    installed = (os.path.join(path, "secateur", "runtime", LIBRARY) for path in sys.path)
    return [own, *filter(os.path.isfile, installed)]


@functools.cache
def library() -> ctypes.CDLL:
    """The loaded library, with argument types set.

    Raises:
        NativeMissingError: If there is none, it does not load, or is of another version.
    """
    override = os.environ.get("SECATEUR_NATIVE_LIBRARY")
    paths = [override] if override else candidates()
    path = next((p for p in paths if os.path.isfile(p)), None)
    if path is None:
        raise NativeMissingError(
            "The native part of secateur.runtime is not installed: it is compiled while secateur "
            "is installed, where there is a C++17 compiler (such as g++ or clang++). Install one, then "
            "secateur again: `pip install --force-reinstall --no-deps --no-cache-dir secateur`. "
            "Everything else in secateur works without. "
            f"Received: looked for {', '.join(paths)}"
        )
    try:
        loaded = ctypes.CDLL(path)
        version = loaded.secateur_api_version()
    except (OSError, AttributeError) as error:
        raise NativeMissingError(
            f"The native part of secateur.runtime does not load; it must be built for this "
            f"machine: install secateur again. Received: {path}: {error}"
        ) from error
    if version != API_VERSION:
        raise NativeMissingError(
            f"The native part of secateur.runtime is of another version than its Python part "
            f"(expected {API_VERSION}); install secateur again. Received: version={version}, {path}"
        )
    return declare(loaded, SIGNATURES)


def declare(loaded: ctypes.CDLL, signatures: Mapping[str, tuple[Any, list[Any]]]) -> ctypes.CDLL:
    """Set the types of some functions."""
    for name, (result, arguments) in signatures.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    return loaded


def available() -> bool:
    """Whether the native library is there."""
    try:
        library()
    except NativeMissingError:
        return False
    return True


def check(status: int) -> int:
    """Passes on a status or an id, or raises what the library said.

    Raises:
        MemoryError: If it ran out of memory.
        NativeError: If it refused the arguments.
        RuntimeError: If anything else went wrong; a bug in secateur.
    """
    if status >= 0:
        return status
    reason = (library().secateur_error() or b"").decode(errors="replace")
    if status == INVALID:
        raise NativeError(reason)
    if status == OUT_OF_MEMORY:
        raise MemoryError(reason)
    raise RuntimeError(reason)
