"""LiteRT.js in Node: XNNPACK's sparse kernels on any machine, installed by npm once."""

import base64
import shutil

import keras
import numpy as np
import pytest
from benchmarking_support import convert

import secateur
from secateur.benchmarking import BenchmarkError, get_target, litertjs
from secateur.benchmarking.inputs import make_inputs
from secateur.benchmarking.models import read_models
from secateur.benchmarking.targets import Job
from secateur.benchmarking.targets.web import BUILDS, read_web_runs

layers = keras.layers


def test_outputs_are_those_of_keras(node, dense, sparse, image, keras_output):
    models = read_models([dense, sparse])
    outcome = node.run(Job(models, make_inputs(models, image), runs=3))
    for run in outcome.runs:
        assert len(run.samples) == 3
        assert min(run.samples) > 0
        assert run.load_ms > 0
        np.testing.assert_allclose(run.outputs[0].ravel(), keras_output, rtol=1e-4, atol=1e-6)
    assert "relaxed SIMD" in outcome.engine


def test_models_are_compared_with_each_other_and_with_litert_here(node, dense, sparse):
    told = []
    report = secateur.benchmark(dense, sparse, on="web", runs=2, threads=4, progress=told.append)
    first, second = report.result("web").measurements
    assert first.litert_difference < 1e-5
    assert second.litert_difference < 1e-5
    assert second.difference < 1e-5
    assert "web: run 2 of 2" in told
    assert "one thread" in " ".join(report.result("web").notes)
    assert report.result("web").threads == 1


def test_without_relaxed_simd_the_other_build_is_used(
    node, dense, image, keras_output, monkeypatch
):
    monkeypatch.setattr("secateur.benchmarking.targets.web._RELAXED_SIMD", "--no-such-flag")
    models = read_models([dense])
    outcome = node.run(Job(models, make_inputs(models, image), runs=1))
    np.testing.assert_allclose(
        outcome.runs[0].outputs[0].ravel(), keras_output, rtol=1e-4, atol=1e-6
    )
    assert any(build in outcome.engine for build in BUILDS.values())


def test_wrong_numbers_of_the_engine_show(node, folder):
    """XNNPACK computes this graph wrongly once it is sparse: MaxPool interrupts the cluster."""
    import tensorflow as tf

    keras.utils.set_random_seed(1)
    image = keras.Input((32, 32, 3), batch_size=1)
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(layers.ZeroPadding2D(1)(image))
    x = layers.DepthwiseConv2D(3, padding="same", activation="relu")(x)
    x = layers.Conv2D(32, 1, activation="relu", name="first")(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Conv2D(32, 1, activation="relu", name="second")(x)
    model = keras.Model(image, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))
    rng = np.random.default_rng(0)
    for name in ("first", "second"):
        kernel = np.array(keras.ops.convert_to_numpy(model.get_layer(name).kernel))
        kernel[rng.random(kernel.shape) < 0.8] = 0
        model.get_layer(name).kernel.assign(kernel)
    plain = convert(model, folder / "plain.tflite")
    broken = convert(model, folder / "broken.tflite", tf.lite.Optimize.EXPERIMENTAL_SPARSITY)
    report = secateur.benchmark(plain, broken, on="web", runs=1)
    assert report.measurement("web", "plain.tflite").litert_difference < 1e-5
    assert report.measurement("web", "broken.tflite").litert_difference > 0.01
    assert report.measurement("web", "broken.tflite").difference > 0.01


def test_several_inputs_and_outputs_keep_their_places(node, folder):
    left = keras.Input((4,), batch_size=1, name="zeta")
    right = keras.Input((3,), batch_size=1, name="alpha")
    total = layers.Concatenate()([left, right])
    model = keras.Model([left, right], {"b": layers.Dense(2)(total), "a": layers.Dense(5)(total)})
    path = convert(model, folder / "two.tflite")
    report = secateur.benchmark(path, on=["litert", "web"], runs=1, profile=True)
    assert report.measurement("web", "two.tflite").litert_difference < 1e-5
    assert report.measurement("litert", "two.tflite").kernels


def test_what_litertjs_cannot_run_is_told_and_the_rest_goes_on(node, folder, int8):
    report = secateur.benchmark(int8, on=["litert", "web"], runs=1)
    assert [result.target for result in report.results] == ["litert"]
    assert "int8.tflite: Element type INT8 is not supported" in report.skipped["web"]
    assert "not run: web: " in str(report)


def test_it_is_installed_once(node, dense, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    told = []
    assert litertjs.install(told.append) == litertjs.folder()
    assert told == []  # it was there, so no npm was looked for


def test_without_node_or_npm_it_says_what_to_install(no_cache, no_programs, dense):
    assert "there is no Node.js" in get_target("web").available()
    node = no_programs / "node"
    node.write_text("#!/bin/sh\n")
    node.chmod(0o755)
    assert "there is no npm to install it" in get_target("web").available()
    with pytest.raises(BenchmarkError, match="Nothing could be measured: web: .* no npm"):
        secateur.benchmark(dense, on="web")
    with pytest.raises(BenchmarkError, match="there is no npm"):
        get_target("web").setup()


def test_a_failing_npm_is_told(no_cache, no_programs):
    npm = no_programs / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error code E404' >&2; exit 1\n")
    npm.chmod(0o755)
    with pytest.raises(BenchmarkError, match=r"npm could not install.*E404"):
        get_target("web").setup()
    assert not litertjs.installed()


def result(**changes):
    output = {"dtype": "float32", "shape": [1, 2], "data": base64.b64encode(bytes(8)).decode()}
    return {
        "models": [
            {"load_ms": 1.5, "samples": [1, 2.5], "repeats": 2, "outputs": [output], **changes}
        ]
    }


def test_a_result_is_read():
    (run,) = read_web_runs(result(), 1)
    assert (run.samples, run.load_ms, run.repeats) == ((1.0, 2.5), 1.5, 2)
    np.testing.assert_array_equal(run.outputs[0], [[0.0, 0.0]])


@pytest.mark.parametrize(
    "bad",
    [
        None,
        [],
        {"models": 3},
        {"models": []},
        result(samples=[]),
        result(samples=["x"]),
        result(samples=[float("nan")]),
        result(samples=[-1.0]),
        result(samples=[1e999]),
        result(load_ms=None),
        result(repeats=0),
        result(outputs=[{"dtype": "object", "shape": [1], "data": ""}]),
        result(outputs=[{"dtype": "float32", "shape": [3], "data": "AAAAAA=="}]),
        result(outputs=[{"dtype": "float32", "shape": [1], "data": "!"}]),
        result(outputs=[{"dtype": "float32", "shape": [10**30], "data": "AAAAAA=="}]),
        result(outputs=7),
    ],
)
def test_a_malformed_result_is_refused(bad):
    with pytest.raises(ValueError, match="Received: "):
        read_web_runs(bad, 1)
