"""Turn a user's mistake into one line on standard error, with no traceback."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import typer
from typer.core import TyperGroup

from secateur.benchmarking.errors import BenchmarkError
from secateur.litert.convert import ConversionError
from secateur.litert.running import RunError

#: The exit code where the input was at fault, as for a wrong option.
USAGE_ERROR = 2

# What the library raises where the input or the installation is at fault.
_MISTAKES = (ValueError, ImportError, OSError, BenchmarkError, ConversionError, RunError)


class FriendlyGroup(TyperGroup):
    """Commands whose errors are told as `error: ...`; `--debug` shows the traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command, and exit with code 2 where it failed by a mistake in its input."""
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            try:
                return super().invoke(ctx)
            except BrokenPipeError:
                raise
            except _MISTAKES as error:
                if ctx.params.get("debug"):
                    raise
                print(f"error: {error}", file=sys.stderr)
                raise typer.Exit(USAGE_ERROR) from error


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"warning: {message}", file=sys.stderr)
