"""Makes `.keras` files that hold secateur's objects loadable after a bare ``import secateur``.

Keras finds a saved class only if it was registered in this process, and registering needs Keras,
which takes seconds to import and must not be imported by ``import secateur`` itself. So the classes
are registered at once when Keras is there already, else right after somebody imports it.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType

_SERIALIZABLE_MODULES = (
    "schedules",
    "structures",
    "criteria",
    "allocation",
    "optimizer",
    "tfmot.schedules",
    "tfmot.wrapper",
)


def register_when_keras_is_imported() -> None:
    """Registers the serializable classes now, or as soon as Keras has been imported."""
    if sys.modules.get("keras") is not None:
        _register()
    else:
        sys.meta_path.insert(0, _KerasFinder())


def _register() -> None:
    for name in _SERIALIZABLE_MODULES:
        importlib.import_module(f"secateur.{name}")


class _KerasFinder(importlib.abc.MetaPathFinder):
    """Lets the other finders find Keras, and registers our classes once it has been executed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("keras")
        if spec is not None and spec.loader is not None:
            spec.loader = _RegisteringLoader(spec.loader)
        return spec


class _RegisteringLoader(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # Everything after this must see the ordinary loader (importlib.resources, reload, ...).
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        _register()
