"""A phone behind `adb`, with LiteRT's own `benchmark_model`, as in tfmot's tutorial."""

from __future__ import annotations

import re
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from secateur.benchmarking.errors import BenchmarkError
from secateur.benchmarking.profile import read_profile
from secateur.benchmarking.targets.base import Job, Kernel, ModelRun, Outcome, Target

_FOLDER = "/data/local/tmp"
_TOOL = f"{_FOLDER}/benchmark_model"
# The models take turns: the tool is started so many times for each.
_ROUNDS = 5
_DOCS = "https://developers.google.com/edge/litert/next/benchmark"

#: What a reader must know of figures from this tool.
ROUNDS = (
    "benchmark_model shows no single runs: each sample is the {figure} of {runs} runs, and the "
    "models take turns between samples. It shows no outputs either, so none are compared."
)

# "count=50 first=79449 curr=81350 min=77385 max=88213 avg=79732 std=1929", and in newer
# versions " p5=... median=... p95=..." behind it. Large figures are written as 2.4e+06.
_NUMBER = r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)"
_COUNT = re.compile(rf"count=(\d+) first=.*? avg={_NUMBER}(?: std=\S+)?(?:.*? median={_NUMBER})?")
# "Inference timings in us: Init: 5685, First inference: 18535, Warmup (avg): 14462.3, Inference
# (avg): 14575.2"; versions before 2020 put it another way.
_TIMINGS = re.compile(
    rf"Inference timings in us: .*?Init: {_NUMBER},.*Inference \(avg\): {_NUMBER}"
)
_OLD_TIMINGS = re.compile(
    rf"Average inference timings in us: .*?Init: {_NUMBER}, Inference: {_NUMBER}"
)
# The tool of LiteRT's CompiledModel interface: "Inference (avg):      85.23 ms (50 runs)".
_RESULTS_AVERAGE = re.compile(rf"Inference \(avg\):\s+{_NUMBER} ms \((\d+) runs\)")
_RESULTS_INIT = re.compile(rf"Model initialization:\s+{_NUMBER} ms")


class Android(Target):
    """The `benchmark_model` tool on the one device that `adb` sees."""

    name = "android"
    summary = "a phone behind adb, with LiteRT's benchmark_model"

    def available(self) -> str | None:
        """There must be adb, one device, and the tool on it."""
        if shutil.which("adb") is None:
            return (
                "there is no adb; install Android's platform tools (on Debian: apt-get install "
                "adb), and switch on USB debugging on the phone"
            )
        try:
            _adb("get-state")
        except BenchmarkError as error:
            return (
                "connect one device, switch on USB debugging and allow it on the screen; choose "
                f"one of several with ANDROID_SERIAL ({error})"
            )
        if "yes" not in _shell(f"test -x {_TOOL} && echo yes"):
            return (
                f"there is no {_TOOL} on the device; download benchmark_model for android_arm64 "
                f"({_DOCS}), then `adb push benchmark_model {_FOLDER}` and "
                f"`adb shell chmod +x {_TOOL}`"
            )
        return None

    def run(self, job: Job) -> Outcome:
        """Run the tool for each model in turn, several times."""
        folder = f"{_FOLDER}/secateur-{secrets.token_hex(4)}"
        _shell(f"mkdir {folder}")
        try:
            return self._measure(job, folder)
        finally:
            _shell(f"rm -r {folder}")

    def _measure(self, job: Job, folder: str) -> Outcome:
        paths = [f"{folder}/{i}.tflite" for i in range(len(job.models))]
        for model, path in zip(job.models, paths, strict=True):
            job.progress(f"copying {model.name}")
            _adb("push", str(model.path), path)
        rounds = min(_ROUNDS, job.runs)
        runs = job.runs // rounds
        found: list[list[Reading]] = [[] for _ in paths]
        for turn in range(rounds):
            for place in range(len(paths)):
                i = (turn + place) % len(paths)  # none is always first
                job.progress(f"{job.models[i].name}, sample {turn + 1} of {rounds}")
                found[i].append(self._run_tool(job, i, tool_command(paths[i], job, runs)))
        kernels = [self._profile(job, i, path) for i, path in enumerate(paths)]
        phone = " ".join(
            _shell(f"getprop ro.product.{what}").strip() for what in ("manufacturer", "model")
        )
        figure = "median" if all(r.median_us for rs in found for r in rs) else "mean"
        return Outcome(
            f"benchmark_model with XNNPACK on {phone}",
            tuple(_model_run(readings, k) for readings, k in zip(found, kernels, strict=True)),
            threads=job.threads,
            notes=(ROUNDS.format(figure=figure, runs=runs),),
        )

    def _run_tool(self, job: Job, model: int, command: str) -> Reading:
        text = _shell(command, job.timeout)
        try:
            return read_output(text)
        except ValueError as error:
            raise BenchmarkError(f"{job.models[model].name}: {error}") from error

    def _profile(self, job: Job, model: int, path: str) -> tuple[Kernel, ...]:
        if not job.profile:
            return ()
        job.progress(f"profiling {job.models[model].name}")
        command = f"{tool_command(path, job, 1)} --enable_op_profiling=true"
        return read_profile(_shell(command, job.timeout))


@dataclass(frozen=True)
class Reading:
    """What one start of the tool printed.

    Args:
        runs: How many runs it timed.
        average_us: Their mean, in microseconds.
        median_us: Their median, where that version of the tool prints it.
        init_us: How long it took to load the model, where it says so.
    """

    runs: int
    average_us: float
    median_us: float | None = None
    init_us: float | None = None


def read_output(text: str) -> Reading:
    """Read what `benchmark_model` printed, of any version that its documentation shows.

    Args:
        text: Its standard output and error.

    Returns:
        The figures of the timed runs, those of the warm-up left out.

    Raises:
        ValueError: If there are none; the message holds the end of what it said.

    Reference:
        tensorflow/lite/tools/benchmark/README.md in TensorFlow, litert/tools/README.md in LiteRT,
        and https://developers.google.com/edge/litert/models/measurement.
    """
    timings = _TIMINGS.search(text) or _OLD_TIMINGS.search(text)
    counts = _COUNT.findall(text)
    if timings is not None:
        init, average = float(timings[1]), float(timings[2])
        runs, _, median = counts[-1] if counts else ("1", "", "")
        return Reading(int(runs), average, float(median) if median else None, init)
    if (block := _RESULTS_AVERAGE.search(text)) is not None:
        start = _RESULTS_INIT.search(text)
        median = counts[-1][2] if counts else ""
        return Reading(
            int(block[2]),
            float(block[1]) * 1e3,
            float(median) if median else None,
            float(start[1]) * 1e3 if start else None,
        )
    said = " / ".join(line.strip() for line in text.splitlines()[-3:] if line.strip())
    raise ValueError(f"benchmark_model printed no times, but {said[-400:]!r}")


def tool_command(path: str, job: Job, runs: int) -> str:
    """How the tool is started on the device: the flags of tfmot's tutorial, and fixed numbers."""
    return (
        f"{_TOOL} --graph={path} --use_xnnpack=true --num_runs={runs} "
        f"--num_threads={job.threads} --warmup_runs={max(job.warmup, 1)} --min_secs=0"
    )


def _model_run(readings: Sequence[Reading], kernels: tuple[Kernel, ...]) -> ModelRun:
    samples = tuple((r.median_us or r.average_us) / 1e3 for r in readings)
    inits = sorted(r.init_us for r in readings if r.init_us is not None)
    load_ms = inits[len(inits) // 2] / 1e3 if inits else None
    return ModelRun(samples, None, load_ms, kernels, repeats=readings[0].runs)


def _shell(command: str, timeout: float = 60.0) -> str:
    """Run a command on the device; what it prints, whether it succeeds or not."""
    return _adb("shell", f"{command} 2>&1", timeout=timeout, check=False)


def _adb(*arguments: str, timeout: float = 60.0, check: bool = True) -> str:
    try:
        done = subprocess.run(
            ["adb", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"adb {arguments[0]} took more than {timeout:g} seconds") from error
    if check and done.returncode:
        raise BenchmarkError(f"adb {arguments[0]} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout
