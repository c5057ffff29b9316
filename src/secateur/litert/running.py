"""Run `.tflite` files in a child process, so that a file that crashes LiteRT crashes nothing else."""

from __future__ import annotations

import json
import math
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from secateur.litert._process import spawn
from secateur.litert._quiet import tail
from secateur.litert.graph import DTYPES, indices, shape, text
from secateur.litert.signature import InputSpec

# What stands in for an open batch size, and for other open dimensions, in made-up inputs.
_BATCH, _LENGTH = 4, 32
_SECONDS = 300.0
_MEMORY = 8 * 2**30
# A made-up input of more numbers is a damaged file's: making it could take all memory there is.
_MOST_NUMBERS = 2**28


class RunError(RuntimeError):
    """LiteRT could not run a file, or crashed; the message holds what it said.

    Args:
        message: What happened.
        run: The number of the file in the row that was to be run; None if it is none of them.
    """

    def __init__(self, message: str, run: int | None = None) -> None:
        super().__init__(message)
        self.run = run


@dataclass(frozen=True)
class Call:
    """One inference.

    Args:
        signature: Which signature of the file; None where it has none.
        inputs: The inputs by name; by their places "0", "1" where there is no signature.
    """

    signature: str | None
    inputs: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Run:
    """A file to run.

    Args:
        data: The file.
        delegate: Whether XNNPACK runs what it can, as is usual; else LiteRT's own kernels do.
        threads: How many; None leaves it to LiteRT.
    """

    data: bytes
    delegate: bool = True
    threads: int | None = 1


#: The outputs of a file: by name, for each call.
Outputs = list[dict[str, np.ndarray]]


def entries(model: Any) -> list[tuple[str | None, tuple[InputSpec, ...]]]:
    """The signatures of a file with their inputs; one without a name where it has none.

    Args:
        model: A `ModelT`.

    Returns:
        Pairs of a signature's name and its inputs.
    """
    if not model.signatureDefs:
        graph = model.subgraphs[0]
        tensors = [graph.tensors[number] for number in indices(graph.inputs)]
        return [(None, tuple(_spec(str(place), tensor) for place, tensor in enumerate(tensors)))]
    return [
        (
            text(signature.signatureKey),
            tuple(
                _spec(
                    text(entry.name),
                    model.subgraphs[signature.subgraphIndex].tensors[entry.tensorIndex],
                )
                for entry in signature.inputs or ()
            ),
        )
        for signature in model.signatureDefs
    ]


def random_call(signature: str | None, inputs: Sequence[InputSpec]) -> Call:
    """A call with random numbers between 0 and 1, which are safe for token numbers too.

    Args:
        signature: The signature's name.
        inputs: Its inputs. An open batch size becomes 4, other open dimensions 32.

    Returns:
        The same call for the same arguments.

    Raises:
        ValueError: If an input would have more than 2^28 numbers.
    """
    generator = np.random.default_rng(0)
    return Call(signature, {spec.name: _random(spec, generator) for spec in inputs})


def run_files(
    runs: Sequence[Run], calls: Sequence[Call], timeout: float = _SECONDS
) -> list[Outputs]:
    """Run files on the same inputs, one after the other, in a child process.

    Args:
        runs: The files.
        calls: The inferences to make with each.
        timeout: The seconds they may take together.

    Returns:
        The outputs of each file.

    Raises:
        RunError: If one cannot be run, crashes LiteRT, or takes too long or too much memory.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_job(folder, runs, calls)
        try:
            done = spawn("secateur.litert._run", [name], timeout=timeout)
        except subprocess.TimeoutExpired as error:
            message = f"LiteRT took more than {timeout:g} seconds to run the file"
            raise RunError(message, _running(folder)) from error
        if done.returncode:
            how = "failed" if done.returncode > 0 else f"crashed with signal {-done.returncode}"
            said = tail(done.stderr) or "nothing"
            raise RunError(f"LiteRT {how}. It said: {said}", _running(folder))
        return [_read(folder / f"outputs-{i}.npz", len(calls)) for i in range(len(runs))]


def differences(first: Outputs, second: Outputs) -> tuple[float, float]:
    """How far outputs are from others.

    Args:
        first: The outputs.
        second: Those to compare with; where these are not numbers, the others must not be either.

    Returns:
        The largest difference, and the largest as a share of the output's largest number.
    """
    absolute, relative = 0.0, 0.0
    for ours, theirs in zip(first, second, strict=True):
        if ours.keys() != theirs.keys():
            raise RunError(f"The outputs are {sorted(ours)} and {sorted(theirs)}.")
        for name, value in ours.items():
            a, b = np.asarray(value, np.float64), np.asarray(theirs[name], np.float64)
            if a.shape != b.shape:
                raise RunError(f"Output {name!r} has shape {a.shape} and {b.shape}.")
            same = (a == b) | (np.isnan(a) & np.isnan(b))
            with np.errstate(invalid="ignore"):
                gap = np.where(same, 0.0, np.abs(a - b))
            gap = np.where(np.isnan(gap), np.inf, gap)
            largest = float(np.max(np.abs(b[np.isfinite(b)]), initial=0.0))
            absolute = max(absolute, float(np.max(gap, initial=0.0)))
            relative = max(relative, float(np.max(gap, initial=0.0)) / (largest or 1.0))
    return absolute, relative


def _spec(name: str, tensor: Any) -> InputSpec:
    lengths = indices(tensor.shapeSignature) or list(shape(tensor))
    dtype = DTYPES.get(tensor.type)
    if dtype is None:
        raise RunError(f"An input of the file, {text(tensor.name)!r}, holds no numbers.")
    return InputSpec(name, tuple(None if n < 0 else n for n in lengths), dtype)


def _random(spec: InputSpec, generator: np.random.Generator) -> np.ndarray:
    open_lengths = (_BATCH, *[_LENGTH] * len(spec.shape))
    size = [have or stand_in for have, stand_in in zip(spec.shape, open_lengths, strict=False)]
    if math.prod(size) > _MOST_NUMBERS:
        raise ValueError(
            "A made-up input has at most 2^28 numbers. Is the file damaged? "
            f"Received: input {spec.name!r} of shape {tuple(size)}"
        )
    kind = np.dtype(spec.dtype).kind
    values = generator.random(size) if kind == "f" else generator.integers(0, 2, size)
    return np.asarray(values, dtype=spec.dtype)


def _write_job(folder: Path, runs: Sequence[Run], calls: Sequence[Call]) -> None:
    arrays: list[np.ndarray] = []
    described = []
    for call in calls:
        keys = {name: f"arr_{len(arrays) + i}" for i, name in enumerate(call.inputs)}
        arrays += [np.asarray(value) for value in call.inputs.values()]
        described.append({"signature": call.signature, "inputs": keys})
    files: dict[bytes, str] = {}
    for run in runs:
        if run.data not in files:
            files[run.data] = f"{len(files)}.tflite"
            (folder / files[run.data]).write_bytes(run.data)
    job = {
        "memory": _MEMORY
        + 16 * max(len(data) for data in files)
        + 4 * sum(array.nbytes for array in arrays),
        "calls": described,
        "runs": [
            {"file": files[run.data], "delegate": run.delegate, "threads": run.threads}
            for run in runs
        ],
    }
    (folder / "job.json").write_text(json.dumps(job))
    np.savez(folder / "inputs.npz", *arrays)


def _running(folder: Path) -> int | None:
    """The number of the file that the child was at."""
    started = folder / "running"
    return int(started.read_text()) if started.is_file() else None


def _read(path: Path, calls: int) -> Outputs:
    found: Outputs = [{} for _ in range(calls)]
    with np.load(path, allow_pickle=False) as stored:
        for place, key in enumerate(json.loads(str(stored["arr_0"])), start=1):
            number, _, name = key.partition("/")
            found[int(number)][name] = stored[f"arr_{place}"]
    return found
