"""The callback that makes wrapped layers prune, and tfmot's summaries."""

import os
import warnings
from typing import Any

import keras

from secateur import callbacks
from secateur._events import EventWriter
from secateur.inner import updates_of
from secateur.optimizer import SparseOptimizer
from secateur.tfmot import attachment

# The arguments of Keras' TensorBoard callback, and what leaves each of them off.
_OF_TENSORBOARD = {
    "histogram_freq": 0,
    "write_graph": None,
    "write_images": False,
    "write_steps_per_second": False,
    "profile_batch": 0,
    "embeddings_freq": 0,
    "embeddings_metadata": None,
}


class UpdatePruningStep(keras.callbacks.Callback):
    """Lets the training prune the layers wrapped by `prune_low_magnitude`.

    In `fit` it only makes the model's optimizer prune, in each step. In a training loop of your own
    call `set_model`, `on_train_begin`, before each batch `on_train_batch_begin`, and `on_epoch_end`,
    after you have set `model.optimizer` to the optimizer that you apply gradients with: then it also
    notices the updates made by that optimizer itself, counts them, and prunes after each.

    A model that was pruned before, compiled anew or loaded from a file continues where it was.

    Raises:
        ValueError: In a loop of your own, if the model has no optimizer.

    Example:

    >>> import keras, numpy as np
    >>> import secateur.tfmot as tfmot
    >>> layer = tfmot.sparsity.keras.prune_low_magnitude(keras.layers.Dense(4))
    >>> model = keras.Sequential([keras.Input((8,)), layer])
    >>> model.compile("sgd", "mse")
    >>> callback = tfmot.sparsity.keras.UpdatePruningStep()
    >>> _ = model.fit(np.ones((2, 8)), np.ones((2, 4)), callbacks=[callback], verbose=0)
    >>> layer.pruning_step
    1
    """

    def __init__(self) -> None:
        super().__init__()
        self.prunable_layers: list[Any] = []
        self._waiting: list[Any] = []
        self._engine: SparseOptimizer | None = None
        self._updates_before = 0

    def set_model(self, model: Any) -> None:
        """Attaches the engine. In `fit`, other callbacks may restore a checkpoint into it then."""
        super().set_model(model)
        if model is not None and model.built and getattr(model, "optimizer", None) is not None:
            self._attach(self.model, _made(model.optimizer))

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds the wrapped layers, and attaches the engine if that was not possible before."""
        model = self.model
        optimizer = getattr(model, "optimizer", None)
        if optimizer is not None:
            self._attach(model, _made(optimizer))
        elif attachment.collect(model):
            raise ValueError(
                "The model has no optimizer whose updates could be counted. Set `model.optimizer` to "
                "the one that you apply gradients with, before `on_train_begin`. "
                f"Received: model={model.name!r} with optimizer=None"
            )

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """In a loop by hand: counts the updates made since, and prunes."""
        if self._by_hand or self._waiting:
            self._catch_up()
        if batch > 0:
            self._waiting = []  # what the first step did not build is not used

    def on_epoch_end(self, batch: int, logs: Any = None) -> None:
        """Makes sure that the weights are sparse, whoever changed them."""
        self._catch_up()

    def on_train_end(self, logs: Any = None) -> None:
        """Makes sure that the weights are sparse, whoever changed them."""
        self._catch_up()

    @property
    def _by_hand(self) -> bool:
        return not self.params  # which `fit` sets

    def _attach(self, model: Any, updates: int) -> None:
        """Attaches the engine to what is built, as it was when `updates` had been made."""
        self.prunable_layers = attachment.collect(model)
        self._updates_before = updates
        if not model.built:  # TensorFlow builds such models within the first step
            self._waiting = self.prunable_layers
            for wrapper in self._waiting:
                wrapper.pruning_state.connect(model, None, attended=True)
            return
        self._waiting = [w for w in self.prunable_layers if not w.layer.built]
        if self.prunable_layers:
            self._engine = attachment.attach(model, self.prunable_layers, self._by_hand)
        if self._engine is not None:
            self._updates_before = updates - self._engine.step

    def _catch_up(self) -> None:
        model = self.model  # which fetches the weights on JAX
        if self._waiting and model.built and any(w.layer.built for w in self._waiting):
            step = self._engine.step if self._engine is not None else 0
            self._attach(model, self._updates_before + step)
        engine = self._engine
        if engine is not None:
            for _ in range(_made(engine) - self._updates_before - engine.step):
                engine.advance()
            engine.project()


class PruningSummaries(callbacks.PruningSummaries):
    """Writes the sparsity of each pruned kernel, and the metrics of each epoch, to TensorBoard.

    As `secateur.PruningSummaries`, and like Keras' TensorBoard callback, of which tfmot's class is a
    subclass, the loss and the metrics of each epoch, in the folders `train` and `validation`.

    Args:
        log_dir: Folder for TensorBoard.
        update_freq: "epoch" to write when an epoch begins and ends; an integer n for every n batches
            as well ("batch" is 1).
        **kwargs: Arguments of Keras' TensorBoard callback. Histograms, images, graphs, profiles and
            embeddings are not written: asking for them warns.

    Raises:
        ValueError: If `log_dir` is empty or `update_freq` is neither.
        ImportError: If the package `tensorboard` is not installed.
    """

    def __init__(self, log_dir: str, update_freq: str | int = "epoch", **kwargs: Any) -> None:
        for name, value in kwargs.items():
            if name not in _OF_TENSORBOARD:
                raise TypeError(
                    f"PruningSummaries got an unexpected keyword argument. Received: {name}={value!r}"
                )
            if value != _OF_TENSORBOARD[name] and name != "write_graph":
                warnings.warn(
                    f"PruningSummaries writes scalars only and ignores `{name}`. Add "
                    "`keras.callbacks.TensorBoard` for the rest. "
                    f"Received: {name}={value!r}",
                    stacklevel=2,
                )
        super().__init__(log_dir, update_freq)
        folders = {"train": "", "validation": "val_"}
        self._epochs = {
            prefix: EventWriter(os.path.join(self.log_dir, name))
            for name, prefix in folders.items()
        }

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes where pruning stands, and the metrics."""
        super().on_epoch_end(epoch, logs)
        for prefix, writer in self._epochs.items():
            values = {
                f"epoch_{name.removeprefix(prefix)}": float(value)
                for name, value in (logs or {}).items()
                if name.startswith("val_") == bool(prefix)
            }
            if values:
                writer.write(values, epoch)


def _made(optimizer: Any) -> int:
    """The number of updates that an optimizer has made, by whomever it was called."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return int(keras.ops.convert_to_numpy(updates_of(optimizer)))
