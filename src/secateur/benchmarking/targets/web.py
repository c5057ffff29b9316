"""LiteRT.js in Node: XNNPACK in WebAssembly, as in a browser, with real sparse kernels."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from secateur.benchmarking import litertjs
from secateur.benchmarking.machine import this_machine
from secateur.benchmarking.models import with_fixed_shapes
from secateur.benchmarking.process import job_folder, run_worker
from secateur.benchmarking.targets.base import Job, ModelRun, Outcome, Progress, Target, silent
from secateur.litert._paths import read_bytes

_SCRIPT = Path(__file__).parent.parent / "web" / "node.mjs"
# Older versions of Node have it, but behind a flag that newer ones do not know.
_RELAXED_SIMD = "--experimental-wasm-relaxed-simd"
_DTYPES = ("float32", "int32", "uint8")

#: What LiteRT.js' builds of XNNPACK are compiled for, by the name of the file.
BUILDS = {
    "litert_wasm_internal.js": "relaxed SIMD",
    "litert_wasm_compat_internal.js": "SIMD, without relaxed SIMD",
    "litert_wasm_threaded_internal.js": "relaxed SIMD, threads",
}


class Web(Target):
    """LiteRT.js in Node."""

    name = "web"
    summary = "LiteRT.js (WebAssembly) in Node, as in a browser on this machine"

    def available(self) -> str | None:
        """Node must be there, and LiteRT.js, or npm to install it."""
        if shutil.which("node") is None:
            return "there is no Node.js; install it (on Debian: apt-get install nodejs npm)"
        return litertjs.missing()

    def setup(self, progress: Progress = silent) -> str:
        """Install LiteRT.js."""
        return f"web: LiteRT.js {litertjs.VERSION} is in {litertjs.install(progress)}"

    def run(self, job: Job) -> Outcome:
        """Time the models in turn."""
        node = shutil.which("node")
        assert node is not None
        home = litertjs.install(job.progress)
        with job_folder(job) as (folder, models):
            for i, (entry, model) in enumerate(zip(models, job.models, strict=True)):
                fixed = folder / f"model-{i}.tflite"
                fixed.write_bytes(with_fixed_shapes(read_bytes(model.path)))
                entry["path"] = str(fixed)
            task = {
                "models": models,
                "runs": job.runs,
                "warmup": job.warmup,
                "litertjs": str(home),
            }
            command = [node, *_flags(node), str(_SCRIPT)]
            result = run_worker(command, task, folder, job.progress, job.timeout)
        notes = ["LiteRT.js tells no kernels; `--on arm64` names them."] if job.profile else []
        if job.threads > 1:
            notes.append("In Node, LiteRT.js has one thread; in a browser it can have more.")
        build = BUILDS.get(str(result.get("build")), "unknown build")
        engine = (
            f"LiteRT.js {litertjs.VERSION} (WebAssembly with {build}) in Node "
            f"{result.get('node')}, on {this_machine()}"
        )
        return Outcome(engine, read_web_runs(result, len(job.models)), notes=tuple(notes))


def read_web_runs(result: Any, models: int) -> tuple[ModelRun, ...]:
    """Read what `measure.mjs` measured, in Node or in a browser.

    Args:
        result: The JSON that it wrote. It may come from anyone who knows the page's address.
        models: How many models there must be.

    Returns:
        One run for each model.

    Raises:
        ValueError: If the JSON has another form, or a time is not positive.
    """
    try:
        runs = tuple(_read_run(entry) for entry in result["models"])
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise ValueError(
            f"This is no result of the web benchmark ({type(error).__name__}: {error}). "
            f"Received: result={str(result)[:80]!r}"
        ) from error
    if len(runs) != models:
        raise ValueError(f"A result for {models} models was expected. Received: models={len(runs)}")
    return runs


def _read_run(entry: dict[str, Any]) -> ModelRun:
    samples = tuple(float(sample) for sample in entry["samples"])
    load_ms, repeats = float(entry["load_ms"]), int(entry["repeats"])
    figures = (*samples, load_ms, repeats)
    if not samples or not np.isfinite(figures).all() or min(figures) <= 0:
        raise ValueError("each sample must be a time")
    outputs = []
    for output in entry["outputs"]:
        if output["dtype"] not in _DTYPES:
            raise ValueError(f"unknown dtype {output['dtype']!r}")
        data = base64.b64decode(output["data"], validate=True)
        shape = tuple(int(length) for length in output["shape"])
        outputs.append(np.frombuffer(data, output["dtype"]).reshape(shape))
    return ModelRun(samples, tuple(outputs), load_ms, repeats=repeats)


def _flags(node: str) -> list[str]:
    """The flag that switches relaxed SIMD on, where this Node knows it."""
    knows = subprocess.run(
        [node, _RELAXED_SIMD, "-e", "0"], capture_output=True, check=False, timeout=60
    )
    return [_RELAXED_SIMD] if knows.returncode == 0 else []
