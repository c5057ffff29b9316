"""Pruned networks in secateur's runtime, beside LiteRT, ONNX Runtime and DeepSparse, on this machine.

    python benchmarks/runtime.py                                # MobileNet, one thread
    python benchmarks/runtime.py --models MobileNet MobileNetV2 EfficientNetB0 --threads 1 2 --avx2
    python benchmarks/runtime.py --others                       # DeepSparse and ONNX Runtime too

Stock keras.applications without trained weights at 224 x 224, their 1x1 kernels pruned to 75, 90 and
95 % zeros and exported plainly; batch 1, float32. Each model runs in each engine in a process of its
own; all take turns, so that what else happens on the machine hits them alike. Each turn is one run
to warm up and three that count. Prints ratios first, medians of all runs with quartiles, and the
multiply-adds a second that were reached against the processor's peak. Writes JSON.

Other engines get virtual environments of their own, made on the first run: `.venv-onnx`, and
`.venv-deepsparse` where this Python is older than 3.12. DeepSparse is discontinued.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from runtime_models import make

HERE = Path(__file__).resolve().parent
WORKER, MODELS = HERE / "runtime_worker.py", HERE / "runtime_models.py"
LEVELS = (0.75, 0.9, 0.95)
OTHERS = {
    "onnxruntime": (".venv-onnx", ["onnxruntime>=1.20", "onnx>=1.17", "numpy"]),
    "deepsparse": (".venv-deepsparse", ["deepsparse==1.8.0", "onnxruntime", "numpy<2"]),
}
REPEATS = 3


class Contestant:
    """A model in an engine, in a process of its own."""

    def __init__(self, label, engine, path, threads, python=sys.executable, isa=None):
        self.label, self.threads, self.samples = label, threads, []
        env = dict(os.environ, OMP_NUM_THREADS=str(threads))
        env.pop("SECATEUR_ISA", None)
        if isa:
            env["SECATEUR_ISA"] = isa
        command = [python, str(WORKER), engine, str(path), str(threads), str(REPEATS)]
        pipe, quiet = subprocess.PIPE, subprocess.DEVNULL
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=quiet, text=True, env=env
        )
        self.facts = self._answer("READY ")

    def _answer(self, start):
        for line in self.process.stdout:
            if line.startswith(start):
                return json.loads(line.removeprefix(start))
        raise RuntimeError(f"{self.label} ended with code {self.process.wait()}")

    def turn(self):
        """Run once to warm up, and then some times that count."""
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        self.samples += self._answer("TIMES ")

    def close(self):
        """End the process."""
        self.process.stdin.close()
        self.process.wait()

    @property
    def median(self):
        """The median of all runs."""
        return float(np.median(self.samples))

    def row(self, first):
        """What was measured, compared with the median of the first."""
        low, high = np.percentile(self.samples, [25, 75])
        work = self.facts.get("multiply_adds", 0)
        rate = work / self.median / 1e6
        return {
            "what": self.label,
            "threads": self.threads,
            "times faster": first / self.median,
            "median ms": self.median,
            "quartiles": [float(low), float(high)],
            "minimum ms": min(self.samples),
            "GMAC/s": rate or None,
            **self.facts,
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["MobileNet"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    parser.add_argument("--rounds", type=int, default=20, help="turns of each contestant")
    parser.add_argument("--avx2", action="store_true", help="also with AVX2 forced")
    parser.add_argument("--others", action="store_true", help="ONNX Runtime and DeepSparse too")
    parser.add_argument("--folder", type=Path, help="where models are, or are made")
    parser.add_argument("--json", type=Path, default=Path("runtime.json"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        tables = [
            measure(folder, name, threads, args) for name in args.models for threads in args.threads
        ]
    report = {"machine": machine(), "peak": peaks(), "tables": tables}
    args.json.write_text(json.dumps(report, indent=2))
    for table in tables:
        print("\n".join(text(table, report["peak"])), "\n")
    print(f"{report['machine']}\nwritten to {args.json}")


def measure(folder, name, threads, args):
    """One table: a network with a number of threads."""
    paths = make(folder, name, (0, *LEVELS))
    runs = [Contestant("LiteRT, dense", "litert", paths[0], threads)]
    runs.append(Contestant("LiteRT, full int8", "litert", folder / f"{name}-int8.tflite", threads))
    for isa in (None, "avx2") if args.avx2 else (None,):
        for zeros in LEVELS:
            label = f"secateur{f', {isa}' if isa else ''}, {zeros:.0%} zeros"
            runs.append(Contestant(label, "secateur", paths[zeros], threads, isa=isa))
    missing = []
    if args.others and name == "MobileNet":
        for engine in OTHERS:
            try:
                runs += others(folder, engine, threads)
            except (OSError, RuntimeError, subprocess.SubprocessError) as error:
                missing.append(f"{engine} did not run: {error}")
    for turn in range(args.rounds):
        print(f"{name}: round {turn + 1} of {args.rounds}", file=sys.stderr, flush=True)
        for place in range(len(runs)):
            runs[(turn + place) % len(runs)].turn()
    for run in runs:
        run.close()
    rows = [run.row(runs[0].median) for run in runs]
    return {"model": name, "threads": threads, "rows": rows, "missing": missing}


def others(folder, engine, threads):
    """MobileNet in another engine, in an environment of its own."""
    name, packages = OTHERS[engine]
    python = HERE.parent / name / "bin" / "python"
    if not python.exists():
        if engine == "deepsparse" and sys.version_info >= (3, 12):
            raise RuntimeError("DeepSparse needs a Python older than 3.12")
        print(f"making {name} ...", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(python.parents[1])], check=True)
        install = [str(python), "-m", "pip", "install", "-q", *packages]
        subprocess.run(install, check=True)
    levels = (0.0, *LEVELS)
    paths = [folder / f"MobileNet-{zeros:g}.onnx" for zeros in levels]
    if not all(path.exists() for path in paths):
        arguments = ["--onnx", str(folder), "MobileNet", *(f"{zeros:g}" for zeros in levels)]
        subprocess.run([str(python), str(MODELS), *arguments], check=True)
    # ONNX Runtime does not look at zeros: one file is enough.
    chosen = [0, 2] if engine == "onnxruntime" else range(len(levels))
    return [
        Contestant(f"{engine}, {levels[i]:.0%} zeros", engine, paths[i], threads, str(python))
        for i in chosen
    ]


def peaks():
    """Billions of multiply-adds a second that one thread reaches in registers."""
    from secateur.runtime._program import isas, peak

    return {isa: max(peak(isa) for _ in range(3)) for isa in isas()}


def machine():
    from secateur.benchmarking.machine import this_machine

    return str(this_machine())


def text(table, peak):
    """A table in lines."""
    lines = [f"{table['model']}, {table['threads']} thread(s), batch 1, 224 x 224"]
    lines.append(f"{'times faster':>12} {'median ms':>10} {'quartiles':>15} {'GMAC/s':>8}")
    for row in table["rows"]:
        low, high = row["quartiles"]
        rate = f"{row['GMAC/s']:.1f}" if row["GMAC/s"] else ""
        spread = f"{low:.2f} - {high:.2f}"
        figures = f"{row['times faster']:>11.2f}x {row['median ms']:>10.2f} {spread:>15} {rate:>8}"
        lines.append(f"{figures}  {row['what']}")
    rates = [r for r in table["rows"] if r["GMAC/s"] and r.get("isa") in peak]
    for row in rates:
        part = row["GMAC/s"] / (peak[row["isa"]] * table["threads"])
        lines.append(
            f"roofline: {row['what']}: {row['GMAC/s']:.1f} of {peak[row['isa']]:.0f} GMAC/s a thread, "
            f"{part:.0%} of the peak, the zeros not counted; {row['layers']}"
        )
    return [*lines, *table["missing"]]


if __name__ == "__main__":
    main()
