"""Callbacks that show how pruning goes: in TensorBoard, and in Keras' progress bar."""

import os
import threading
import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from secateur._events import EventWriter, require_tensorboard
from secateur.optimizer import SparseOptimizer
from secateur.pruning import sparse_optimizer
from secateur.schedules import due_after


class PruningSummaries(keras.callbacks.Callback):
    """Writes the sparsity of each pruned kernel to TensorBoard, on every backend.

    In the folder `metrics` of `log_dir`, over the optimizer's iterations, for each kernel:
    `<path>/mask_sparsity`, the share of weights that the mask prunes; `<path>/weight_sparsity`, the
    share that is zero; `<path>/threshold`, the smallest absolute value that is kept; and
    `total/weight_sparsity` over all pruned kernels.

    Args:
        log_dir: Folder for TensorBoard.
        update_freq: "epoch" to write when an epoch begins and ends; an integer n for every n batches
            as well ("batch" is 1). Each writing fetches the kernels from the device.

    Raises:
        ValueError: If `log_dir` is empty or `update_freq` is neither.
        ImportError: If the package `tensorboard` is not installed.

    Example:

    >>> import keras, numpy as np, secateur, tempfile
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> model.compile("sgd", "mse")
    >>> report = secateur.prune(model, sparsity=0.5)
    >>> summaries = secateur.PruningSummaries(tempfile.mkdtemp())
    >>> _ = model.fit(np.ones((2, 8)), np.ones((2, 4)), callbacks=[summaries], verbose=0)
    """

    def __init__(self, log_dir: str, update_freq: str | int = "epoch") -> None:
        super().__init__()
        if not isinstance(log_dir, str | os.PathLike) or not os.fspath(log_dir):
            raise ValueError(
                f"`log_dir` must be a non-empty string. You passed `log_dir`={log_dir}."
            )
        every = 1 if update_freq == "batch" else update_freq
        if every != "epoch" and not (isinstance(every, int) and every >= 1):
            raise ValueError(
                "`update_freq` must be 'epoch', 'batch', or a number of batches of at least 1. "
                f"Received: update_freq={update_freq!r}"
            )
        require_tensorboard(type(self).__name__)
        self.log_dir = os.fspath(log_dir)
        self.update_freq = update_freq
        self._every = every if isinstance(every, int) else None
        self._batches = 0
        self._last: int | None = None
        self._writer = EventWriter(os.path.join(self.log_dir, "metrics"))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Writes where pruning stands."""
        self._write()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Writes where pruning stands after every `update_freq` batches."""
        # At the beginning of the next batch, so that Keras need not wait for every batch to end.
        if self._every is not None and self._batches and self._batches % self._every == 0:
            self._write()
        self._batches += 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes where pruning stands."""
        self._write()

    def on_train_end(self, logs: Any = None) -> None:
        """Writes where pruning ended."""
        self._write()

    def _write(self) -> None:
        engine = sparse_optimizer(self.model)
        if engine is None and not self.model.built:
            return
        if engine is None:
            warnings.warn(
                "The model is not being pruned, so PruningSummaries has nothing to write. Call "
                "`secateur.prune(model, ...)` before training. "
                f"Received: optimizer={self.model.optimizer!r}",
                stacklevel=3,
            )
            return
        step = int(ops.convert_to_numpy(engine.iterations))
        if step != self._last:
            self._writer.write(_scalars(engine), step)
            self._last = step


class PruningProgress(keras.callbacks.Callback):
    """Shows the sparsity in Keras' own progress bar, and keeps it in the history.

    During an epoch it is the sparsity that the schedule has reached, counted on the host so that
    nothing waits for the device; at the end of the epoch the share of zeros in the pruned kernels.
    When training begins it warns if the planned steps are too few for the schedule.

    Example:

    >>> import keras, numpy as np, secateur
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> model.compile("sgd", "mse")
    >>> report = secateur.prune(model, sparsity=0.75)
    >>> progress = secateur.PruningProgress()
    >>> history = model.fit(np.ones((2, 8)), np.ones((2, 4)), callbacks=[progress], verbose=0)
    >>> history.history["sparsity"]
    [0.75]
    """

    #: Tells Keras that `on_train_batch_end` may run in a thread beside the training.
    async_safe = True

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._engine: SparseOptimizer | None = None
        self._start = 0
        self._each: list[float] = []  # the sparsity of each kernel, at the last of the steps below
        self._overall: list[float] = []  # the overall sparsity at each step of this epoch

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds the engine; warns if the planned steps cannot complete the schedule."""
        self._engine = sparse_optimizer(self.model)
        if self._engine is None:
            warnings.warn(
                "The model is not being pruned, so PruningProgress has nothing to show. Call "
                "`secateur.prune(model, ...)` before training. "
                f"Received: optimizer={self.model.optimizer!r}",
                stacklevel=2,
            )
        else:
            _warn_if_cut_short(self._engine, self.params or {})

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts counting from the true step and masks."""
        if self._engine is not None and self.model is not None:
            self._start = self._engine.step
            masks = [mask for _, _, mask in self._engine.pruned()]
            self._each = [1.0 - float(np.mean(ops.convert_to_numpy(mask))) for mask in masks]
            self._overall = [_mean(self._engine, self._each)]

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Puts the scheduled sparsity into the progress bar."""
        if self._engine is not None and self._overall and logs is not None:
            updates = (batch + 1) // _micro_batches(self._engine)
            logs["sparsity"] = self._scheduled(self._engine, updates)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Puts the true share of zeros into the progress bar and the history."""
        if self._engine is not None and self.model is not None and logs is not None:
            logs["sparsity"] = _scalars(self._engine)["total/weight_sparsity"]

    def _scheduled(self, engine: SparseOptimizer, updates: int) -> float:
        # Keras may call for several batches at once, and in any order.
        with self._lock:
            while len(self._overall) <= updates:
                done = self._start + len(self._overall) - 1
                self._each = _after(engine, done, self._each)
                self._overall.append(_mean(engine, self._each))
            return self._overall[updates]


def _after(engine: SparseOptimizer, done: int, now: list[float]) -> list[float]:
    """Returns each kernel's scheduled sparsity after the update that follows `done` updates."""
    after: list[float] = []
    for group in engine.groups:
        due, sparsity = due_after(group.schedule, done)
        fixed = group.structure.fixed_sparsity
        for target in group.targets or ():
            if not due:
                after.append(now[len(after)])
            elif fixed is not None:
                after.append(fixed)
            else:
                value = ops.convert_to_numpy(group.sparsity_of(target, sparsity))
                after.append(float(value))
    return after


def _mean(engine: SparseOptimizer, each: list[float]) -> float:
    """Returns the overall sparsity, given that of each kernel."""
    sizes = [float(np.prod(target.shape)) for target, _, _ in engine.pruned()]
    return float(np.dot(each, sizes) / sum(sizes)) if sizes else 0.0


def _scalars(engine: SparseOptimizer) -> dict[str, float]:
    scalars, zeros, sizes = {}, 0, 0
    for target, kernel, mask in engine.pruned():
        value = np.abs(ops.convert_to_numpy(ops.cast(kernel, "float32")))
        kept = ops.convert_to_numpy(mask)
        zero = int(np.count_nonzero(value == 0))
        zeros, sizes = zeros + zero, sizes + value.size
        scalars[f"{target.path}/mask_sparsity"] = 1.0 - float(np.mean(kept))
        scalars[f"{target.path}/weight_sparsity"] = zero / value.size
        scalars[f"{target.path}/threshold"] = float(value[kept].min()) if kept.any() else 0.0
    scalars["total/weight_sparsity"] = zeros / sizes if sizes else 0.0
    return scalars


def _micro_batches(engine: SparseOptimizer) -> int:
    """The number of batches in one update."""
    return getattr(engine.inner_optimizer, "gradient_accumulation_steps", None) or 1


def _warn_if_cut_short(engine: SparseOptimizer, params: dict[str, Any]) -> None:
    epochs, batches = params.get("epochs"), params.get("steps")
    if not epochs or not batches:
        return  # a generator of unknown length, or a loop by hand
    step = engine.step
    end = step + epochs * batches // _micro_batches(engine)
    for group in engine.groups:
        last = group.schedule.last_step
        if last is not None and end < last:
            warnings.warn(
                f"The pruning schedule runs to step {last}, but this training ends at step {end}: "
                f"{epochs} epochs of {batches} batches from step {step}. The sparsity of "
                f"{group.schedule.target:.4g} will not be reached. Give the schedule an earlier end, "
                "or train longer.",
                stacklevel=3,
            )
