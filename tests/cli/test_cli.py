"""The command line: reports on standard output, mistakes in one line, exit codes."""

import io
import json
import os
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

import secateur
from secateur.cli import app
from secateur.cli.backend import use_backend
from secateur.litert import export

layers = keras.layers
BACKEND = keras.config.backend()


def call(*arguments, code=0):
    """Run the command line in this process; return what it printed to standard output."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


def spawn(*arguments, code=0, **environment):
    """Run the command line as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", "from secateur.cli import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the same half-zero model as .keras, .h5 and .weights.h5, and trained."""
    folder = tmp_path_factory.mktemp("models")
    model = keras.Sequential(
        [keras.Input((8,)), layers.Dense(4, name="first"), layers.Dense(2, name="second")],
        name="net",
    )
    kernel = np.linspace(-1, 1, 32, dtype="float32").reshape(8, 4)
    kernel[:4] = 0
    model.get_layer("first").kernel.assign(kernel)
    model.get_layer("second").kernel.assign(np.ones((4, 2)))
    # Trained at a rate of zero: an optimizer that never ran makes Keras warn when it is loaded.
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.fit(np.ones((2, 8)), np.ones((2, 2)), verbose=0)
    model.save(folder / "model.keras")
    model.save(folder / "model.h5")
    model.save_weights(folder / "model.weights.h5")
    return folder


def kernels(path):
    """The kernels of a saved model, by layer."""
    model = keras.saving.load_model(path, compile=False)
    return {layer.name: keras.ops.convert_to_numpy(layer.kernel) for layer in model.layers}


def test_version():
    assert call("--version").strip() == f"secateur {secateur.__version__}"


@pytest.mark.parametrize(
    "verb", [("tutorial", "mnist"), ("prune",), ("inspect",), ("export",)], ids=" ".join
)
def test_help_has_examples(verb):
    text = call(*verb, "--help")
    assert "Examples" in text
    assert f"secateur {' '.join(verb)} " in text


def test_no_verb_shows_the_help():
    assert "tutorial" in CliRunner().invoke(app, []).output


def test_as_a_module():
    command = [sys.executable, "-m", "secateur", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("secateur ")


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "model.weights.h5"])
def test_inspect_counts_zeros_in_keras_files(folder, name):
    report = json.loads(call("inspect", folder / name, "--json"))
    assert report["bytes"] == (folder / name).stat().st_size
    assert 0 < report["gzip_bytes"] < report["bytes"]
    assert report["sparsity"] == 16 / 40
    zeros = {tensor["name"]: tensor["zeros"] for tensor in report["tensors"]}
    assert sorted(zeros.values()) == [0, 2, 4, 16]  # two kernels, and biases not trained yet
    assert any("first" in name for name in zeros)


def test_inspect_shows_a_table(folder):
    text = call("inspect", folder / "model.keras")
    assert "first/0" in text
    assert "50.0%" in text
    assert "40.0% zeros" in text


def test_inspect_reads_tflite_files(folder):
    model = keras.saving.load_model(folder / "model.keras", compile=False)
    export(model, folder / "model.tflite")
    report = json.loads(call("inspect", folder / "model.tflite", "--json"))
    assert report["sparsity"] == 16 / 40
    assert {tuple(tensor["shape"]) for tensor in report["tensors"]} >= {(4, 8), (2, 4)}


def without_keras(*arguments):
    """Run the command line where neither Keras nor a backend can be imported."""
    code = """
import sys
class Blocker:
    def find_spec(self, name, *_):
        if name in ("keras", "tensorflow", "jax", "torch"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocker())
from secateur.cli import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_inspect_needs_no_keras(folder):
    report = json.loads(without_keras("inspect", folder / "model.keras", "--json"))
    assert report["sparsity"] == 16 / 40


def test_importing_the_command_line_does_not_import_keras():
    code = "import sys, secateur.cli; print('keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("content", [b"", b"half", b"zip"])
def test_inspect_refuses_damaged_files(tmp_path, content):
    if content == b"zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("config.json", "{}")
        content = buffer.getvalue()
    for name in ("model.keras", "model.h5", "model.tflite"):
        (tmp_path / name).write_bytes(content)
        message = call("inspect", tmp_path / name, code=2)
        assert message.startswith("error: ")
        assert "Received: " in message


def test_prune_keeps_the_largest_weights(folder, tmp_path):
    report = json.loads(
        call(
            "prune",
            folder / "model.keras",
            "--sparsity",
            0.75,
            "-o",
            tmp_path / "p.keras",
            "--json",
        )
    )
    assert report["path"] == str(tmp_path / "p.keras")
    first = kernels(tmp_path / "p.keras")["first"]
    np.testing.assert_array_equal(first != 0, np.arange(8)[:, None] >= [6] * 4)
    assert keras.saving.load_model(tmp_path / "p.keras").compiled


def test_prune_by_layer(folder, tmp_path):
    call("prune", folder / "model.keras", "--sparsity", 0.5, "--layers", "second", "-o",
         tmp_path / "p.keras")  # fmt: skip
    after = kernels(tmp_path / "p.keras")
    assert np.count_nonzero(after["second"]) == 4
    np.testing.assert_array_equal(after["first"], kernels(folder / "model.keras")["first"])


def test_prune_blocks(folder, tmp_path):
    call("prune", folder / "model.keras", "--sparsity", 0.75, "--block", "2x2", "-o",
         tmp_path / "p.h5", "--layers", "first")  # fmt: skip
    blocks = kernels(tmp_path / "p.h5")["first"].reshape(4, 2, 2, 2).transpose(0, 2, 1, 3)
    assert [np.count_nonzero(block) for block in blocks.reshape(8, 4)].count(4) == 2
    assert np.count_nonzero(blocks) == 8


def test_prune_m_by_n(folder, tmp_path):
    call("prune", folder / "model.keras", "--m-by-n", "2:4", "-o", tmp_path / "p.keras")
    for kernel in kernels(tmp_path / "p.keras").values():
        groups = kernel.T.reshape(-1, 4)  # along the input channels
        assert (np.count_nonzero(groups, axis=1) <= 2).all()


def test_export(folder, tmp_path):
    target = tmp_path / "out.tflite"
    report = json.loads(call("export", folder / "model.keras", "-o", target, "--json"))
    assert report["bytes"] == target.stat().st_size
    assert report["max_difference"] < 1e-5
    assert report["quantize"] is None


def test_export_int8_with_samples_from_a_file(folder, tmp_path):
    np.savez(tmp_path / "samples.npz", x=np.random.default_rng(0).random((20, 8)))
    target = tmp_path / "out.tflite"
    report = json.loads(
        call("export", folder / "model.keras", "-o", target, "--quantize", "int8",
             "--representative", tmp_path / "samples.npz", "--json")
    )  # fmt: skip
    assert {weight["dtype"] for weight in report["weights"]} == {"int8"}
    assert report["bytes"] == target.stat().st_size


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A `.tflite` file with a matrix of 64x64, 9 of 10 weights zero."""
    folder = tmp_path_factory.mktemp("wide")
    model = keras.Sequential([keras.Input((64,), name="row"), layers.Dense(64, name="wide")])
    model.layers[0].kernel.assign(np.where(np.arange(4096).reshape(64, 64) % 10, 0, 0.5))
    export(model, folder / "wide.tflite")
    return folder / "wide.tflite"


def test_export_makes_tflite_files_smaller(wide, tmp_path):
    target = tmp_path / "out.tflite"
    arguments = ["export", wide, "-o", target, "--sparse", "always", "--quantize", "weights"]
    report = json.loads(without_keras(*arguments, "--json"))
    assert report["bytes"] == target.stat().st_size < wide.stat().st_size / 5
    assert report["weights"][0]["zeros"] == 4096 - 410
    assert report["dense_difference"] == 0
    assert "64x64 int8, 90.0% zeros" in call(*arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["prune", "{}/gone.keras", "--sparsity", "0.5", "-o", "{}/p.keras"], "no such model file"),
        (["prune", "{}/model.keras", "--sparsity", "1.5", "-o", "{}/p.keras"], "1.5"),
        (["prune", "{}/model.keras", "-o", "{}/p.keras"], "Received: --sparsity=None"),
        (["prune", "{}/model.keras", "--sparsity", ".5", "-o", "{}/p.tflite"], "secateur export"),
        (["prune", "{}/model.keras", "--sparsity", ".5", "-o", "{}/no/p.keras"], "does not exist"),
        (["prune", "{}/model.keras", "--sparsity", ".5", "--block", "4", "-o", "{}/p.keras"],
         "Received: --block='4'"),
        (["prune", "{}/model.keras", "--m-by-n", "2x4", "-o", "{}/p.keras"],
         "Received: --m-by-n='2x4'"),
        (["prune", "{}/model.keras", "--sparsity", ".5", "--block", "1x4", "--m-by-n", "2:4", "-o",
          "{}/p.keras"], "not both"),
        (["prune", "{}/model.keras", "--sparsity", ".5", "--layers", "third", "-o", "{}/p.keras"],
         "third"),
        (["export", "{}/model.keras", "-o", "{}/model.onnx"], r"suffix .tflite"),
        (["export", "{}/model.onnx", "-o", "{}/p.tflite"], "suffix .keras or .h5"),
        (["export", "{}/gone.tflite", "-o", "{}/p.tflite"], "no such file"),
        (["export", "{}/model.keras", "-o", "{}/p.tflite", "--quantize", "dynamic", "--sparse",
          "always"], "sparse='always'"),
        (["export", "{}/model.keras", "-o", "{}/p.tflite", "--quantize", "int8"],
         "Received: representative_data=None"),
        (["export", "{}/model.keras", "-o", "{}/p.tflite", "--representative", "{}/model.keras"],
         "Received: --representative="),
        (["inspect", "{}/gone.tflite"], "no such file"),
        (["inspect", "{}/model.onnx"], "can be inspected"),
        (["tutorial", "mnist", "--epochs", "0"], "Received: epochs=0"),
        (["tutorial", "mnist", "--data", "minst"], "Received: name='minst'"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_error_and_exit_code_2(folder, arguments, says):
    message = call(*[argument.format(folder) for argument in arguments], code=2)
    assert message.strip().startswith("error: ") or "\nerror: " in message
    assert says in message
    assert "Traceback" not in message
    assert not (folder / "p.keras").exists()


def test_an_unknown_option_is_a_usage_error(folder):
    assert "No such option" in call("inspect", folder / "model.keras", "--jsn", code=2)


def test_debug_shows_where_it_failed():
    result = CliRunner().invoke(app, ["--debug", "inspect", "gone.tflite"])
    assert isinstance(result.exception, FileNotFoundError)
    result = CliRunner().invoke(app, ["inspect", "gone.tflite"], env={"SECATEUR_DEBUG": "1"})
    assert isinstance(result.exception, FileNotFoundError)


def test_a_process_of_its_own_prints_no_traceback_either(tmp_path):
    done = spawn("inspect", tmp_path / "gone.keras", code=2)
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert (
        "Traceback" in spawn("inspect", tmp_path / "gone.keras", code=1, SECATEUR_DEBUG="1").stderr
    )


def test_the_backend_asked_for_is_used(folder, tmp_path):
    """In a process of its own, whose environment names another backend."""
    other = "jax" if BACKEND != "jax" else "torch"
    done = spawn(
        "prune", folder / "model.keras", "--sparsity", "0.5", "-o", tmp_path / "p.keras",
        "--backend", BACKEND, "--json", KERAS_BACKEND=other,
    )  # fmt: skip
    json.loads(done.stdout)  # nothing but the report
    spawn("prune", folder / "model.keras", "--sparsity", "0.5", "-o", tmp_path / "p.h5",
          KERAS_BACKEND=BACKEND)  # fmt: skip
    assert (tmp_path / "p.h5").exists()


def test_another_backend_than_the_one_that_runs():
    other = "jax" if BACKEND != "jax" else "tensorflow"
    with pytest.raises(ValueError, match=f"runs on {BACKEND}.*Received: backend='{other}'"):
        use_backend(other)


def test_a_backend_that_is_not_installed(monkeypatch):
    monkeypatch.setattr("secateur.cli.backend.importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "secateur\[jax\]"'):
        use_backend("jax")


def test_no_backend_at_all(monkeypatch, tmp_path):
    monkeypatch.delenv("KERAS_BACKEND")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("secateur.cli.backend.importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="No Keras backend is installed"):
        use_backend()


def test_a_backend_that_cannot_train(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "numpy")
    with pytest.raises(ValueError, match="Received: backend='numpy'"):
        use_backend()


@pytest.mark.parametrize(
    ("config", "installed", "expected"),
    [
        ('{"backend": "torch"}', {"tensorflow", "jax", "torch"}, "torch"),
        ('{"backend": "tensorflow"}', {"jax"}, "jax"),  # Keras wrote the file by itself
        ("half {", {"jax", "torch"}, "jax"),
        (None, {"torch"}, "torch"),
    ],
)
def test_what_decides_without_a_word(monkeypatch, tmp_path, config, installed, expected):
    from secateur.cli import backend

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(backend, "_installed", lambda name: name in installed)
    if config is not None:
        (tmp_path / "keras.json").write_text(config)
    assert (backend._configured() or backend._first_installed()) == expected
