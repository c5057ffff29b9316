"""Makes `.keras` files that hold secateur's objects loadable after a bare ``import secateur``.

Keras finds a saved class only if it was registered in this process. Registering needs Keras, which
takes seconds to import and must not be imported by ``import secateur`` itself. So Keras is told when
it is there already, else right after somebody imports it; and what it is told of are stand-ins,
which import a class, and with it half of secateur, when a file asks for one. (Importing the classes
themselves at that moment would go in circles wherever it is one of our modules that imports Keras.)
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec

#: The registered names of our serializable classes, and the modules they are in.
SERIALIZABLE = {
    "secateur>Block": "structures",
    "secateur>ConstantSparsity": "schedules",
    "secateur>ErdosRenyi": "allocation",
    "secateur>Global": "allocation",
    "secateur>MByN": "structures",
    "secateur>Magnitude": "criteria",
    "secateur>PolynomialDecay": "schedules",
    "secateur>SparseOptimizer": "optimizer",
    "secateur>Uniform": "allocation",
    "secateur>Unstructured": "structures",
    "secateur.tfmot>ConstantSparsity": "tfmot.schedules",
    "secateur.tfmot>PolynomialDecay": "tfmot.schedules",
    "secateur.tfmot>PruneLowMagnitude": "tfmot.wrapper",
}


def register_when_keras_is_imported() -> None:
    """Registers the serializable classes now, or as soon as Keras has been imported."""
    if sys.modules.get("keras") is not None:
        _register()
    else:
        sys.meta_path.insert(0, _KerasFinder())


def _register() -> None:
    registered = importlib.import_module("keras.saving").get_custom_objects()
    for name, module in SERIALIZABLE.items():
        # A class that was imported before has registered itself, as each will when it is imported.
        registered.setdefault(name, _stand_in(name.split(">")[1], f"secateur.{module}"))


def _stand_in(class_name: str, module: str) -> type:
    """Returns a class whose `from_config` is that of a class that is imported only then."""

    def from_config(config: dict[str, Any]) -> Any:
        return getattr(importlib.import_module(module), class_name).from_config(config)

    return type(class_name, (), {"__module__": module, "from_config": staticmethod(from_config)})


# Neither class has a base: `importlib.abc` takes longer to import than all that is here.
class _KerasFinder:
    """Lets the other finders find Keras, and registers our classes once it has been executed."""

    def __init__(self) -> None:
        self._searching = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "keras" or self._searching:
            return None
        self._searching = True
        try:
            spec = importlib.util.find_spec("keras")
        finally:
            self._searching = False
        if spec is not None and spec.loader is not None:
            spec.loader = _RegisteringLoader(spec.loader, self)  # type: ignore[assignment]
        return spec


class _RegisteringLoader:
    def __init__(self, loader: Loader, finder: _KerasFinder) -> None:
        self._loader = loader
        self._finder = finder

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # Everything after this must see the ordinary loader (importlib.resources, reload, ...). Only
        # now, not when Keras was found: others look whether it is there without importing it.
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        self._loader.exec_module(module)
        _register()
