"""`secateur export`: a Keras model to a `.tflite` file, or a `.tflite` file to a smaller one."""

from __future__ import annotations

import zipfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from secateur.cli.backend import use_backend
from secateur.cli.options import BackendOption, JsonOption, check_model_file
from secateur.cli.output import print_json, print_rich, progress_console
from secateur.litert.exporter import check_options, check_target
from secateur.litert.exporter import export as export_model

EXAMPLES = """[bold]Examples[/bold]

secateur export model.keras -o model.tflite

secateur export model.keras -o small.tflite --quantize weights --json

secateur export model.keras -o int8.tflite --quantize int8 --representative samples.npz

secateur export model.tflite -o sparse.tflite --sparse always"""


class Quantize(StrEnum):
    """How the weights are stored and computed with."""

    NONE = "none"
    FLOAT16 = "float16"
    WEIGHTS = "weights"
    DYNAMIC = "dynamic"
    INT8 = "int8"


class Sparse(StrEnum):
    """Which weights are stored without their zeros."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


def export(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="A model saved by Keras 3 (.keras, .h5), or a .tflite."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .tflite file to write.")],
    quantize: Annotated[
        Quantize,
        typer.Option(
            help="none: as they are; float16: halves; weights: int8, computed with as float32; "
            "dynamic: int8, inputs quantized on the fly; int8: all of it, needs --representative."
        ),
    ] = Quantize.NONE,
    sparse: Annotated[
        Sparse,
        typer.Option(
            help="Drop the zeros of weights. auto: where XNNPACK then runs them sparse; "
            "always: also where it takes fewer bytes; never: nowhere."
        ),
    ] = Sparse.AUTO,
    representative: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz",
            help="Samples of what the model is fed with: an array for each input, by its name.",
        ),
    ] = None,
    backend: BackendOption = None,
    json: JsonOption = False,
) -> None:
    """Export a model to a .tflite file, prove it, and report its sizes, zeros and error.

    A Keras model needs TensorFlow, also where it runs on JAX or PyTorch; a .tflite file needs
    neither Keras nor TensorFlow.
    """
    mode = None if quantize is Quantize.NONE else quantize.value
    check_options(mode, sparse.value)
    check_target(output)
    data = None if representative is None else read_arrays(representative)
    console = progress_console()
    source: Any = str(model)
    if model.suffix != ".tflite":
        check_model_file(model)
        with console.status("Loading Keras"):
            use_backend(backend)
            import keras
        with console.status(f"Loading {model}"):
            source = keras.saving.load_model(model, compile=False)
    with console.status(f"Exporting {model}"):
        report = export_model(
            source, output, quantize=mode, sparse=sparse.value, representative_data=data
        )
    if json:
        print_json(report.to_dict())
    else:
        print_rich(str(report))


def read_arrays(path: Path) -> Any:
    """Read the arrays of an `.npz` or `.npy` file; one alone needs no name."""
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no such file. Check the path. Received: --representative={str(path)!r}"
        )
    problem = "it is something else"
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        with content:
            arrays = {name: content[name] for name in content.files}
        if arrays and all(isinstance(array, np.ndarray) for array in arrays.values()):
            return next(iter(arrays.values())) if len(arrays) == 1 else arrays
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        problem = str(error)
    raise ValueError(
        f"The file holds no arrays of numbers: {problem}. Write it with numpy.savez(file, "
        f"INPUT=array). Received: --representative={str(path)!r}"
    )
