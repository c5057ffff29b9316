"""What is predicted for each graph of the battery, from Keras and from the file, and what happens."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from battery import BATTERY, DENSE, ENGAGES, SIZE, WRONG
from xnnpack_support import build, converted

from secateur import benchmarking, xnnpack
from secateur.benchmarking import BenchmarkError, litertjs
from secateur.benchmarking.arm64 import kit
from secateur.benchmarking.models import read_models
from secateur.benchmarking.process import job_folder, run_worker
from secateur.benchmarking.targets import Job, Outcome
from secateur.benchmarking.targets.litert import read_runs
from secateur.benchmarking.targets.web import Web
from secateur.litert.flatbuffer import read_model, write_model
from secateur.litert.sparsify import sparsify
from support import only


@pytest.mark.parametrize("name", BATTERY)
def test_from_keras(name):
    report = xnnpack.check(build(name))
    expected = BATTERY[name].verdict
    assert report.safe == (expected != WRONG)
    assert report.runs_sparse == (expected == ENGAGES)
    assert report.eligible == (expected == ENGAGES)
    assert bool(report.in_the_way) == (expected != ENGAGES)


@only("tensorflow")
@pytest.mark.parametrize("name", BATTERY)
def test_from_the_file(name):
    content = converted(name)
    plan = xnnpack.sparse_weights(read_model(content))
    expected = BATTERY[name].verdict
    assert plan.safe == (expected != WRONG)
    assert plan.runs_sparse == (expected == ENGAGES)
    assert bool(plan.reasons) == (expected != ENGAGES)
    report = xnnpack.check(content)
    assert not report.runs_sparse  # nothing is marked yet
    assert report.eligible == (expected == ENGAGES)


@only("tensorflow")
def test_the_weights_of_a_plan_are_those_of_the_1x1_convolutions():
    model = read_model(converted("residual"))
    plan = xnnpack.sparse_weights(model)
    shapes = [tuple(model.subgraphs[g].tensors[t].shape) for g, t in plan.weights]
    assert shapes == [(n, 1, 1, m) for n, m in ((16, 8), (16, 16), (32, 16), (16, 32), (16, 16))]


@only("tensorflow")
def test_a_file_that_is_marked_runs_sparse():
    model = read_model(converted("separable"))
    assert not xnnpack.sparse_weights(model, hypothetical=False).runs_sparse
    wanted = xnnpack.sparse_weights(model).weights
    sparsify(model, wanted[:1])
    marked = read_model(write_model(model))
    # One weight that is marked is enough, and all three are found behind their DENSIFY or without.
    assert xnnpack.sparse_weights(marked, hypothetical=False).weights == wanted
    report = xnnpack.check(write_model(marked))
    assert report.runs_sparse
    assert len(report.sparse) == 3
    assert [part.zeros for part in report.parts] == [575]


@pytest.fixture(scope="module")
def web():
    """LiteRT.js in Node, installed if need be."""
    if shutil.which("node") is None or Web().available() is not None:
        pytest.skip("LiteRT.js needs Node, and npm to install it")
    litertjs.install()
    return Web()


def marked(content):
    """The file with every 1x1 convolution's weights marked, whatever becomes of it."""
    model = read_model(content)
    weights = set()
    for index, graph in enumerate(model.subgraphs):
        for tensor, each in enumerate(graph.tensors):
            shape = tuple(each.shape) if each.shape is not None else ()
            constant = model.buffers[each.buffer].data is not None
            if constant and len(shape) == 4 and shape[1:3] == (1, 1) and each.type == 0:
                weights.add((index, tensor))
    sparsify(model, weights)
    return write_model(model)


@pytest.fixture(scope="module")
def arm64():
    """LiteRT's aarch64 wheel under qemu, set up if need be."""
    if not kit.installed() and (obstacle := kit.obstacle()) is not None:
        pytest.skip(obstacle)
    kit.install()
    return Emulated()


class Emulated:
    """Runs a job as the target arm64 does, all files in one process and nothing counted."""

    def run(self, job):
        home = kit.folder()
        worker = Path(benchmarking.__file__).parent / "workers" / "interpreter.py"
        command = [*kit.command(home, Path(os.devnull)), "-B", str(worker)]
        with job_folder(job) as (folder, models):
            task = {"models": models, "runs": 0, "warmup": 0, "threads": 1}
            result = run_worker(command, task, folder, env=kit.environment(home))
            return Outcome("LiteRT on ARM", read_runs(result))


@only("tensorflow")
@pytest.mark.parametrize("engine", ["web", "arm64"])
def test_what_the_sparse_kernels_do(engine, request, tmp_path):
    """WebAssembly's and ARM's: right, untouched, or wrong exactly where it was predicted.

    A sparse kernel adds up in another order than a dense one, so what runs sparse differs in the last
    bits; what stays dense does not differ at all.
    """
    target = request.getfixturevalue(engine)
    # LiteRT.js wants to know the batch.
    names = [name for name in BATTERY if engine == "arm64" or "open batch" not in name]
    loading = [name for name in names if BATTERY[name].verdict != WRONG]
    verdicts = dict(zip(loading, run_in(target, loading, tmp_path), strict=True))
    for name in set(names) - set(loading):
        # Memory that was never written may hold the right numbers: above all where the same network
        # ran dense before.
        for seed in range(4):
            try:
                (verdicts[name],) = run_in(
                    target, [name], tmp_path, seed, sparse_first=seed % 2 == 0
                )
            except BenchmarkError:
                verdicts[name] = WRONG  # it does not even load
            if verdicts[name] == WRONG:
                break
    expected = {name: BATTERY[name].verdict for name in names}
    for name in ("depthwise 5x5 stride 2", "strided to one pixel"):
        if verdicts[name] == DENSE:  # there are too few additions for their order to show
            verdicts[name] = ENGAGES
    assert {n: v for n, v in verdicts.items() if v != expected[n]} == {}


def run_in(target, names, folder, seed=0, sparse_first=False):
    """What happens to networks whose 1x1 convolutions are all marked sparse."""
    files, inputs = [], []
    rng = np.random.default_rng(seed)
    for number, name in enumerate(names):
        pair = [("dense", converted(name)), ("sparse", marked(converted(name)))]
        for kind, content in reversed(pair) if sparse_first else pair:
            files.append(folder / f"{number}-{kind}.tflite")
            files[-1].write_bytes(content)
        shapes = [x.shape for x in read_models(files[-1:])[0].inputs]
        images = tuple(rng.normal(size=shape).astype("float32") for shape in shapes)
        inputs += [images, images]
    runs = target.run(Job(read_models(files), tuple(inputs), runs=1, warmup=0)).runs
    first, second = (runs[1::2], runs[::2]) if sparse_first else (runs[::2], runs[1::2])
    return [judged(*pair) for pair in zip(first, second, strict=True)]


def judged(dense, sparse):
    pairs = list(zip(dense.outputs, sparse.outputs, strict=True))
    if all(np.array_equal(a, b) for a, b in pairs):
        return DENSE
    if any(a.shape != b.shape for a, b in pairs):
        return WRONG
    close = all(np.max(np.abs(a - b)) < 1e-5 * np.max(np.abs(a)) for a, b in pairs)
    return ENGAGES if close else WRONG


def test_the_battery_holds_what_it_says():
    verdicts = [case.verdict for case in BATTERY.values()]
    assert {ENGAGES, DENSE, WRONG} == set(verdicts)
    assert build("separable").input_shape == (1, SIZE, SIZE, 3)
