"""Where each layer of a model runs, and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from secateur.runtime import _table


@dataclass(frozen=True)
class PlannedLayer:
    """One operator of a model, or several that run as one.

    Args:
        name: The tensor that it writes.
        operators: The operators in the file, such as ("PAD", "CONV_2D").
        where: "native" or "LiteRT".
        segment: The number of the segment that it runs in.
        kernel: What the native library runs for it, or "".
        shape: The shape of its output; None where it is known only while the model runs.
        zeros: The share of zeros in its weights; None where it has none.
        sparse: Whether the zeros are left out.
        reason: Why it runs where and how it runs, one of `secateur.runtime.Reason`.
    """

    name: str
    operators: tuple[str, ...]
    where: str
    segment: int
    kernel: str
    shape: tuple[int, ...] | None
    zeros: float | None
    sparse: bool
    reason: str


@dataclass(frozen=True)
class Plan:
    """How a model runs: text in a terminal, a table in a notebook.

    Args:
        layers: The layers in the order in which they run; none where LiteRT runs the whole file
            without a look at its layers.
        reason: Why LiteRT runs the whole file, one of `secateur.runtime.Reason`; "" where it does
            not.
        isa: The instruction set of the native library, or "".
        weight_bytes: The memory of weights in the native library.
        arena_bytes: The memory of values there.
        litert_bytes: What the files that LiteRT runs take in memory, taken together.
    """

    layers: tuple[PlannedLayer, ...] = ()
    reason: str = ""
    isa: str = ""
    weight_bytes: int = 0
    arena_bytes: int = 0
    litert_bytes: int = 0

    @property
    def native(self) -> tuple[PlannedLayer, ...]:
        """The layers that run in the native library."""
        return tuple(layer for layer in self.layers if layer.where == "native")

    @property
    def sparse(self) -> tuple[PlannedLayer, ...]:
        """The layers whose zeros are left out."""
        return tuple(layer for layer in self.layers if layer.sparse)

    @property
    def segments(self) -> tuple[str, ...]:
        """Where each segment runs, in their order."""
        found = {layer.segment: layer.where for layer in self.layers}
        return tuple(found[number] for number in sorted(found))

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values for JSON."""
        return {**asdict(self), "layers": [asdict(layer) for layer in self.layers]}

    def _rows(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = [
            ("segment", "layer", "operators", "zeros", "kernel", "reason")
        ]
        for layer in self.layers:
            zeros = "" if layer.zeros is None else f"{layer.zeros:.1%}"
            operators = "+".join(layer.operators)
            name = _table.short(layer.name)
            number = str(layer.segment)
            rows.append((number, name, operators, zeros, layer.kernel, layer.reason))
        return rows

    def _notes(self) -> list[str]:
        if self.reason:
            return [f"The whole model runs in {self.reason}."]
        count: Counter[str] = Counter(layer.where for layer in self.layers)
        sizes = f"{self.weight_bytes:,} bytes of weights, {self.arena_bytes:,} of values"
        notes = [
            f"{count['native']} of {len(self.layers)} layers run natively ({self.isa}), "
            f"{len(self.sparse)} of them sparse; {len(self.segments)} segments; {sizes}"
        ]
        if self.litert_bytes:
            notes.append(f"LiteRT runs the others, from files of {self.litert_bytes:,} bytes")
        return notes

    def __str__(self) -> str:
        lines = _table.as_text(self._rows(), left=(1, 2, 4, 5)) if self.layers else []
        return "\n".join([*lines, *self._notes()])

    def _repr_html_(self) -> str:
        return _table.as_html("Plan", self._rows(), self._notes())
