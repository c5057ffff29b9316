"""Prove a written file: against the dense file it was made of, and against the model."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from secateur.litert._quiet import tail
from secateur.litert.running import Call, Outputs, Run, RunError, differences, run_files

# The two files compute the same sums of the same numbers; another order may round them otherwise.
_TOLERANCE = 1e-4

#: Computes a model's outputs for the inputs of a call.
Reference = Callable[[Call], dict[str, np.ndarray]]


class VerificationError(RunError):
    """A sparse file does not compute what the dense one computes, or does not run."""


@dataclass(frozen=True)
class Comparison:
    """How far a file's outputs are from others.

    Args:
        from_dense: The largest difference from the same file with dense weights; None where they
            were not compared.
        from_dense_relative: The same as a share of the output's largest number.
        from_model: The largest difference from the model or file that was exported; None where they
            were not compared.
        note: Why they were not compared, or "".
    """

    from_dense: float | None
    from_dense_relative: float | None
    from_model: float | None
    note: str = ""


def compare(dense: bytes, sparse: bytes, calls: Sequence[Call], reference: Reference) -> Comparison:
    """Run a file beside the dense one and the model it was made of.

    Args:
        dense: The file with dense weights.
        sparse: The file to prove; the same where no weight is sparse.
        calls: The inferences to make.
        reference: Computes what the model's outputs are; any error means that it cannot.

    Returns:
        The differences.

    Raises:
        VerificationError: If the sparse file does not run, or computes something else.
    """
    files = [dense] if dense == sparse else [dense, sparse]
    # XNNPACK runs most of a file, and LiteRT's own kernels the rest, or all of it where it is off.
    ways = [True] if dense == sparse else [True, False]
    runs = [Run(file, way) for file in files for way in ways]
    try:
        outputs = run_files(runs, calls)
    except RunError as error:
        if dense == sparse:
            return Comparison(None, None, None, _note(error))
        if error.run is not None and runs[error.run].data == sparse:
            raise _wrong("does not run", str(error)) from error
        raise VerificationError(
            "Sparse weights are written only where the file can be run to prove them, and not even "
            f'the dense file runs here. Export with sparse="never". {error}. '
            f"Received: file of {len(dense)} bytes"
        ) from error
    largest: tuple[float, float] | None = None
    if dense != sparse:
        plain, own, ours, ours_own = outputs
        largest = max(differences(ours, plain), differences(ours_own, own), key=lambda x: x[1])
        if not largest[1] <= _TOLERANCE:
            raise _wrong("computes something else", f"largest difference={largest[0]:.3g}")
    absolute, relative = largest or (None, None)
    try:
        expected: Outputs = [reference(call) for call in calls]
        distance = differences(outputs[2 if dense != sparse else 0], expected)[0]
    except Exception as error:  # the file is good; only this measurement failed
        return Comparison(absolute, relative, None, _note(error))
    return Comparison(absolute, relative, distance)


def in_order(names: Iterable[str]) -> list[str]:
    """The names of a file's outputs in the order in which Keras flattens them.

    Example:
        >>> in_order(["output_10", "output_9", "output_0"])
        ['output_0', 'output_9', 'output_10']
    """

    def position(name: str) -> tuple[int, str]:
        numbered = re.fullmatch(r"output_(\d+)", name)
        return (int(numbered[1]), "") if numbered else (0, name)

    return sorted(names, key=position)


def _wrong(what: str, received: str) -> VerificationError:
    return VerificationError(
        f"The file with sparse weights {what}, unlike the dense one, so nothing was written. Export "
        'with sparse="never", and please report the model: this is a defect of LiteRT or of '
        f"secateur. Received: {received}"
    )


def _note(error: Exception) -> str:
    lines = tail(f"{type(error).__name__}: {error}").splitlines()
    return f"not compared ({' '.join(lines)[:300]})"
