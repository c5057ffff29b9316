"""Representative data: what a model is fed with, given in any of the usual shapes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from secateur.litert.signature import InputSpec

#: No more samples are used than these, so that an endless generator ends.
MOST_SAMPLES = 1000

#: One sample: an array for each input, by name, with a batch axis.
Sample = dict[str, np.ndarray]


def samples_of(data: Any, inputs: Sequence[InputSpec]) -> list[Sample]:
    """Turn representative data into samples.

    Args:
        data: An array with a row for each sample; a dictionary, tuple or list of such arrays, one
            for each input; or an iterable of samples, each of them an array, or a dictionary, tuple
            or list of arrays, with or without a batch axis. At most 1,000 samples are used.
        inputs: The model's inputs.

    Returns:
        The samples, with a batch axis of the model's batch size, or 1 where that is open.

    Raises:
        ValueError: If there are none, or they do not fit the inputs.

    Example:
        >>> samples = samples_of(np.zeros((3, 4)), [InputSpec("x", (None, 4), "float32")])
        >>> [sample["x"].shape for sample in samples]
        [(1, 4), (1, 4), (1, 4)]
    """
    whole = _by_name(data, inputs) if _is_whole(data, inputs) else None
    rows: Iterable[Any] = _rows(whole, inputs) if whole is not None else _iterable(data)
    found = [_sample(row, inputs) for row in itertools.islice(rows, MOST_SAMPLES)]
    if not found:
        raise ValueError(
            "The representative data is empty. Give some samples of what the model is fed with, "
            f"a hundred or so. Received: representative_data={type(data).__name__} of no samples"
        )
    return found


def save_samples(path: Path, samples: Sequence[Sample]) -> None:
    """Write samples to an `.npz` file."""
    names = json.dumps([list(sample) for sample in samples])
    arrays = [value for sample in samples for value in sample.values()]
    np.savez(path, np.array(names), *arrays)


def load_samples(path: Path) -> list[Sample]:
    """Read the samples that `save_samples` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        names = json.loads(str(stored["arr_0"]))
        numbers = itertools.count(1)
        return [{name: stored[f"arr_{next(numbers)}"] for name in row} for row in names]


def _is_whole(data: Any, inputs: Sequence[InputSpec]) -> bool:
    """Whether these are arrays with all samples, not samples one by one."""
    if isinstance(data, Mapping) or hasattr(data, "__array__"):
        return True
    several = isinstance(data, (tuple, list)) and len(data) == len(inputs) > 1
    return several and all(hasattr(item, "__array__") for item in data)


def _iterable(data: Any) -> Iterable[Any]:
    data = data() if callable(data) and not isinstance(data, Iterable) else data
    if not isinstance(data, Iterable) or isinstance(data, (str, bytes)):
        raise ValueError(
            "Representative data must be arrays, or an iterable of arrays, tuples or dictionaries. "
            f"Received: representative_data={type(data).__name__}"
        )
    return data


def _rows(whole: Mapping[str, np.ndarray], inputs: Sequence[InputSpec]) -> Iterator[Sample]:
    lengths = {name: len(array) if array.ndim else 0 for name, array in whole.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(
            "Each input needs the same number of representative samples. "
            f"Received: samples={lengths}"
        )
    size = inputs[0].shape[0] or 1
    for start in range(0, min(lengths.values()) // size * size, size):
        yield {name: array[start : start + size] for name, array in whole.items()}


def _sample(row: Any, inputs: Sequence[InputSpec]) -> Sample:
    return {
        spec.name: _fit(array, spec)
        for spec, array in zip(inputs, _by_name(row, inputs).values(), strict=True)
    }


def _by_name(row: Any, inputs: Sequence[InputSpec]) -> dict[str, np.ndarray]:
    """Arrays by the names of the inputs, in their order."""
    names = [spec.name for spec in inputs]
    if isinstance(row, Mapping):
        if set(row) != set(names):
            raise ValueError(
                "The representative data does not fit the model's inputs. Expected arrays named "
                f"{', '.join(names)}. Received: names={sorted(map(str, row))}"
            )
        return {name: np.asarray(row[name]) for name in names}
    arrays = list(row) if isinstance(row, (tuple, list)) and len(names) > 1 else [row]
    if isinstance(row, (tuple, list)) and len(names) == len(row) == 1:
        arrays = list(row)
    if len(arrays) != len(names):
        raise ValueError(
            f"A representative sample needs {len(names)} arrays, for the inputs "
            f"{', '.join(names)}. Received: arrays={len(arrays)}"
        )
    return {name: np.asarray(array) for name, array in zip(names, arrays, strict=True)}


def _fit(array: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Check a sample of one input, and give it a batch axis and the input's dtype."""
    fitted = array[None] if array.ndim == len(spec.shape) - 1 else array
    fits = fitted.ndim == len(spec.shape) and all(
        want in (None, have) for want, have in zip(spec.shape, fitted.shape, strict=True)
    )
    if not fits or not fitted.size:
        raise ValueError(
            f"The representative data does not fit input {spec.name!r}. Expected samples of shape "
            f"{spec.shape}, where None is any length. Received: shape={array.shape}"
        )
    if not np.can_cast(fitted.dtype, spec.dtype, "same_kind"):
        raise ValueError(
            f"The representative data for input {spec.name!r} has the wrong dtype. Expected "
            f"{spec.dtype}. Received: dtype={array.dtype}"
        )
    return fitted.astype(spec.dtype)
