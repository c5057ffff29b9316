"""The examples in the docstrings run."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["adapting", "check", "report", "plan"])
def test_examples(name):
    module = importlib.import_module(f"secateur.xnnpack.{name}")
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert (result.failed, result.attempted > 0) == (0, True)
