"""The page in a real browser, headless: it measures, shows, and sends the result back."""

import json
import mimetypes

import pytest
from benchmarking_support import convert, eligible_model
from browser_support import CHROMIUM, Browser

from secateur.benchmarking import BenchmarkError, litertjs
from secateur.benchmarking.serve import BenchmarkServer

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture
def browser(tmp_path):
    browser = Browser(tmp_path / "profile")
    yield browser
    browser.close()


def test_it_measures_shows_and_reports_back(node, browser, dense, sparse):
    with BenchmarkServer(dense, sparse, runs=4) as server:
        browser.open(server.url)
        report = server.next_report(timeout=120)
        browser.wait_for("document.body.innerText.includes('The result is in the terminal')")
        text = browser.text()
        first, second = report.result("browser").measurements
        assert (first.runs, second.runs) == (4, 4)
        assert first.litert_difference < 1e-5
        assert second.litert_difference < 1e-5
        assert f"{second.times_faster:.2f}\N{MULTIPLICATION SIGN} " in text
        assert "agree: largest difference" in text
        assert "dense.tflite" in text
        assert "4 runs of each model" in text
        assert browser.evaluate("document.querySelectorAll('#chart svg').length") == 2
        assert "Chrome" in report.result("browser").engine
        assert browser.evaluate("document.title") == "secateur benchmark"

        browser.evaluate("document.getElementById('again').click()")
        assert server.next_report(timeout=120).measurement("browser", "dense.tflite").runs == 4


def test_the_bars_are_as_long_as_the_medians(node, browser, dense, sparse):
    with BenchmarkServer(dense, sparse, runs=3) as server:
        browser.open(server.url)
        first, second = server.next_report(timeout=120).result("browser").measurements
        browser.wait_for("document.body.innerText.includes('The result is in the terminal')")
        widths = browser.evaluate(
            "[...document.querySelectorAll('rect.bar')].map((bar) => bar.getBBox().width)"
        )
        assert widths[1] / widths[0] == pytest.approx(second.median / first.median, rel=0.01)


def test_models_that_differ_are_told_apart(node, browser, folder, dense):
    other = eligible_model(zeros=0.5)
    other.layers[-1].bias.assign([0.0, 9, 0, 0, 0, 0, 0, 0, 0, 0])
    path = convert(other, folder / "other.tflite")
    with BenchmarkServer(dense, path, runs=2) as server:
        browser.open(server.url)
        assert server.next_report(timeout=120).measurement("browser", "other.tflite").difference > 1
        browser.wait_for("document.body.innerText.includes('differ: largest difference')")


def test_a_name_is_text_not_markup(node, browser, folder, dense):
    path = folder / "<img src=x onerror=alert(1)>.tflite"
    path.write_bytes(dense.read_bytes())
    with BenchmarkServer(path, runs=1) as server:
        browser.open(server.url)
        assert list(server.next_report(timeout=120).models) == [path.name]
        browser.wait_for("document.body.innerText.includes('<img src=x onerror')")
        assert browser.evaluate("document.querySelectorAll('img').length") == 0


def test_threads_are_used_where_the_page_is_isolated(node, browser, dense):
    with BenchmarkServer(dense, runs=1, threads=2) as server:
        browser.open(server.url)
        assert server.next_report(timeout=120).result("browser").threads == 2


def test_a_failure_reaches_page_and_terminal(node, browser, int8):
    with BenchmarkServer(int8, runs=1) as server:
        browser.open(server.url)
        with pytest.raises(BenchmarkError, match=r"int8\.tflite: .*INT8 is not supported"):
            server.next_report(timeout=120)
        browser.wait_for("document.body.innerText.includes('INT8 is not supported')")


def test_it_works_from_the_public_cdn(node, browser, dense, monkeypatch, tmp_path):
    """Without npm the page fetches LiteRT.js; here the browser is handed the files instead."""
    core = litertjs.folder()
    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(litertjs.shutil, "which", lambda name: None)
    asked = []

    def cdn(url):
        asked.append(url)
        package, _, path = url.removeprefix("https://cdn.jsdelivr.net/npm/").partition("/dist/")
        if not path:
            package, _, path = url.removeprefix("https://cdn.jsdelivr.net/npm/").partition("/wasm/")
            path = f"wasm/{path}"
        else:
            path = f"dist/{path}"
        name, _, version = package.rpartition("@")
        assert version == litertjs.VERSION
        file = core / "node_modules" / name / path
        return file.read_bytes(), mimetypes.guess_type(path)[0] or "application/octet-stream"

    with BenchmarkServer(dense, runs=1) as server:
        browser.intercept("https://cdn.jsdelivr.net/*", cdn)
        browser.open(server.url)
        browser.wait_for("document.body.innerText.includes('The result is in the terminal')", 120)
        assert server.next_report(timeout=20).measurement("browser", "dense.tflite").runs == 1
    assert len(asked) == 4  # two modules, the WebAssembly and its script
    assert json.dumps(asked).count("litert_wasm_") == 2
