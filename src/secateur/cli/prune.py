"""`secateur prune`: set the smallest weights of a saved model to zero, without training."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from secateur.cli.backend import use_backend
from secateur.cli.options import BackendOption, JsonOption, ModelFile, check_model_file
from secateur.cli.output import print_json, print_rich, progress_console
from secateur.litert._files import atomic_path, check_folder

EXAMPLES = """[bold]Examples[/bold]

secateur prune model.keras --sparsity 0.5 -o pruned.keras

secateur prune model.keras --sparsity 0.8 --layers "conv.*" --block 1x4 -o pruned.keras

secateur prune model.keras --m-by-n 2:4 -o pruned.keras"""


def prune(
    model: ModelFile,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The .keras or .h5 file to write.")
    ],
    sparsity: Annotated[
        float | None, typer.Option(help="The share of weights to set to zero, in [0, 1).")
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(metavar="REGEX", help="Prune only weights whose path this is found in."),
    ] = None,
    block: Annotated[
        str | None, typer.Option(metavar="1x4", help="Prune whole blocks of this shape.")
    ] = None,
    m_by_n: Annotated[
        str | None, typer.Option(metavar="2:4", help="Prune 2 of every 4 weights in a row.")
    ] = None,
    backend: BackendOption = None,
    json: JsonOption = False,
) -> None:
    """Prune a saved model in one shot, without training, and report what became of each weight.

    The accuracy drops more than with pruning during training: `secateur tutorial mnist` shows that.
    """
    check_model_file(model)
    numbers = _structure_numbers(sparsity, block, m_by_n)
    _check_output(output)
    console = progress_console()
    with console.status("Loading Keras"):
        use_backend(backend)
        import keras

        import secateur

    with console.status(f"Pruning {model}"):
        structure: Any = None
        if block is not None:
            structure = secateur.Block(numbers)
        elif m_by_n is not None:
            structure = secateur.MByN(*numbers)
        loaded = keras.saving.load_model(model)
        report = secateur.prune_once(loaded, sparsity=sparsity, structure=structure, layers=layers)
        with atomic_path(output) as temporary:
            loaded.save(temporary)
    if json:
        print_json({"path": str(output), **report.to_dict()})
    else:
        print_rich(str(report))


def _structure_numbers(
    sparsity: float | None, block: str | None, m_by_n: str | None
) -> tuple[int, ...]:
    """Check the options that say what to prune; return the numbers of the structure."""
    if block is not None and m_by_n is not None:
        raise ValueError(
            "A model is pruned in blocks or m by n, not both. Leave one of them out. "
            f"Received: --block={block}, --m-by-n={m_by_n}"
        )
    if m_by_n is None and sparsity is None:
        raise ValueError(
            "How much is to be pruned? Give --sparsity 0.5, or --m-by-n 2:4, which fixes it. "
            "Received: --sparsity=None"
        )
    if block is not None:
        return _numbers(block, r"(\d+)x(\d+)", "--block", "1x4")
    if m_by_n is not None:
        return _numbers(m_by_n, r"(\d+):(\d+)", "--m-by-n", "2:4")
    return ()


def _numbers(text: str, pattern: str, option: str, example: str) -> tuple[int, ...]:
    match = re.fullmatch(pattern, text.strip())
    if match is None:
        raise ValueError(
            f"Two whole numbers are needed, written as {example}. Received: {option}={text!r}"
        )
    return tuple(map(int, match.groups()))


def _check_output(path: Path) -> None:
    if path.suffix not in (".keras", ".h5"):
        raise ValueError(
            "The pruned model is written as a Keras file; give it the suffix .keras or .h5. Use "
            f"`secateur export` for .tflite. Received: --output={str(path)!r}"
        )
    check_folder(path)
