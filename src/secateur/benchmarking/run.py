"""`secateur.benchmark`: measure `.tflite` files side by side, on several engines."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from secateur.benchmarking.errors import BenchmarkError
from secateur.benchmarking.inputs import Arrays, make_inputs, real_numbers, relative_difference
from secateur.benchmarking.models import ModelFile, read_models
from secateur.benchmarking.report import BenchmarkReport, Measurement, TargetResult
from secateur.benchmarking.targets import DEFAULT_TARGETS, Job, ModelRun, Outcome, get_target
from secateur.benchmarking.targets.base import Progress, silent


def benchmark(
    *models: str | os.PathLike[str],
    on: str | Sequence[str] | None = None,
    runs: int = 50,
    warmup: int = 3,
    threads: int = 1,
    inputs: np.ndarray | Sequence[np.ndarray] | None = None,
    seed: int = 0,
    profile: bool = False,
    timeout: float = 900.0,
    progress: Progress = silent,
) -> BenchmarkReport:
    """Measure `.tflite` files side by side and compare them with the first.

    All models get the same inputs and run in turn, so that whatever else the machine does
    slows all of them. Each engine runs in a process of its own: a damaged file cannot end yours.

    Args:
        *models: The paths of one or more `.tflite` files that take the same inputs. The others
            are compared with the first.
        on: What to measure on: "litert" (the interpreter here), "secateur" (our sparse runtime
            here), "web" (WebAssembly in Node), "arm64" (executed instructions in an emulated ARM
            processor), "android" (a phone behind adb), or several of them. By default "litert",
            "secateur" and "web". Targets that are not at hand are listed in the report with the
            reason.
        runs: The number of timed runs of each model.
        warmup: The number of runs of each model before.
        threads: The number of threads, where the engine has a choice.
        inputs: The inputs as real numbers, one array or one for each input; by default random
            between 0 and 1. Models with quantized inputs get them quantized.
        seed: The seed of the random inputs.
        profile: Whether to find out which kernels run, on litert and android.
        timeout: After so many seconds a target is given up.
        progress: Called with a line of text on what is going on.

    Returns:
        Medians, quartiles, ratios and the differences of the outputs.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file is damaged, the models do not fit together, or an argument is out
            of range.
        BenchmarkError: If nothing could be measured at all; the message says why.

    Example:
        >>> import secateur
        >>> secateur.benchmark("dense.tflite", "sparse.tflite", on="web")  # doctest: +SKIP
    """
    names = DEFAULT_TARGETS if on is None else (on,) if isinstance(on, str) else tuple(on)
    _check(models, names, runs, warmup, threads)
    targets = [get_target(name) for name in dict.fromkeys(names)]
    files = read_models(models)
    job = Job(
        models=files,
        inputs=make_inputs(files, inputs, seed),
        runs=runs,
        warmup=warmup,
        threads=threads,
        profile=profile,
        timeout=timeout,
        progress=progress,
    )
    outcomes: dict[str, Outcome] = {}
    skipped: dict[str, str] = {}
    for target in targets:
        if (missing := target.available()) is not None:
            skipped[target.name] = missing
            continue
        try:
            outcomes[target.name] = target.run(replace(job, progress=_named(target.name, progress)))
        except BenchmarkError as error:
            skipped[target.name] = str(error)
    if not outcomes:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped.items())
        raise BenchmarkError(f"Nothing could be measured: {reasons}. Received: on={list(names)!r}")
    return make_report(job, outcomes, skipped, seed)


def make_report(
    job: Job,
    outcomes: dict[str, Outcome],
    skipped: dict[str, str],
    seed: int,
    reference: Sequence[Arrays | None] | None = None,
) -> BenchmarkReport:
    """Compare what was measured, and compare outputs with those of LiteRT on this machine.

    Args:
        job: What was measured.
        outcomes: What came out, by target.
        skipped: What did not run, and why.
        seed: The seed of the inputs.
        reference: The outputs of each model in LiteRT here; by default it is run for them.

    Returns:
        The report.
    """
    if reference is None:
        reference = _reference(job, outcomes)
    results = []
    for name, outcome in outcomes.items():
        outputs = [
            _outputs(model, run) for model, run in zip(job.models, outcome.runs, strict=True)
        ]
        first = np.median(outcome.runs[0].samples)
        measurements = tuple(
            Measurement(
                model=model.name,
                samples=run.samples,
                times_faster=float(first / np.median(run.samples)),
                difference=_compare(outputs[0], own) if model is not job.models[0] else None,
                litert_difference=_compare(here, own) if name != "litert" else None,
                load_ms=run.load_ms,
                kernels=run.kernels,
                repeats=run.repeats,
            )
            for model, run, own, here in zip(
                job.models, outcome.runs, outputs, reference, strict=True
            )
        )
        results.append(
            TargetResult(
                name, outcome.engine, measurements, outcome.unit, outcome.threads, outcome.notes
            )
        )
    return BenchmarkReport(
        models={model.name: model.bytes for model in job.models},
        results=tuple(results),
        skipped=skipped,
        settings={
            "runs": job.runs,
            "warmup": job.warmup,
            "threads": job.threads,
            "seed": seed,
        },
    )


def reference_outputs(job: Job) -> list[Arrays | None]:
    """The outputs of each model in LiteRT on this machine; None where it cannot run them all."""
    from secateur.benchmarking.targets.litert import run_interpreter

    job.progress("running the models once in LiteRT here, to compare the outputs")
    try:
        runs = run_interpreter(replace(job, runs=0, warmup=0, progress=silent))
    except BenchmarkError:
        return [None] * len(job.models)
    return [_outputs(model, run) for model, run in zip(job.models, runs, strict=True)]


def _reference(job: Job, outcomes: dict[str, Outcome]) -> list[Arrays | None]:
    if "litert" in outcomes:
        runs = outcomes["litert"].runs
        return [_outputs(model, run) for model, run in zip(job.models, runs, strict=True)]
    if all(run.outputs is None for outcome in outcomes.values() for run in outcome.runs):
        return [None] * len(job.models)  # there is nothing to compare them with
    return reference_outputs(job)


def _outputs(model: ModelFile, run: ModelRun | None) -> Arrays | None:
    if run is None or run.outputs is None or len(run.outputs) != len(model.outputs):
        return None
    return real_numbers(run.outputs, model.outputs)


def _compare(first: Arrays | None, other: Arrays | None) -> float | None:
    return None if first is None or other is None else relative_difference(first, other)


def _named(target: str, progress: Progress) -> Progress:
    return lambda text: progress(f"{target}: {text}")


def _check(
    models: Sequence[object], names: Sequence[str], runs: int, warmup: int, threads: int
) -> None:
    if not models:
        raise ValueError(
            "There is nothing to measure. Give one or more .tflite files. Received: ()"
        )
    if not names:
        raise ValueError(
            "There is nothing to measure on. Name one or more targets. Received: on=[]"
        )
    for name, value, least in (("runs", runs, 1), ("warmup", warmup, 0), ("threads", threads, 1)):
        if value < least:
            raise ValueError(f"At least {least} is needed. Received: {name}={value!r}")
