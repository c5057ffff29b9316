"""secateur's own runtime on this machine: sparse kernels for ordinary processors."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from secateur.benchmarking.machine import this_machine
from secateur.benchmarking.process import job_folder, run_worker
from secateur.benchmarking.targets.base import Job, Kernel, Outcome, Target
from secateur.benchmarking.targets.litert import read_runs

_WORKER = Path(__file__).parent.parent / "workers" / "runtime.py"


class Secateur(Target):
    """`secateur.runtime.Interpreter` in a process of its own."""

    name = "secateur"
    summary = "secateur's own interpreter on this machine, with sparse kernels"

    def available(self) -> str | None:
        """It needs LiteRT, and its native part, which a compiler makes at installation."""
        if importlib.util.find_spec("ai_edge_litert") is None:
            return "LiteRT is not installed; `pip install ai-edge-litert`"
        from secateur.runtime import _native

        try:
            _native.library()
        except _native.NativeMissingError as error:
            return str(error)
        return None

    def run(self, job: Job) -> Outcome:
        """Time the models in turn."""
        with job_folder(job) as (folder, models):
            command = [sys.executable, "-P", str(_WORKER)]
            task = {"models": models, "runs": job.runs, "warmup": job.warmup}
            task["threads"] = job.threads
            result = run_worker(command, task, folder, job.progress, job.timeout)
            runs = read_runs(result)
        entries: list[dict[str, Any]] = result["models"]
        if job.profile:
            runs = tuple(
                replace(run, kernels=tuple(Kernel(**kernel) for kernel in entry["kernels"]))
                for run, entry in zip(runs, entries, strict=True)
            )
        notes = [note(model.name, entry) for model, entry in zip(job.models, entries, strict=True)]
        isa = next((entry["isa"] for entry in entries if entry["isa"]), "")
        engine = f"secateur.runtime{f' ({isa})' if isa else ''}, on {this_machine()}"
        return Outcome(engine, runs, threads=job.threads, notes=tuple(notes))


def note(name: str, entry: dict[str, Any]) -> str:
    """How much of a model ran natively, in a line."""
    if entry["reason"]:
        return f"{name} ran in {entry['reason']}."
    return f"{name}: {entry['native']} of {entry['layers']} layers ran natively."
