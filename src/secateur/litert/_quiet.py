"""Keep what native code writes to standard error, instead of showing it."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

# Start-up chatter of TensorFlow, absl and LiteRT, and MLIR's call stacks, explain no failure.
_CHATTER = re.compile(
    r"^([IW]\d{4} |WARNING: All log|INFO: |\d{4}-\d\d-\d\d .*: [IW] )|: note: .*called from$"
)
_LOCATION = re.compile(r"<unknown>:0: |loc\(.*\)\): |error: ")


@dataclass
class Captured:
    """What was written to standard error; complete when the block has ended."""

    text: str = ""


@contextlib.contextmanager
def captured_stderr() -> Iterator[Captured]:
    """Send standard error, that of C++ libraries included, to a buffer; silence warnings.

    Yields:
        The buffer, filled when the block ends, to be shown where the work failed.

    Example:
        >>> import os
        >>> with captured_stderr() as log:
        ...     _ = os.write(2, b"noise")
        >>> log.text
        'noise'
    """
    captured = Captured()
    try:
        saved = os.dup(2)
    except OSError:  # no standard error at all, as in a windowed program
        yield captured
        return
    with tempfile.TemporaryFile() as file:
        _flush()
        os.dup2(file.fileno(), 2)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield captured
        finally:
            _flush()
            os.dup2(saved, 2)
            os.close(saved)
            file.seek(0)
            captured.text = file.read().decode(errors="replace")


def tail(text: str, limit: int = 2000) -> str:
    """The end of a log, without chatter and repetition.

    Args:
        text: The log.
        limit: At most this many characters, counted from the end.

    Returns:
        The lines that may explain a failure.
    """
    lines = [
        _LOCATION.sub("", line)
        for line in text.splitlines()
        if line.strip() and not _CHATTER.search(line)
    ]
    kept = "\n".join(dict.fromkeys(lines))  # TensorFlow says much of it twice
    return kept if len(kept) <= limit else "... " + kept[-limit:]


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()
