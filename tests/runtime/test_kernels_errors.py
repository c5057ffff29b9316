"""What the native library refuses, and that a refused call changes nothing."""

import math
import threading
from pathlib import Path

import numpy as np
import pytest

from secateur.runtime import _native
from secateur.runtime._composer import Composer
from secateur.runtime._forms import Activation, Epilogue, Window
from secateur.runtime._hand_signatures import Binary, Function, Pool, Resize
from secateur.runtime._native import NativeError
from secateur.runtime._program import isas, maker, peak
from secateur.runtime._pruned import Pruned
from support import only

pytestmark = only("tensorflow")  # needs no Keras

ONES = np.ones((8, 1, 1, 4), "float32")
BIG = 2**31 - 1


@pytest.fixture
def program():
    """Has value 1 of shape (4, 6, 6), written, and the empty values 2 (8, 6, 6) and 3 (4, 6, 6)."""
    made = Composer()
    made.to_chw(made.input((4, 6, 6)), made.value((4, 6, 6)))
    made.value((8, 6, 6))
    made.value((4, 6, 6))
    return made


def rows(*starts):
    return np.array(starts, "int32")


WRONG = {
    "no such value": lambda p: p.conv2d(99, 2, ONES),
    "negative id": lambda p: p.conv2d(-1, 2, ONES),
    "written twice": lambda p: p.unary(1, 1, Activation()),
    "not written yet": lambda p: p.unary(3, 2, Activation()),
    "output id": lambda p: p.conv2d(1, 99, ONES),
    "into an input": lambda p: p.unary(1, 0, Activation()),
    "reads an input": lambda p: p.unary(0, 3, Activation()),
    "number of weights": lambda p: p.conv2d(1, 2, ONES[:, :, :, :3]),
    "number of biases": lambda p: p.conv2d(1, 2, ONES, np.ones(7, "float32")),
    "window does not fit": lambda p: p.conv2d(1, 2, ONES, window=Window((3, 3))),
    "no stride": lambda p: p.conv2d(1, 2, ONES, window=Window(stride=(0, 1))),
    "no kernel": lambda p: p.conv2d(1, 2, ONES, window=Window((0, 1))),
    "negative padding": lambda p: p.conv2d(1, 2, ONES, window=Window(padding=(-1, 0, 1, 0))),
    "huge window": lambda p: p.conv2d(1, 2, ONES, window=Window((BIG, BIG), padding=(BIG,) * 4)),
    "no such function": lambda p: p.unary(1, 3, Activation(99)),
    "empty clamp": lambda p: p.unary(1, 3, Activation(Function.CLAMP, 1, 0)),
    "clamp by nan": lambda p: p.unary(1, 3, Activation(Function.CLAMP, math.nan, 0)),
    "shape of a residual": lambda p: p.conv2d(1, 2, ONES, epilogue=Epilogue(residual=1)),
    "id of a residual": lambda p: p.conv2d(1, 3, ONES[:4], epilogue=Epilogue(residual=77)),
    "second without residual": lambda p: p.conv2d(
        1, 2, ONES, epilogue=Epilogue(second=Activation(Function.TANH))
    ),
    "few rows": lambda p: p.sparse_conv2d(1, 2, Pruned(ONES[:7], keep=True)),
    "short rows": lambda p: p.sparse_conv2d(1, 2, Pruned(ONES[..., :3], keep=True)),
    "rows not kept": lambda p: p.sparse_conv2d(1, 2, Pruned(np.ones((8, 4096), "float32"))),
    "rows that are infinite": lambda p: p.sparse_conv2d(1, 2, Pruned(ONES * np.inf, keep=True)),
    "depthwise channels": lambda p: p.depthwise_conv2d(2, 3, ONES),
    "depthwise weights": lambda p: p.depthwise_conv2d(1, 3, ONES),
    "binary shape": lambda p: p.binary(Binary.ADD, 1, 1, 2),
    "binary function": lambda p: p.binary(7, 1, 1, 3),
    "pool padding": lambda p: p.pool(Pool.MAX, 1, 3, Window((1, 1), (1, 1), (1, 0, 0, 0))),
    "pool channels": lambda p: p.pool(Pool.MAX, 1, 2, Window()),
    "mean shape": lambda p: p.mean(1, 3),
    "both resize flags": lambda p: p.resize(Resize.NEAREST, 1, 3, True, True),
    "resize function": lambda p: p.resize(2, 1, 3),
    "concat channels": lambda p: p.concat([1, 1, 1], 2),
    "concat nothing": lambda p: p.concat([], 2),
    "pad place": lambda p: p.pad(1, 2, (5, 0, 0)),
    "negative pad": lambda p: p.pad(1, 2, (-1, 0, 0)),
    "slice place": lambda p: p.slice(1, 3, (1, 0, 0)),
    "huge slice": lambda p: p.slice(1, 3, (BIG, BIG, BIG)),
    "reshape size": lambda p: p.reshape(1, 2),
    "beta": lambda p: p.softmax(1, 3, math.nan),
    "constant": lambda p: p.constant((2, 2, 2), ONES),
    "no channels": lambda p: p.value((0, 1, 1)),
    "negative height": lambda p: p.value((1, -1, 1)),
    "huge value": lambda p: p.value((BIG, BIG, BIG)),
    "batch": lambda p: p.finalize(0),
    "huge batch": lambda p: p.finalize(BIG),
    "run first": lambda p: p.run([np.ones((0, 6, 6, 4), "float32")]),
    "index": lambda p: p.describe(99),
    "negative index": lambda p: p.multiply_adds(-1),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_refuses(program, wrong):
    before = program.operations
    with pytest.raises(NativeError, match=r"\."):
        WRONG[wrong](program)
    assert program.operations == before
    # Still good for what is right.
    program.conv2d(1, 2, ONES)
    program.to_nhwc(2, program.output((8, 6, 6)))
    program.finalize(1)
    found = program.run([np.ones((1, 6, 6, 4), "float32")])[0]
    np.testing.assert_array_equal(found, np.full((1, 6, 6, 8), 4))


def test_says_what_was_received(program):
    with pytest.raises(
        NativeError, match=r"Received: out_channels=8, kernel=4, rows=7, depth=4, kept=1$"
    ):
        WRONG["few rows"](program)


def test_a_finalized_program_does_not_grow(program):
    program.finalize()
    with pytest.raises(NativeError, match="finalized"):
        program.value((1, 1, 1))
    with pytest.raises(NativeError, match="finalized"):
        program.unary(1, 3, Activation())


def test_an_output_must_be_written(program):
    program.output((1, 1, 1))
    with pytest.raises(NativeError, match="output"):
        program.finalize()


def test_arrays_of_other_shapes(program):
    program.to_nhwc(1, program.output((4, 6, 6)))
    program.finalize(2)
    x = np.ones((2, 6, 6, 4), "float32")
    for wrong in ([], [x[:1]], [x, x]):
        with pytest.raises(NativeError, match="inputs"):
            program.run(wrong)
    with pytest.raises(NativeError, match="outputs"):
        program.run([x], [x.astype("float64")])
    with pytest.raises(NativeError, match="seconds"):
        program.run([x], seconds=np.zeros(7))
    for threads in (0, -1, 5000):
        with pytest.raises(NativeError, match="threads"):
            program.run([x], threads=threads)


def test_instruction_sets(monkeypatch):
    assert isas()[-1] == "portable"
    for isa in isas():
        assert Composer(isa).isa == isa
        assert peak(isa) > 0
        monkeypatch.setenv("SECATEUR_ISA", isa)
        assert Composer().isa == isa
    monkeypatch.setenv("SECATEUR_ISA", "mmx")
    with pytest.raises(NativeError, match=r"SECATEUR_ISA.*portable.*isa=mmx"):
        Composer()
    with pytest.raises(NativeError, match="isa=sse"):
        Composer("sse")
    with pytest.raises(NativeError):
        peak("sse")


@pytest.mark.skipif(
    not Path("/proc/cpuinfo").exists(), reason="only Linux says who made the processor"
)
def test_maker():
    assert (maker() == "amd") == ("AuthenticAMD" in Path("/proc/cpuinfo").read_text())


def test_two_programs_in_two_threads():
    def work(seed, results):
        rng = np.random.default_rng(seed)
        program = Composer()
        value, out = program.value((16, 9, 9)), program.value((16, 9, 9))
        program.to_chw(program.input((16, 9, 9)), value)
        weights = rng.normal(size=(16, 1, 1, 16)).astype("float32")
        program.conv2d(value, out, weights)
        program.to_nhwc(out, program.output((16, 9, 9)))
        program.finalize()
        x = rng.normal(size=(1, 9, 9, 16)).astype("float32")
        for _ in range(200):
            found = program.run([x], threads=2)[0]
            results.append(np.abs(found - x @ weights[:, 0, 0].T).max())

    results = []
    threads = [threading.Thread(target=work, args=(i, results)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 400
    assert max(results) < 1e-5


def test_memory_is_shared_by_values_that_do_not_live_together():
    def arena(layers):
        program = Composer()
        last = program.value((8, 16, 16))
        program.to_chw(program.input((8, 16, 16)), last)
        for _ in range(layers):
            out = program.value((8, 16, 16))
            program.unary(last, out, Activation(Function.NEG))
            last = out
        program.to_nhwc(last, program.output((8, 16, 16)))
        program.finalize()
        x = np.random.default_rng(0).normal(size=(1, 16, 16, 8)).astype("float32")
        np.testing.assert_array_equal(program.run([x])[0], x * (-1) ** layers)
        return program.arena_bytes

    # Planes of an odd number of cache lines, and a margin of 48 numbers before and after them.
    assert arena(2) == arena(9) == 2 * 4 * (8 * 272 + 96)


def test_times_and_counts(program):
    program.conv2d(1, 2, ONES, epilogue=Epilogue(Activation(Function.CLAMP, 0, 6)))
    program.to_nhwc(2, program.output((8, 6, 6)))
    assert program.arena_bytes == 0
    program.finalize()
    seconds = np.full(3, -1.0)
    program.run([np.ones((1, 6, 6, 4), "float32")], seconds=seconds)
    assert (seconds >= 0).all()
    assert program.describe(1).startswith("dense 1x1 4>8 + relu6")
    assert [program.multiply_adds(i) for i in range(3)] == [0, 32 * 36, 0]
    assert program.weight_bytes >= 32 * 4


def test_a_missing_library_is_explained(monkeypatch, tmp_path):
    _native.library.cache_clear()
    monkeypatch.setenv("SECATEUR_NATIVE_LIBRARY", str(tmp_path / "none.so"))
    try:
        assert not _native.available()
        with pytest.raises(_native.NativeMissingError, match=r"compiler.*Received.*none\.so"):
            Composer()
        (tmp_path / "none.so").write_bytes(b"not a library")
        with pytest.raises(_native.NativeMissingError, match=r"does not load.*none\.so"):
            Composer()
    finally:
        _native.library.cache_clear()
