"""Sizes: the figures of a report must be the same wherever and whenever they are taken."""

import gzip

import numpy as np
import pytest

from secateur.litert import Size, measure


def test_measures_a_file_and_bytes_alike(tmp_path):
    content = bytes(range(256)) * 10
    (tmp_path / "some.file").write_bytes(content)
    assert measure(tmp_path / "some.file") == measure(content)
    assert measure(content).bytes == 2560


def test_what_gzip_stores_gives_the_content_back():
    content = np.arange(1000, dtype="float32").tobytes()
    packed = gzip.compress(content, 9, mtime=0)
    assert measure(content) == Size(bytes=4000, gzip_bytes=len(packed))
    assert gzip.decompress(packed) == content


def test_neither_the_time_nor_the_name_counts(tmp_path, monkeypatch):
    content = b"weights" * 100
    monkeypatch.setattr("time.time", lambda: 1e9)
    (tmp_path / "a").write_bytes(content)
    first = measure(tmp_path / "a")
    monkeypatch.setattr("time.time", lambda: 2e9)
    (tmp_path / "a-much-longer-name-than-before").write_bytes(content)
    assert measure(tmp_path / "a-much-longer-name-than-before") == first


def test_zeros_take_next_to_no_room():
    weights = np.random.default_rng(0).normal(size=10_000).astype("float32")
    dense = measure(weights.tobytes())
    weights[np.abs(weights) < np.quantile(np.abs(weights), 0.8)] = 0
    sparse = measure(weights.tobytes())
    assert sparse.bytes == dense.bytes == 40_000
    assert sparse.gzip_bytes < dense.gzip_bytes / 3


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such file.*Received: path="):
        measure(tmp_path / "gone.tflite")
