"""Give executed instructions to the functions of a library they belong to."""

from __future__ import annotations

import bisect
import subprocess
from collections import defaultdict
from pathlib import Path

from secateur.benchmarking.errors import BenchmarkError
from secateur.benchmarking.targets.base import Kernel

# A kernel that takes less than this share of all instructions says nothing.
_LEAST = 0.001
OTHER = "everything else"


class Symbols:
    """The functions of a library.

    Args:
        table: What `readelf --symbols --wide` prints.
    """

    def __init__(self, table: str) -> None:
        rows = (line.split() for line in table.splitlines())
        functions = sorted(
            (int(row[1], 16), int(row[2], 0), row[7])
            for row in rows
            if len(row) >= 8 and row[3] == "FUNC" and row[6] != "UND"
        )
        self._starts = [start for start, _, _ in functions]
        self._functions = functions

    @classmethod
    def of(cls, library: Path) -> Symbols:
        """Read the functions of a library, local ones included.

        Raises:
            BenchmarkError: If they cannot be read.
        """
        command = ["readelf", "--symbols", "--wide", str(library)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchmarkError(f"readelf cannot read {library.name}: {done.stderr.strip()}")
        return cls(done.stdout)

    def name(self, offset: int) -> str:
        """The function that holds the byte at an offset, or "" where there is none."""
        place = bisect.bisect_right(self._starts, offset) - 1
        if place < 0:
            return ""
        start, size, name = self._functions[place]
        return name if offset < start + max(size, 1) else ""


def read_counts(text: str, base: int, symbols: Symbols) -> dict[str, int]:
    """Add up the instructions that each function executed.

    Args:
        text: What the plugin `counter.c` wrote.
        base: Where the library lies in memory.
        symbols: The functions of the library.

    Returns:
        Instructions by the name of the function; "" holds those outside of the library.
    """
    counts: dict[str, int] = defaultdict(int)
    for line in text.splitlines():
        address, instructions, runs = line.split()
        counts[symbols.name(int(address, 16) - base)] += int(instructions) * int(runs)
    return dict(counts)


def per_run(
    few: dict[str, int], many: dict[str, int], runs: int
) -> tuple[float, tuple[Kernel, ...]]:
    """What a run takes: the difference of two counts, which holds neither start nor loading.

    Args:
        few: The instructions of a program that ran the model some times.
        many: The same of one that ran it `runs` times more.
        runs: How many times more.

    Returns:
        The millions of instructions a run, and of XNNPACK's kernels among them.
    """
    difference = {name: (many[name] - few.get(name, 0)) / runs / 1e6 for name in many}
    total = sum(difference.values())
    kernels = [
        Kernel(name, 0, round(cost, 3))
        for name, cost in difference.items()
        if _is_kernel(name) and cost >= _LEAST * total
    ]
    rest = total - sum(kernel.cost for kernel in kernels)
    kernels.sort(key=lambda kernel: -kernel.cost)
    return total, (*kernels, Kernel(OTHER, 0, round(rest, 3)))


def _is_kernel(name: str) -> bool:
    return (name.startswith("xnn_") and "_ukernel_" in name) or name.startswith("kai_")
