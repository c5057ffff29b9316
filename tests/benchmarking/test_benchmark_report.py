"""The report: figures worked out by hand, ratios first, text, JSON, HTML and a plot."""

import json
import sys

import pytest

import secateur
from secateur.benchmarking import BenchmarkReport, Kernel, Measurement, TargetResult


def report(**changes):
    """Two models on two targets; the second model takes half as long."""
    dense = Measurement("dense.tflite", (4.0, 2.0, 8.0, 6.0), 1.0, load_ms=10.0)
    sparse = Measurement(
        "sparse.tflite",
        (2.0, 2.5, 2.5, 3.0),
        2.0,
        difference=2e-7,
        litert_difference=0.0,
        kernels=(
            Kernel("Convolution (NCHW, F32) SPMM", 13, 1.5),
            Kernel("Convolution (NCHW, F32) DWConv", 6, 0.25),
        ),
    )
    counted = (
        Measurement("dense.tflite", (210.0,), 1.0),
        Measurement(
            "sparse.tflite",
            (60.0,),
            3.5,
            kernels=(Kernel("xnn_f32_spmm", 0, 45.0), Kernel("everything else", 0, 15.0)),
        ),
    )
    settings = {
        "models": {"dense.tflite": 16_860_000, "sparse.tflite": 2_310_000},
        "results": (
            TargetResult("web", "LiteRT.js <b>", (dense, sparse), notes=("a note",)),
            TargetResult("arm64", "qemu", counted, "M instructions"),
        ),
        "skipped": {"android": "there is no adb"},
        "settings": {"runs": 4},
    }
    return BenchmarkReport(**{**settings, **changes})


def test_median_and_quartiles():
    measurement = Measurement("a", (4.0, 2.0, 8.0, 6.0), 1.0)
    assert (measurement.median, measurement.minimum, measurement.runs) == (5.0, 2.0, 4)
    assert measurement.quartiles == (3.5, 6.5)  # linear, as numpy and R do


def test_text_has_ratios_first():
    lines = str(report()).splitlines()
    row = next(line for line in lines if "2.00x" in line and line.endswith("sparse.tflite"))
    assert row.split()[:2] == ["2.00x", "2.5"]
    assert "2.0e-07" in row
    assert "3.50x" in str(report())
    assert "times fewer" in str(report())
    assert "16,860,000" in str(report())
    assert "not run: android: there is no adb" in str(report())
    assert "note: a note" in str(report())


def test_text_names_kernels():
    text = str(report())
    assert "1.5 (13x)" in text
    assert "13 of 19 operators" in text
    assert "75%" in text  # of the instructions, where operators are not counted


def test_sparse_operators_are_counted():
    assert report().measurement("web", "sparse.tflite").sparse_kernels == 13
    assert report().measurement("web", "dense.tflite").sparse_kernels == 0


def test_dict_is_json_and_complete():
    data = json.loads(json.dumps(report().to_dict()))
    assert data["models"][1] == {"name": "sparse.tflite", "bytes": 2_310_000}
    web = data["results"][0]
    assert web["target"] == "web"
    assert web["measurements"][1]["samples"] == [2.0, 2.5, 2.5, 3.0]
    assert web["measurements"][1]["median"] == 2.5
    assert web["measurements"][1]["kernels"][0]["sparse"] is True
    assert data["skipped"] == {"android": "there is no adb"}


def test_html_escapes_names():
    html = report()._repr_html_()
    assert "LiteRT.js &lt;b&gt;" in html
    assert html.count("<table>") == html.count("</table>") == 5


def test_unknown_names_are_told():
    with pytest.raises(KeyError, match="Expected one of web, arm64. Received: 'gpu'"):
        report().result("gpu")
    with pytest.raises(KeyError, match="Received: 'a.tflite'"):
        report().measurement("web", "a.tflite")


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_plot(tmp_path, suffix):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"plot.{suffix}"
    figure = report().plot(path)
    assert path.stat().st_size > 1000
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "web: LiteRT.js <b>",
        "arm64: qemu",
    ]
    bars = [bar.get_width() for bar in figure.axes[0].patches]
    assert bars == [5.0, 2.5]
    labels = [text.get_text() for text in figure.axes[0].texts]
    assert labels == ["1.00x", "2.00x"]


def test_plot_without_matplotlib_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "secateur\[plot\]"'):
        report().plot()


def test_the_report_is_public():
    assert secateur.BenchmarkReport is BenchmarkReport
