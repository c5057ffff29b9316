"""How long each layer of a model takes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from secateur.runtime import _table


@dataclass(frozen=True)
class LayerTime:
    """One operation that ran.

    Args:
        name: The layer's name in the file; "seam" where data change their layout, "segment 2" for a
            segment that LiteRT ran.
        where: "native" or "LiteRT".
        kernel: What ran.
        ms: The median of its milliseconds a run.
        multiply_adds: How many multiply-adds it did, or 0 where it has none or that is unknown.
    """

    name: str
    where: str
    kernel: str
    ms: float
    multiply_adds: int = 0

    @property
    def rate(self) -> float:
        """Billions of multiply-adds a second."""
        return self.multiply_adds / self.ms / 1e6 if self.ms else 0.0


@dataclass(frozen=True)
class Profile:
    """The layers of a model with their times: text in a terminal, a table in a notebook.

    Args:
        layers: The layers in the order in which they ran.
        runs: Over how many runs the medians are.
        threads: How many threads ran.
    """

    layers: tuple[LayerTime, ...]
    runs: int
    threads: int

    @property
    def ms(self) -> float:
        """The milliseconds of all layers."""
        return sum(layer.ms for layer in self.layers)

    @property
    def kernels(self) -> tuple[tuple[str, int, float], ...]:
        """The kinds of kernels, how many layers each ran, and their milliseconds; slowest first.

        Those for sparse matrices end in SPMM, as XNNPACK's do.
        """
        found: dict[str, tuple[int, float]] = {}
        for layer in self.layers:
            kind = _kind(layer)
            count, ms = found.get(kind, (0, 0.0))
            found[kind] = count + 1, ms + layer.ms
        rows = [(kind, count, ms) for kind, (count, ms) in found.items()]
        return tuple(sorted(rows, key=lambda row: -row[2]))

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values for JSON."""
        return {
            **asdict(self),
            "layers": [{**asdict(layer), "rate": layer.rate} for layer in self.layers],
            "kernels": [
                {"name": name, "count": count, "cost": ms} for name, count, ms in self.kernels
            ],
            "ms": self.ms,
        }

    def _rows(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = [("ms", "share", "GMAC/s", "kernel", "layer")]
        for layer in self.layers:
            share = layer.ms / self.ms if self.ms else 0.0
            rate = f"{layer.rate:.1f}" if layer.multiply_adds else ""
            name = _table.short(layer.name)
            rows.append((f"{layer.ms:.4f}", f"{share:.1%}", rate, layer.kernel, name))
        return rows

    def _notes(self) -> list[str]:
        lines = [f"{self.ms:.4g} ms in all, medians of {self.runs} runs, {self.threads} thread(s)"]
        return lines + [f"{ms:.4f} ms  {count} x {name}" for name, count, ms in self.kernels]

    def __str__(self) -> str:
        return "\n".join([*_table.as_text(self._rows(), left=(3, 4)), *self._notes()])

    def _repr_html_(self) -> str:
        return _table.as_html("Profile", self._rows(), self._notes())


def _kind(layer: LayerTime) -> str:
    """The kind of a kernel: its words before the number of its channels, "sparse 1x1"."""
    if layer.where != "native":
        return layer.where
    words: list[str] = []
    for word in layer.kernel.replace(",", "").split():
        if ">" in word or (word.isdigit() and words[-1:] != ["stride"]):
            break
        words.append(word)
    kind = " ".join(words)
    return f"{kind} SPMM" if kind.startswith("sparse") else kind
