"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secateur.cli.backend import Backend

ModelFile = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A model saved by Keras 3: .keras or .h5.")
]
BackendOption = Annotated[
    Backend | None,
    typer.Option(
        "--backend",
        help="The Keras backend. By default KERAS_BACKEND, Keras' configuration, or the first "
        "that is installed.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the report as JSON, and nothing else.")
]


def check_model_file(path: Path) -> None:
    """Raise where a model file is missing or of another kind, before Keras is loaded for it."""
    if path.suffix not in (".keras", ".h5", ".hdf5"):
        raise ValueError(
            "A model saved by Keras is needed, with the suffix .keras or .h5. "
            f"Received: MODEL={str(path)!r}"
        )
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no such model file. Check the path. Received: MODEL={str(path)!r}"
        )
