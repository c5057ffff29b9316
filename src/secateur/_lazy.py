"""Names of a package that are loaded on first use, so that importing it costs next to nothing."""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazy(
    package: str, home: Mapping[str, str], submodules: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Make the functions that a package needs whose names are loaded on first use.

    Args:
        package: Its name.
        home: The module of it that each of its names is in.
        submodules: The modules of it that are names, too.

    Returns:
        What the package should call `__getattr__`, `__dir__` and `__all__`.
    """
    names = [*sorted(home), *submodules]

    def load(name: str) -> Any:
        if name in home:
            value = getattr(importlib.import_module(f"{package}.{home[name]}"), name)
            vars(sys.modules[package])[name] = value
            return value
        if name in submodules:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def listing() -> list[str]:
        return sorted({*vars(sys.modules[package]), *names})

    return load, listing, names
