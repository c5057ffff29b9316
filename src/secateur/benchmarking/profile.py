"""Read the tables that LiteRT's profiler prints: which kernels ran, and how long."""

from __future__ import annotations

import re

from secateur.benchmarking.targets.base import Kernel

# "Delegate/Fully Connected (NC, F32) GEMM  0.000  0.013  0.013  16.7%  54.4%  0.000  5  [Delegate]:2"
# LiteRT 2.3 prints a column [start] before [first]; the benchmark tool of 2025 has none.
_ROW = re.compile(
    r"^\s*(?P<name>\S.*?)\s+(?P<times>(?:\d+\.\d+\s+)+)[\d.]+%\s+[\d.]+%\s+[\d.]+\s+(?P<called>\d+)\s+"
)
_START = re.compile(r"=+ Run Order =+")
_END = re.compile(r"=+ Top by Computation Time =+")


def read_profile(text: str) -> tuple[Kernel, ...]:
    """Find the kernels in the text of a profile.

    Args:
        text: What LiteRT's profiler or `benchmark_model` printed. Of several tables the last
            counts: the first is about the initialization.

    Returns:
        Each kind of kernel with the number of operators it ran and their milliseconds a run, the
        slowest first; empty where there is no such table.
    """
    starts = [match.end() for match in _START.finditer(text)]
    if not starts:
        return ()
    table = text[starts[-1] :]
    end = _END.search(table)
    found: dict[str, Kernel] = {}
    for line in table[: end.start() if end else None].splitlines():
        row = _ROW.match(line)
        if row is None:
            continue
        name = row["name"].removeprefix("Delegate/")
        before = found.get(name, Kernel(name, 0, 0.0))
        cost = before.cost + float(row["times"].split()[-1])
        found[name] = Kernel(name, before.count + 1, round(cost, 6))
    return tuple(sorted(found.values(), key=lambda kernel: -kernel.cost))
