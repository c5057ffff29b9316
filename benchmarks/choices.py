"""Whether `native="auto"` chooses well: LiteRT, all layers natively, and what was chosen, side by side.

    python benchmarks/choices.py
    python benchmarks/choices.py --models MobileNetV2 --zeros 0.5 0.65 --threads 2

The models of runtime.py at densities where it is not clear what is faster. The three interpreters of a
model take turns in one process, so that what else happens on the machine hits them alike. Prints the
median time of each, both divided by LiteRT's, and the same as it was estimated; `missed` is how much
longer the chosen one takes than the best. Writes JSON.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from runtime_models import make

MODELS = ("MobileNet", "MobileNetV2", "EfficientNetB0", "ResNet50")
ZEROS = (0.35, 0.5, 0.65, 0.75, 0.9)


def estimated(path, threads):
    """What all natively is thought to take, of what LiteRT is; None where LiteRT runs it unseen."""
    from secateur.runtime import Interpreter, _session

    found, choose = [], _session.choose

    def listen(graph, units, prices, always):
        found.append(prices.whole(graph) / sum(prices.litert))
        return choose(graph, units, prices, always)

    _session.choose = listen
    try:
        Interpreter(model_path=str(path), num_threads=threads).allocate_tensors()
    finally:
        _session.choose = choose
    return found[0] if found else None


def ready(make, path, threads, **options):
    interpreter = make(model_path=str(path), num_threads=threads, **options)
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]
    image = np.random.default_rng(0).random(entry["shape"]).astype("float32")
    interpreter.set_tensor(entry["index"], image)
    for _ in range(3):
        interpreter.invoke()
    return interpreter


def measured(path, threads, seconds):
    """The median milliseconds of each, and where the layers of the chosen one run."""
    from ai_edge_litert.interpreter import Interpreter as LiteRT

    from secateur.runtime import Interpreter

    chosen = ready(Interpreter, path, threads)
    each = {
        "litert": ready(LiteRT, path, threads),
        "native": ready(Interpreter, path, threads, native="always"),
        "auto": chosen,
    }
    times = {name: [] for name in each}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for name, interpreter in each.items():
            start = time.perf_counter()
            interpreter.invoke()
            times[name].append(1e3 * (time.perf_counter() - start))
    layers = [layer.where == "native" for layer in chosen.plan().layers]
    where = "native" if layers and all(layers) else "both" if any(layers) else "LiteRT"
    return {name: float(np.median(all_times)) for name, all_times in times.items()}, where


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--zeros", nargs="+", type=float, default=ZEROS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=6, help="of measuring, for each model")
    parser.add_argument("--folder", type=Path, help="where models are, or are made")
    parser.add_argument("--json", type=Path, default=Path("choices.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        rows = compare(options.folder or Path(temporary), options)
    options.json.write_text(json.dumps({"threads": options.threads, "models": rows}, indent=1))


def compare(folder, options):
    """Print a row for each model, and return them."""
    rows = []
    print(f"{'model':22}{'LiteRT':>9}  natively  estimated  chosen   auto  missed")
    for name in options.models:
        for path in make(folder, name, options.zeros).values():
            guess = estimated(path, options.threads)
            ms, where = measured(path, options.threads, options.seconds)
            missed = ms["auto"] / min(ms["litert"], ms["native"]) - 1
            shares = [ms[side] / ms["litert"] for side in ("native", "auto")]
            thought = "-" if guess is None else f"{guess:.2f}"
            print(
                f"{path.stem:22}{ms['litert']:6.1f} ms{shares[0]:10.2f}{thought:>11}{where:>8}"
                f"{shares[1]:7.2f}{missed:8.0%}",
                flush=True,
            )
            rows.append({"model": path.stem, "ms": ms, "estimated": guess, "chosen": where})
    return rows


if __name__ == "__main__":
    main()
