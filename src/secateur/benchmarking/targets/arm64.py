"""LiteRT's aarch64 wheel in an emulated ARM processor: which kernels run, and how much they do."""

from __future__ import annotations

from pathlib import Path

from secateur.benchmarking.arm64 import kit
from secateur.benchmarking.arm64.counts import Symbols, per_run, read_counts
from secateur.benchmarking.process import job_folder, run_worker
from secateur.benchmarking.targets.base import (
    MEGA_INSTRUCTIONS,
    Job,
    ModelRun,
    Outcome,
    Progress,
    Target,
    silent,
)
from secateur.benchmarking.targets.litert import read_runs

_WORKER = Path(__file__).parent.parent / "workers" / "interpreter.py"
_LIBRARY = Path("site/ai_edge_litert/libpywrap_litert_common.so")
_MORE_RUNS = 2

#: What a reader must know of figures from an emulator.
NO_TIMES = (
    "These are executed instructions, counted in an emulator, not time: on a device, memory and "
    "the width of the processor decide as well."
)
ONE_THREAD = "Instructions are counted on one thread."


class Arm64(Target):
    """LiteRT under qemu."""

    name = "arm64"
    summary = "LiteRT for ARM under qemu: kernels and executed instructions, no times"

    def available(self) -> str | None:
        """The kit must have been set up."""
        if kit.installed():
            return None
        reason = kit.obstacle()
        if reason is None:
            reason = "not set up; run `secateur benchmark --setup arm64` once (downloads 100 MB)"
        return reason

    def setup(self, progress: Progress = silent) -> str:
        """Download the emulator and LiteRT for ARM."""
        return f"arm64: LiteRT {kit.litert_version()} for ARM is in {kit.install(progress)}"

    def run(self, job: Job) -> Outcome:
        """Count the instructions of one run of each model."""
        home = kit.folder()
        symbols = Symbols.of(home / _LIBRARY)
        with job_folder(job) as (folder, models):
            runs = []
            for model in models:
                job.progress(f"emulating {model['name']}")
                few, outcome = _count(job, home, folder, model, symbols, 0)
                many, _ = _count(job, home, folder, model, symbols, _MORE_RUNS)
                total, kernels = per_run(few, many, _MORE_RUNS)
                runs.append(ModelRun((total,), outcome.outputs, kernels=kernels))
        engine = f"LiteRT {kit.litert_version()} for aarch64 with XNNPACK, {kit.CORE} under qemu"
        notes = (NO_TIMES, ONE_THREAD) if job.threads > 1 else (NO_TIMES,)
        return Outcome(engine, tuple(runs), MEGA_INSTRUCTIONS, notes=notes)


def _count(
    job: Job, home: Path, folder: Path, model: dict, symbols: Symbols, runs: int
) -> tuple[dict[str, int], ModelRun]:
    """Run a model 1 + `runs` times; return instructions by function, and the outputs."""
    counts = folder / "counts.txt"
    result = run_worker(
        [*kit.command(home, counts), "-B", str(_WORKER)],
        {"models": [model], "runs": runs, "warmup": 0, "threads": 1},
        folder,
        timeout=job.timeout,
        env=kit.environment(home),
    )
    return read_counts(counts.read_text(), result["library"], symbols), read_runs(result)[0]
