"""Where engines that are downloaded once are kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """The folder of secateur's downloads.

    Returns:
        `$SECATEUR_CACHE`, else `$XDG_CACHE_HOME/secateur`, else `~/.cache/secateur`. It need not
        exist yet.
    """
    if named := os.environ.get("SECATEUR_CACHE"):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "secateur"
