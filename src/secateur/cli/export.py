"""`secateur export`: a Keras model to a `.tflite` file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from secateur.cli.backend import use_backend
from secateur.cli.options import BackendOption, JsonOption, ModelFile, check_model_file
from secateur.cli.output import print_json, print_rich, progress_console
from secateur.litert.exporter import check_target

EXAMPLES = """[bold]Examples[/bold]

secateur export model.keras -o model.tflite

secateur export model.keras -o small.tflite --quantize dynamic --json"""


class Quantize(StrEnum):
    """How the weights are stored."""

    NONE = "none"
    FLOAT16 = "float16"
    DYNAMIC = "dynamic"


def export(
    model: ModelFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="The .tflite file to write.")],
    quantize: Annotated[
        Quantize,
        typer.Option(help="none: float32; float16: halves; dynamic: int8 weights."),
    ] = Quantize.NONE,
    backend: BackendOption = None,
    json: JsonOption = False,
) -> None:
    """Export a Keras model to a .tflite file and report its sizes, its zeros and its error.

    Needs TensorFlow, also for a model that runs on JAX or PyTorch.
    """
    check_model_file(model)
    check_target(output)
    console = progress_console()
    with console.status("Loading Keras"):
        use_backend(backend)
        import keras

        from secateur import litert
    with console.status(f"Converting {model}"):
        loaded = keras.saving.load_model(model, compile=False)
        mode = None if quantize is Quantize.NONE else quantize.value
        report = litert.export(loaded, output, quantize=mode)
    if json:
        print_json(report.to_dict())
    else:
        print_rich(str(report))
