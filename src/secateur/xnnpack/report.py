"""What a check found: each operation, whether it runs sparse, and what to do where it does not."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from typing import Any

from secateur.xnnpack.rules import FIXES, UNSAFE, Reason

#: A part runs sparse where the share of zeros in its 1x1 convolutions is above this.
THRESHOLD = 2 / 3

# So many names are shown in a sentence.
_SHOWN = 3

# Reasons that nothing needs to be done about.
_FINE = (Reason.HEAD, Reason.LAST, Reason.BEFORE, Reason.ROWS)


@dataclass(frozen=True)
class OperationReport:
    """One operation of a network.

    Args:
        name: The path of its layer, or the name of its output in a file.
        operation: The class of the layer, or what it is called in a file, as "CONV_2D".
        pointwise: Whether it is a 1x1 convolution or alike, which is what runs sparse.
        shape: Of a 1x1 convolution, output and input channels.
        zeros: Of a 1x1 convolution, how many of its weights are zero.
        part: The number of its part in the report's `parts`; None where it is in none.
        sparse: Whether it runs sparse as it is.
        reason: Why it does not, or does not let others (see `Reason`); "" where all is well.
        culprit: The name of the operation that is in the way, where that is another one.
    """

    name: str
    operation: str
    pointwise: bool = False
    shape: tuple[int, ...] = ()
    zeros: int = 0
    part: int | None = None
    sparse: bool = False
    reason: str = ""
    culprit: str = ""

    @property
    def fix(self) -> str:
        """What to do about it, or ""."""
        return FIXES.get(self.reason, "")

    @property
    def sparsity(self) -> float:
        """The share of its weights that are zero."""
        size = self.shape[0] * self.shape[1] if self.shape else 0
        return self.zeros / size if size else 0.0

    @property
    def in_the_way(self) -> bool:
        """Whether it keeps others from running sparse, as opposed to being kept."""
        fine = (*_FINE, Reason.BELOW_THRESHOLD, Reason.NOT_MARKED)
        return bool(self.reason) and not self.culprit and self.reason not in fine

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values for JSON."""
        return {
            "name": self.name,
            "operation": self.operation,
            "pointwise": self.pointwise,
            "shape": list(self.shape),
            "zeros": self.zeros,
            "sparsity": self.sparsity,
            "part": self.part,
            "sparse": self.sparse,
            "reason": self.reason,
            "culprit": self.culprit,
            "fix": self.fix,
        }


@dataclass(frozen=True)
class PartReport:
    """A part of a network that XNNPACK can run sparse, all of it or nothing.

    Args:
        convolutions: How many 1x1 convolutions it has.
        weights: How many weights they have.
        zeros: How many of those are zero.
        sparse: Whether it runs sparse as it is.
    """

    convolutions: int
    weights: int
    zeros: int
    sparse: bool

    @property
    def sparsity(self) -> float:
        """The share of zeros over all its 1x1 convolutions, which must be above `THRESHOLD`."""
        return self.zeros / self.weights if self.weights else 0.0

    @property
    def enough(self) -> bool:
        """Whether so many of its weights are zero that XNNPACK runs it sparse when told to."""
        return self.zeros * 3 > self.weights * 2

    def __str__(self) -> str:
        return (
            f"{self.zeros:,} of {self.weights:,} weights in {self.convolutions} 1x1 convolutions are "
            f"zero, {self.sparsity:.1%}, and above {THRESHOLD:.1%} they run sparse"
        )

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values for JSON."""
        return {
            "convolutions": self.convolutions,
            "weights": self.weights,
            "zeros": self.zeros,
            "sparsity": self.sparsity,
            "threshold": THRESHOLD,
            "sparse": self.sparse,
        }


class EligibilityReport:
    """What XNNPACK runs sparse of a model or file, and what is in the way of the rest.

    Renders as text with `print`, as a table in notebooks, and as plain values with `to_dict`.

    Args:
        name: What was checked.
        operations: One `OperationReport` an operation, in the order in which they run.
        parts: One `PartReport` a part that can run sparse.

    Example:

    >>> import keras, secateur
    >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)], name="tiny")
    >>> report = secateur.xnnpack.check(model)
    >>> report.eligible, report.operations[0].reason
    (False, 'a 3x3 convolution with another stride than 2')
    """

    def __init__(
        self, name: str, operations: list[OperationReport], parts: list[PartReport]
    ) -> None:
        self.name = name
        self.operations = operations
        self.parts = parts

    @property
    def convolutions(self) -> list[OperationReport]:
        """The 1x1 convolutions that are worth running sparse: heads behind the end do not count."""
        return [op for op in self.operations if op.pointwise and op.reason not in _FINE]

    @property
    def sparse(self) -> list[OperationReport]:
        """The 1x1 convolutions that run sparse as they are."""
        return [op for op in self.operations if op.sparse]

    @property
    def eligible(self) -> bool:
        """Whether all 1x1 convolutions run sparse, or will once they are pruned and exported."""
        later = (Reason.BELOW_THRESHOLD, Reason.NOT_MARKED)
        found = self.convolutions
        return bool(found) and all(op.sparse or op.reason in later for op in found)

    @property
    def runs_sparse(self) -> bool:
        """Whether anything runs sparse as it is."""
        return any(op.sparse for op in self.operations)

    @property
    def safe(self) -> bool:
        """Whether weights may be marked sparse without XNNPACK getting wrong numbers."""
        return all(op.reason not in UNSAFE for op in self.operations)

    @property
    def in_the_way(self) -> list[OperationReport]:
        """The operations that keep others from running sparse."""
        return [op for op in self.operations if op.in_the_way]

    @property
    def obstacles(self) -> list[str]:
        """The operations in the way as sentences, one a reason."""
        names: dict[str, list[str]] = {}
        for op in self.in_the_way:
            names.setdefault(op.reason, []).append(op.name)
        return [f"{_few(found)}: {reason}" for reason, found in names.items()]

    @property
    def remarks(self) -> list[str]:
        """What keeps parts of it dense, as sentences: obstacles, and parts with too few zeros."""
        few = [str(part) for part in self.parts if not part.enough]
        return [*self.obstacles, *few]

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as plain Python."""
        return {
            "name": self.name,
            "eligible": self.eligible,
            "runs_sparse": self.runs_sparse,
            "safe": self.safe,
            "threshold": THRESHOLD,
            "parts": [part.to_dict() for part in self.parts],
            "operations": [op.to_dict() for op in self.operations],
        }

    def to_json(self) -> str:
        """Returns the report as JSON."""
        return json.dumps(self.to_dict(), indent=2)

    @property
    def title(self) -> str:
        """One line that sums it up."""
        count, total = len(self.sparse), len(self.convolutions)
        what = f"{total} 1x1 convolution{'s' if total != 1 else ''} of {self.name!r}"
        if not total:
            return f"There is no 1x1 convolution in {self.name!r} that could run sparse"
        if count == total:
            return f"XNNPACK runs all {what} sparse"
        can = sum(not op.sparse and op.reason == Reason.BELOW_THRESHOLD for op in self.convolutions)
        more = f"; {can} more could, with more zeros" if can else ""
        return f"XNNPACK runs {count} of {what} sparse{more}"

    def _rows(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = [("operation", "kind", "shape", "zeros", "sparse", "why not")]
        for op in self.operations:
            if op.pointwise or op.in_the_way:
                shape = "x".join(map(str, op.shape))
                zeros = f"{op.sparsity:.1%}" if op.shape else ""
                why = f"{op.culprit}: {op.reason}" if op.culprit else op.reason
                sparse = "yes" if op.sparse else "no" if op.pointwise else ""
                rows.append((op.name, op.operation, shape, zeros, sparse, why))
        return rows

    def _remarks(self) -> list[str]:
        remarks = [
            f"part {number}: {part}; it runs {'sparse' if part.sparse else 'dense'}"
            for number, part in enumerate(self.parts)
        ]
        fixes = dict.fromkeys(
            (op.reason, op.fix) for op in self.operations if op.reason not in ("", *_FINE)
        )
        return remarks + [f"{reason}: {fix}" for reason, fix in fixes]

    def __str__(self) -> str:
        rows = self._rows()
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([self.title, *(lines if len(rows) > 1 else []), *self._remarks()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head, *body = self._rows()
        cells = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in body
        )
        remarks = "".join(f"<div>{html.escape(remark)}</div>" for remark in self._remarks())
        return f"<b>{html.escape(self.title)}</b><table><tr>{cells}</tr>{rows}</table>{remarks}"


def _few(names: list[str]) -> str:
    """A few names, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
