"""Models that LiteRT runs as they are."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.litert.graph import DTYPES
from secateur.runtime import _litert, _native
from secateur.runtime._opening import Opened
from secateur.runtime._quick import NativeColumns
from secateur.runtime._reading import Graph
from secateur.runtime._reasons import Reason
from secateur.runtime._signatures import Column

if TYPE_CHECKING:
    from secateur.runtime.profile import LayerTime

# A file that LiteRT loads has less than 2 GiB, and parts of this one get some tables more.
_MOST_BYTES = 2**31 - 2**24
_STATEFUL = {"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE", "HASHTABLE"}


def why_not(opened: Opened, native: str) -> str | None:
    """Why a model runs in LiteRT, as far as that can be told without a look at its layers.

    Args:
        opened: Its file.
        native: As for `Interpreter`.

    Returns:
        One of `Reason`, or None; then the native library has read it.

    Raises:
        NativeMissingError: If the native library is asked for and not there.
    """
    if native == "never":
        return Reason.NEVER
    if len(opened.graphs) != 1:
        return Reason.SUBGRAPHS
    (columns,) = opened.graphs
    if columns.native is None and _has_custom(opened.head()):
        return Reason.CUSTOM
    if columns.variables or _STATEFUL.intersection(columns.kinds):
        return Reason.STATE
    if native == "always":
        _native.library()
    if not _native.available():
        return Reason.MISSING
    if columns.native is None or not _can_be_cut(columns.native):
        return Reason.RARE
    found = opened.ahead is not None and opened.ahead.found
    return Reason.NO_ZEROS if native == "auto" and not found else None


def _can_be_cut(file: NativeColumns) -> bool:
    """Whether LiteRT can load parts of a file, and say what their tensors are."""
    try:
        file.names().decode()
    except UnicodeDecodeError:
        return False
    return len(file.memory) <= _MOST_BYTES


def _has_custom(head: Any) -> bool:
    """Whether a model has operators of its own; the native library reads no such file."""
    return any(code.customCode is not None for code in head.operatorCodes)


def why_not_graph(graph: Graph) -> str | None:
    """Why a model runs in LiteRT whatever its shapes are; None where it may run natively.

    Args:
        graph: The graph.
    """
    ends = [*graph.inputs, *graph.outputs]
    unique = {tensor for tensor in ends if tensor >= 0}
    if not graph.inputs or not graph.outputs or len(unique) != len(ends):
        return Reason.UNREADABLE
    writer = graph.native.column(Column.WRITER)
    if any(writer[t] < 0 for t in graph.outputs) or any(writer[t] >= 0 for t in graph.inputs):
        return Reason.UNREADABLE
    strange = any(graph.is_constant(t) or graph.types[t] not in DTYPES for t in unique)
    return Reason.UNREADABLE if strange else None


def litert(source: str | bytes, threads: int, **options: Any) -> Any:
    """LiteRT's interpreter of a file, given by its path or its bytes."""
    name = "model_content" if isinstance(source, bytes) else "model_path"
    return _litert.interpreter(**{name: source}, num_threads=threads, **options)


def time_of(interpreter: Any, runs: int) -> LayerTime:
    """The median time of a model in LiteRT."""
    from secateur.runtime.profile import LayerTime  # only who profiles needs it

    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        interpreter.invoke()
        seconds.append(time.perf_counter() - start)
    return LayerTime("the whole model", "LiteRT", "LiteRT", float(np.median(seconds)) * 1e3)
