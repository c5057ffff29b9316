"""Schedules: when are the masks updated, and to what sparsity?

A *step* is one optimizer update; step n is the state after n updates. The first mask update is at
`begin_step` (0 means: with the very first update), the last is forced at `end_step`, whether or not
`frequency` divides the range.
"""

import abc
from typing import Any

import keras
import numpy as np
from keras import ops

from secateur import _backend


def check_sparsity(value: float, name: str) -> float:
    """Returns `value` as a float if it is in [0, 1), else raises a ValueError that names it."""
    try:
        number = float("nan") if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not 0.0 <= number < 1.0:
        raise ValueError(
            f"`{name}` must be a number in the range [0, 1): the share of weights to set to zero. "
            f"Received: {name}={value!r}"
        )
    return number


class PruningSchedule(abc.ABC):
    """When to update the masks, and to what sparsity.

    Subclass it for a schedule of your own: implement `__call__` and `get_config`, and register the
    class with `keras.saving.register_keras_serializable` if the model is to be saved. Use
    `keras.ops` on `step`, which is a tensor inside a compiled training step and an `int` outside.

    Example:

    >>> import secateur
    >>> due, sparsity = secateur.ConstantSparsity(0.5, begin_step=0)(0)
    >>> bool(due), float(sparsity)
    (True, 0.5)
    """

    @abc.abstractmethod
    def __call__(self, step: Any) -> tuple[Any, Any]:
        """Returns (should_prune, sparsity) at `step`: a scalar bool and a scalar float32."""

    @abc.abstractmethod
    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "PruningSchedule":
        """Builds the schedule from what `get_config` returned."""
        return cls(**config)

    @property
    def last_step(self) -> int | None:
        """The step at which the schedule has reached its target; None if that is not known."""
        return None

    @property
    def target(self) -> float:
        """The sparsity at which the schedule ends."""
        with _backend.outside_graphs():
            return float(self(np.iinfo(np.int32).max)[1])

    def _should_prune(self, step: Any, begin: int, end: int, frequency: int) -> Any:
        """True at begin, begin + frequency, ... and at end; never outside; end -1 is never."""
        on_grid = (step - begin) % frequency == 0
        if end < 0:
            return _and(step >= begin, on_grid)
        return _and(_and(step >= begin, step <= end), _or(on_grid, step == end))


def due_after(schedule: PruningSchedule, step: Any) -> tuple[Any, Any]:
    """Whether the update after `step` updates has a mask update, and to what sparsity.

    The first update of all covers step 0 as well, which lies before it.
    """
    due, sparsity = schedule(step + 1)
    if isinstance(step, int):
        due = bool(due)
        if step == 0 and not due and bool(schedule(0)[0]):
            return True, schedule(0)[1]
        return due, sparsity
    due_at_0, sparsity_at_0 = schedule(0)
    if isinstance(due_at_0, bool | np.bool_) and not due_at_0:
        return due, sparsity
    first = ops.logical_and(ops.equal(step, 0), due_at_0)
    return ops.logical_or(due, first), ops.where(due, sparsity, sparsity_at_0)


# Plain Python and numpy for a step outside a compiled function: a tensor operation costs
# microseconds there, and PyTorch's eager training would pay for a dozen of them in every step.
def _is_python(x: Any) -> bool:
    return isinstance(x, int | float | bool | np.generic)


def _and(a: Any, b: Any) -> Any:
    return bool(a and b) if _is_python(a) and _is_python(b) else ops.logical_and(a, b)


def _or(a: Any, b: Any) -> Any:
    return bool(a or b) if _is_python(a) and _is_python(b) else ops.logical_or(a, b)


def _integer(value: Any, name: str) -> int:
    # A whole float passes: step counts are often computed with np.ceil.
    if not isinstance(value, int | float | np.number) or float(value) % 1 != 0:
        raise ValueError(f"`{name}` must be an integer. Received: {name}={value!r}")
    return int(value)


def _check_steps(
    begin_step: Any, end_step: Any, frequency: Any, open_end: bool
) -> tuple[int, int, int]:
    begin_step = _integer(begin_step, "begin_step")
    end_step = _integer(end_step, "end_step")
    frequency = _integer(frequency, "frequency")
    if begin_step < 0:
        raise ValueError(f"`begin_step` should be >= 0. Received: begin_step={begin_step}")
    if end_step == -1 and not open_end:
        raise ValueError(
            "`end_step` cannot be -1: the decay needs the step at which it reaches its final "
            f"sparsity. Received: end_step={end_step}"
        )
    if end_step < -1:
        raise ValueError(f"`end_step` can be -1 or >= 0. Received: end_step={end_step}")
    if 0 <= end_step < begin_step:
        raise ValueError(
            "`begin_step` should be <= `end_step`. "
            f"Received: begin_step={begin_step}, end_step={end_step}"
        )
    if frequency <= 0:
        raise ValueError(f"`frequency` should be > 0. Received: frequency={frequency}")
    return begin_step, end_step, frequency


@keras.saving.register_keras_serializable(package="secateur")
class ConstantSparsity(PruningSchedule):
    """The same sparsity from `begin_step` on.

    Args:
        target_sparsity: Share of weights that are zero, in [0, 1).
        begin_step: First optimizer update at which the masks are updated.
        end_step: Last one; -1 for no end.
        frequency: Number of updates between two mask updates.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> import secateur
    >>> schedule = secateur.ConstantSparsity(0.5, begin_step=10, end_step=15, frequency=4)
    >>> [step for step in range(20) if schedule(step)[0]]
    [10, 14, 15]
    """

    def __init__(
        self, target_sparsity: float, begin_step: int, end_step: int = -1, frequency: int = 100
    ) -> None:
        self.target_sparsity = check_sparsity(target_sparsity, "target_sparsity")
        self.begin_step, self.end_step, self.frequency = _check_steps(
            begin_step, end_step, frequency, open_end=True
        )

    def __call__(self, step: Any) -> tuple[Any, Any]:
        """See `PruningSchedule`."""
        due = self._should_prune(step, self.begin_step, self.end_step, self.frequency)
        if _is_python(step):
            return due, np.float32(self.target_sparsity)
        return due, ops.convert_to_tensor(self.target_sparsity, dtype="float32")

    @property
    def last_step(self) -> int:
        """The sparsity is reached with the first mask update."""
        return self.begin_step

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            "target_sparsity": self.target_sparsity,
            "begin_step": self.begin_step,
            "end_step": self.end_step,
            "frequency": self.frequency,
        }


@keras.saving.register_keras_serializable(package="secateur")
class PolynomialDecay(PruningSchedule):
    """Sparsity that rises fast at first, then ever more slowly, to its final value.

    At step t, with p = (t - begin_step) / (end_step - begin_step) clipped to [0, 1], the sparsity is
    final + (initial - final) * (1 - p) ** power. When begin_step equals end_step there is one mask
    update, to the final sparsity.

    Args:
        initial_sparsity: Sparsity at `begin_step`, in [0, 1).
        final_sparsity: Sparsity at `end_step` and after it, in [0, 1).
        begin_step: First optimizer update at which the masks are updated.
        end_step: Last one; always a mask update.
        power: Exponent of the decay. 3 is the paper's.
        frequency: Number of updates between two mask updates.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> import secateur
    >>> schedule = secateur.PolynomialDecay(0.0, 0.8, begin_step=0, end_step=250)
    >>> [(step, round(float(schedule(step)[1]), 3)) for step in range(251) if schedule(step)[0]]
    [(0, 0.0), (100, 0.627), (200, 0.794), (250, 0.8)]

    Reference:
        M. Zhu and S. Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model
        compression", 2017, section 3. https://arxiv.org/abs/1710.01878
    """

    def __init__(
        self,
        initial_sparsity: float,
        final_sparsity: float,
        begin_step: int,
        end_step: int,
        power: float = 3,
        frequency: int = 100,
    ) -> None:
        self.initial_sparsity = check_sparsity(initial_sparsity, "initial_sparsity")
        self.final_sparsity = check_sparsity(final_sparsity, "final_sparsity")
        self.begin_step, self.end_step, self.frequency = _check_steps(
            begin_step, end_step, frequency, open_end=False
        )
        if not isinstance(power, int | float | np.number) or not 0 < power < float("inf"):
            raise ValueError(f"`power` must be a number above 0. Received: power={power!r}")
        self.power = power.item() if isinstance(power, np.number) else power

    def __call__(self, step: Any) -> tuple[Any, Any]:
        """See `PruningSchedule`."""
        due = self._should_prune(step, self.begin_step, self.end_step, self.frequency)
        # In float32 throughout, so that a step in Python and one in a compiled function agree.
        final = np.float32(self.final_sparsity)
        span = np.float32(self.initial_sparsity) - final
        if self.begin_step == self.end_step:
            return due, final if _is_python(step) else ops.convert_to_tensor(final)
        length = self.end_step - self.begin_step
        if _is_python(step):
            passed = np.float32(step - self.begin_step) / np.float32(length)
            rest = np.float32(1) - np.clip(passed, 0, 1)
            return due, final + span * rest**self.power
        passed = ops.cast(step - self.begin_step, "float32") / float(length)
        rest = 1.0 - ops.clip(passed, 0.0, 1.0)
        return due, float(final) + float(span) * rest**self.power

    @property
    def last_step(self) -> int:
        """The final sparsity is reached at `end_step`."""
        return self.end_step

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            "initial_sparsity": self.initial_sparsity,
            "final_sparsity": self.final_sparsity,
            "begin_step": self.begin_step,
            "end_step": self.end_step,
            "power": self.power,
            "frequency": self.frequency,
        }
