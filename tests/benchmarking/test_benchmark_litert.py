"""LiteRT on this machine, in a process of its own that hostile files cannot take down with it."""

import random
import sys
from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.benchmarking import BenchmarkError, get_target
from secateur.benchmarking.inputs import make_inputs
from secateur.benchmarking.machine import Machine, this_machine
from secateur.benchmarking.models import read_models
from secateur.benchmarking.process import run_worker
from secateur.benchmarking.profile import read_profile
from secateur.benchmarking.targets import Job


def job(*paths, inputs=None, **settings):
    models = read_models(paths)
    return Job(models, make_inputs(models, inputs), **settings)


def test_models_are_timed_side_by_side(dense, sparse):
    told = []
    report = secateur.benchmark(
        dense, sparse, on="litert", runs=7, warmup=1, threads=2, progress=told.append
    )
    assert report.models == {
        "dense.tflite": dense.stat().st_size,
        "sparse.tflite": sparse.stat().st_size,
    }
    result = report.result("litert")
    assert result.threads == 2
    first, second = result.measurements
    assert (first.runs, second.runs) == (7, 7)
    assert min(first.samples + second.samples) > 0
    assert first.times_faster == 1
    assert second.times_faster == pytest.approx(
        np.median(first.samples) / np.median(second.samples)
    )
    assert first.difference is None
    assert second.difference < 1e-5
    assert "litert: run 7 of 7" in told
    assert report.settings == {"runs": 7, "warmup": 1, "threads": 2, "seed": 0}


def test_outputs_are_those_of_keras(dense, image, keras_output):
    (run,) = get_target("litert").run(job(dense, inputs=image, runs=1)).runs
    np.testing.assert_allclose(run.outputs[0].ravel(), keras_output, rtol=1e-4, atol=1e-6)


def test_quantized_models_compare_with_float_ones(dense, int8):
    report = secateur.benchmark(dense, int8, on="litert", runs=1)
    assert 0 < report.measurement("litert", "int8.tflite").difference < 0.1


def test_profile_names_the_kernels(dense, sparse):
    report = secateur.benchmark(dense, sparse, on="litert", runs=1, profile=True)
    for measurement in report.result("litert").measurements:
        kernels = {kernel.name: kernel.count for kernel in measurement.kernels}
        # The stem, two depthwise layers, two pointwise ones and the head.
        assert sum(n for name, n in kernels.items() if "Conv" in name or "Fully" in name) == 6
        assert all(kernel.cost >= 0 for kernel in measurement.kernels)


@pytest.mark.skipif(this_machine().runs_sparse_kernels, reason="is about x86 processors with AVX")
def test_x86_with_avx_is_said_to_run_nothing_sparse_and_does_not(sparse):
    result = secateur.benchmark(sparse, on="litert", runs=1, profile=True).result("litert")
    assert any("never uses its sparse kernels" in note for note in result.notes)
    assert result.measurements[0].sparse_kernels == 0


@pytest.mark.parametrize(
    ("machine", "runs_sparse"),
    [
        (Machine("x86_64", simd="AVX-512"), False),
        (Machine("AMD64", simd="AVX"), False),
        (Machine("x86_64", simd="SSE2"), True),
        (Machine("aarch64"), True),
        (Machine("arm64"), True),
    ],
)
def test_which_machines_can_run_sparse_kernels(machine, runs_sparse):
    assert machine.runs_sparse_kernels is runs_sparse


@pytest.mark.parametrize(
    ("flags", "simd"),
    [("fpu sse2 avx avx2", "AVX2"), ("fpu sse sse2", "SSE2"), ("avx512f", "AVX-512")],
)
def test_the_vector_unit_is_read_from_linux(tmp_path, monkeypatch, flags, simd):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nmodel name\t: A Chip\nflags\t\t: {flags}\n\n")
    assert this_machine(cpuinfo) == Machine("x86_64", "A Chip", simd)
    assert this_machine(tmp_path / "none").simd == "AVX"  # not Linux: nearly all have it


def test_a_profile_is_read_from_its_last_table():
    text = (Path(__file__).parent / "benchmark_model" / "profile.txt").read_text()
    found = [(k.name, k.count, k.cost, k.sparse) for k in read_profile(text)]
    assert found == [
        ("Convolution (NCHW, F32) SPMM", 2, 0.8, True),
        ("Convolution (NCHW, F32) DWConv", 1, 0.009, False),
        ("QUANTIZE", 1, 0.002, False),
    ]
    assert read_profile("nothing of the kind") == ()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.99])
def test_truncated_files_are_an_error_and_nothing_worse(sparse, tmp_path, share):
    data = sparse.read_bytes()
    path = tmp_path / "truncated.tflite"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises((ValueError, BenchmarkError), match=r"damaged|no \.tflite|cannot load|SIG"):
        secateur.benchmark(path, on="litert", runs=1)


@pytest.mark.parametrize("seed", range(6))
def test_flipped_bits_never_end_this_process(sparse, tmp_path, seed):
    rng = random.Random(seed)
    data = bytearray(sparse.read_bytes())
    for _ in range(20):
        data[rng.randrange(8, len(data))] ^= 1 << rng.randrange(8)
    path = tmp_path / "flipped.tflite"
    path.write_bytes(data)
    try:
        report = secateur.benchmark(path, on="litert", runs=1, timeout=60)
    except (ValueError, BenchmarkError) as caught:
        error = caught
    else:  # the bits were those of weights
        assert report.result("litert").measurements[0].runs == 1
        return
    assert "Received: " in str(error)


def worker(tmp_path, code, **settings):
    script = tmp_path / "worker.py"
    script.write_text(code)
    return run_worker([sys.executable, str(script)], {}, tmp_path, **settings)


def test_a_crash_is_told_with_what_went_on(tmp_path):
    code = (
        "import os, signal; print('loading a.tflite', flush=True); "
        "os.kill(os.getpid(), signal.SIGSEGV)"
    )
    with pytest.raises(BenchmarkError, match=r"ended by SIGSEGV while loading a\.tflite"):
        worker(tmp_path, code)


def test_a_worker_that_hangs_is_ended(tmp_path):
    code = "import time; print('waiting', flush=True); time.sleep(600)"
    with pytest.raises(BenchmarkError, match=r"no end after 0\.5 seconds, while waiting"):
        worker(tmp_path, code, timeout=0.5)


def test_a_worker_says_why_it_failed(tmp_path):
    code = "import sys; sys.exit('out of luck')"
    with pytest.raises(BenchmarkError, match="ended with code 1: out of luck"):
        worker(tmp_path, code)


def test_a_model_that_litert_cannot_run_is_named(tmp_path, dense):
    # A file without operator codes: every operator refers to one that is not there.
    from ai_edge_litert import schema_py_generated as schema

    data = dense.read_bytes()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    for code in model.operatorCodes:
        code.builtinCode, code.deprecatedBuiltinCode = 250, 127
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path = tmp_path / "strange.tflite"
    path.write_bytes(bytes(builder.Output()))
    with pytest.raises(BenchmarkError, match=r"strange\.tflite"):
        secateur.benchmark(path, on="litert", runs=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"runs": 0}, "Received: runs=0"),
        ({"warmup": -1}, "Received: warmup=-1"),
        ({"threads": 0}, "Received: threads=0"),
        ({"on": []}, r"Received: on=\[\]"),
        ({"on": "gpu"}, "litert, secateur, web, arm64, android. Received: on='gpu'"),
        ({"on": ["litert", "gpu"]}, "in this version.*Received: on='gpu'"),
    ],
)
def test_wrong_arguments_are_told(dense, settings, message):
    with pytest.raises(ValueError, match=message):
        secateur.benchmark(dense, **settings)


def test_no_models_and_no_file_are_told(tmp_path):
    with pytest.raises(ValueError, match="nothing to measure"):
        secateur.benchmark()
    with pytest.raises(FileNotFoundError, match=r"Received: path='.*none\.tflite'"):
        secateur.benchmark(tmp_path / "none.tflite")
