"""What a benchmark measured: as text, for JSON, in a notebook and as a plot."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from secateur.benchmarking import render
from secateur.benchmarking.targets.base import MILLISECONDS, Kernel


@dataclass(frozen=True)
class Measurement:
    """One model on one target.

    Args:
        model: The name of the model.
        samples: One figure a run, in the unit of the target.
        times_faster: The median of the first model over that of this one.
        difference: How far the outputs are from the first model's on the same target, relative
            to the largest of them; None where they cannot be compared.
        litert_difference: How far they are from those of the same file in LiteRT on this
            machine: what an engine computes wrongly shows here.
        load_ms: How long it took to load the file, or None.
        kernels: The kernels that ran, as far as the engine tells.
        repeats: A sample is the mean of so many runs.
    """

    model: str
    samples: tuple[float, ...]
    times_faster: float
    difference: float | None = None
    litert_difference: float | None = None
    load_ms: float | None = None
    kernels: tuple[Kernel, ...] = ()
    repeats: int = 1

    @property
    def runs(self) -> int:
        """The number of samples."""
        return len(self.samples)

    @property
    def median(self) -> float:
        """The median of the samples."""
        return float(np.median(self.samples))

    @property
    def quartiles(self) -> tuple[float, float]:
        """A quarter of the samples is below the first figure, a quarter above the second."""
        low, high = np.percentile(self.samples, [25, 75])
        return float(low), float(high)

    @property
    def minimum(self) -> float:
        """The smallest sample."""
        return min(self.samples)

    @property
    def sparse_kernels(self) -> int:
        """How many operators ran in a kernel for sparse matrices."""
        return sum(kernel.count for kernel in self.kernels if kernel.sparse)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values for JSON."""
        kernels = [{**asdict(kernel), "sparse": kernel.sparse} for kernel in self.kernels]
        return {
            **asdict(self),
            "samples": list(self.samples),
            "kernels": kernels,
            "median": self.median,
            "quartiles": list(self.quartiles),
            "minimum": self.minimum,
            "runs": self.runs,
        }


@dataclass(frozen=True)
class TargetResult:
    """All models on one target.

    Args:
        target: The name of the target.
        engine: What ran them, and on what.
        measurements: One for each model, in their order.
        unit: What the samples count.
        threads: How many threads were used.
        notes: What one must know to judge the figures.
    """

    target: str
    engine: str
    measurements: tuple[Measurement, ...]
    unit: str = MILLISECONDS
    threads: int = 1
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values for JSON."""
        return {
            **asdict(self),
            "measurements": [measurement.to_dict() for measurement in self.measurements],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class BenchmarkReport:
    """The result of `secateur.benchmark`: text in a terminal, tables in a notebook.

    Args:
        models: The models with their sizes in bytes, in the order in which they were given. The
            others are compared with the first.
        results: One for each target that ran.
        skipped: The targets that did not run, each with the reason.
        settings: How it was measured: runs, warm-ups, threads and the seed of the inputs.
    """

    models: dict[str, int]
    results: tuple[TargetResult, ...]
    skipped: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def result(self, target: str) -> TargetResult:
        """What was measured on one target.

        Args:
            target: Its name.

        Raises:
            KeyError: If it did not run.
        """
        for result in self.results:
            if result.target == target:
                return result
        names = ", ".join(result.target for result in self.results)
        raise KeyError(f"This target did not run. Expected one of {names}. Received: {target!r}")

    def measurement(self, target: str, model: str) -> Measurement:
        """What was measured for one model on one target.

        Args:
            target: The name of the target.
            model: The name of the model: its file name, where that is not ambiguous.

        Raises:
            KeyError: If there is no such measurement.
        """
        for measurement in self.result(target).measurements:
            if measurement.model == model:
                return measurement
        raise KeyError(
            f"There is no such model. Expected one of {', '.join(self.models)}. Received: {model!r}"
        )

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values for JSON."""
        return {
            "models": [{"name": name, "bytes": size} for name, size in self.models.items()],
            "settings": dict(self.settings),
            "results": [result.to_dict() for result in self.results],
            "skipped": dict(self.skipped),
        }

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw medians, quartiles and all samples, a panel a target.

        Args:
            path: Where to write it, as .png, .svg or .pdf; by default it is not written.

        Returns:
            The `matplotlib.figure.Figure`.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        from secateur.benchmarking.plot import draw

        return draw(self, path)

    def __str__(self) -> str:
        return render.as_text(self)

    def _repr_html_(self) -> str:
        return render.as_html(self)
