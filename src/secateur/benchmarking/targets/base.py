"""The one interface of all engines that models are measured on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from secateur.benchmarking.models import ModelFile

#: The units that a target may measure in.
MILLISECONDS = "ms"
MEGA_INSTRUCTIONS = "M instructions"

Progress = Callable[[str], None]


def silent(message: str) -> None:
    """Show no progress."""


@dataclass(frozen=True)
class Kernel:
    """One kind of kernel that ran.

    Args:
        name: What the engine calls it.
        count: How many operators of the model it ran, or 0 where that is unknown.
        cost: What they took together, a run, in the unit of the target.
    """

    name: str
    count: int
    cost: float

    @property
    def sparse(self) -> bool:
        """Whether it is one of XNNPACK's kernels for sparse matrices."""
        return "spmm" in self.name.lower()


@dataclass(frozen=True)
class ModelRun:
    """What a target measured on one model.

    Args:
        samples: One figure a run, in the unit of the target.
        outputs: The outputs for the given inputs, or None where the engine shows none.
        load_ms: How long it took to load the file, where that was measured.
        kernels: The kernels that ran, where the engine tells.
        repeats: A sample is the mean of so many runs.
    """

    samples: tuple[float, ...]
    outputs: tuple[np.ndarray, ...] | None = None
    load_ms: float | None = None
    kernels: tuple[Kernel, ...] = ()
    repeats: int = 1


@dataclass(frozen=True)
class Outcome:
    """What a target measured.

    Args:
        engine: What ran, with its version, and on what.
        runs: One for each model, in their order.
        unit: What the samples count.
        threads: How many threads it really used.
        notes: What the reader must know to judge the figures.
    """

    engine: str
    runs: tuple[ModelRun, ...]
    unit: str = MILLISECONDS
    threads: int = 1
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """What a target is asked to measure.

    Args:
        models: The files.
        inputs: The inputs of each, the same values for all.
        runs: The number of samples a model. Models take turns.
        warmup: The number of runs of each model before.
        threads: The number of threads to use, where the engine has a choice.
        profile: Whether to find out which kernels run.
        timeout: After so many seconds without an end, give up.
        progress: Called with what is going on.
    """

    models: tuple[ModelFile, ...]
    inputs: tuple[tuple[np.ndarray, ...], ...]
    runs: int = 50
    warmup: int = 3
    threads: int = 1
    profile: bool = False
    timeout: float = 900.0
    progress: Progress = field(default=silent)


class Target(ABC):
    """An engine on a kind of machine, on which models can be measured."""

    #: What it is called on the command line.
    name: str
    #: What it is, in a line.
    summary: str

    @abstractmethod
    def available(self) -> str | None:
        """Return None where the target can run here, else one line that says what is missing."""

    @abstractmethod
    def run(self, job: Job) -> Outcome:
        """Measure the models of a job.

        Raises:
            BenchmarkError: If the engine fails, with the name of the model it failed on.
        """

    def setup(self, progress: Progress = silent) -> str:
        """Download what the target needs, once.

        Args:
            progress: Called with what is going on.

        Returns:
            What is there now, in a line.

        Raises:
            BenchmarkError: If it cannot be set up here.
        """
        return f"{self.name}: there is nothing to set up"
