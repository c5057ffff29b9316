"""The main graph of a `.tflite` file, as the runtime looks at it: shapes, constants, writers."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from secateur.litert._columns import Dims
from secateur.litert.graph import DTYPES, INT32, shaped, typed
from secateur.runtime._ahead import Ahead
from secateur.runtime._opening import Opened, open_file
from secateur.runtime._quick import NativeColumns
from secateur.runtime._reshapes import write_targets
from secateur.runtime._signatures import Column
from secateur.runtime._static import first_unknown, static


class Graph:
    """The main subgraph of a file with the shapes that its tensors have for the inputs at hand.

    Args:
        opened: The file, which the native library has read as well.

    Attributes:
        head: Gives a `ModelT`, perhaps without its subgraphs and buffers.
        count: How many tensors the file has; here there may be more.
        types: The number of each tensor's type in the schema.
        dims: The shape of each tensor in the file.
        kinds: What each operator is, as "CONV_2D".
        shapes: The shape of each tensor by its number, as far as anybody said; None where it is
            known only once the model runs.
        known: The number of operators before the first whose output shape is not known.
    """

    def __init__(self, opened: Opened) -> None:
        self.head, self._load = opened.head, opened.load
        self._columns = columns = opened.graphs[0]
        assert columns.native is not None
        #: The same for the native library.
        self.native: NativeColumns = columns.native
        self.count = len(columns.types)
        self.types: Sequence[int] = columns.types
        self.dims, self.kinds = columns.shapes, columns.kinds
        self.inputs, self.outputs = columns.inputs, columns.outputs
        #: Gives a tensor's name; it does not keep the file.
        self.name = columns.name
        #: Tensors that are not in the file, behind the others.
        self._added: dict[int, np.ndarray] = {}
        #: The targets of reshapes that do not depend on what they read, by their places.
        self.fixed: dict[int, list[int]] = {}
        if "PACK" in self.kinds:
            self._fix(self.native.targets())
        self.shapes: Sequence[Dims | None] = ()
        self.known = 0
        #: Who looks for zeros in weights, if anybody does.
        self.ahead: Ahead | None = opened.ahead

    @functools.cached_property
    def reads(self) -> Sequence[list[int]]:
        """The tensors that each operator reads, -1 for those that are left out."""
        if not self._added:
            return self._columns.reads
        read = self.native.lists(Column.READ_LENGTH, Column.READ)
        others = dict(zip(self.fixed, self._added, strict=True))
        return read.but({place: [read[place][0], number] for place, number in others.items()})

    @property
    def writes(self) -> Sequence[list[int]]:
        """The tensors that each operator writes."""
        return self._columns.writes

    @functools.cached_property
    def writers(self) -> dict[int, int]:
        """The operator that writes each tensor."""
        return self.native.writers()

    def _fix(self, found: dict[int, list[int]]) -> None:
        """Give reshapes constant targets, as tensors that are not in the file."""
        self.fixed = found
        self._added = {
            number: np.array(target, np.int32)
            for number, target in enumerate(found.values(), self.count)
        }
        dims = {number: values.shape for number, values in self._added.items()}
        self.dims = self.native.lists(Column.SHAPE_LENGTH, Column.SHAPE, tuple).but(dims)
        self.types = [*self.types, *(INT32 for _ in found)]

    @functools.cached_property
    def model(self) -> Any:
        """The file as objects, with the same tensors as here; not to be changed."""
        model = self._load()
        write_targets(model, self.fixed)
        return model

    def tensor(self, tensor: int) -> Any:
        """A tensor of the file as an object; not to be changed."""
        return self._columns.tensor(tensor)

    def values(self, tensor: int) -> np.ndarray:
        """The values of a constant as the file has them, in its shape; a sparse one is decoded."""
        if tensor in self._added:
            return self._added[tensor]
        data, dims = self._columns.data(tensor), self.dims[tensor]
        if self.is_sparse(tensor):
            stored = typed(np.frombuffer(data, np.uint8), self.types[tensor])
            return shaped(stored, dims, self.tensor(tensor).sparsity)
        return np.frombuffer(data, DTYPES[self.types[tensor]], math.prod(dims)).reshape(dims)

    def signature(self, tensor: int) -> Dims:
        """The shape of a tensor of the file, -1 for lengths that are open; () where none is."""
        return self._columns.signatures[tensor]

    def is_quantized(self, tensor: int) -> bool:
        """Whether a tensor of the file has scales."""
        return tensor in self._columns.quantized

    def is_sparse(self, tensor: int) -> bool:
        """Whether a constant is in a sparse encoding."""
        return tensor in self._columns.sparse

    @functools.cached_property
    def packed(self) -> dict[int, int]:
        """For each tensor that operators only unpack from a constant: that constant."""
        found = enumerate(self.native.column(Column.PACKED))
        return {tensor: source for tensor, source in found if source >= 0}

    @property
    def sizes(self) -> list[int]:
        """The bytes of each tensor's values in the file."""
        return self._columns.sizes

    @property
    def batch(self) -> int:
        """How many images are run at once."""
        first = self.shapes[self.inputs[0]] if self.inputs else None
        return first[0] if first else 1

    def is_stored(self, tensor: int) -> bool:
        """Whether a tensor's values are in the file itself."""
        return tensor in self._added or self._columns.sizes[tensor] > 0

    def infer(self, given: Mapping[int, Dims]) -> bool:
        """Find the shapes of all tensors, as LiteRT would.

        Where the native library has no rule for an operator that LiteRT will run, it believes what the
        file says; LiteRT then tells whether that is so.

        Args:
            given: The shapes of the inputs.

        Returns:
            Whether they were found. They are not where an operator that is needed has no rule and the
            file does not say it, or it does not take such inputs.
        """
        lengths = [given[tensor] for tensor in self.inputs]
        known = len(self.kinds)
        found = self.native.infer(lengths, (), known)
        if found is None:
            places = static(self)
            known = first_unknown(places)
            found = self.native.infer(lengths, places, known)
        if found is None:
            return False
        added = {number: values.shape for number, values in self._added.items()}
        self.shapes, self.known = found.but(added) if added else found, known
        return True

    def set_shapes(self, shapes: Sequence[Dims | None], known: int) -> None:
        """Set the shapes of all tensors to what somebody else has found."""
        self.shapes, self.known = shapes, known
        self.native.set_shapes([*shapes][: self.count])

    def is_constant(self, tensor: int) -> bool:
        """Whether a tensor's values are in the file, packed or not."""
        return tensor in self.packed or self.is_stored(tensor)


def read_graph(source: str | bytes, prune: bool = False) -> Graph:
    """Read the main graph of a file.

    Args:
        source: Its path, or its bytes.
        prune: Whether another thread shall begin to prune the kernels of convolutions.

    Raises:
        ValueError: If there is no such file, or it is damaged.
    """
    return Graph(open_file(source, prune))
