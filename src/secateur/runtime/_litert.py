"""LiteRT's interpreter, imported only where one is made: a model that runs natively needs none."""

from __future__ import annotations

from typing import Any


def interpreter(**arguments: Any) -> Any:
    """An interpreter of LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(**arguments)


def without_delegates(content: bytes) -> Any:
    """One of a file's bytes that is made to be asked, not to run."""
    from ai_edge_litert.interpreter import OpResolverType

    kind = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return interpreter(model_content=content, experimental_op_resolver_type=kind)
