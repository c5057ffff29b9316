"""A benchmark's report as text and as HTML. Ratios come first."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

from secateur.benchmarking.targets.base import MILLISECONDS, Kernel

if TYPE_CHECKING:
    from secateur.benchmarking.report import BenchmarkReport, Measurement, TargetResult

Rows = list[tuple[str, ...]]


def as_text(report: BenchmarkReport) -> str:
    """The report in lines.

    Args:
        report: The report.

    Returns:
        Text with a table for each target.
    """
    lines = [heading(report)]
    sizes: Rows = [("model", "bytes"), *((n, f"{size:,}") for n, size in report.models.items())]
    lines += columns(sizes, left=(0,))
    for result in report.results:
        lines += ["", f"{result.target}: {result.engine}"]
        lines += columns(table(result), left=(table_columns(result) - 1,))
        lines += [f"  note: {note}" for note in result.notes]
        if kernels := kernel_table(result):
            lines += ["", *columns(kernels, left=(0,))]
    if report.skipped:
        lines += ["", *(f"not run: {name}: {why}" for name, why in report.skipped.items())]
    return "\n".join(lines)


def as_html(report: BenchmarkReport) -> str:
    """The report as tables.

    Args:
        report: The report.

    Returns:
        HTML for a notebook.
    """
    sizes: Rows = [("model", "bytes"), *((n, f"{size:,}") for n, size in report.models.items())]
    parts = [f"<p>{html.escape(heading(report))}</p>", _html_table(sizes)]
    for result in report.results:
        title = f"<b>{html.escape(result.target)}</b>: {html.escape(result.engine)}"
        parts += [f"<p>{title}</p>", _html_table(table(result))]
        parts += [f"<p><small>{html.escape(note)}</small></p>" for note in result.notes]
        if kernels := kernel_table(result):
            parts.append(_html_table(kernels))
    for name, why in report.skipped.items():
        parts.append(f"<p>not run: <b>{html.escape(name)}</b>: {html.escape(why)}</p>")
    return "".join(parts)


def heading(report: BenchmarkReport) -> str:
    """How it was measured, in a line."""
    count = len(report.models)
    return f"Benchmark of {count} model{'s' * (count != 1)}, run in turn on the same inputs"


def table(result: TargetResult) -> Rows:
    """The figures of a target, the header first."""
    timed = result.unit == MILLISECONDS
    ratio, figure = ("times faster", "median ms") if timed else ("times fewer", result.unit)
    header = [ratio, figure, "quartiles", "runs"]
    optional = [
        ("load ms", [_load(m) for m in result.measurements]),
        ("from the first", [_difference(m.difference) for m in result.measurements]),
        ("from LiteRT here", [_difference(m.litert_difference) for m in result.measurements]),
    ]
    shown = [(name, cells) for name, cells in optional if any(cell != "-" for cell in cells)]
    rows: Rows = [(*header, *(name for name, _ in shown), "model")]
    for i, m in enumerate(result.measurements):
        extra = (cells[i] for _, cells in shown)
        rows.append((f"{m.times_faster:.2f}x", *_figures(m), str(m.runs), *extra, m.model))
    return rows


def table_columns(result: TargetResult) -> int:
    """How many columns the table of a target has."""
    return len(table(result)[0])


def kernel_table(result: TargetResult) -> Rows:
    """Which kernels ran for which model, or nothing where the engine did not tell."""
    names = {k.name: None for m in result.measurements for k in m.kernels}
    if not names:
        return []
    models = [m.model for m in result.measurements]
    rows: Rows = [("kernel", *(f"{result.unit} in {model}" for model in models))]
    for name in names:
        cells = []
        for m in result.measurements:
            found = next((k for k in m.kernels if k.name == name), None)
            cells.append(_cost(found) if found else "-")
        rows.append((name, *cells))
    rows.append(("in sparse kernels", *(_sparse(m) for m in result.measurements)))
    return rows


def columns(rows: Rows, left: Sequence[int]) -> list[str]:
    """Rows as aligned lines; the columns in `left` are aligned to the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def number(value: float) -> str:
    """A figure with four digits that count."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _figures(m: Measurement) -> tuple[str, str]:
    low, high = m.quartiles
    spread = f"{number(low)} - {number(high)}" if m.runs > 1 else "-"
    return number(m.median), spread


def _load(m: Measurement) -> str:
    return "-" if m.load_ms is None else number(m.load_ms)


def _difference(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}" if value else "0"


def _cost(kernel: Kernel) -> str:
    return number(kernel.cost) + (f" ({kernel.count}x)" if kernel.count else "")


def _sparse(m: Measurement) -> str:
    """How many operators, or how much of the whole, ran in sparse kernels."""
    if not m.kernels:
        return "-"
    if any(kernel.count for kernel in m.kernels):
        return f"{m.sparse_kernels} of {sum(kernel.count for kernel in m.kernels)} operators"
    whole = sum(kernel.cost for kernel in m.kernels)
    return f"{sum(kernel.cost for kernel in m.kernels if kernel.sparse) / whole:.0%}"


def _html_table(rows: Rows) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row in rows[1:]
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
