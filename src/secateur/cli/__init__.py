"""The command line: `secateur VERB`, one file a verb. Imports Keras only where a verb needs it."""

from __future__ import annotations

from typing import Annotated

import typer

from secateur.cli import benchmark, export, inspect, prune, tutorial
from secateur.cli.errors import FriendlyGroup

app = typer.Typer(
    name="secateur",
    cls=FriendlyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        from secateur import __version__

        print(f"secateur {__version__}")
        raise typer.Exit


@app.callback()
def secateur(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug", envvar="SECATEUR_DEBUG", help="Show the traceback where something fails."
        ),
    ] = False,
) -> None:
    """Prune Keras 3 models, export them to LiteRT, and measure what it brings."""


app.add_typer(tutorial.app, name="tutorial")
app.command("prune", epilog=prune.EXAMPLES)(prune.prune)
app.command("inspect", epilog=inspect.EXAMPLES)(inspect.inspect)
app.command("export", epilog=export.EXAMPLES)(export.export)
app.command("benchmark", epilog=benchmark.EXAMPLES)(benchmark.benchmark)


def main() -> None:
    """Run the command line; the entry point of the `secateur` program."""
    app(prog_name="secateur")
