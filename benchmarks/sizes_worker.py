"""One process of `sizes.py`: `sizes_worker.py FILE RUNS`. Prints JSON."""

import json
import re
import resource
import sys
import time
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def peak() -> float:
    """The most memory that this process has had, in MB.

    On Linux `getrusage` would count what the parent process had.
    """
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if found:
            return int(found[1]) / 1e3
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / 1e6 if sys.platform == "darwin" else size / 1e3


def main() -> None:
    path, runs = sys.argv[1], int(sys.argv[2])
    before = peak()
    found: dict[str, list[float]] = {"load_ms": [], "first_run_ms": [], "run_ms": []}
    memory = 0.0
    for number in range(runs):
        start = time.perf_counter()
        interpreter = Interpreter(model_path=path, num_threads=1)
        interpreter.allocate_tensors()
        loaded = time.perf_counter()
        entry = interpreter.get_input_details()[0]
        interpreter.set_tensor(entry["index"], np.zeros(entry["shape"], entry["dtype"]))
        interpreter.invoke()
        first = time.perf_counter()
        for _ in range(5):
            interpreter.invoke()
        end = time.perf_counter()
        if number == 0:
            memory = peak() - before
        found["load_ms"].append(1e3 * (loaded - start))
        found["first_run_ms"].append(1e3 * (first - loaded))
        found["run_ms"].append(1e3 * (end - first) / 5)
        del interpreter
    print(json.dumps({**found, "memory_mb": memory}))


if __name__ == "__main__":
    main()
