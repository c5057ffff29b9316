"""Where the command line writes: reports to standard output, all else to standard error."""

from __future__ import annotations

import json
import math
from typing import Any

from rich.console import Console
from rich.table import Table

from secateur.litert.sizes import Size
from secateur.litert.tensors import TensorInfo, kernel_sparsity


def progress_console() -> Console:
    """A console on standard error, for progress and notes."""
    return Console(stderr=True)


def print_json(report: dict[str, Any]) -> None:
    """Print a report for machines: valid JSON and nothing else."""
    print(json.dumps(_plain(report), indent=2, allow_nan=False))


def print_rich(report: object) -> None:
    """Print a report for people: a table, or plain text as it is."""
    console = Console()
    if isinstance(report, str):
        console.print(report, markup=False, highlight=False, soft_wrap=True)
    else:
        console.print(report)


def tensor_table(title: str, tensors: list[TensorInfo], size: Size) -> Table:
    """The weights of a file as a table."""
    table = Table(
        title=title,
        caption=f"{size.bytes:,} bytes, {size.gzip_bytes:,} gzipped; "
        f"{kernel_sparsity(tensors):.1%} zeros in the kernels",
    )
    table.add_column("Weight", overflow="fold")
    for name in ("Shape", "Type", "Weights", "Sparsity"):
        table.add_column(name, justify="right")
    for tensor in tensors:
        table.add_row(
            tensor.name,
            "x".join(map(str, tensor.shape)),
            tensor.dtype,
            f"{tensor.size:,}",
            f"{tensor.sparsity:.1%}",
        )
    return table


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
