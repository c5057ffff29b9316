"""The same inputs for all models, and how far their outputs are apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from secateur.benchmarking.models import ModelFile, TensorSpec

Arrays = tuple[np.ndarray, ...]

# No honest model takes more a call; a damaged file may say so.
_MAX_BYTES = 2**30


def make_inputs(
    models: Sequence[ModelFile],
    given: np.ndarray | Sequence[np.ndarray] | None = None,
    seed: int = 0,
) -> tuple[Arrays, ...]:
    """Make inputs that are the same for all models, each in the type that the model takes.

    Args:
        models: The models; their inputs must have the same shapes, but may be quantized.
        given: The values of the inputs as real numbers; by default random between 0 and 1.
        seed: The seed of the random numbers.

    Returns:
        The inputs of each model.

    Raises:
        ValueError: If the models, or the given values, do not fit together.
    """
    first = models[0]
    shapes = [spec.shape for spec in first.inputs]
    for model in models:
        if [spec.shape for spec in model.inputs] != shapes:
            raise ValueError(
                "The models take different inputs, so their times cannot be compared. Expected "
                f"the shapes {shapes} of {first.name}. "
                f"Received: {model.name} with {[spec.shape for spec in model.inputs]}"
            )
        if not all(spec.dtype for spec in model.inputs):
            raise ValueError(
                "Only models whose inputs are numbers can be measured. "
                f"Received: model={model.name!r}"
            )
    if sum(4 * math.prod(shape) for shape in shapes) > _MAX_BYTES:
        raise ValueError(
            f"The model's inputs take more than {_MAX_BYTES:,} bytes, so the file is probably "
            f"damaged. Received: {first.name} with inputs of the shapes {shapes}"
        )
    values = _random(shapes, seed) if given is None else _check(given, shapes)
    return tuple(
        tuple(_cast(value, spec) for value, spec in zip(values, model.inputs, strict=True))
        for model in models
    )


def real_numbers(outputs: Sequence[np.ndarray], specs: Sequence[TensorSpec]) -> Arrays:
    """What outputs stand for: quantized values are multiplied out, shapes are flattened.

    Args:
        outputs: The outputs of a model.
        specs: What the file says about them.

    Returns:
        Flat float64 arrays. XNNPACK may swap axes of length 1, which is none of our business.
    """
    values = []
    for output, spec in zip(outputs, specs, strict=True):
        flat = np.asarray(output).astype(np.float64).ravel()
        values.append((flat - spec.zero_point) * spec.scale if spec.scale else flat)
    return tuple(values)


def relative_difference(first: Arrays, other: Arrays) -> float | None:
    """How far outputs are apart, relative to the largest value of the first ones.

    Args:
        first: The outputs of one model, flat.
        other: The outputs of another.

    Returns:
        The largest difference over all outputs, each divided by the largest magnitude in that
        output of the first: 1e-6 is float32 noise. Infinite where either is not a number, and
        None where they differ in number or length.

    Example:
        >>> relative_difference((np.array([1.0, -4.0]),), (np.array([1.0, -3.0]),))
        0.25
    """
    if [a.size for a in first] != [b.size for b in other]:
        return None
    worst = 0.0
    for a, b in zip(first, other, strict=True):
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            return math.inf
        apart = float(np.max(np.abs(a - b), initial=0.0))
        scale = float(np.max(np.abs(a), initial=0.0))
        if apart:
            worst = max(worst, apart / scale if scale else math.inf)
    return worst


def _random(shapes: Sequence[tuple[int, ...]], seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.random(shape, np.float32) for shape in shapes]


def _check(
    given: np.ndarray | Sequence[np.ndarray], shapes: Sequence[tuple[int, ...]]
) -> list[np.ndarray]:
    values = [given] if isinstance(given, np.ndarray) else [np.asarray(value) for value in given]
    if [value.shape for value in values] != list(shapes):
        raise ValueError(
            f"The inputs do not fit the models. Expected the shapes {list(shapes)}. "
            f"Received: inputs with {[value.shape for value in values]}"
        )
    return values


def _cast(value: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """A value as a model takes it; random numbers become zeros and ones where it takes indices."""
    dtype = np.dtype(spec.dtype)
    if dtype.kind not in "iu" or np.issubdtype(value.dtype, np.integer):
        return (value > 0.5 if dtype.kind == "b" else value).astype(dtype)
    info = np.iinfo(dtype)
    steps = value / spec.scale + spec.zero_point if spec.scale else value
    return np.clip(np.rint(steps), info.min, info.max).astype(dtype)
