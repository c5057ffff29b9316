"""LiteRT.js, Google's LiteRT for browsers: installed once by npm, in a version that is pinned."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from secateur.benchmarking.cache import cache_folder
from secateur.benchmarking.errors import BenchmarkError
from secateur.benchmarking.targets.base import Progress, silent

_LOCK = Path(__file__).parent / "web" / "litertjs"

#: The version that is installed, and that the page loads from the public CDN without it.
VERSION: str = json.loads((_LOCK / "package.json").read_text())["dependencies"]["@litertjs/core"]


def folder() -> Path:
    """Where LiteRT.js is installed, or would be."""
    return cache_folder() / "litertjs" / VERSION


def package(name: str) -> Path:
    """The folder of one of its packages, "core" or "wasm-utils"."""
    return folder() / "node_modules" / "@litertjs" / name


def installed() -> bool:
    """Whether LiteRT.js is there."""
    return (package("core") / "package.json").is_file()


def missing() -> str | None:
    """Return None where LiteRT.js is there or can be installed, else what is in the way."""
    if installed() or shutil.which("npm"):
        return None
    return (
        "LiteRT.js is not installed, and there is no npm to install it; install Node.js with npm "
        "(on Debian: apt-get install npm)"
    )


def install(progress: Progress = silent) -> Path:
    """Install LiteRT.js into the cache, unless it is there.

    Args:
        progress: Called with what is going on.

    Returns:
        The folder that holds its `node_modules`.

    Raises:
        BenchmarkError: If npm is missing, or fails.
    """
    target = folder()
    if installed():
        return target
    npm = shutil.which("npm")
    if npm is None:
        raise BenchmarkError(f"{missing()}.")
    progress(f"installing LiteRT.js {VERSION} into {target} (40 MB, once)")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{VERSION}-", dir=target.parent) as name:
        fresh = Path(name) / "litertjs"
        shutil.copytree(_LOCK, fresh)
        done = subprocess.run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=fresh,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            said = " ".join(line for line in done.stderr.splitlines() if "error" in line.lower())
            raise BenchmarkError(f"npm could not install LiteRT.js {VERSION}: {said[:400]}")
        try:
            os.rename(fresh, target)
        except OSError:  # another process was faster
            if not installed():
                raise
    return target
