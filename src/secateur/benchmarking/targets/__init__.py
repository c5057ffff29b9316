"""The engines that models can be measured on; a new one is a file here and a line below."""

from __future__ import annotations

import importlib

from secateur.benchmarking.targets.base import Job, Kernel, ModelRun, Outcome, Target

_HOME = {
    "litert": "LiteRT",
    "secateur": "Secateur",
    "web": "Web",
    "arm64": "Arm64",
    "android": "Android",
}

#: The names of all targets.
TARGETS = tuple(_HOME)

#: What is measured where nothing else is asked for, as far as it is at hand.
DEFAULT_TARGETS = ("litert", "secateur", "web")

__all__ = [
    "DEFAULT_TARGETS",
    "TARGETS",
    "Job",
    "Kernel",
    "ModelRun",
    "Outcome",
    "Target",
    "get_target",
]


def get_target(name: str) -> Target:
    """Make a target by its name.

    Args:
        name: One of `TARGETS`.

    Returns:
        The target; nothing is run or looked for yet.

    Raises:
        ValueError: If there is no such target.
    """
    if name not in _HOME:
        raise ValueError(
            f"There is no such target in this version of secateur. Expected one of "
            f"{', '.join(TARGETS)}. Received: on={name!r}"
        )
    module = importlib.import_module(f"secateur.benchmarking.targets.{name}")
    target: Target = getattr(module, _HOME[name])()
    return target
