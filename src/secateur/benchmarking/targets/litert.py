"""LiteRT's interpreter on this machine, with XNNPACK, as a Python program would use it."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from secateur.benchmarking.errors import BenchmarkError
from secateur.benchmarking.machine import Machine, this_machine
from secateur.benchmarking.models import with_fixed_shapes
from secateur.benchmarking.process import job_folder, run_worker
from secateur.benchmarking.profile import read_profile
from secateur.benchmarking.targets.base import Job, Kernel, ModelRun, Outcome, Target
from secateur.litert._paths import read_bytes

_WORKERS = Path(__file__).parent.parent / "workers"

#: What a reader must know who benchmarks a sparse model on an ordinary computer.
NO_SPARSE_KERNELS = (
    "XNNPACK never uses its sparse kernels on an x86 processor with AVX, so zeros in convolutions "
    "cannot make a model faster in LiteRT here. They can on ARM, in WebAssembly, also on this machine "
    "(target web), and in secateur's runtime (target secateur)."
)
SPARSE_KERNELS = (
    "XNNPACK may use its sparse kernels on this processor; a profile shows whether it did."
)


class LiteRT(Target):
    """LiteRT's interpreter in a process of its own."""

    name = "litert"
    summary = "LiteRT's interpreter on this machine, with XNNPACK"

    def available(self) -> str | None:
        """LiteRT is a dependency of secateur, so it is there unless the platform has none."""
        if importlib.util.find_spec("ai_edge_litert") is None:
            return "LiteRT is not installed; `pip install ai-edge-litert`"
        return None

    def run(self, job: Job) -> Outcome:
        """Time the models in turn."""
        runs = run_interpreter(job)
        machine = this_machine()
        notes = [SPARSE_KERNELS if machine.runs_sparse_kernels else NO_SPARSE_KERNELS]
        if job.profile:
            runs, failures = add_kernels(job, runs)
            notes += failures
        return Outcome(engine_name(machine), runs, threads=job.threads, notes=tuple(notes))


def engine_name(machine: Machine) -> str:
    """LiteRT with its version, and the processor."""
    try:
        number = f" {version('ai-edge-litert')}"
    except PackageNotFoundError:
        number = ""
    return f"LiteRT{number} with XNNPACK in Python, on {machine}"


def run_interpreter(job: Job) -> tuple[ModelRun, ...]:
    """Run the models of a job in LiteRT's interpreter, in a child process.

    Raises:
        BenchmarkError: If LiteRT cannot run one of them.
    """
    with job_folder(job) as (folder, models):
        command = [sys.executable, "-P", str(_WORKERS / "interpreter.py")]
        task = {"models": models, "runs": job.runs, "warmup": job.warmup, "threads": job.threads}
        result = run_worker(command, task, folder, job.progress, job.timeout)
        return read_runs(result)


def read_runs(result: dict[str, Any]) -> tuple[ModelRun, ...]:
    """What the worker `interpreter.py` measured, with the outputs it wrote to files."""
    return tuple(
        ModelRun(
            samples=tuple(entry["samples"]),
            outputs=tuple(np.load(path) for path in entry["outputs"]),
            load_ms=entry["load_ms"],
        )
        for entry in result["models"]
    )


def add_kernels(job: Job, runs: tuple[ModelRun, ...]) -> tuple[tuple[ModelRun, ...], list[str]]:
    """Profile the models, and return their runs with kernels, and what could not be profiled."""
    with job_folder(job) as (folder, models):
        for i, (entry, model) in enumerate(zip(models, job.models, strict=True)):
            fixed = folder / f"model-{i}.tflite"
            fixed.write_bytes(with_fixed_shapes(read_bytes(model.path)))
            entry["path"] = str(fixed)
        command = [sys.executable, "-P", str(_WORKERS / "operators.py")]
        try:
            result = run_worker(command, {"models": models}, folder, job.progress, job.timeout)
        except BenchmarkError as error:
            return runs, [f"The models could not be profiled: {error}."]
    kernels: list[tuple[Kernel, ...]] = []
    failures = []
    for model, entry in zip(job.models, result["models"], strict=True):
        kernels.append(read_profile(entry.get("summary", "")))
        if "error" in entry:
            failures.append(f"{model.name} could not be profiled: {entry['error']}.")
    return tuple(replace(r, kernels=k) for r, k in zip(runs, kernels, strict=True)), failures
