"""A small web server with a page that measures models in any browser, and reports back."""

from __future__ import annotations

import contextlib
import os
import queue
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import ThreadingHTTPServer
from types import TracebackType

from secateur.benchmarking import litertjs
from secateur.benchmarking.errors import BenchmarkError
from secateur.benchmarking.inputs import Arrays, make_inputs
from secateur.benchmarking.models import read_models
from secateur.benchmarking.report import BenchmarkReport
from secateur.benchmarking.run import make_report, reference_outputs
from secateur.benchmarking.site import Site, browser_outcome
from secateur.benchmarking.targets import Job
from secateur.benchmarking.targets.base import Progress, silent

#: Addresses that only this machine can reach.
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class BenchmarkServer:
    """Serves the page for some models; a context manager.

    Only the models given are served, below a path that nobody can guess, and only to this
    machine unless `host` says otherwise.

    Args:
        *models: The paths of `.tflite` files that take the same inputs.
        host: The address to listen on: "127.0.0.1" for this machine, "0.0.0.0" for the network.
        port: The port, or 0 for any that is free.
        runs: The number of timed runs of each model.
        warmup: The number of runs before.
        threads: The number of threads. Browsers give more than one only to pages of this machine
            or behind https.
        seed: The seed of the random inputs.
        progress: Called with what is going on.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the models cannot be measured side by side.
        OSError: If the address or port is not free.

    Example:
        >>> with BenchmarkServer("dense.tflite", "sparse.tflite") as server:  # doctest: +SKIP
        ...     print(server.url)
        ...     for report in server.reports():
        ...         print(report)
    """

    def __init__(
        self,
        *models: str | os.PathLike[str],
        host: str = "127.0.0.1",
        port: int = 0,
        runs: int = 50,
        warmup: int = 3,
        threads: int = 1,
        seed: int = 0,
        progress: Progress = silent,
    ) -> None:
        if not models:
            raise ValueError("There is nothing to serve. Give .tflite files. Received: ()")
        files = read_models(models)
        self.job = Job(files, make_inputs(files, seed=seed), runs, warmup, threads)
        self.seed = seed
        self.host = host
        self.progress = progress
        self.token = secrets.token_urlsafe(16)
        self._reference: list[Arrays | None] | None = None
        self._inbox: queue.Queue[BenchmarkReport | BenchmarkError] = queue.Queue()
        _install_engine(progress)
        self.site = Site(self.job, self.token, self._receive, self._fail, progress)
        self._server = _Server((host, port), self.site.handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The address of the page; for 0.0.0.0 the one that other machines of the network use."""
        host = lan_address() if self.host in ("0.0.0.0", "") else self.host
        return f"http://{host}:{self.port}/{self.token}/"

    def reports(self) -> Iterator[BenchmarkReport]:
        """Wait for results, one after another, without end.

        Yields:
            A report for each time that a page has measured.

        Raises:
            BenchmarkError: If a page could not measure; the message is the browser's.
        """
        while True:
            yield self.next_report()

    def next_report(self, timeout: float | None = None) -> BenchmarkReport:
        """Wait for the next result.

        Args:
            timeout: Give up after so many seconds.

        Returns:
            What the page measured.

        Raises:
            BenchmarkError: If the page could not measure; the message is the browser's.
            TimeoutError: If there was none in time.
        """
        try:
            found = self._inbox.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError(
                f"No page sent a result. Received: timeout={timeout!r} seconds"
            ) from None
        if isinstance(found, BenchmarkError):
            raise found
        return found

    def close(self) -> None:
        """Stop serving."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> BenchmarkServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _receive(self, result: object) -> None:
        outcome = browser_outcome(result, self.job)
        if self._reference is None:
            self._reference = reference_outputs(self.job)
        outcomes = {"browser": outcome}
        self._inbox.put(make_report(self.job, outcomes, {}, self.seed, self._reference))

    def _fail(self, reason: str) -> None:
        self._inbox.put(BenchmarkError(f"The page could not measure: {reason}"))


def lan_address() -> str:
    """The address of this machine in its network.

    Returns:
        An IPv4 address; the name of the machine where there is no network.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # chooses a route; sends nothing
        return str(probe.getsockname()[0])
    return socket.gethostname()


def _install_engine(progress: Progress) -> None:
    """Have LiteRT.js here if that is possible; otherwise the page fetches it."""
    try:
        litertjs.install(progress)
    except BenchmarkError as error:
        progress(f"the page will load LiteRT.js from the public CDN: {error}")


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that goes away is no error."""


def serve(
    *models: str | os.PathLike[str],
    host: str = "127.0.0.1",
    port: int = 0,
    once: bool = False,
    show: Callable[[BenchmarkReport], None],
    progress: Progress = silent,
    started: Callable[[str], None] = silent,
    **settings: int,
) -> Sequence[BenchmarkReport]:
    """Serve the page until interrupted, or until the first result.

    Args:
        *models: The `.tflite` files.
        host: The address to listen on.
        port: The port, or 0.
        once: Whether to end after a result.
        show: Called with each result.
        progress: Called with what is going on.
        started: Called with the address of the page.
        **settings: `runs`, `warmup`, `threads` and `seed`, as for `BenchmarkServer`.

    Returns:
        The results.

    Raises:
        BenchmarkError: With `once`, if the page could not measure.
    """
    reports: list[BenchmarkReport] = []
    with BenchmarkServer(*models, host=host, port=port, progress=progress, **settings) as server:
        started(server.url)
        while not (once and reports):
            try:
                reports.append(server.next_report())
            except BenchmarkError as error:
                if once:
                    raise
                progress(str(error))
            else:
                show(reports[-1])
    return reports
