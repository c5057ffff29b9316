"""Tables as text and as HTML."""

from __future__ import annotations

from collections.abc import Sequence

Rows = Sequence[Sequence[str]]


_WIDEST = 48


def short(name: str) -> str:
    """The last part of a long name: those of fused layers run to hundreds of letters."""
    return name if len(name) <= _WIDEST else f"...{name[3 - _WIDEST :]}"


def as_text(rows: Rows, left: Sequence[int]) -> list[str]:
    """Rows as aligned lines, the header first; the columns in `left` are aligned to the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def as_html(title: str, rows: Rows, notes: Sequence[str] = ()) -> str:
    """Rows as a table, the header first."""
    import html

    head, *body = rows
    cells = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    lines = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in body
    )
    remarks = "".join(f"<div>{html.escape(note)}</div>" for note in notes)
    return f"<b>{html.escape(title)}</b><table><tr>{cells}</tr>{lines}</table>{remarks}"
