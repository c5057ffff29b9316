"""Draw a benchmark's report with matplotlib."""

from __future__ import annotations

import os
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from secateur.benchmarking.report import BenchmarkReport, TargetResult

_BAR, _REFERENCE, _DOT = "#2f855a", "#a0aec0", "#1a202c"


def draw(report: BenchmarkReport, path: str | os.PathLike[str] | None = None) -> Any:
    """Draw medians as bars, quartiles as whiskers and samples as dots, a panel a target.

    Args:
        report: The report.
        path: Where to write it, or None.

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If the suffix of `path` names no format that matplotlib can write.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            'Plots need matplotlib. Install it with `pip install "secateur[plot]"`. '
            f"Received: path={path!r}"
        ) from error
    rows = [len(result.measurements) for result in report.results]
    figure = Figure(figsize=(8, 1.3 * len(rows) + 0.5 * sum(rows)), layout="constrained")
    panels = figure.subplots(len(rows), 1, squeeze=False, height_ratios=rows)[:, 0]
    for panel, result in zip(panels, report.results, strict=True):
        _panel(panel, result)
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def _panel(axes: Any, result: TargetResult) -> None:
    medians = [m.median for m in result.measurements]
    low, high = np.array([m.quartiles for m in result.measurements]).T
    places = np.arange(len(medians))
    colors = [_REFERENCE if i == 0 else _BAR for i in places]
    axes.barh(places, medians, color=colors, height=0.6)
    axes.hlines(places, low, high, color=_DOT, linewidth=3, alpha=0.8)
    for place, m in zip(places, result.measurements, strict=True):
        if m.runs > 1:
            # Whole numbers times the golden ratio are spread evenly, the same each time.
            offsets = (np.arange(m.runs) * 0.618034 % 1 - 0.5) * 0.4
            axes.scatter(m.samples, place + offsets, s=3, color=_DOT, alpha=0.25, linewidths=0)
        axes.annotate(
            f"{m.times_faster:.2f}x",
            (max(m.median, m.quartiles[1]), place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontweight="bold",
        )
    # A sample that the system delayed would squeeze all bars; it may lie outside.
    axes.set_xlim(0, 1.25 * max(max(medians), float(high.max())))
    axes.set_yticks(places, [m.model for m in result.measurements])
    axes.invert_yaxis()
    axes.set_xlabel(result.unit + ", median and quartiles; shorter is better")
    title = textwrap.fill(f"{result.target}: {result.engine}", 80)
    axes.set_title(title, fontsize=9, loc="left")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
