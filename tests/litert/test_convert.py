"""Conversion and export: any kind of model, on any backend, to the same bytes every time."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import secateur
from secateur.litert import ConversionError, convert_model, export, predict, read_tensors
from secateur.litert._files import atomic_path
from secateur.litert._saving import save_without_optimizer
from secateur.litert.signature import InputSpec, signature_of

layers = keras.layers
BACKEND = keras.config.backend()


@keras.saving.register_keras_serializable("secateur_tests")
class TwoLayers(keras.Model):
    """A subclassed model, whose layers Keras finds only by calling it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden = layers.Dense(6, activation="relu")
        self.last = layers.Dense(2)

    def call(self, x):
        return self.last(self.hidden(x))


tensorflow_only = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="the converter is the same; elsewhere it takes seconds a model"
)


@pytest.fixture(scope="module")
def exported(cnn, tmp_path_factory):
    """The report on the file, and the folder it is in."""
    folder = tmp_path_factory.mktemp("exported")
    return export(cnn, folder / "cnn.tflite"), folder


def test_sequential(exported):
    report, folder = exported
    assert report.max_difference < 1e-5
    assert report.sparsity == 0.75
    assert report.bytes == (folder / "cnn.tflite").stat().st_size > report.gzip_bytes
    assert os.listdir(folder) == ["cnn.tflite"]  # no temporary file stays


def test_the_same_model_gives_the_same_bytes(exported, cnn_bytes):
    assert (exported[1] / "cnn.tflite").read_bytes() == cnn_bytes


def test_functional_with_two_inputs_and_outputs(tmp_path):
    # Names in the wrong alphabetical order, so that a mix-up shows.
    z, a = keras.Input((4,), name="z"), keras.Input((3,), name="a")
    both = layers.Concatenate()([z, a])
    model = keras.Model([z, a], [layers.Dense(2)(both), layers.Dense(5)(z)])
    report = export(model, tmp_path / "two.tflite")
    assert report.max_difference < 1e-5


def test_subclassed(tmp_path):
    model = TwoLayers()
    model(np.zeros((2, 4), "float32"))
    model.compile("adam", "mse")
    optimizer = model.optimizer
    report = export(model, tmp_path / "subclassed.tflite")
    assert report.max_difference < 1e-5
    x = np.random.default_rng(0).random((5, 4)).astype("float32")
    expected = keras.ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(predict(tmp_path / "subclassed.tflite", x), expected, atol=1e-5)
    assert model.optimizer is optimizer
    model.fit(x, np.ones((5, 2)), verbose=0)  # it is compiled still


@tensorflow_only
def test_training_time_layers_and_token_inputs(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            layers.Embedding(10, 4),
            layers.Dropout(0.5),
            layers.GlobalAveragePooling1D(),
            layers.BatchNormalization(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    report = export(model, tmp_path / "tokens.tflite")
    assert report.max_difference < 1e-5


@pytest.mark.skipif(BACKEND != "tensorflow", reason="compares it with the TensorFlow backend")
def test_the_child_process_gives_the_same_bytes(cnn, cnn_bytes):
    from secateur.litert.convert import _convert_in_child
    from secateur.litert.shrink import dense_file

    data = _convert_in_child(cnn, None, [], "tensorflow")
    assert dense_file(data, None, converted=True) == cnn_bytes


def test_the_batch_size_is_open(cnn_bytes):
    for n in (1, 3):
        assert predict(cnn_bytes, np.zeros((n, 8, 8, 1), "float32"), batch_size=n).shape == (n, 3)


@tensorflow_only
def test_float16_halves_the_weights(cnn, cnn_bytes, images, keras_scores):
    data = convert_model(cnn, "float16")
    kernels = {tensor.size: tensor.dtype for tensor in read_tensors(data) if tensor.is_kernel}
    # Of those with a few dozen weights the conversion would take more bytes than it saves.
    assert kernels == {1152: "float16", 36: "float32", 24: "float32"}
    assert len(data) < len(cnn_bytes)
    np.testing.assert_allclose(predict(data, images), keras_scores, atol=1e-2)


def test_dynamic_range_quantization_shrinks_the_file(cnn_bytes, cnn_dynamic_bytes):
    assert len(cnn_dynamic_bytes) < len(cnn_bytes) - 3 * 1000  # 1,152 weights of one byte


def test_the_report_as_text_dictionary_and_table(exported):
    report, _ = exported
    assert "sparsity of the kernels: 75.0%" in str(report)
    assert f"{report.gzip_bytes:,} gzipped" in report._repr_html_()
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["sparsity"] == 0.75
    assert {t["size"] for t in plain["tensors"]} >= {36, 1152, 24}


def test_it_is_found_at_the_top():
    assert secateur.export is export


def test_saving_leaves_the_optimizer_out(tmp_path):
    model = keras.Sequential([keras.Input((40,)), layers.Dense(50)])
    model.compile("adam", "mse")
    model.fit(np.ones((4, 40)), np.ones((4, 50)), verbose=0)
    model.save(tmp_path / "whole.keras")
    for name in ("lean.keras", "lean.h5"):
        save_without_optimizer(model, tmp_path / name)
        size = (tmp_path / name).stat().st_size
        assert size < (tmp_path / "whole.keras").stat().st_size - 2 * 4 * 2000
        again = keras.saving.load_model(tmp_path / name)
        np.testing.assert_array_equal(again.get_weights()[0], model.get_weights()[0])
    assert model.compiled


def test_names_of_inputs():
    named = keras.Sequential([keras.Input((4,), name="row"), layers.Dense(2)])
    assert signature_of(named).inputs == (InputSpec("row", (None, 4), "float32"),)
    unnamed = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    assert signature_of(unnamed).inputs == (InputSpec("input_0", (None, 4), "float32"),)


def test_a_fixed_batch_size_is_kept():
    model = keras.Sequential([keras.Input((4,), batch_size=2, name="row"), layers.Dense(2)])
    assert signature_of(model).inputs == (InputSpec("row", (2, 4), "float32"),)


@pytest.mark.parametrize("mode", ["int4", "DYNAMIC", "", 8])
def test_an_unknown_quantization(cnn, tmp_path, mode):
    says = r'None, "float16", "weights", "dynamic", "int8"\. Received: quantize'
    with pytest.raises(ValueError, match=says) as e:
        export(cnn, tmp_path / "cnn.tflite", quantize=mode)
    assert str(e.value).endswith(f"quantize={mode!r}")


def test_a_path_with_another_suffix(cnn, tmp_path):
    with pytest.raises(ValueError, match=r"suffix \.tflite. Received: path="):
        export(cnn, tmp_path / "cnn.keras")


def test_a_folder_that_does_not_exist(cnn, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Create .*gone.* first"):
        export(cnn, tmp_path / "gone" / "cnn.tflite")


def test_a_model_that_is_not_built():
    with pytest.raises(ValueError, match=r"keras\.Input.*Received: model='sequential'"):
        convert_model(keras.Sequential([layers.Dense(2)]))


def test_something_that_is_no_model():
    with pytest.raises(TypeError, match="Received: model=Dense"):
        convert_model(layers.Dense(2))


def test_without_tensorflow(cnn, tmp_path, monkeypatch):
    monkeypatch.setattr("secateur.litert.convert.importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "secateur\[tensorflow\]"'):
        export(cnn, tmp_path / "cnn.tflite")
    assert not os.listdir(tmp_path)


@pytest.mark.skipif(BACKEND == "tensorflow", reason="no child process is needed")
def test_a_class_that_the_child_cannot_import(tmp_path):
    class Local(layers.Layer):
        def call(self, x):
            return x * 2

    model = keras.Sequential([keras.Input((4,)), Local()])
    with pytest.raises(ConversionError, match="module that can be imported") as caught:
        export(model, tmp_path / "local.tflite")
    assert "Local" in str(caught.value)
    assert not os.listdir(tmp_path)


@tensorflow_only
def test_what_the_converter_cannot_do_is_told(tmp_path):
    model = keras.Sequential([keras.Input((5, 3)), layers.LSTM(4)])
    with pytest.raises(ConversionError, match=r"TensorList.*batch_size=1"):
        export(model, tmp_path / "lstm.tflite")
    assert not os.listdir(tmp_path)


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "model.tflite"
    target.write_bytes(b"old")

    def fail():
        with atomic_path(target) as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        fail()
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model.tflite"]


def test_importing_needs_neither_keras_nor_tensorflow():
    heavy = "{'keras', 'tensorflow', 'jax', 'torch'}"
    code = f"import sys, secateur.litert; print(*{heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
