"""Run models in LiteRT's interpreter, in turn: `python interpreter.py JOB.json`.

A script of its own, which needs nothing but numpy and ai-edge-litert: it also runs in an emulated
ARM machine, where secateur is not installed.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def main() -> None:
    """Run the job named on the command line."""
    job = json.loads(Path(sys.argv[1]).read_text())
    result = Path(job["result"])
    try:
        report = run(job, result.parent)
    except Exception as error:
        report = {"error": f"{type(error).__name__}: {error}"}
    result.write_text(json.dumps(report))


def run(job: dict, folder: Path, load: "type[Loaded] | None" = None) -> dict:
    """Load the models, run them in turn, and keep their outputs."""
    load = load or Loaded
    # The first load prepares the engine; it would count against the first model.
    load(job["models"][0], job["threads"], folder / "unused")
    loaded = [
        load(model, job["threads"], folder / f"output-{i}") for i, model in enumerate(job["models"])
    ]
    for model in loaded:
        model.run_first(job["warmup"])
    for turn in range(job["runs"]):
        tell(f"run {turn + 1} of {job['runs']}")
        for place in range(len(loaded)):
            loaded[(turn + place) % len(loaded)].run_timed()  # none is always first
    return {
        "models": [model.report() for model in loaded],
        "library": library_base(),
    }


class Loaded:
    """A model in an interpreter of its own."""

    #: The interpreter, LiteRT's or one with the same methods.
    engine: type = Interpreter

    def __init__(self, model: dict, threads: int, outputs: Path) -> None:
        self.name = model["name"]
        tell(f"loading {self.name}")
        start = time.perf_counter()
        try:
            self.interpreter = self.engine(model_path=model["path"], num_threads=threads)
            self.interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise RuntimeError(f"LiteRT cannot load {self.name}: {error}") from error
        self.load_ms = (time.perf_counter() - start) * 1e3
        for entry in model["inputs"]:
            values = np.fromfile(entry["path"], entry["dtype"]).reshape(entry["shape"])
            self.interpreter.set_tensor(entry["index"], values)
        self.output_indices = [entry["index"] for entry in model["outputs"]]
        self.output_path = outputs
        self.outputs: list[str] = []
        self.samples: list[float] = []

    def run_first(self, warmup: int) -> None:
        """Run for the first time, keep the outputs, and warm up."""
        tell(f"warming up {self.name}")
        self.interpreter.invoke()
        for i, index in enumerate(self.output_indices):
            path = Path(f"{self.output_path}-{i}.npy")
            np.save(path, self.interpreter.get_tensor(index))
            self.outputs.append(str(path))
        for _ in range(warmup):
            self.interpreter.invoke()

    def run_timed(self) -> None:
        """Run once and take the time."""
        start = time.perf_counter()
        self.interpreter.invoke()
        self.samples.append((time.perf_counter() - start) * 1e3)

    def report(self) -> dict:
        """What was measured."""
        return {"load_ms": self.load_ms, "samples": self.samples, "outputs": self.outputs}


def library_base() -> int:
    """Where LiteRT's library lies in memory, or 0 where that cannot be told."""
    maps = Path("/proc/self/maps")
    if maps.exists():
        for line in maps.read_text().splitlines():
            if "libpywrap_litert_common" in line:
                return int(line.split("-")[0], 16)
    return 0


def tell(text: str) -> None:
    """Show progress."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
