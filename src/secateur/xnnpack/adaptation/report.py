"""What `adapt` changed in a model, what of it is exact, and what is still in the way."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from typing import Any

from secateur.xnnpack.adaptation.editing import Change
from secateur.xnnpack.report import EligibilityReport


@dataclass(frozen=True)
class Adaptation:
    """What `secateur.xnnpack.adapt` did: text in a terminal, a table in a notebook.

    Args:
        changes: What was changed, layer by layer.
        before: The check of the model that was given.
        after: The check of the model that came out.
        difference: The largest difference between an output of the two models, as a share of the
            largest output; None where it was not measured.
        measured_on: What it was measured on.
        notes: Further sentences.
    """

    changes: tuple[Change, ...]
    before: EligibilityReport
    after: EligibilityReport
    difference: float | None = None
    measured_on: str = ""
    notes: tuple[str, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether the model still computes the same numbers, rounding aside."""
        return all(change.exact for change in self.changes)

    @property
    def eligible(self) -> bool:
        """Whether all its 1x1 convolutions run sparse, once pruned and exported."""
        return self.after.eligible

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values for JSON."""
        return {
            "exact": self.exact,
            "eligible": self.eligible,
            "difference": self.difference,
            "measured_on": self.measured_on,
            "changes": [
                {"layer": change.layer, "what": change.what, "exact": change.exact}
                for change in self.changes
            ],
            "notes": list(self.notes),
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
        }

    def to_json(self) -> str:
        """The same as JSON."""
        return json.dumps(self.to_dict(), indent=2)

    @property
    def title(self) -> str:
        """One line that sums it up."""
        able, total = _able(self.after), len(self.after.convolutions)
        return f"{able} of {total} 1x1 convolutions of {self.after.name!r} can run sparse" + (
            "" if self.changes else "; nothing was changed"
        )

    def _rows(self) -> list[tuple[str, str, str]]:
        return [
            (change.layer, "exact" if change.exact else "not exact", change.what)
            for change in self.changes
        ]

    def _remarks(self) -> list[str]:
        remarks = []
        if self.difference is not None:
            remarks.append(
                f"outputs differ by up to {self.difference:.3g} of the largest, on "
                f"{self.measured_on}"
            )
        remarks += [f"in the way: {obstacle}" for obstacle in self.after.obstacles]
        return [*remarks, *self.notes]

    def __str__(self) -> str:
        rows = self._rows()
        width = max((len(name) for name, *_ in rows), default=0)
        lines = [f"  {name:<{width}}  {exact:<9}  {what}" for name, exact, what in rows]
        return "\n".join([self.title, *lines, *self._remarks()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self._rows()
        )
        remarks = "".join(f"<div>{html.escape(remark)}</div>" for remark in self._remarks())
        return f"<b>{html.escape(self.title)}</b><table>{rows}</table>{remarks}"


def _able(report: EligibilityReport) -> int:
    """How many 1x1 convolutions run sparse once there are enough zeros."""
    return sum(1 for op in report.convolutions if op.part is not None)
