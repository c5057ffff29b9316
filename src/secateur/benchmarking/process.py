"""Run a worker as a process of its own: it may crash, hang or be fed a hostile file."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from secateur.benchmarking.errors import BenchmarkError
from secateur.benchmarking.targets.base import Job, Progress, silent
from secateur.litert._quiet import tail


def run_worker(
    command: Sequence[str],
    job: Mapping[str, Any],
    folder: Path,
    progress: Progress = silent,
    timeout: float = 900.0,
    env: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run a worker on a job and return what it measured.

    A worker is a program that takes the path of a JSON file. It reads its job there, prints what
    it is doing to standard output, a line each, and writes its result, or `{"error": ...}`, to
    the file that the job calls "result".

    Args:
        command: The program and its arguments; the path of the job is added.
        job: The job.
        folder: Where to put the job and its result.
        progress: Called with each line of the worker.
        timeout: After so many seconds it is ended.
        env: Its environment, by default this process's.

    Returns:
        The result.

    Raises:
        BenchmarkError: If the worker fails, crashes or takes too long.
    """
    path, result = folder / "job.json", folder / "result.json"
    result.unlink(missing_ok=True)
    path.write_text(json.dumps({**job, "result": str(result)}))
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        done = _run([*command, str(path)], progress, timeout, env, log)
        log.seek(0)
        said = tail(log.read(), 600)
    found: dict[str, Any] = json.loads(result.read_text()) if result.is_file() else {}
    if done.overtime:
        raise BenchmarkError(
            f"no end after {timeout:g} seconds, while {done.last_line or 'starting'}"
        )
    if "error" in found:
        raise BenchmarkError(found["error"])
    if not found or done.code:
        last = f" while {done.last_line}" if done.last_line else ""
        raise BenchmarkError(f"the process {_end(done.code)}{last}" + (f": {said}" if said else ""))
    return found


@contextlib.contextmanager
def job_folder(job: Job) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
    """Write a job's inputs to files, for workers.

    Args:
        job: The job.

    Yields:
        A temporary folder, and for each model its name, its path and its inputs: name, index,
        dtype, shape and the path of the raw values, little-endian.
    """
    with tempfile.TemporaryDirectory(prefix="secateur-") as name:
        folder = Path(name)
        models = []
        for m, (model, inputs) in enumerate(zip(job.models, job.inputs, strict=True)):
            entries = []
            for i, (spec, value) in enumerate(zip(model.inputs, inputs, strict=True)):
                path = folder / f"input-{m}-{i}.bin"
                path.write_bytes(np.ascontiguousarray(value).tobytes())
                entries.append(
                    {
                        "name": spec.name,
                        "index": spec.index,
                        "dtype": spec.dtype,
                        "shape": list(spec.shape),
                        "path": str(path),
                    }
                )
            models.append(
                {
                    "name": model.name,
                    "path": str(model.path.resolve()),
                    "inputs": entries,
                    "outputs": [{"name": s.name, "index": s.index} for s in model.outputs],
                }
            )
        yield folder, models


class _Done:
    """How a process ended."""

    code: int = 0
    last_line: str = ""
    overtime: bool = False


def _run(
    command: list[str],
    progress: Progress,
    timeout: float,
    env: Mapping[str, str] | None,
    log: IO[str],
) -> _Done:
    done = _Done()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        errors="replace",
        env=env,
        start_new_session=True,
    )

    def stop() -> None:
        done.overtime = True
        _kill(process)

    timer = threading.Timer(timeout, stop)
    timer.start()
    try:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                if line.strip():
                    done.last_line = line.strip()
                    progress(done.last_line)
        done.code = process.wait()
    except BaseException:
        _kill(process)
        process.wait()
        raise
    finally:
        timer.cancel()
    return done


def _kill(process: subprocess.Popen[str]) -> None:
    """End a process and what it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _end(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
    return f"ended with code {code}"
