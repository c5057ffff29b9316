"""Importing costs nothing, and a bare `import secateur` is all that a saved model needs."""

import importlib
import os
import subprocess
import sys

import keras
import pytest

import secateur
from support import array, data, dense_model


def run(code, *arguments, **environment):
    """What a fresh Python prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_import_brings_in_no_framework():
    code = """
import sys, secateur
print(*(m for m in ("keras", "tensorflow", "jax", "torch", "numpy", "h5py") if m in sys.modules))
"""
    assert run(code) == []


def test_listing_the_names_brings_in_no_framework():
    code = """
import sys, secateur
assert {"prune", "sparsity", "PolynomialDecay"} <= set(dir(secateur))
assert set(secateur.__all__) <= set(dir(secateur))
print(*(m for m in ("keras", "tensorflow", "jax", "torch") if m in sys.modules))
"""
    assert run(code) == []


def test_the_engine_brings_in_no_other_backend():
    others = " ".join({"tensorflow", "jax", "torch"} - {keras.backend.backend()})
    code = """
import sys, keras, secateur
before = set(sys.modules)
for name in ("prune", "prune_once", "sparsity", "SparseOptimizer", "PolynomialDecay", "Block"):
    getattr(secateur, name)
print(*(m for m in sys.argv[1].split() if m in sys.modules.keys() - before))
"""
    assert run(code, others) == []


def test_the_runtime_and_the_file_format_bring_in_little():
    code = """
import sys, numpy, ai_edge_litert.interpreter
before = set(sys.modules)
import secateur.litert, secateur.runtime
assert {"export", "read_model"} <= set(dir(secateur.litert))
assert {"Interpreter", "Plan"} <= set(dir(secateur.runtime))
secateur.litert.read_model, secateur.runtime.Interpreter
slow = ("keras", "tensorflow", "subprocess", "importlib.metadata", "pathlib", "tempfile")
loaded = sys.modules.keys() - before
print(*(m for m in (*slow, "ai_edge_litert.schema_py_generated") if m in loaded))
"""
    assert run(code) == []


def test_the_runtime_imports_litert_only_for_who_needs_it():
    code = """
import sys
import secateur.runtime
secateur.runtime.Interpreter
print(*(m for m in ("ai_edge_litert", "flatbuffers") if m in sys.modules))
"""
    assert run(code) == []


@pytest.mark.parametrize("module", ["pruning", "tfmot"])
def test_any_module_may_be_the_first(module):
    assert run(f"import secateur.{module}; print('fine')") == ["fine"]


def test_every_serializable_class_is_known_to_the_registration():
    import secateur.tfmot  # noqa: F401
    from secateur._registration import SERIALIZABLE

    registered = keras.saving.get_custom_objects()
    for name, module in SERIALIZABLE.items():
        real = getattr(importlib.import_module(f"secateur.{module}"), name.split(">")[1])
        assert registered[name] is real
    ours = {name for name in registered if name.startswith(("secateur>", "secateur.tfmot>"))}
    assert ours == set(SERIALIZABLE)


def test_every_name_is_there():
    for name in ("Block", "Global", "MByN", "Reason", "SparseOptimizer", "prune", "prune_once"):
        assert getattr(secateur, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'secateur' has no attribute 'purne'"):
        secateur.purne  # noqa: B018


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A pruned, trained model in a file."""
    keras.utils.set_random_seed(7)
    model = dense_model(8, 4, inputs=4)
    model.compile("adam", "mse")
    secateur.prune(
        model,
        secateur.PolynomialDecay(0.5, 0.75, 0, 2),
        structure=secateur.Block((2, 1)),
        allocation=secateur.ErdosRenyi(),
    )
    model.fit(*data(8, 4, 4), batch_size=2, verbose=0)
    path = tmp_path_factory.mktemp("saved") / "a.keras"
    model.save(path)
    kernel = array(model.layers[0].kernel)
    return path, [str(int((kernel == 0).sum())), str(model.optimizer.step)]


LOAD = """
model = keras.models.load_model(sys.argv[1])
kernel = keras.ops.convert_to_numpy(model.layers[0].kernel)
print(int((kernel == 0).sum()), model.optimizer.step)
"""

ORDERS = {
    "secateur first": "import sys, secateur, keras",
    "keras first": "import sys, keras, secateur",
    "a look for keras in between": (
        "import sys, importlib.util, secateur; importlib.util.find_spec('keras'); import keras"
    ),
    "part of keras": "import sys, secateur, keras.saving; import keras",
    "twice": "import sys, importlib, secateur, keras; importlib.reload(secateur)",
}


@pytest.mark.parametrize("order", ORDERS)
def test_a_saved_model_loads_after_a_bare_import(saved, order):
    path, expected = saved
    assert run(ORDERS[order] + LOAD, path) == expected


def test_keras_is_itself_after_the_import():
    code = """
import secateur, sys
import keras, importlib, importlib.resources
print(type(keras.__spec__.loader).__name__, type(keras.__loader__).__name__)
print(not any(type(f).__module__.startswith("secateur.") for f in sys.meta_path))
print(importlib.resources.files("keras").joinpath("__init__.py").is_file())
"""
    assert run(code) == ["SourceFileLoader", "SourceFileLoader", "True", "True"]


def test_a_missing_keras_is_pythons_own_error():
    code = """
import sys, secateur
class Nothing:
    def find_spec(self, name, path, target=None):
        if name == "keras":
            raise ModuleNotFoundError("No module named 'keras'", name="keras")
sys.meta_path.insert(1, Nothing())
try:
    import keras
except ModuleNotFoundError as error:
    print(error.name)
"""
    assert run(code) == ["keras"]
