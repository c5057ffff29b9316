"""What goes wrong outside of Python: an engine that is missing, a model that it cannot run."""

from __future__ import annotations


class BenchmarkError(RuntimeError):
    """An engine is not at hand, or could not run a model; the message says which and why."""
