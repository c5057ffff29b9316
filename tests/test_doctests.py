"""The examples in the docstrings of the engine run."""

import doctest
import importlib

import pytest

MODULES = [
    "allocation",
    "batch_norm",
    "criteria",
    "groups",
    "one_shot",
    "optimizer",
    "prunable",
    "pruning",
    "ranking",
    "report",
    "schedules",
    "selection",
    "structures",
]
#: Where a class or function without an example would be one forgotten.
WITH_EXAMPLES = set(MODULES) - {"batch_norm", "groups", "selection"}


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(f"secateur.{name}")
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
    assert result.attempted > 0 or name not in WITH_EXAMPLES
