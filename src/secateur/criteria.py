"""Criteria: which weights matter least?"""

import abc
from typing import Any

import keras


class Criterion(abc.ABC):
    """Gives each weight a score; weights with the smallest absolute scores are pruned first.

    Ranking by the absolute value lets a signed score (a weight, or weight times gradient) be used as
    it is. Scores have the weight's shape.
    """

    @abc.abstractmethod
    def score(self, weight: Any) -> Any:
        """Returns the scores of `weight`, in its shape. `weight` is a tensor or a numpy array."""

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Criterion":
        """Builds the criterion from what `get_config` returned."""
        return cls(**config)


@keras.saving.register_keras_serializable(package="secateur")
class Magnitude(Criterion):
    """The absolute value of the weight.

    Example:

    >>> import numpy as np, secateur
    >>> secateur.Magnitude().score(np.array([3.0, -1.0])).tolist()
    [3.0, -1.0]

    Reference:
        S. Han et al., "Learning both weights and connections for efficient neural networks", 2015,
        section 3.1. https://arxiv.org/abs/1506.02626
    """

    def score(self, weight: Any) -> Any:
        """Returns `weight` itself, since ranking is by absolute value."""
        return weight
