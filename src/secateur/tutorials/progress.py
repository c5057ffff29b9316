"""Progress of a walkthrough: one line a stage, one bar for each training."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_BATCHES_A_TICK = 20


class Stages:
    """Tells what is being done and how long each stage took.

    Args:
        console: Where to print; None prints nothing.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console
        self.seconds: dict[str, float] = {}

    def say(self, text: str) -> None:
        """Print a line."""
        if self.console is not None:
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def stage(self, name: str, text: str) -> Iterator[None]:
        """Time a block under `name`, and announce it with `text`."""
        self.say(text)
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 2)

    @contextlib.contextmanager
    def training(self, epochs: int) -> Iterator[list[keras.callbacks.Callback]]:
        """Yield the callbacks that show a call of `fit`."""
        if self.console is None:
            yield []
            return
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        hidden = not self.console.is_terminal
        with Progress(*columns, console=self.console, transient=True, disable=hidden) as bar:
            yield [_FitBar(self, bar, epochs)]


class _FitBar(keras.callbacks.Callback):
    """Moves the bar every few batches, and prints a line an epoch."""

    def __init__(self, stages: Stages, bar: Progress, epochs: int) -> None:
        super().__init__()
        self._stages, self._bar, self._epochs = stages, bar, epochs

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        total = self._epochs * self.params["steps"]
        self._task = self._bar.add_task("training", total=total)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch
        self._bar.update(self._task, description=f"epoch {epoch + 1}/{self._epochs}")

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if batch % _BATCHES_A_TICK == 0:
            done = self._epoch * self.params["steps"] + batch + 1
            self._bar.update(self._task, completed=done)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        figures = ", ".join(f"{name} {value:.4f}" for name, value in (logs or {}).items())
        self._stages.say(f"  epoch {epoch + 1}/{self._epochs}: {figures}")
