"""`secateur benchmark`: a table or JSON, one line for each mistake."""

import json

import pytest
from typer.testing import CliRunner

from secateur.cli import app


def call(*arguments, code=0):
    """Run the command line; return its standard output, or its errors where it must fail."""
    result = CliRunner().invoke(app, ["benchmark", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


def test_table(dense, sparse):
    text = call(dense, sparse, "--on", "litert", "--runs", 2, "--profile")
    assert "times faster" in text
    assert "1.00x" in text
    assert "in sparse kernels" in text


def test_json_and_plot(dense, sparse, tmp_path):
    pytest.importorskip("matplotlib")
    plot = tmp_path / "plot.png"
    report = json.loads(
        call(dense, sparse, "--on", "litert", "--runs", 2, "--seed", 3, "--plot", plot, "--json")
    )
    assert report["settings"] == {"runs": 2, "warmup": 3, "threads": 1, "seed": 3}
    assert [m["model"] for m in report["results"][0]["measurements"]] == [
        "dense.tflite",
        "sparse.tflite",
    ]
    assert plot.read_bytes()[:4] == b"\x89PNG"


def test_several_targets_may_be_given_at_once(node, dense):
    report = json.loads(call(dense, "--on", "litert,web", "--runs", 1, "--json"))
    assert [result["target"] for result in report["results"]] == ["litert", "web"]


def test_what_did_not_run_is_in_the_report(dense, no_programs):
    report = json.loads(call(dense, "--on", "android", "--on", "litert", "--runs", 1, "--json"))
    assert "there is no adb" in report["skipped"]["android"]


def test_help_has_examples():
    text = call("--help")
    assert "Examples" in text
    assert "secateur benchmark dense.tflite sparse.tflite" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to measure"),
        (("nothing.tflite",), "no such file"),
        (("{dense}", "--on", "gpu"), "Expected one of litert, secateur, web, arm64, android"),
        (("{dense}", "--runs", "0"), "--runs"),
        (("{dense}", "--on", "android"), "there is no adb"),
        (("{dense}", "--plot", "nowhere/plot.png"), "does not exist"),
        (("--serve",), "nothing to serve"),
        (("--serve", "--on", "web", "{dense}"), "leave out --on"),
        (("--setup", "gpu"), "Received: on='gpu'"),
        (("{folder}",), "no such file"),
    ],
)
def test_mistakes_are_one_line(arguments, message, dense, folder, no_programs):
    given = [argument.format(dense=dense, folder=folder) for argument in arguments]
    error = call(*given, code=2)
    assert message.lower() in error.lower()
    assert "Traceback" not in error


def test_names_are_no_markup(dense, folder):
    path = folder / "[bold]a.tflite"
    path.write_bytes(dense.read_bytes())
    assert path.name in call(path, "--on", "litert", "--runs", 1)


def test_setup_without_models_only_sets_up(node):
    assert call("--setup", "litert", "--setup", "web") == ""
