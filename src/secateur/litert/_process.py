"""Start a Python process of the package's own, which may crash without harm."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence


def spawn(
    module: str,
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `main()` of a module in a new process, which finds the same modules as this one.

    Args:
        module: The module's name.
        arguments: What it finds in `sys.argv`.
        environment: Variables to set beside those of this process.
        timeout: The seconds it may take.

    Returns:
        How it ended, with what it wrote.

    Raises:
        subprocess.TimeoutExpired: If it took longer; it is killed then.
    """
    return subprocess.run(
        [sys.executable, "-P", "-c", f"from {module} import main; main()", *arguments],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
            **(environment or {}),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=timeout,
    )
