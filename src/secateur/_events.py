"""TensorBoard event files, written by the `tensorboard` package and without TensorFlow."""

import itertools
import os
import socket
import time
from collections.abc import Mapping

_COUNT = itertools.count()


def require_tensorboard(user: str) -> None:
    """Raises an ImportError that says what to install, if `tensorboard` is missing."""
    try:
        import tensorboard  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"{user} writes TensorBoard's event files with the package `tensorboard`, which is not "
            'installed. Install it with: pip install "secateur[tensorboard]"'
        ) from error


class EventWriter:
    """Appends scalars to an event file, which is made with the first of them.

    The file is open only while something is written to it.

    Args:
        folder: Where the file is to lie. Made if it is not there.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._path: str | None = None

    def write(self, scalars: Mapping[str, float], step: int) -> None:
        """Appends named values at a step."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        # The package's EventFileWriter would import TensorFlow where that is installed.
        from tensorboard.summary.writer.record_writer import RecordWriter

        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        events = [Event(wall_time=time.time(), step=step, summary=Summary(value=values))]
        if self._path is None:
            os.makedirs(self.folder, exist_ok=True)
            parts = (f"{int(time.time()):010d}", socket.gethostname(), os.getpid(), next(_COUNT))
            name = ".".join(["events.out.tfevents", *map(str, parts)])
            self._path = os.path.join(self.folder, name)
            events.insert(0, Event(wall_time=time.time(), file_version="brain.Event:2"))
        with open(self._path, "ab") as file:
            records = RecordWriter(file)
            for event in events:
                records.write(event.SerializeToString())
