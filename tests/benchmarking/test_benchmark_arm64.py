"""LiteRT's aarch64 wheel in an emulated processor: kernels, instructions, numbers."""

import platform

import pytest

import secateur
from secateur.benchmarking import BenchmarkError, get_target
from secateur.benchmarking.arm64 import kit
from secateur.benchmarking.arm64.counts import OTHER, Symbols, per_run, read_counts

# Part of what `readelf --symbols --wide` prints.
READELF = """
Symbol table '.symtab' contains 5 entries:
   Num:    Value          Size Type    Bind   Vis      Ndx Name
     0: 0000000000000000     0 NOTYPE  LOCAL  DEFAULT  UND
     1: 0000000000002000  0x100 FUNC    LOCAL  DEFAULT   12 xnn_f32_spmm_minmax_ukernel_32x1
     2: 0000000000001000    64 FUNC    GLOBAL DEFAULT   12 xnn_f32_gemm_minmax_ukernel_4x8
     3: 0000000000003000     0 FUNC    GLOBAL DEFAULT  UND memcpy
     4: 0000000000004000    16 OBJECT  GLOBAL DEFAULT   12 a_table
"""


def test_instructions_belong_to_the_function_they_lie_in():
    symbols = Symbols(READELF)
    assert symbols.name(0x1000) == symbols.name(0x103F) == "xnn_f32_gemm_minmax_ukernel_4x8"
    assert symbols.name(0x20FF) == "xnn_f32_spmm_minmax_ukernel_32x1"
    assert symbols.name(0xFFF) == symbols.name(0x1040) == symbols.name(0x4000) == ""
    text = "7f0000002010 10 1000\n7f0000002050 2 500\n7f0000001000 3 7\n1234 5 6\n"
    assert read_counts(text, 0x7F0000000000, symbols) == {
        "xnn_f32_spmm_minmax_ukernel_32x1": 11_000,
        "xnn_f32_gemm_minmax_ukernel_4x8": 21,
        "": 30,
    }


def test_what_a_run_takes_leaves_out_the_start():
    few = {"": 900_000_000, "xnn_f32_spmm_ukernel_32x1": 1_000_000}
    many = {"": 902_000_000, "xnn_f32_spmm_ukernel_32x1": 9_000_000, "xnn_tiny_ukernel": 20}
    total, kernels = per_run(few, many, 2)
    assert total == pytest.approx(5.00001)
    found = [(kernel.name, kernel.cost, kernel.sparse) for kernel in kernels]
    assert found == [("xnn_f32_spmm_ukernel_32x1", 4.0, True), (OTHER, 1.0, False)]


@pytest.fixture(scope="module")
def result(arm64, dense, sparse):
    return secateur.benchmark(dense, sparse, on="arm64").result("arm64")


def test_sparse_kernels_run_and_do_less(result):
    assert result.unit == "M instructions"
    first, second = result.measurements
    assert not any(kernel.sparse for kernel in first.kernels)
    assert any(k.name.startswith("xnn_f32_spmm_minmax_ukernel") for k in second.kernels)
    assert second.times_faster > 1.2
    # The stem, the 1x1 and depthwise convolutions and the head: 0.57 M multiplications, four at
    # once, and less than ten instructions for each of these.
    assert 0.57 / 4 < first.median < 0.57 * 10 / 4
    assert first.litert_difference < 1e-5
    assert second.litert_difference < 1e-5
    assert second.difference < 1e-5
    assert "not time" in " ".join(result.notes)


def test_the_same_file_takes_the_same_instructions(result, sparse):
    again = secateur.benchmark(sparse, on="arm64").result("arm64").measurements[0]
    assert again.median == pytest.approx(result.measurements[1].median, rel=0.02)


def test_it_must_be_set_up_first(no_cache, dense, monkeypatch):
    monkeypatch.setattr(kit, "obstacle", lambda: None)
    with pytest.raises(BenchmarkError, match="run `secateur benchmark --setup arm64` once"):
        secateur.benchmark(dense, on="arm64")


def test_where_it_cannot_run_one_line_says_why(no_cache, no_programs, tmp_path, monkeypatch):
    release = tmp_path / "os-release"
    release.write_text('PRETTY_NAME="Fedora Linux"\n')
    assert "needs Debian 12" in kit.obstacle(release)
    assert "needs Debian 12" in kit.obstacle(tmp_path / "none")
    release.write_text("VERSION_CODENAME=bookworm\n")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert "apt-get, dpkg-deb, gcc, readelf not found" in kit.obstacle(release)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert "x86-64" in kit.obstacle(release)
    with pytest.raises(BenchmarkError, match="needs Debian 12"):
        get_target("arm64").setup()
