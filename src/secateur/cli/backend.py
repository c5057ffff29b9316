"""Choose the Keras backend before Keras is imported, because later it is too late."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from enum import StrEnum
from pathlib import Path

from secateur.litert._quiet import captured_stderr


class Backend(StrEnum):
    """The Keras backends that can train, in the order of preference."""

    TENSORFLOW = "tensorflow"
    JAX = "jax"
    TORCH = "torch"


def use_backend(asked: str | None = None) -> str:
    """Import Keras with the right backend, and without the start-up noise of the backend.

    Args:
        asked: The backend asked for on the command line. Otherwise the environment variable
            `KERAS_BACKEND` decides, then Keras' configuration file where what it names is
            installed, then the first that is installed.

    Returns:
        The backend in use.

    Raises:
        ImportError: If the backend asked for, or any backend, is not installed.
        ValueError: If there is no such backend, or Keras runs on another one already.
    """
    name = asked or os.environ.get("KERAS_BACKEND") or _configured() or _first_installed()
    if name not in list(Backend):
        raise ValueError(
            "There is no such backend to train on. Expected one of "
            f"{', '.join(Backend)}; set it with --backend or KERAS_BACKEND. "
            f"Received: backend={name!r}"
        )
    if not _installed(name):
        raise ImportError(
            f"The backend is not installed. Install it with `pip install "
            f'"secateur[{name}]"`, or choose another with --backend. Received: backend={name!r}'
        )
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = name
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with captured_stderr():
        import keras

        keras.ops.zeros(())  # the backend looks for devices, and reports, at its first use
    running = keras.config.backend()
    if asked and running != asked:
        raise ValueError(
            f"Keras runs on {running} in this process already. Start a new process, or leave out "
            f"--backend. Received: backend={asked!r}"
        )
    return str(running)


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _configured() -> str | None:
    """The backend in keras.json; Keras writes that file by itself, so it may name a missing one."""
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    try:
        name = json.loads((home / "keras.json").read_text()).get("backend")
    except (OSError, ValueError, AttributeError):
        return None
    return name if isinstance(name, str) and _installed(name) else None


def _first_installed() -> str:
    for name in Backend:
        if _installed(name):
            return str(name)
    raise ImportError(
        "No Keras backend is installed. Install one with `pip install "
        '"secateur[tensorflow]"`, "secateur[jax]" or "secateur[torch]". Received: backend=None'
    )
