"""`secateur.benchmark` is the function, whatever was imported before, and needs no Keras."""

import os
import subprocess
import sys

import pytest


def run(code):
    """What a fresh Python prints where neither Keras nor a backend is installed."""
    blocked = """
import sys
class Blocker:
    def find_spec(self, name, *_):
        if name in ("keras", "tensorflow", "jax", "torch"):
            raise ModuleNotFoundError(f"{name} is blocked", name=name)
sys.meta_path.insert(0, Blocker())
"""
    done = subprocess.run(
        [sys.executable, "-c", blocked + code],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    "first",
    [
        "import secateur",
        "import secateur.benchmarking",
        "import secateur.benchmarking.report, secateur",
        "from secateur.benchmarking import benchmark; import secateur",
        "from secateur import benchmark; import secateur.benchmarking.run",
        "import secateur.cli",
    ],
)
def test_the_function_is_itself_after_any_import(first):
    code = f"{first}\nimport secateur\nprint(callable(secateur.benchmark), secateur.benchmark.__name__)"
    assert run(code) == ["True", "benchmark"]


def test_measuring_needs_no_keras(dense):
    code = f"import secateur; print(secateur.benchmark({str(dense)!r}, on='litert', runs=2).models)"
    assert run(code) == ["{'dense.tflite':", f"{dense.stat().st_size}}}"]
