"""`secateur benchmark`: measure `.tflite` files side by side, here, in a browser or on a phone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.status import Status

from secateur.benchmarking import DEFAULT_TARGETS, TARGETS, BenchmarkReport, get_target
from secateur.benchmarking import benchmark as measure
from secateur.benchmarking.serve import LOOPBACK, serve
from secateur.cli.options import JsonOption
from secateur.cli.output import print_json, print_rich, progress_console
from secateur.litert._files import check_folder

EXAMPLES = """[bold]Examples[/bold]

secateur benchmark dense.tflite sparse.tflite

secateur benchmark dense.tflite sparse.tflite --on litert --profile --runs 100

secateur benchmark dense.tflite sparse.tflite --on web --plot web.png --json > web.json

secateur benchmark --setup arm64

secateur benchmark dense.tflite sparse.tflite --on arm64

secateur benchmark --serve dense.tflite sparse.tflite --host 0.0.0.0"""


def benchmark(
    models: Annotated[
        list[Path] | None,
        typer.Argument(metavar="MODEL...", help="The .tflite files. The first is the reference."),
    ] = None,
    on: Annotated[
        list[str] | None,
        typer.Option(
            "--on",
            metavar="TARGET",
            help=f"What to measure on: {', '.join(TARGETS)}; give it several times for several. "
            f"By default {', '.join(DEFAULT_TARGETS)}.",
        ),
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Timed runs of each model.")] = 50,
    warmup: Annotated[int, typer.Option(min=0, help="Runs of each model before.")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="Threads, where there is a choice.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The seed of the random inputs.")] = 0,
    profile: Annotated[
        bool, typer.Option("--profile", help="Name the kernels that run, where the engine can.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw the figures to this .png, .svg or .pdf.")
    ] = None,
    json: JsonOption = False,
    page: Annotated[
        bool,
        typer.Option("--serve", help="Serve a page that measures in any browser that opens it."),
    ] = False,
    host: Annotated[
        str,
        typer.Option(
            "--host", help="With --serve: the address to listen on; 0.0.0.0 for the network."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="With --serve: the port; 0 for any.")
    ] = 0,
    once: Annotated[
        bool, typer.Option("--once", help="With --serve: end after the first result.")
    ] = False,
    setup: Annotated[
        list[str] | None,
        typer.Option("--setup", metavar="TARGET", help="Download what a target needs, once."),
    ] = None,
) -> None:
    """Measure .tflite files side by side: run in turn, on the same inputs, outputs compared.

    litert: the interpreter here. secateur: its own runtime here. web: WebAssembly in Node. arm64:
    the instructions that an emulated ARM processor executes. android: a phone behind adb. Needs no
    Keras backend.
    """
    console = progress_console()
    if plot is not None:
        check_folder(plot)
    if setup:
        with console.status("Setting up") as status:
            done = [get_target(name).setup(_shower(status)) for name in setup]
        for line in done:
            console.print(line, highlight=False, markup=False)
        if not models:
            return
    files = models or []
    if page and on:
        raise ValueError(f"The page measures in the browser; leave out --on. Received: on={on}")

    def show(report: BenchmarkReport) -> None:
        if json:
            print_json(report.to_dict())
        else:
            print_rich(str(report))
        if plot is not None:
            report.plot(plot)

    if page:
        with contextlib.suppress(KeyboardInterrupt):
            serve(
                *files,
                host=host,
                port=port,
                once=once,
                runs=runs,
                warmup=warmup,
                threads=threads,
                seed=seed,
                show=show,
                progress=lambda text: console.print(text, highlight=False, markup=False),
                started=lambda url: console.print(
                    _invitation(url, host), highlight=False, soft_wrap=True
                ),
            )
        return
    with console.status("Starting") as status:
        report = measure(
            *files,
            on=[name for given in on for name in given.split(",")] if on else None,
            runs=runs,
            warmup=warmup,
            threads=threads,
            seed=seed,
            profile=profile,
            progress=_shower(status),
        )
    show(report)


def _shower(status: Status) -> Callable[[str], None]:
    """Shows progress; names of files may hold what rich takes for markup."""
    return lambda text: status.update(escape(text))


def _invitation(url: str, host: str) -> str:
    reach = "on this machine" if host in LOOPBACK else "in this network, as on a phone"
    return f"Open [bold]{url}[/bold] {reach}. Ctrl-C ends."
