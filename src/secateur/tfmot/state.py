"""What a wrapper knows of the engine that prunes its weights: kept in Python, beside the variables."""

import dataclasses
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from secateur import pruning
from secateur.optimizer import SparseOptimizer


@dataclasses.dataclass(frozen=True)
class Saved:
    """The step and the masks of a layer, as they are in a file: eight weights a byte."""

    step: int
    masks: tuple[np.ndarray, ...]

    def unpack(self, weights: Sequence[Any], name: str) -> list[np.ndarray]:
        """Returns the masks in the shapes of `weights`, the pruned weights of the layer `name`."""
        sizes = [int(np.prod(weight.shape)) for weight in weights]
        if [bits.shape for bits in self.masks] != [(-(-size // 8),) for size in sizes]:
            raise ValueError(
                f"The masks in the checkpoint do not fit the layer {name!r}. Load it into the model it "
                "was saved from, pruned with the same layers. "
                f"Received: bytes={[bits.size for bits in self.masks]} for weights={sizes}"
            )
        return [
            np.unpackbits(bits, count=size).astype(bool).reshape(tuple(weight.shape))
            for bits, size, weight in zip(self.masks, sizes, weights, strict=True)
        ]


class WrapperState:
    """The engine behind one wrapper. It outlives the optimizer when a model is compiled anew."""

    def __init__(self) -> None:
        self.engine: SparseOptimizer | None = None
        self.saved: Saved | None = None  # read from a file, until an engine takes it over
        self._model: weakref.ref[Any] | None = None
        self._attended = False

    def connect(self, model: Any, engine: SparseOptimizer | None, attended: bool) -> None:
        """Notes that UpdatePruningStep takes care of the model.

        Args:
            model: The model that is trained.
            engine: The engine that prunes the wrapper's weights; None to keep the one before.
            attended: Whether the callback itself sees to it that updates made without the engine
                are made up for: in a loop by hand, and until a layer is built.
        """
        self._model = weakref.ref(model)
        self._attended = attended
        if engine is not None:
            self.engine = engine

    @property
    def is_connected(self) -> bool:
        """Whether training now would prune the wrapper's weights."""
        model = self._model() if self._model is not None else None
        if model is None:
            return False
        engine = self.engine
        return self._attended or (engine is not None and pruning.sparse_optimizer(model) is engine)

    @property
    def step(self) -> int:
        """The number of updates since pruning began; -1 before, as in tfmot."""
        if self.saved is not None:
            return self.saved.step
        return -1 if self.engine is None else self.engine.step

    def masks_of(self, weights: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """Returns those of the weights that the engine prunes, and their mask variables."""
        masks = {}
        if self.engine is not None:
            masks = {id(kernel): mask for _, kernel, mask in self.engine.pruned()}
        known = [weight for weight in weights if id(weight) in masks]
        return known, [masks[id(weight)] for weight in known]

    def hand_over(self, weights: Sequence[Any], name: str) -> None:
        """Gives the engine what was read from a file."""
        known, masks = self.masks_of(weights)
        if self.saved is None or self.engine is None or not known:
            return
        for mask, value in zip(masks, self.saved.unpack(known, name), strict=True):
            mask.assign(value)
        self.engine.pruning_step.assign(self.saved.step)
        self.saved = None
