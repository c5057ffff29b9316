"""The MNIST walkthrough: train a small CNN, prune it while it is trained on, export, measure.

It follows the tutorial of TensorFlow's Model Optimization Toolkit, model and settings alike, so
that the figures can be compared.

Example:
    >>> from secateur.tutorials import mnist
    >>> result = mnist.run(output="mnist-demo")  # doctest: +SKIP
    >>> print(result)  # doctest: +SKIP
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import keras
from rich.console import Console

import secateur
from secateur import datasets, litert
from secateur.litert._saving import save_without_optimizer
from secateur.tutorials import training
from secateur.tutorials.measuring import measure_files
from secateur.tutorials.progress import Stages
from secateur.tutorials.result import WalkthroughResult

BASELINE_BATCH, PRUNING_BATCH = 32, 128
_FILES = {
    **{
        f"{name}.{kind}": name
        for name in ("baseline", "pruned")
        for kind in ("keras", "h5", "tflite")
    },
    "pruned_quantized.tflite": "pruned + quantized",
}


def build_model(image_shape: tuple[int, ...] = (28, 28)) -> keras.Model:
    """The CNN of the tutorial, with 20,410 parameters for MNIST and one logit a class.

    Args:
        image_shape: The shape of one grey image.

    Returns:
        The model, not compiled.

    Example:
        >>> build_model().count_params()
        20410
    """
    return keras.Sequential(
        [
            keras.Input(image_shape),
            keras.layers.Reshape((*image_shape, 1)),
            keras.layers.Conv2D(12, 3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ],
        name="mnist",
    )


def run(
    *,
    sparsity: float = 0.8,
    epochs: int = 2,
    baseline_epochs: int = 4,
    allocation: str = "global",
    seed: int = 0,
    output: str | os.PathLike[str] = "secateur-mnist",
    data: str | os.PathLike[str] = "mnist",
    console: Console | None = None,
) -> WalkthroughResult:
    """Run the walkthrough on the Keras backend in use.

    Writes `baseline` and `pruned` as `.keras`, `.h5` and `.tflite`, `pruned_quantized.tflite`, and
    TensorBoard logs under `logs`. Every figure is measured on a file that was read back.

    Args:
        sparsity: The share of zeros at the end, in [0, 1). Pruning starts at 0.5, or at this
            share where it is less.
        epochs: The epochs of training while pruning.
        baseline_epochs: The epochs of training before that.
        allocation: "global" ranks the weights of all layers together, which spares the small
            and sensitive first layer; "uniform" prunes every layer to the same share, as the
            toolkit does.
        seed: The seed of all random numbers.
        output: The folder for the files; made where it is missing.
        data: "mnist", or the path of an `.npz` file with grey images and ten classes.
        console: Where to show the progress; None shows nothing.

    Returns:
        A `WalkthroughResult` with one row a file.

    Raises:
        ValueError: If an argument is out of range, or the data does not fit.
        ImportError: If TensorFlow, which makes the `.tflite` files, is not installed.
    """
    training.check_epochs(epochs=epochs, baseline_epochs=baseline_epochs)
    shared = _allocation(allocation)
    litert.require_tensorflow()
    images = datasets.load(data)
    _check_data(images, data)
    (x_train, y_train), (x_test, y_test) = images
    x_train, x_test = (x.astype("float32") / 255 for x in (x_train, x_test))
    steps = epochs * math.ceil(int(len(x_train) * (1 - training.VALIDATION_SPLIT)) / PRUNING_BATCH)
    schedule = secateur.PolynomialDecay(min(0.5, sparsity), sparsity, begin_step=0, end_step=steps)
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)

    stages = Stages(console)
    stages.say(f"{images!r}; Keras {keras.__version__} on {keras.config.backend()}")
    training.set_seed(seed)
    model = build_model(x_train.shape[1:])

    with stages.stage("baseline", f"Training the baseline, {baseline_epochs} epochs"):
        training.compile_classifier(model)
        training.fit(model, x_train, y_train, baseline_epochs, BASELINE_BATCH, stages)
    with stages.stage("export_baseline", "Writing baseline.keras, .h5 and .tflite"):
        _save(model, folder, "baseline")

    with stages.stage("pruning", f"Pruning to {sparsity:.0%}, {epochs} epochs of training"):
        training.compile_classifier(model)  # a fresh Adam, as in the tutorial of the toolkit
        secateur.prune(model, schedule, allocation=shared)
        summaries = training.summaries(folder / "logs", stages)
        training.fit(model, x_train, y_train, epochs, PRUNING_BATCH, stages, summaries)
        stages.say(str(secateur.sparsity(model)))
    with stages.stage("export_pruned", "Writing pruned.keras, .h5, .tflite and quantized .tflite"):
        _save(model, folder, "pruned")
        litert.export(model, folder / "pruned_quantized.tflite", quantize="dynamic")

    with stages.stage("measuring", f"Measuring all files on {len(x_test):,} test images"):
        rows = measure_files(folder, _FILES, x_test, y_test, "baseline.h5", compressed=True)
    return WalkthroughResult(
        title=f"MNIST on {keras.config.backend()}, pruned to {sparsity:.0%} ({allocation})",
        settings={
            "sparsity": sparsity,
            "epochs": epochs,
            "baseline_epochs": baseline_epochs,
            "allocation": allocation,
            "seed": seed,
            "end_step": steps,
        },
        data={"source": images.source, "train": len(x_train), "test": len(x_test)},
        backend=keras.config.backend(),
        output=str(folder),
        rows=rows,
        baseline="baseline.h5",
        compressed=True,
        seconds=stages.seconds,
    )


def _save(model: keras.Model, folder: Path, name: str) -> None:
    save_without_optimizer(model, folder / f"{name}.keras")
    save_without_optimizer(model, folder / f"{name}.h5")
    litert.export(model, folder / f"{name}.tflite")


def _allocation(name: str) -> secateur.Allocation:
    known = {"global": secateur.Global, "uniform": secateur.Uniform}
    if name not in known:
        raise ValueError(
            f'There is no such allocation. Expected "global" or "uniform". '
            f"Received: allocation={name!r}"
        )
    return known[name]()


def _check_data(images: datasets.Dataset, name: object) -> None:
    (x, y), (_, y_test) = images
    classes = int(max(y.max(), y_test.max())) + 1
    if x.ndim != 3 or classes > 10:
        raise ValueError(
            "This walkthrough needs grey images, of shape (n, height, width), in at most ten "
            f"classes; the data has shape {x.shape} and {classes} classes. "
            f"Received: data={str(name)!r}"
        )
