"""Phones behind adb. No device was at hand: the tool's output is that of its documentation, and a
small program stands in for adb to check what it is asked."""

import sys
import textwrap
from pathlib import Path

import pytest

import secateur
from secateur.benchmarking import BenchmarkError, get_target
from secateur.benchmarking.targets.android import read_output

SAID = Path(__file__).parent / "benchmark_model"
# tensorflow/lite/tools/benchmark/README.md in TensorFlow, "Profiling model operators", shortened.
README = (SAID / "readme.txt").read_text()
# As tflite/tools/benchmark/benchmark_model.cc in LiteRT writes it, with the percentiles that
# StatWithPercentiles in xla/tsl/util/stats_calculator.h added in 2025.
PLAIN = (SAID / "plain.txt").read_text()
# litert/tools/README.md in LiteRT, "Output Format", shortened.
COMPILED_MODEL = (SAID / "compiled_model.txt").read_text()
# https://developers.google.com/edge/litert/models/measurement, "Run benchmark".
LOGCAT = (
    "... tflite  : Inference timings in us: Init: 5685, First inference: 18535, "
    "Warmup (avg): 14462.3, Inference (avg): 14575.2"
)


@pytest.mark.parametrize(
    ("text", "runs", "average", "median", "init"),
    [
        (README, 50, 79760.9, None, 38467),
        (LOGCAT, 1, 14575.2, None, 5685),
        (PLAIN, 25, 145528, 141253, 92318),
        (PLAIN.replace(" p5=140545 median=141253 p95=187533", ""), 25, 145528, None, 92318),
        (LOGCAT.replace("14575.2", "2.44949e+06"), 1, 2449490, None, 5685),
        (COMPILED_MODEL, 50, 85230, None, 45320),
    ],
    ids=["README", "logcat", "plain", "no percentiles", "large", "CompiledModel"],
)
def test_documented_output_is_read(text, runs, average, median, init):
    reading = read_output(text)
    assert (reading.runs, reading.median_us) == (runs, median)
    assert reading.average_us == pytest.approx(average)
    assert reading.init_us == pytest.approx(init)


def test_output_without_times_is_an_error():
    text = "STARTING!\nERROR: Failed to initialize.\nBenchmarking failed.\n"
    with pytest.raises(ValueError, match=r"no times, but '.*Failed to initialize\. / Benchmarking"):
        read_output(text)


ADB = """#!{python}
import os, re, sys
from pathlib import Path
arguments = sys.argv[1:]
with open({log!r}, "a") as log:
    print(*arguments, file=log)
if arguments == ["get-state"]:
    print("device")
elif arguments[0] == "push":
    Path({log!r} + "." + Path(arguments[2]).name).write_bytes(Path(arguments[1]).read_bytes())
elif "test -x" in arguments[1]:
    print({tool!r})
elif "ro.product.manufacturer" in arguments[1]:
    print("Fairphone")
elif "ro.product.model" in arguments[1]:
    print("FP5")
elif "benchmark_model" in arguments[1] and "--enable_op_profiling" in arguments[1]:
    print({profile!r})
elif "benchmark_model" in arguments[1]:
    text = {output!r}
    print(text if "/0.tflite" in arguments[1] else text.replace("141253", "70000"))
"""


@pytest.fixture
def adb(no_programs, tmp_path):
    """A program called adb; returns a function that makes it, and the log of what it was asked."""
    log = tmp_path / "asked.txt"

    def make(output=PLAIN, tool="yes"):
        program = no_programs / "adb"
        program.write_text(
            textwrap.dedent(ADB).format(
                python=sys.executable, log=str(log), output=output, tool=tool, profile=README
            )
        )
        program.chmod(0o755)
        return log

    return make


def test_models_take_turns_on_the_device(adb, dense, sparse):
    log = adb()
    report = secateur.benchmark(
        dense, sparse, on="android", runs=20, warmup=2, threads=4, profile=True
    )
    asked = log.read_text().splitlines()
    starts = [line for line in asked if "--graph" in line and "profiling" not in line]
    assert [line.count("/0.tflite") for line in starts] == [1, 0, 0, 1, 1, 0, 0, 1, 1, 0]
    for flag in ("--use_xnnpack=true", "--num_threads=4", "--num_runs=4 ", "--warmup_runs=2"):
        assert all(flag in line for line in starts)
    pushed = [line.split() for line in asked if line.startswith("push")]
    assert [source for _, source, _ in pushed] == [str(dense), str(sparse)]
    assert (log.parent / "asked.txt.1.tflite").read_bytes() == sparse.read_bytes()
    folder = pushed[0][2].rpartition("/")[0]
    assert folder.startswith("/data/local/tmp/secateur-")
    assert f"shell mkdir {folder} 2>&1" in asked
    assert asked[-1] == f"shell rm -r {folder} 2>&1"  # nothing is left on the phone

    first, second = report.result("android").measurements
    assert first.samples == (141.253,) * 5
    assert second.samples == (70.0,) * 5
    assert second.times_faster == pytest.approx(141.253 / 70)
    assert first.load_ms == 92.318
    assert first.difference is second.difference is second.litert_difference is None
    kernels = [(kernel.name, kernel.count, kernel.cost) for kernel in first.kernels]
    assert kernels == [("CONV_2D", 2, 10.376), ("DEPTHWISE_CONV_2D", 1, 2.15)]
    assert "Fairphone FP5" in report.result("android").engine
    assert "median of 4 runs" in report.result("android").notes[0]


def test_a_tool_that_fails_is_told_and_the_phone_cleaned(adb, dense):
    log = adb(output="ERROR: Op builtin_code out of range: 250.\nBenchmarking failed.")
    with pytest.raises(BenchmarkError, match=r"dense\.tflite: .*Op builtin_code out of range"):
        secateur.benchmark(dense, on="android")
    assert log.read_text().splitlines()[-1].startswith("shell rm -r ")


def test_without_adb_it_says_what_to_install(no_programs):
    assert "apt-get install adb" in get_target("android").available()


def test_without_a_device_it_says_what_to_do(no_programs):
    program = no_programs / "adb"
    program.write_text("#!/bin/sh\necho 'error: no devices/emulators found' >&2; exit 1\n")
    program.chmod(0o755)
    reason = get_target("android").available()
    assert "USB debugging" in reason
    assert "no devices/emulators found" in reason


def test_without_the_tool_it_says_where_to_get_it(adb):
    adb(tool="")
    reason = get_target("android").available()
    assert "download benchmark_model" in reason
    assert "adb push benchmark_model /data/local/tmp" in reason
