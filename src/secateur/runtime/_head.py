"""The beginning of a `.tflite` file that leads to operators of another one, which lies behind it.

A flatbuffer leads from each table to others by distances ahead, so that all of a file's tables can stay
as they are behind new ones. A table begins with the distance back to its vtable, which says how long
it and the table are, and where in it each field is (https://flatbuffers.dev/internals).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from secateur.litert._unpack import Reader
from secateur.runtime._reading import Graph

# What kernels expect that read weights where they lie in the file.
_ALIGNMENT = 64
_RESHAPE_OPTIONS = 17


def make_head(
    graph: Graph, places: Sequence[int], inputs: Sequence[int], outputs: Sequence[int]
) -> bytes:
    """Make such a beginning.

    Args:
        graph: The graph of the file.
        places: The operators.
        inputs: The inputs that their graph shall have.
        outputs: Its outputs.
    """
    reader = Reader(memoryview(graph.native.memory.data))
    model = reader.shallow("Model", reader.unsigned(0), _MODEL)
    part = reader.shallow("SubGraph", _lead(reader, model.subgraphs, 0), _GRAPH)
    reshapes = {place: graph.fixed[place] for place in places if place in graph.fixed}
    length = 84 + 4 * (3 + len(inputs) + len(outputs) + len(places))
    length += sum(_RESHAPE_BYTES + 4 * len(target) for target in reshapes.values())
    head = _Head(-(-length // _ALIGNMENT) * _ALIGNMENT)
    head.add("I4s", 24, b"TFL3")
    # 8: the model's vtable (version, operator codes, graphs, no description, buffers); 24: the model.
    head.add("7H2xiI", 14, 20, 4, 8, 12, 0, 16, 24 - 8, model.version)
    head.lead_behind(model.operatorCodes)
    head.lead(44)
    head.lead_behind(model.buffers)
    # 44: the list of one graph; 52: its vtable (tensors, inputs, outputs, operators); 64: the graph.
    head.add("II6Hi", 1, 64 - 48, 12, 20, 4, 8, 12, 16, 64 - 52)
    head.lead_behind(part.tensors)
    vectors = 84, 84 + 4 * (1 + len(inputs)), 84 + 4 * (2 + len(inputs) + len(outputs))
    for vector in vectors:
        head.lead(vector)
    for numbers in (inputs, outputs):
        head.numbers(numbers)
    operator = vectors[2] + 4 * (1 + len(places))  # where the first that changes will be
    head.add("I", len(places))
    for place in places:
        if place in reshapes:
            head.lead(operator + 16)
            operator += _RESHAPE_BYTES + 4 * len(reshapes[place])
        else:
            head.lead_behind(_lead(reader, part.operators, place))
    for place, target in reshapes.items():
        old = reader.shallow("Operator", _lead(reader, part.operators, place), _OPERATOR)
        head.add_reshape(old.opcodeIndex, graph.reads[place][0], old.outputs, target)
    return head.done()


_MODEL = (
    *("operatorCodes", "subgraphs", "description", "buffers", "metadataBuffer", "metadata"),
    "signatureDefs",
)
_GRAPH = ("tensors", "inputs", "outputs", "operators", "name")
_OPERATOR = ("inputs", "outputs", "builtinOptions")
# Those of an operator whose target has no numbers.
_RESHAPE_BYTES = 16 + 24 + 8 + 8 + 8 + 4


def _lead(reader: Reader, vector: int, i: int) -> int:
    """Where a vector of tables leads to."""
    at = vector + 4 * (1 + i)
    return at + reader.unsigned(at)


class _Head:
    """What is written from its beginning to its end.

    Args:
        length: How long it will be.
    """

    def __init__(self, length: int) -> None:
        self._bytes, self._length = bytearray(), length

    def add(self, letters: str, *values: int | bytes) -> None:
        """Add values by their letters in `struct`."""
        self._bytes += struct.pack("<" + letters, *values)

    def numbers(self, numbers: Sequence[int]) -> None:
        """Add a vector."""
        self.add(f"I{len(numbers)}i", len(numbers), *numbers)

    def lead(self, place: int) -> None:
        """Add the distance to a place of the head."""
        self.add("I", place - len(self._bytes))

    def lead_behind(self, place: int) -> None:
        """Add the distance to a place of the file behind it."""
        self.lead(self._length + place)

    def add_reshape(self, code: int, source: int, outputs: int, target: Sequence[int]) -> None:
        """Add an operator that reads one tensor, with its target among its options.

        Args:
            code: The number of its operator code.
            source: What it reads.
            outputs: Where in the file the vector of what it writes is.
            target: The shape.
        """
        # Its vtable: code, inputs, outputs, kind of options, options; 16 bytes on the operator.
        self.add("7H2xiI", 14, 24, 4, 8, 12, 20, 16, 16, code)
        at = len(self._bytes)
        self.lead(at + 16)
        self.lead_behind(outputs)
        self.lead(at + 16 + 8 + 8)
        self.add("B3x", _RESHAPE_OPTIONS)
        self.numbers([source])
        self.add("3H2xi", 6, 8, 4, 8)  # the vtable of the options: their target; and these
        self.lead(len(self._bytes) + 4)
        self.numbers(target)

    def done(self) -> bytes:
        """All of it."""
        return bytes(self._bytes.ljust(self._length, b"\0"))
