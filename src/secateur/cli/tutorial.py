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


CIFAR10_EXAMPLES = """[bold]Examples[/bold]

secateur tutorial cifar10

secateur tutorial cifar10 --model mobilenet --sparsity 0.9 --on litert --on web --on arm64

secateur tutorial cifar10 --data mnist --json > result.json"""


class Allocation(StrEnum):
    """How the sparsity is shared among the layers."""

    GLOBAL = "global"
    UNIFORM = "uniform"


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


class Network(StrEnum):
    """Which network is trained."""

    SMALL = "small"
    MOBILENET = "mobilenet"


@app.command("cifar10", epilog=CIFAR10_EXAMPLES)
def cifar10(
    model: Annotated[
        Network,
        typer.Option(
            help="small: tfmot's network; mobilenet: large enough for a speed-up to show."
        ),
    ] = Network.SMALL,
    sparsity: Annotated[
        float | None,
        typer.Option(
            help="The share of zeros in the 1x1 convolutions at the end, above 2/3.",
            show_default="0.75 for small, 0.9 for mobilenet",
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of training while pruning.", show_default="8 or 5")
    ] = None,
    baseline_epochs: Annotated[
        int | None, typer.Option(help="Epochs of training before.", show_default="8 or 5")
    ] = None,
    on: Annotated[
        list[str] | None,
        typer.Option(
            help="What to time the files on, more than once for several; see secateur benchmark.",
            show_default="litert, secateur, web",
        ),
    ] = None,
    runs: Annotated[int, typer.Option(help="Timed runs of each file.")] = 50,
    backend: BackendOption = None,
    seed: Annotated[int, typer.Option(help="The seed of all random numbers.")] = 0,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder for the files.")
    ] = Path("secateur-cifar10"),
    data: Annotated[
        str,
        typer.Option(
            help='"cifar10", "mnist", or an .npz file with 32x32x3 images in ten classes.'
        ),
    ] = "cifar10",
    json: JsonOption = False,
) -> None:
    """Train a network on CIFAR-10, prune it for XNNPACK's sparse kernels, and time it.

    Takes a few minutes; the mobilenet a quarter of an hour on two cores. Writes dense and pruned
    .tflite files, and compares their sizes, accuracies and times.
    """
    console = progress_console()
    with console.status("Loading Keras"):
        use_backend(backend)
        from secateur.tutorials.cifar10 import run
    result = run(
        model=model.value,
        sparsity=sparsity,
        epochs=epochs,
        baseline_epochs=baseline_epochs,
        seed=seed,
        output=output,
        data=data,
        on=on or None,
        runs=runs,
        console=console,
    )
    if json:
        print_json(result.to_dict())
    else:
        print_rich(result)
        print_rich(f"\n{result.benchmark}")
