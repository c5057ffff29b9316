"""What pruning costs per training step, and what a mask update costs, on each backend.

    python benchmarks/overhead.py                       # all backends that are installed, and tfmot
    python benchmarks/overhead.py --backends jax --no-tfmot --rounds 5

Each backend runs in a process of its own. There a plain and a pruned copy of the same model are
trained in turn, 100 steps at a time (one mask update), and the ratio of each pair is taken; a second
plain copy shows how far equal models differ by chance. tfmot needs Keras 2, so it gets a virtual
environment of its own (`.venv-tfmot`, made on the first run). Prints ratios first, medians of all
pairs with quartiles, and writes JSON.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORKER = HERE / "overhead_worker.py"
BACKENDS = ("tensorflow", "jax", "torch")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backends", nargs="*", default=list(BACKENDS), choices=BACKENDS)
    parser.add_argument("--rounds", type=int, default=21, help="pairs per model")
    parser.add_argument("--no-tfmot", action="store_true", help="leave tfmot out")
    parser.add_argument("--output", type=Path, default=Path("overhead.json"))
    args = parser.parse_args()

    runs = [(backend, sys.executable, "secateur") for backend in args.backends]
    if not args.no_tfmot:
        runs.append(("tfmot", str(tfmot_python()), "tfmot"))
    results = {}
    for name, python, engine in runs:
        print(f"running {name} ...", file=sys.stderr, flush=True)
        results[name] = run(python, engine, name, args.rounds)
    args.output.write_text(json.dumps({"machine": machine(), "results": results}, indent=2))
    print(table(results))
    print(f"\n{machine()}\nwritten to {args.output}")


def tfmot_python() -> Path:
    """The Python of an environment that holds tfmot; made here if it is not there."""
    folder = HERE.parent / ".venv-tfmot"
    python = folder / "bin" / "python"
    if not python.exists():
        print("making .venv-tfmot ...", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        packages = ["tensorflow-model-optimization==0.8.1", "tf_keras", "tensorflow"]
        subprocess.run([str(python), "-m", "pip", "install", "-q", *packages], check=True)
    return python


def run(python: str, engine: str, name: str, rounds: int) -> dict:
    env = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3")
    if engine == "secateur":
        env["KERAS_BACKEND"] = name
    command = [python, str(WORKER), engine, str(rounds)]
    output = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout
    # One process on one core for the mask update, which is compared with one thread of numpy.
    command = [python, str(WORKER), engine, "mask"]
    if sys.platform == "linux":
        command = ["taskset", "-c", "0", *command]
    mask = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout
    return {**json.loads(output.splitlines()[-1]), "mask": json.loads(mask.splitlines()[-1])}


def table(results: dict) -> str:
    lines = [
        "| engine | model | plain ms/step | pruned / plain | quartiles | plain / plain |",
        "|---|---|---|---|---|---|",
    ]
    for name, result in results.items():
        for model, r in result["steps"].items():
            low, high = r["quartiles"]
            lines.append(
                f"| {name} | {model} | {r['plain_ms']:.2f} | {r['ratio']:.3f} | "
                f"{low:.3f} to {high:.3f} | {r['null_ratio']:.3f} |"
            )
    lines += [
        "",
        "| engine | mask update, 4.2 M weights, 1 thread | np.partition(np.abs(w)) | ratio "
        "| np.partition alone | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for name, result in results.items():
        m = result["mask"]
        lines.append(
            f"| {name} | {m['update_ms']:.1f} ms | {m['abs_partition_ms']:.1f} ms "
            f"| {m['ratio_to_abs_partition']:.2f} "
            f"| {m['partition_ms']:.1f} ms | {m['ratio_to_partition']:.2f} |"
        )
    return "\n".join(lines)


def machine() -> str:
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    return f"{name}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
