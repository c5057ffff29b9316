"""`secateur tutorial`: walkthroughs from training to a small file, every figure measured."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from secateur.cli.backend import use_backend
from secateur.cli.options import BackendOption, JsonOption
from secateur.cli.output import print_json, print_rich, progress_console

app = typer.Typer(
    no_args_is_help=True, help="Walk through training, pruning, export and measuring."
)

EXAMPLES = """[bold]Examples[/bold]

secateur tutorial mnist

secateur tutorial mnist --backend jax --sparsity 0.9 --epochs 4 --output mnist-90

secateur tutorial mnist --json > result.json"""


class Allocation(StrEnum):
    """How the sparsity is shared among the layers."""

    GLOBAL = "global"
    UNIFORM = "uniform"


@app.callback()
def _tutorial() -> None:
    """Keep `mnist` a word of its own while it is the only walkthrough."""


@app.command("mnist", epilog=EXAMPLES)
def mnist(
    sparsity: Annotated[
        float, typer.Option(help="The share of zeros at the end, in [0, 1).")
    ] = 0.8,
    epochs: Annotated[int, typer.Option(help="Epochs of training while pruning.")] = 2,
    baseline_epochs: Annotated[int, typer.Option(help="Epochs of training before.")] = 4,
    allocation: Annotated[
        Allocation,
        typer.Option(help="global: rank all weights together; uniform: the same share a layer."),
    ] = Allocation.GLOBAL,
    backend: BackendOption = None,
    seed: Annotated[int, typer.Option(help="The seed of all random numbers.")] = 0,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder for the files.")
    ] = Path("secateur-mnist"),
    data: Annotated[
        str, typer.Option(help='"mnist", or an .npz file with grey images in ten classes.')
    ] = "mnist",
    json: JsonOption = False,
) -> None:
    """Train a small CNN on MNIST, prune it while it trains on, export it, and measure each file.

    Takes a minute or two. Writes .keras, .h5 and .tflite files and TensorBoard logs.
    """
    console = progress_console()
    with console.status("Loading Keras"):
        use_backend(backend)
        from secateur.tutorials.mnist import run
    result = run(
        sparsity=sparsity,
        epochs=epochs,
        baseline_epochs=baseline_epochs,
        allocation=allocation.value,
        seed=seed,
        output=output,
        data=data,
        console=console,
    )
    if json:
        print_json(result.to_dict())
    else:
        print_rich(result)
