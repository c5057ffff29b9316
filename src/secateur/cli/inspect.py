"""`secateur inspect`: the sizes of a model file and the zeros in each of its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secateur.cli.keras_file import read_keras_tensors
from secateur.cli.options import JsonOption
from secateur.cli.output import print_json, print_rich, tensor_table
from secateur.litert import kernel_sparsity, measure, read_tensors

EXAMPLES = """[bold]Examples[/bold]

secateur inspect model.tflite

secateur inspect model.keras --json"""

_KERAS = (".keras", ".h5", ".hdf5")


def inspect(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A .keras, .h5, .weights.h5 or .tflite file.")
    ],
    json: JsonOption = False,
) -> None:
    """Show the sizes of a model file and the zeros in each weight.

    Needs no Keras backend and no TensorFlow.
    """
    if model.suffix not in (*_KERAS, ".tflite"):
        raise ValueError(
            "Only .keras, .h5, .weights.h5 and .tflite files can be inspected. "
            f"Received: MODEL={str(model)!r}"
        )
    size = measure(model)
    tensors = read_keras_tensors(model) if model.suffix in _KERAS else read_tensors(model)
    if json:
        print_json(
            {
                "path": str(model),
                "bytes": size.bytes,
                "gzip_bytes": size.gzip_bytes,
                "sparsity": kernel_sparsity(tensors),
                "tensors": [tensor.to_dict() for tensor in tensors],
            }
        )
    else:
        print_rich(tensor_table(str(model), tensors, size))
