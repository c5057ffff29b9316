"""A part of a graph as a `.tflite` file of its own."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from secateur.runtime._head import make_head
from secateur.runtime._quick import NativeColumns
from secateur.runtime._reading import Graph
from secateur.runtime._signatures import Column

# Constants of at least so many bytes are weights; what says how shapes change is shorter.
_WEIGHTS = 1024
# To leave out smaller ones saves no memory, which comes in pages.
_LARGE = 4096
# Nothing is so large.
_NOTHING = 2**31

# Makes bytes as C code does, which fills them before anybody else sees them. What is not written is not
# in memory.
_unset_bytes = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_char_p, ctypes.c_ssize_t)(
    ("PyBytes_FromStringAndSize", ctypes.pythonapi)
)


class Extract(NamedTuple):
    """A file.

    Args:
        content: All of it.
        size: How many of its bytes are in memory.
    """

    content: bytes
    size: int


def extract(
    graph: Graph, places: Iterable[int], inputs: Sequence[int], outputs: Sequence[int]
) -> Extract:
    """Cut operators out of a graph.

    The tables of the file stay as they are, behind some that lead to these operators only: to write
    hundreds of them anew takes longer than LiteRT takes to load them. Large constants that are not read
    are left out; their places stay, in memory that nobody touches.

    Args:
        graph: The graph; not changed.
        places: The operators.
        inputs: The tensors that the caller will fill.
        outputs: The tensors that the caller wants.

    Returns:
        A file whose graph has these inputs and outputs, in this order. Their shapes may still be those
        of the whole file.
    """
    chosen = sorted({*places, *_unpackers(graph, places)})
    used = {
        tensor for place in chosen for tensor in graph.reads[place] if 0 <= tensor < graph.count
    }
    found = None
    # On some processors LiteRT computes wrong numbers where only a part of a graph has sparse weights.
    if not any(map(graph.is_sparse, used)):
        found = _behind(graph, chosen, inputs, outputs, used, _LARGE)
    if found is None:
        from secateur.runtime._rebuild import rebuild  # with all that writes files

        content = rebuild(graph, chosen, inputs, outputs)
        found = Extract(content, len(content))
    return found


def outline(graph: Graph) -> bytes:
    """A file of the same operators without their weights: LiteRT can load it, but it never runs.

    Args:
        graph: The graph; not changed.
    """
    ends = graph.inputs, graph.outputs
    places = range(len(graph.kinds))
    found = _behind(graph, places, *ends, set(), _WEIGHTS)
    if found is None:  # then all of it
        found = _behind(graph, places, *ends, set(), _NOTHING)
    assert found is not None
    return found.content


def _unpackers(graph: Graph, places: Iterable[int]) -> set[int]:
    """The operators that unpack constants which the given ones read, and those in front of them."""
    found: set[int] = set()
    waiting = [t for place in places for t in graph.reads[place]]
    while waiting:
        tensor = waiting.pop()
        if tensor in graph.packed and graph.writers[tensor] not in found:
            found.add(graph.writers[tensor])
            waiting += graph.reads[graph.writers[tensor]]
    return found


def _behind(
    graph: Graph,
    places: Sequence[int],
    inputs: Sequence[int],
    outputs: Sequence[int],
    used: set[int],
    large: int,
) -> Extract | None:
    """The file behind a head, without the constants of so many bytes that are not used.

    None where its parts overlap, so that some of it is lost.
    """
    memory = graph.native.memory
    head = make_head(graph, places, inputs, outputs)
    begins, sizes = map(graph.native.column, (Column.DATA_BEGIN, Column.DATA_LENGTH))
    needed = {(begins[tensor], sizes[tensor]) for tensor in used}
    unused = {each for each in zip(begins, sizes, strict=True) if each[1] >= large} - needed
    content = _unset_bytes(None, len(head) + len(memory))
    to = ctypes.cast(ctypes.c_char_p(content), ctypes.c_void_p).value or 0
    source: int = memory.__array_interface__["data"][0]
    ctypes.memmove(to, head, len(head))
    size = len(head)

    def copy(begin: int, end: int) -> None:
        nonlocal size
        if begin < end:
            ctypes.memmove(to + len(head) + begin, source + begin, end - begin)
            size += end - begin

    done = 0
    for begin, length in sorted(unused):
        copy(done, begin)
        done = max(done, begin + length)
    copy(done, len(memory))
    try:
        NativeColumns(memoryview(content))
    except ValueError:
        return None
    return Extract(content, size)
