"""The web server: it serves the named files under a secret path, and nothing else."""

import base64
import http.client
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from secateur.benchmarking import litertjs
from secateur.benchmarking.serve import BenchmarkServer, lan_address
from secateur.benchmarking.site import printable


@pytest.fixture(scope="module")
def server(node, dense, sparse):
    with BenchmarkServer(dense, sparse, runs=2) as server:
        yield server


def get(server, path, method="GET", body=None, **headers):
    """An answer to a raw path, which no client tidies up."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.putrequest(method, path, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    if body is not None and "Content_Length" not in headers:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    answer.body = answer.read()
    connection.close()
    return answer


def under(server, path):
    return f"/{server.token}/{path}"


def result(server, agent="Chrome 150 on Linux", **changes):
    """What a page would send, with outputs of zeros."""
    model = {
        "load_ms": 3.0,
        "samples": [4.0, 5.0],
        "repeats": 1,
        "outputs": [
            {"dtype": "float32", "shape": [1, 10], "data": base64.b64encode(bytes(40)).decode()}
        ],
    }
    fast = {**model, "samples": [2.0, 2.5], "repeats": 3}
    data = {"models": [model, fast], "build": "litert_wasm_internal.js", "threads": 1}
    return json.dumps({**data, "agent": agent, **changes}).encode()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("", "text/html"),
        ("page.mjs", "text/javascript"),
        ("view.mjs", "text/javascript"),
        ("measure.mjs", "text/javascript"),
        ("page.css", "text/css"),
        ("job.json", "application/json"),
        ("model-1.tflite", "application/octet-stream"),
        ("input-0-0.bin", "application/octet-stream"),
        ("litertjs/core/dist/index.js", "text/javascript"),
        ("litertjs/core/wasm/litert_wasm_internal.wasm", "application/wasm"),
    ],
)
def test_the_page_is_served(server, path, kind):
    answer = get(server, under(server, path))
    assert answer.status == 200
    assert answer.getheader("Content-Type").startswith(kind)
    assert int(answer.getheader("Content-Length")) == len(answer.body) > 0
    assert answer.getheader("X-Content-Type-Options") == "nosniff"
    assert "default-src 'none'" in answer.getheader("Content-Security-Policy")
    assert answer.getheader("Server") == "secateur "
    head = get(server, under(server, path), "HEAD")
    assert (head.status, head.body) == (200, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/job.json",
        "/{token}",
        "/wrong/",
        "/{token}x/",
        "/{token}/nothing",
        "/{token}/dense.tflite",
        "/{token}/model-2.tflite",
        "/{token}/../serve.py",
        "/{token}/litertjs/",
        "/{token}/litertjs/core/package.json",
        "/{token}/litertjs/core/wasm/../package.json",
        "/{token}/%2e%2e/%2e%2e/etc/passwd",
        "/{token}//etc/passwd",
        "/../{token}/job.json",
        "http://127.0.0.1/{token}/job.json",
        "/{token}/result",
        "*",
    ],
)
def test_there_is_nothing_else(server, path):
    assert get(server, path.format(token=server.token)).status == 404


def test_the_secret_cannot_be_guessed(server, dense):
    assert re.fullmatch(r"[\w-]{22}", server.token)  # 128 bits
    with BenchmarkServer(dense) as other:
        assert other.token != server.token
    assert server.url == f"http://127.0.0.1:{server.port}/{server.token}/"


def test_it_listens_on_this_machine_only(server):
    assert server._server.server_address[0] == "127.0.0.1"


def test_for_the_network_it_gives_its_address_there(node, dense):
    with BenchmarkServer(dense, host="0.0.0.0", runs=1) as server:
        assert server.url.startswith(f"http://{lan_address()}:{server.port}/")
    assert lan_address() != "0.0.0.0"


def test_a_port_that_is_taken_is_an_oserror(server, dense):
    with pytest.raises(OSError, match="in use"):
        BenchmarkServer(dense, port=server.port)


def test_a_result_becomes_a_report(server):
    assert get(server, under(server, "result"), "POST", result(server)).status == 204
    report = server.next_report(timeout=60)
    assert report.models.keys() == {"dense.tflite", "sparse.tflite"}
    measurement = report.measurement("browser", "sparse.tflite")
    assert (measurement.samples, measurement.times_faster) == ((2.0, 2.5), 2.0)
    assert measurement.difference == 0
    assert measurement.litert_difference == 1  # zeros are not what LiteRT computes
    assert "Chrome 150 on Linux" in report.result("browser").engine
    assert "mean of up to 3 runs" in " ".join(report.result("browser").notes)


def test_what_a_page_says_cannot_steer_the_terminal(server):
    agent = "\x1b]0;owned\x07\x1b[2J\u202e\nX"
    assert get(server, under(server, "result"), "POST", result(server, agent)).status == 204
    text = str(server.next_report(timeout=60))
    assert "?]0;owned??[2J??X" in text
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", text)
    assert printable("é" * 500, 5) == "?????"


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", {"Content_Length": "999999999999"}, 413),
        (b"", {"Content_Length": "-1"}, 411),
        (b"", {"Transfer_Encoding": "chunked", "Content_Length": ""}, 411),
        (b"{", {}, 400),
        (b"{}", {}, 400),
        (b"[" * 100_000, {}, 400),
        (b'{"models": [{}, {}]}', {}, 400),
        (b"\xff\xfe", {}, 400),
    ],
)
def test_bad_results_are_refused(server, body, headers, status):
    assert get(server, under(server, "result"), "POST", body, **headers).status == status
    assert server._inbox.empty()


def test_results_go_to_the_secret_path_only(server):
    assert get(server, "/result", "POST", result(server)).status == 404
    assert get(server, under(server, "job.json"), "POST", b"x").status == 404
    assert get(server, under(server, ""), "DELETE").status == 501
    assert server._inbox.empty()


def test_a_failure_is_told(server):
    assert get(server, under(server, "failure"), "POST", b"no WebAssembly\x1b").status == 204
    with pytest.raises(RuntimeError, match=r"could not measure: no WebAssembly\?"):
        server.next_report(timeout=20)
    too_long = get(server, under(server, "failure"), "POST", b"x" * 3000)
    assert too_long.status == 413


def test_waiting_ends(server):
    with pytest.raises(TimeoutError, match="Received: timeout=0.01"):
        server.next_report(timeout=0.01)


def test_threads_need_an_isolated_page(node, dense):
    with BenchmarkServer(dense, threads=2) as server:
        answer = get(server, under(server, ""))
        assert answer.getheader("Cross-Origin-Opener-Policy") == "same-origin"
        assert answer.getheader("Cross-Origin-Embedder-Policy") == "require-corp"
    with BenchmarkServer(dense) as server:
        assert get(server, under(server, "")).getheader("Cross-Origin-Opener-Policy") is None


def test_without_npm_the_page_loads_litertjs_from_the_public_cdn(no_cache, no_programs, dense):
    told = []
    with BenchmarkServer(dense, progress=told.append) as server:
        page = get(server, under(server, "")).body.decode()
        base = f"https://cdn.jsdelivr.net/npm/@litertjs/core@{litertjs.VERSION}"
        assert f"{base}/dist/index.js" in page
        assert json.loads(get(server, under(server, "job.json")).body)["wasm"] == f"{base}/wasm/"
        assert get(server, under(server, "litertjs/core/dist/index.js")).status == 404
        policy = get(server, under(server, "")).getheader("Content-Security-Policy")
        assert "https://cdn.jsdelivr.net" in policy
    assert "public CDN" in told[0]


def test_the_command_ends_after_a_result(node, dense, sparse):
    """`--serve --once --json` prints the report of the first page that answers, and ends."""
    command = ["benchmark", "--serve", "--once", "--json", str(dense), str(sparse)]
    process = subprocess.Popen(
        [sys.executable, "-c", "from secateur.cli import main; main()", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = ""
        while not (url := re.search(r"http://127\.0\.0\.1:\d+/[\w-]+/", said)):
            line = process.stderr.readline()
            assert line, said
            said = said.rstrip("\n") + line  # rich may break a long line
        request = urllib.request.Request(f"{url[0]}result", data=result(None), method="POST")
        assert urllib.request.urlopen(request, timeout=60).status == 204
        stdout, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert json.loads(stdout)["results"][0]["target"] == "browser"
