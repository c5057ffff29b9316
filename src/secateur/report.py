"""What was pruned, what was not, and why: one report for people, notebooks and machines."""

import dataclasses
import html
import json
from collections import Counter
from typing import Any


class Reason:
    """Why a weight is not pruned."""

    NOT_SELECTED = "not selected"
    FROZEN = "frozen"
    NORMALIZATION = "normalization"
    EMBEDDING = "embedding: pruned only when asked for by itself"
    DEPTHWISE = "depthwise kernel: pruned only when asked for by itself"
    NOT_A_KERNEL = "not a kernel"
    VECTOR = "a vector: fewer than two axes longer than 1"
    POLICY = "left out by the policy"


@dataclasses.dataclass(frozen=True)
class WeightReport:
    """One weight of a model.

    Args:
        path: The variable's path.
        layer: The class of the layer that owns it.
        shape: Its shape.
        zeros: How many of its values are zero.
        target: The sparsity at which pruning ends; None if it is not pruned, or if it shares a
            target with others.
        reason: None if it is pruned, else why it is not (see `Reason`).
    """

    path: str
    layer: str
    shape: tuple[int, ...]
    zeros: int
    target: float | None = None
    reason: str | None = None

    @property
    def size(self) -> int:
        """The number of values."""
        size = 1
        for n in self.shape:
            size *= n
        return size

    @property
    def sparsity(self) -> float:
        """The share of values that are zero."""
        return self.zeros / self.size if self.size else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields, and size and sparsity, as plain Python."""
        return {
            "path": self.path,
            "layer": self.layer,
            "shape": list(self.shape),
            "size": self.size,
            "zeros": self.zeros,
            "sparsity": self.sparsity,
            "target": self.target,
            "reason": self.reason,
        }


class PruningReport:
    """The weights of a model: what they are, what they are to become, and why others are left alone.

    Renders as text with `print`, as a table in notebooks, and as JSON with `to_json`.

    Args:
        title: One line that says what the report is about.
        weights: One `WeightReport` a weight, in the model's order.
        target: The sparsity aimed at over all pruned weights, if there is one.
        notes: Sentences to print below the table.

    Example:

    >>> import keras, secateur
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)], name="tiny")
    >>> report = secateur.prune_once(model, 0.5)
    >>> report.sparsity, report.pruned[0].zeros, report.left_alone[0].reason
    (0.5, 16, 'not a kernel')
    """

    def __init__(
        self,
        title: str,
        weights: list[WeightReport],
        target: float | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.title = title
        self.weights = weights
        self.target = target
        self.notes = notes

    @property
    def pruned(self) -> list[WeightReport]:
        """The weights that are pruned (or could be, in a report that only looks)."""
        return [w for w in self.weights if w.reason is None]

    @property
    def left_alone(self) -> list[WeightReport]:
        """The weights that are not, each with its reason."""
        return [w for w in self.weights if w.reason is not None]

    @property
    def sparsity(self) -> float:
        """The share of zeros over all pruned weights."""
        return _share(self.pruned)

    @property
    def total_sparsity(self) -> float:
        """The share of zeros over all weights of the model."""
        return _share(self.weights)

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as plain Python."""
        return {
            "title": self.title,
            "target": self.target,
            "sparsity": self.sparsity,
            "total_sparsity": self.total_sparsity,
            "weights": [w.to_dict() for w in self.weights],
            "notes": list(self.notes),
        }

    def to_json(self) -> str:
        """Returns the report as JSON."""
        return json.dumps(self.to_dict(), indent=2)

    def _rows(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = [("weight", "layer", "shape", "zeros", "sparsity", "target")]
        for w in self.pruned:
            target = "" if w.target is None else f"{w.target:.2%}"
            shape = "x".join(str(n) for n in w.shape)
            rows.append((w.path, w.layer, shape, f"{w.zeros:,}", f"{w.sparsity:.2%}", target))
        target = "" if self.target is None else f"{self.target:.2%}"
        size = f"{sum(w.size for w in self.pruned):,}"
        zeros = f"{sum(w.zeros for w in self.pruned):,}"
        rows.append(("total", "", size, zeros, f"{self.sparsity:.2%}", target))
        return rows

    def _remarks(self) -> list[str]:
        reasons = Counter(str(w.reason) for w in self.left_alone)
        remarks = [f"left alone: {count} x {reason}" for reason, count in sorted(reasons.items())]
        return [*remarks, *self.notes]

    def __str__(self) -> str:
        rows = self._rows()
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = [self.title]
        for row in rows:
            left = "  ".join(c.ljust(w) for c, w in zip(row[:2], widths[:2], strict=True))
            right = "  ".join(c.rjust(w) for c, w in zip(row[2:], widths[2:], strict=True))
            lines.append(f"{left}  {right}".rstrip())
        return "\n".join([*lines, *self._remarks()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head, *body = self._rows()
        cells = "".join(f"<th>{html.escape(c)}</th>" for c in head)
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in body
        )
        remarks = "".join(f"<div>{html.escape(r)}</div>" for r in self._remarks())
        title = html.escape(self.title)
        return f"<b>{title}</b><table><tr>{cells}</tr>{rows}</table>{remarks}"


def _share(weights: list[WeightReport]) -> float:
    size = sum(w.size for w in weights)
    return sum(w.zeros for w in weights) / size if size else 0.0
