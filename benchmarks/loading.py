"""How long a .tflite file takes to load in secateur's runtime and in LiteRT, and the memory it takes.

    python benchmarks/runtime.py --folder models --rounds 1     # makes MobileNets
    python benchmarks/loading.py models/MobileNet-0.9.tflite

A process of its own for each measurement, the engines in turns: nothing is warm but the file in the
operating system's cache. Prints medians in ms of the import, of loading (the interpreter and
`allocate_tensors`), of the first run, of all that is done once (both of these without a later run:
engines differ in how much of it they leave to the first run), of loading once more in the same process,
and by how many megabytes the process has grown since the import. Writes JSON.

Numpy's BLAS has threads that keep all processors busy for 50 ms after its import, and secateur loads
with a second thread. Most programs import more than numpy before they load a model, so BLAS gets one
thread here; `--blas` leaves it as it is.

A model that secateur divides needs LiteRT as well, which is imported while it loads; with `--litert`
both have imported it before anything is timed.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

ENGINES = {"LiteRT": "ai_edge_litert.interpreter", "secateur": "secateur.runtime"}
COLUMNS = ("import", "load", "first run", "load and run", "done once", "load again", "MB")
WORKER = """
import json, sys, time
name, path, *first = sys.argv[1:]
clock = time.perf_counter
for each in first:
    __import__(each)
start = clock()
engine = __import__(name, fromlist=["Interpreter"])
times = {"import": clock() - start}

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

def load():
    interpreter = engine.Interpreter(model_path=path, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter

before, start = resident(), clock()
interpreter = load()
times["load"] = clock() - start
interpreter.invoke()
times["load and run"] = clock() - start
times["first run"] = times["load and run"] - times["load"]
grown = (resident() - before) / 1e6
later = []
for _ in range(10):
    start = clock()
    interpreter.invoke()
    later.append(clock() - start)
times["done once"] = times["load and run"] - sorted(later)[5]
again = []
for _ in range(5):
    start = clock()
    load()
    again.append(clock() - start)
times["load again"] = sorted(again)[2]
print("TIMES", json.dumps({**{k: 1e3 * v for k, v in times.items()}, "MB": grown}))
"""


def measure(engine, path, settings, first):
    """One process: the times of one engine, after some imports."""
    command = [sys.executable, "-c", WORKER, ENGINES[engine], str(path), *first]
    environment = {**os.environ, **settings}
    output = subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment
    ).stdout
    line = next(line for line in output.splitlines() if line.startswith("TIMES "))
    return json.loads(line.removeprefix("TIMES "))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=15, help="processes of each engine and file")
    parser.add_argument("--blas", action="store_true", help="with BLAS threads at work meanwhile")
    parser.add_argument("--litert", action="store_true", help="LiteRT is imported before, in both")
    parser.add_argument("--json", type=Path, default=Path("loading.json"))
    args = parser.parse_args()
    first = [ENGINES["LiteRT"]] if args.litert else []
    settings = {} if args.blas else {"OPENBLAS_NUM_THREADS": "1"}
    samples = {(path, engine): [] for path in args.files for engine in ENGINES}
    for turn in range(args.rounds):
        print(f"round {turn + 1} of {args.rounds}", file=sys.stderr, flush=True)
        for path, engine in samples:
            samples[path, engine].append(measure(engine, path, settings, first))
    rows = []
    for (path, engine), found in samples.items():
        medians = {name: float(np.median([one[name] for one in found])) for name in COLUMNS}
        rows.append({"file": path.name, "engine": engine, **medians})
    args.json.write_text(json.dumps(rows, indent=2))
    print(f"{'file':32}{'engine':10}" + "".join(f"{name:>14}" for name in COLUMNS))
    for row in rows:
        values = "".join(f"{row[name]:14.1f}" for name in COLUMNS)
        print(f"{row['file']:32}{row['engine']:10}{values}")
    print(f"written to {args.json}")


if __name__ == "__main__":
    main()
