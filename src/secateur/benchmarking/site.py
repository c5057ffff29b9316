"""What the web server gives and takes: a fixed set of files, and results of a limited size."""

from __future__ import annotations

import json
import math
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np

from secateur.benchmarking import litertjs
from secateur.benchmarking.models import with_fixed_shapes
from secateur.benchmarking.targets.base import Job, Outcome, Progress
from secateur.benchmarking.targets.web import BUILDS, read_web_runs
from secateur.litert._paths import read_bytes

_WEB = Path(__file__).parent / "web"
_CDN = "https://cdn.jsdelivr.net"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
}
_BINARY = "application/octet-stream"
# A result without its outputs: times, and what the browser says about itself.
_MAX_REPORT = 1_000_000
_MAX_FAILURE = 2_000
_SECONDS = 60.0


@dataclass(frozen=True)
class Resource:
    """Something that can be fetched.

    Args:
        type: Its media type.
        data: Its content, or the file that holds it.
    """

    type: str
    data: bytes | Path

    def read(self) -> bytes:
        """Its content."""
        return self.data if isinstance(self.data, bytes) else self.data.read_bytes()


class Site:
    """The files of the page, and what happens with what it sends.

    There is nothing below the secret path but these files: no path of a request ever becomes a
    path of the disk.

    Args:
        job: What the page is to measure.
        token: The secret part of the path.
        receive: Called with the JSON of a result; raises ValueError where that is malformed.
        fail: Called with the reason where a page could not measure.
        progress: Called with what is going on.
    """

    def __init__(
        self,
        job: Job,
        token: str,
        receive: Callable[[object], None],
        fail: Callable[[str], None],
        progress: Progress,
    ) -> None:
        self.job = job
        self.token = token
        self.receive = receive
        self.fail = fail
        self.progress = progress
        self.local = litertjs.installed()
        self.nonce = secrets.token_urlsafe(16)
        self.resources = {**self._page(), **self._models(), **self._engine()}
        outputs = sum(math.prod(spec.shape) * 8 for m in job.models for spec in m.outputs)
        self.max_result = _MAX_REPORT + 2 * outputs + 200 * job.runs * len(job.models)

    def headers(self) -> dict[str, str]:
        """The headers of every answer."""
        cdn = "" if self.local else f" {_CDN}"
        headers = {
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Content-Security-Policy": (
                "default-src 'none'; style-src 'self'; img-src data:; "
                f"script-src 'self' 'nonce-{self.nonce}' 'wasm-unsafe-eval'{cdn}; "
                f"connect-src 'self'{cdn}; worker-src 'self' blob:; base-uri 'none'; "
                "form-action 'none'; frame-ancestors 'none'"
            ),
        }
        if self.job.threads > 1:  # a browser gives shared memory only to isolated pages
            headers["Cross-Origin-Opener-Policy"] = "same-origin"
            headers["Cross-Origin-Embedder-Policy"] = "require-corp"
        return headers

    def handler(self) -> type[BaseHTTPRequestHandler]:
        """The class that answers requests."""
        return type("Handler", (_Handler,), {"site": self})

    def _page(self) -> dict[str, Resource]:
        base = "litertjs" if self.local else f"{_CDN}/npm/@litertjs"
        core, utils = (
            f"{base}/{name}" if self.local else f"{base}/{name}@{litertjs.VERSION}"
            for name in ("core", "wasm-utils")
        )
        prefix = "./" if self.local else ""
        imports = {
            "@litertjs/core": f"{prefix}{core}/dist/index.js",
            "@litertjs/wasm-utils": f"{prefix}{utils}/dist/index.js",
        }
        html = (_WEB / "page.html").read_text()
        html = html.replace("{{importmap}}", json.dumps({"imports": imports}))
        html = html.replace("{{nonce}}", self.nonce)
        job = {
            "runs": self.job.runs,
            "warmup": self.job.warmup,
            "threads": self.job.threads,
            "version": litertjs.VERSION,
            "builds": BUILDS,
            "wasm": f"{prefix}{core}/wasm/",
            "models": [
                {
                    "name": model.name,
                    "bytes": model.bytes,
                    "path": f"model-{m}.tflite",
                    "inputs": [
                        {
                            "name": spec.name,
                            "dtype": spec.dtype,
                            "shape": spec.shape,
                            "path": f"input-{m}-{i}.bin",
                        }
                        for i, spec in enumerate(model.inputs)
                    ],
                    "outputs": [{"name": spec.name} for spec in model.outputs],
                }
                for m, model in enumerate(self.job.models)
            ],
        }
        scripts = ("page.mjs", "view.mjs", "measure.mjs", "page.css")
        return {
            "": Resource(_TYPES[".html"], html.encode()),
            "job.json": Resource(_TYPES[".json"], json.dumps(job).encode()),
            **{name: _file(_WEB / name) for name in scripts},
        }

    def _models(self) -> dict[str, Resource]:
        found = {}
        for m, (model, inputs) in enumerate(zip(self.job.models, self.job.inputs, strict=True)):
            data = with_fixed_shapes(read_bytes(model.path))
            found[f"model-{m}.tflite"] = Resource(_BINARY, data)
            for i, value in enumerate(inputs):
                raw = np.ascontiguousarray(value).tobytes()
                found[f"input-{m}-{i}.bin"] = Resource(_BINARY, raw)
        return found

    def _engine(self) -> dict[str, Resource]:
        """LiteRT.js from the local installation."""
        if not self.local:
            return {}
        core, utils = litertjs.package("core"), litertjs.package("wasm-utils")
        files = {f"litertjs/core/dist/{name}": core / "dist" / name for name in ("index.js",)} | {
            f"litertjs/wasm-utils/dist/{name}": utils / "dist" / name for name in ("index.js",)
        }
        for build in BUILDS:
            for name in (build, f"{Path(build).stem}.wasm"):
                files[f"litertjs/core/wasm/{name}"] = core / "wasm" / name
        return {path: _file(file) for path, file in files.items()}


def browser_outcome(result: Any, job: Job) -> Outcome:
    """Turn what the page sent into an outcome.

    Args:
        result: The JSON. It may come from anyone who knows the address.
        job: What was to be measured.

    Returns:
        The outcome, its texts free of control characters.

    Raises:
        ValueError: If the result is malformed.
    """
    runs = read_web_runs(result, len(job.models))
    build = BUILDS.get(str(result.get("build")), "unknown build")
    agent = printable(str(result.get("agent", "an unknown browser")), 200)
    threads = result.get("threads")
    used = threads if isinstance(threads, int) and 1 <= threads <= job.threads else 1
    notes = []
    if used < job.threads:
        notes.append(
            "This browser gave the page one thread. More need an https address, or this machine."
        )
    repeats = max(run.repeats for run in runs)
    if repeats > 1:
        notes.append(
            f"The clock of browsers is coarse: a sample is the mean of up to {repeats} runs."
        )
    engine = f"LiteRT.js {litertjs.VERSION} (WebAssembly with {build}) in {agent}"
    return Outcome(engine, runs, threads=used, notes=tuple(notes))


def printable(text: str, limit: int) -> str:
    """A text from outside, safe to print: no control characters, which may steer a terminal."""
    return re.sub(r"[^\x20-\x7e]", "?", text)[:limit]


def _file(path: Path) -> Resource:
    return Resource(_TYPES[path.suffix], path)


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    site: Site
    timeout = _SECONDS
    server_version = "secateur"
    sys_version = ""
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Send a file of the page."""
        self._send_resource(body=True)

    def do_HEAD(self) -> None:
        """Send the headers of a file of the page."""
        self._send_resource(body=False)

    def do_POST(self) -> None:
        """Take a result, or the reason why there is none."""
        path = self._path()
        limits = {"result": self.site.max_result, "failure": _MAX_FAILURE}
        if path not in limits:
            self._answer(HTTPStatus.NOT_FOUND)
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            self._answer(HTTPStatus.LENGTH_REQUIRED)
        elif int(length) > limits[path]:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            self._take(path, self.rfile.read(int(length)))

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are nobody's business."""

    def _take(self, path: str, body: bytes) -> None:
        if path == "failure":
            self.site.fail(printable(body.decode(errors="replace"), 500))
            self._answer(HTTPStatus.NO_CONTENT)
            return
        try:
            self.site.receive(json.loads(body))
        except (ValueError, RecursionError) as error:
            self._answer(HTTPStatus.BAD_REQUEST, printable(str(error), 500).encode())
        else:
            self._answer(HTTPStatus.NO_CONTENT)

    def _send_resource(self, body: bool) -> None:
        path = self._path()
        resource = None if path is None else self.site.resources.get(path)
        if resource is None:
            self._answer(HTTPStatus.NOT_FOUND, body=body)
            return
        if path == "" and body:
            self.site.progress(f"the page was opened from {self.client_address[0]}")
        self._answer(HTTPStatus.OK, resource.read(), resource.type, body)

    def _path(self) -> str | None:
        """The part of the path behind the secret, or None where that is wrong."""
        token, _, rest = self.path.split("?")[0].removeprefix("/").partition("/")
        known = secrets.compare_digest(token.encode(), self.site.token.encode())
        return rest if known and self.path.count("/") > 1 else None

    def _answer(
        self,
        status: HTTPStatus,
        data: bytes = b"",
        kind: str = "text/plain; charset=utf-8",
        body: bool = True,
    ) -> None:
        self.send_response(status)
        if status >= 400:  # what was sent may not have been read
            self.close_connection = True
            self.send_header("Connection", "close")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in self.site.headers().items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)
