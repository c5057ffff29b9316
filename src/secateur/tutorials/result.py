"""What a walkthrough measured: one row a file, as a table, as text and for JSON."""

from __future__ import annotations

import dataclasses
import io
from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from secateur.benchmarking import BenchmarkReport


@dataclass(frozen=True)
class FileRow:
    """One file that a walkthrough wrote, measured by reading it back.

    Args:
        model: Which model it holds, as "pruned".
        file: Its name.
        bytes: Its size.
        gzip_bytes: Its size compressed by gzip, level 9.
        times_smaller: The size of the baseline's file over that of this one.
        accuracy: On the whole test set, in Keras or in LiteRT.
        sparsity: The share of zeros in its kernels.
    """

    model: str
    file: str
    bytes: int
    gzip_bytes: int
    times_smaller: float
    accuracy: float
    sparsity: float


@dataclass(frozen=True)
class WalkthroughResult:
    """The outcome of a walkthrough; printing it shows the table.

    Args:
        title: What was done.
        settings: The arguments it ran with.
        data: Where the data came from, and how many images there were.
        backend: The Keras backend it ran on.
        output: The folder of the files.
        rows: One row a file.
        baseline: The file that all sizes are compared with.
        compressed: Whether the sizes compared are those of the gzipped files.
        seconds: How long each part took.
        benchmark: How fast the files run, where the walkthrough measured that.
    """

    title: str
    settings: dict[str, Any]
    data: dict[str, Any]
    backend: str
    output: str
    rows: tuple[FileRow, ...]
    baseline: str
    compressed: bool
    seconds: dict[str, float]
    benchmark: BenchmarkReport | None = None

    def row(self, file: str) -> FileRow:
        """The row of one file.

        Args:
            file: Its name, as "pruned.tflite".

        Raises:
            KeyError: If there is no such file.
        """
        for row in self.rows:
            if row.file == file:
                return row
        names = ", ".join(row.file for row in self.rows)
        raise KeyError(f"There is no such row. Expected one of {names}. Received: file={file!r}")

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values for JSON."""
        plain = asdict(dataclasses.replace(self, benchmark=None))
        plain["rows"] = [asdict(row) for row in self.rows]
        return {**plain, "benchmark": self.benchmark.to_dict() if self.benchmark else None}

    def table(self) -> Table:
        """The rows as a `rich` table."""
        table = Table(
            title=self.title,
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            show_edge=False,
            padding=(0, 1, 0, 0),
            caption=f"Times smaller: {'gzipped ' if self.compressed else ''}size of {self.baseline} "
            "over that of the file. Accuracy: "
            f"on {self.data['test']:,} test images, .tflite files in LiteRT. Sparsity: zeros in "
            f"the kernels. Files without optimizer state, in {self.output}",
        )
        table.add_column("Model", overflow="fold")
        table.add_column("File", no_wrap=True)
        for name in ("Bytes", "Gzip\nbytes", "Times\nsmaller", "Accuracy", "Sparsity"):
            table.add_column(name, justify="right", no_wrap=True)
        for row in self.rows:
            table.add_row(
                row.model,
                row.file,
                f"{row.bytes:,}",
                f"{row.gzip_bytes:,}",
                f"{row.times_smaller:.1f}x",
                f"{row.accuracy:.4f}",
                f"{row.sparsity:.1%}",
            )
        return table

    def __rich__(self) -> Table:
        return self.table()

    def __str__(self) -> str:
        console = Console(file=io.StringIO(), width=100)
        console.print(self.table())
        assert isinstance(console.file, io.StringIO)
        table = console.file.getvalue().rstrip()
        return f"{table}\n\n{self.benchmark}" if self.benchmark else table
