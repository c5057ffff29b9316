"""Pruning schedules with tfmot's arguments, messages and nested configs."""

import functools
from collections.abc import Callable
from typing import Any

import keras

from secateur import schedules


class PruningSchedule(schedules.PruningSchedule):
    """When to update the masks, and to what sparsity; the base of schedules of your own.

    A subclass written for tfmot works as it is: it implements `__call__(step)`, which returns
    (should prune, sparsity), and `get_config`, and may call the helpers below. `step` is an `int`
    outside a compiled training step and a tensor of the backend inside, so computing with
    `keras.ops` works everywhere, computing with TensorFlow only on TensorFlow.

    Example:

    >>> import secateur.tfmot as tfmot
    >>> class Every10th(tfmot.sparsity.keras.PruningSchedule):
    ...     def __call__(self, step):
    ...         return self._should_prune_in_step(step, 0, -1, 10), 0.5
    ...     def get_config(self):
    ...         return {"class_name": "Every10th", "config": {}}
    >>> [step for step in range(30) if Every10th()(step)[0]]
    [0, 10, 20]
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = cls.__dict__.get("from_config")
        if isinstance(own, classmethod):
            cls.from_config = classmethod(_taking_nested(own.__func__))  # type: ignore[assignment]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "PruningSchedule":
        """Builds the schedule from its `get_config()`, nested as in tfmot or flat as in Keras."""
        return cls(**_inner(config))

    def _should_prune_in_step(
        self, step: Any, begin_step: int, end_step: int, frequency: int
    ) -> Any:
        """True at begin_step, begin_step + frequency, ... and at end_step; -1 is no end."""
        return self._should_prune(step, begin_step, end_step, frequency)

    def _validate_step(
        self, begin_step: int, end_step: int, frequency: int, allow_negative_1: bool
    ) -> None:
        """Raises a ValueError if the steps don't make a schedule."""
        if begin_step < 0:
            raise ValueError("begin_step should be >= 0")
        if not allow_negative_1 and end_step == -1:
            raise ValueError("end_step cannot be -1.")
        if end_step < -1:
            raise ValueError("end_step can be -1 or >= 0")
        if end_step != -1 and end_step < begin_step:
            raise ValueError("begin_step should be <= end_step if end_step != -1")
        if frequency <= 0:
            raise ValueError("frequency should be > 0")

    def _validate_sparsity(self, sparsity: float, variable_name: str) -> None:
        """Raises a ValueError if the sparsity is not in [0, 1)."""
        if not 0.0 <= sparsity < 1.0:
            raise ValueError(f"{variable_name} must be in range [0,1)")


@keras.saving.register_keras_serializable(package="secateur.tfmot")
class ConstantSparsity(schedules.ConstantSparsity, PruningSchedule):
    """The same sparsity from `begin_step` on.

    Args:
        target_sparsity: Share of weights that are zero, in [0, 1).
        begin_step: First optimizer update at which the masks are updated.
        end_step: Last one; -1 for no end.
        frequency: Number of updates between two mask updates.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> import secateur.tfmot as tfmot
    >>> schedule = tfmot.sparsity.keras.ConstantSparsity(0.5, begin_step=10, frequency=5)
    >>> [step for step in range(25) if schedule(step)[0]]
    [10, 15, 20]
    """

    def __init__(
        self, target_sparsity: float, begin_step: int, end_step: int = -1, frequency: int = 100
    ) -> None:
        begin_step, end_step = _whole(begin_step, "begin_step"), _whole(end_step, "end_step")
        frequency = _whole(frequency, "frequency")
        self._validate_step(begin_step, end_step, frequency, True)
        self._validate_sparsity(target_sparsity, "target_sparsity")
        super().__init__(target_sparsity, begin_step, end_step, frequency)

    def get_config(self) -> dict[str, Any]:
        """Returns the class's name and the constructor's arguments, nested as in tfmot."""
        return {"class_name": type(self).__name__, "config": super().get_config()}


@keras.saving.register_keras_serializable(package="secateur.tfmot")
class PolynomialDecay(schedules.PolynomialDecay, PruningSchedule):
    """Sparsity that rises fast at first, then ever more slowly, to its final value.

    Args:
        initial_sparsity: Sparsity at `begin_step`, in [0, 1).
        final_sparsity: Sparsity at `end_step` and after it, in [0, 1).
        begin_step: First optimizer update at which the masks are updated.
        end_step: Last one; always a mask update.
        power: Exponent of the decay.
        frequency: Number of updates between two mask updates.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> import secateur.tfmot as tfmot
    >>> schedule = tfmot.sparsity.keras.PolynomialDecay(0.5, 0.8, begin_step=0, end_step=250)
    >>> [(step, round(float(schedule(step)[1]), 3)) for step in range(251) if schedule(step)[0]]
    [(0, 0.5), (100, 0.735), (200, 0.798), (250, 0.8)]
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
        begin_step, end_step = _whole(begin_step, "begin_step"), _whole(end_step, "end_step")
        frequency = _whole(frequency, "frequency")
        self._validate_step(begin_step, end_step, frequency, False)
        self._validate_sparsity(initial_sparsity, "initial_sparsity")
        self._validate_sparsity(final_sparsity, "final_sparsity")
        super().__init__(initial_sparsity, final_sparsity, begin_step, end_step, power, frequency)

    def get_config(self) -> dict[str, Any]:
        """Returns the class's name and the constructor's arguments, nested as in tfmot."""
        return {"class_name": type(self).__name__, "config": super().get_config()}


def _inner(config: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments in a config that may be nested: {"class_name": ..., "config": ...}."""
    nested = set(config) == {"class_name", "config"}
    return dict(config["config"]) if nested else dict(config)


def _taking_nested(from_config: Callable[..., Any]) -> Callable[..., Any]:
    """Lets a subclass's own `from_config`, which expects the arguments, take nested configs too."""

    @functools.wraps(from_config)
    def unnest(cls: type, config: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        return from_config(cls, _inner(config), *args, **kwargs)

    return unnest


def _whole(step: Any, name: str) -> int:
    """Returns a step as an int: scripts compute steps with numpy, which gives floats."""
    if int(step) != step:
        raise ValueError(
            f"`{name}` must be a whole number of steps; round it. Received: {name}={step}"
        )
    return int(step)
