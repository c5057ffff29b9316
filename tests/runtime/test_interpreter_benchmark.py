"""The runtime as a target of `secateur.benchmark`."""

import numpy as np
import pytest
from runtime_files import File

import secateur
from secateur.benchmarking import get_target
from support import only

pytestmark = only("tensorflow")  # needs no Keras: the files are made by hand


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same layers with zeros and without."""
    folder = tmp_path_factory.mktemp("models")
    paths = []
    for name, zeros in (("dense", 0), ("sparse", 0.95)):
        file = File()
        y = file.input((1, 56, 56, 128))
        for _ in range(3):
            y = file.conv(y, 128, activation="relu", zeros=zeros)
        paths.append(folder / f"{name}.tflite")
        paths[-1].write_bytes(file.file([y]))
    return paths


def test_a_report_with_both_engines(files):
    report = secateur.benchmark(*files, on=["litert", "secateur"], runs=3, profile=True)
    result = report.result("secateur")
    assert "secateur.runtime (" in result.engine
    dense, sparse = result.measurements
    assert len(sparse.samples) == 3
    assert sparse.litert_difference < 1e-4
    assert sparse.sparse_kernels == 3
    assert dense.sparse_kernels == 0
    assert [kernel.name for kernel in dense.kernels] == ["LiteRT"]
    assert result.notes[0].startswith("dense.tflite ran in LiteRT: no convolution")
    assert result.notes[1] == "sparse.tflite: 3 of 3 layers ran natively."
    assert "sparse 1x1 SPMM" in str(report)


def test_it_says_what_is_missing(monkeypatch):
    from secateur.runtime import _native

    def missing():
        raise _native.NativeMissingError("not installed")

    assert get_target("secateur").available() is None
    monkeypatch.setattr(_native, "library", missing)
    assert get_target("secateur").available() == "not installed"


def test_a_damaged_file_is_named(tmp_path, files):
    path = tmp_path / "damaged.tflite"
    data = bytearray(files[1].read_bytes())
    data[len(data) // 2 :] = np.zeros(len(data) - len(data) // 2, "u1").tobytes()
    path.write_bytes(bytes(data))
    with pytest.raises((secateur.BenchmarkError, ValueError), match=r"damaged\.tflite"):
        secateur.benchmark(path, on="secateur", runs=1)
