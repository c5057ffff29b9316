"""The CIFAR-10 walkthrough: prune for XNNPACK's sparse inference, export, and time both models.

It follows the tutorial "Pruning for on-device inference" of TensorFlow's Model Optimization Toolkit:
the same small network and schedule. A second, MobileNet-like network is large enough for the speed-up
to show.

Example:
    >>> from secateur.tutorials import cifar10
    >>> result = cifar10.run(model="mobilenet", sparsity=0.9)  # doctest: +SKIP
    >>> print(result)  # doctest: +SKIP
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from rich.console import Console

import secateur
from secateur import datasets, litert
from secateur.benchmarking import DEFAULT_TARGETS
from secateur.litert._saving import save_without_optimizer
from secateur.tutorials import training
from secateur.tutorials.measuring import measure_files
from secateur.tutorials.progress import Stages
from secateur.tutorials.result import WalkthroughResult

BATCH = 128
INITIAL_SPARSITY = 0.25
_DENSE, _PRUNED, _SMALL = "dense.tflite", "pruned.tflite", "pruned_int8_weights.tflite"
_FILES = {
    _DENSE: "dense",
    _PRUNED: "pruned",
    _SMALL: "pruned + int8 weights",
}


@dataclass(frozen=True)
class Network:
    """A network of depthwise-separable convolutions, and how it is trained.

    Args:
        stem: The filters of the first convolution.
        units: The filters and the stride of each separable convolution after it.
        baseline_epochs: The epochs of training before pruning.
        epochs: The epochs of training while pruning.
        sparsity: The share of zeros at the end.
    """

    stem: int
    units: tuple[tuple[int, int], ...]
    baseline_epochs: int
    epochs: int
    sparsity: float


#: The networks by name: that of the toolkit's tutorial, and one whose time goes into 1x1 convolutions.
NETWORKS = {
    "small": Network(8, ((16, 1), (32, 2)), baseline_epochs=8, epochs=8, sparsity=0.75),
    "mobilenet": Network(
        32,
        ((128, 1), (256, 2), (256, 1), (256, 1), (256, 1)),
        baseline_epochs=5,
        epochs=5,
        sparsity=0.9,
    ),
}


def build_model(name: str = "small", padding: str = "explicit") -> keras.Model:
    """Build a network for images of 32x32x3, with one logit for each of ten classes.

    Args:
        name: "small" or "mobilenet".
        padding: How the first convolution is padded: "explicit", by a `ZeroPadding2D` before it,
            or "same", with which XNNPACK runs nothing sparse.

    Returns:
        The model, not compiled.

    Example:
        >>> build_model().count_params()
        1722
    """
    network, layers = NETWORKS[name], keras.layers
    stack = [keras.Input((32, 32, 3))]

    def add(layer: keras.layers.Layer, filters_of: str) -> None:
        stack.extend(
            [
                layer,
                # The averages of a few hundred steps must do for the first epochs.
                layers.BatchNormalization(momentum=0.9, name=f"{filters_of}_norm"),
                layers.ReLU(name=f"{filters_of}_relu"),
            ]
        )

    def strided(make: type, at: str, *args: int, pads: bool = True) -> None:
        if pads:
            stack.append(layers.ZeroPadding2D(1, name=f"{at}_pad"))
        valid = "valid" if pads else "same"
        add(make(*args, 3, strides=2, padding=valid, use_bias=False, name=at), at)

    strided(layers.Conv2D, "stem", network.stem, pads=padding == "explicit")
    for i, (filters, stride) in enumerate(network.units, start=1):
        at = f"depthwise_{i}"
        if stride == 2:
            strided(layers.DepthwiseConv2D, at)
        else:
            add(layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=at), at)
        at = f"pointwise_{i}"
        add(layers.Conv2D(filters, 1, use_bias=False, name=at), at)
    stack += [layers.GlobalAveragePooling2D(name="pool"), layers.Dense(10, name="logits")]
    return keras.Sequential(stack, name=name)


def run(
    *,
    model: str = "small",
    sparsity: float | None = None,
    epochs: int | None = None,
    baseline_epochs: int | None = None,
    seed: int = 0,
    output: str | os.PathLike[str] = "secateur-cifar10",
    data: str | os.PathLike[str] = "cifar10",
    on: Sequence[str] | None = None,
    runs: int = 50,
    console: Console | None = None,
) -> WalkthroughResult:
    """Run the walkthrough on the Keras backend in use.

    Writes `dense.tflite`, `pruned.tflite` (sparse weights), `pruned_int8_weights.tflite` (sparse int8
    weights), the Keras models, and TensorBoard logs under `logs`.

    Args:
        model: "small", the network of the toolkit's tutorial, or "mobilenet".
        sparsity: The share of zeros in the 1x1 convolutions at the end, above 2/3, from which on
            XNNPACK runs them sparse; by default 0.75 for the small network and 0.9 for the other.
        epochs: The epochs of training while pruning.
        baseline_epochs: The epochs of training before that.
        seed: The seed of all random numbers.
        output: The folder for the files; made where it is missing.
        data: "cifar10", "mnist" (as 32x32 colour images), or the path of an `.npz` file with images
            of 32x32x3 and ten classes.
        on: What to time the files on, by default LiteRT, secateur's runtime and LiteRT.js; see
            `secateur.benchmark`. Engines that are not at hand are listed with the reason.
        runs: The number of timed runs of each file.
        console: Where to show the progress; None shows nothing.

    Returns:
        A `WalkthroughResult` with a row a file, and the times in `benchmark`.

    Raises:
        ValueError: If an argument is out of range, or the data does not fit.
        FileNotFoundError: If the data is nowhere to be had.
        ImportError: If TensorFlow, which makes the `.tflite` files, is not installed.
    """
    network = _network(model)
    sparsity = network.sparsity if sparsity is None else sparsity
    epochs = network.epochs if epochs is None else epochs
    baseline_epochs = network.baseline_epochs if baseline_epochs is None else baseline_epochs
    training.check_epochs(epochs=epochs, baseline_epochs=baseline_epochs)
    _check_sparsity(sparsity)
    litert.require_tensorflow()
    images = _load(data)
    (x_train, y_train), (x_test, y_test) = images
    steps = epochs * math.ceil(int(len(x_train) * (1 - training.VALIDATION_SPLIT)) / BATCH)
    first = min(INITIAL_SPARSITY, sparsity)
    schedule = secateur.PolynomialDecay(first, sparsity, begin_step=0, end_step=steps)
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)

    stages = Stages(console)
    stages.say(f"{images!r}; Keras {keras.__version__} on {keras.config.backend()}")
    training.set_seed(seed)
    policy = secateur.PruneForLatencyOnXNNPack()
    with stages.stage("check", "Checking that XNNPACK can run the network sparse"):
        net = _eligible(model, schedule, policy, stages)

    with stages.stage("dense", f"Training the dense network, {baseline_epochs} epochs"):
        training.compile_classifier(net)
        training.fit(net, x_train, y_train, baseline_epochs, BATCH, stages)
    with stages.stage("export_dense", f"Writing {_DENSE}"):
        save_without_optimizer(net, folder / "dense.keras")
        secateur.export(net, folder / _DENSE, sparse="never")

    with stages.stage("pruning", f"Pruning to {sparsity:.0%}, {epochs} epochs of training"):
        training.compile_classifier(net)  # a fresh Adam, as in the tutorial of the toolkit
        secateur.prune(net, schedule, policy=policy)
        logs = training.summaries(folder / "logs", stages)
        training.fit(net, x_train, y_train, epochs, BATCH, stages, logs)
        stages.say(str(secateur.sparsity(net)))
    with stages.stage("export_pruned", f"Writing {_PRUNED} and {_SMALL}"):
        save_without_optimizer(net, folder / "pruned.keras")
        stages.say(str(secateur.export(net, folder / _PRUNED)))
        secateur.export(net, folder / _SMALL, quantize="weights")

    with stages.stage("measuring", f"Measuring all files on {len(x_test):,} test images"):
        rows = measure_files(folder, _FILES, x_test, y_test, _DENSE, compressed=False)
    with stages.stage("benchmark", f"Timing them on {', '.join(on or DEFAULT_TARGETS)}"):
        files = [folder / name for name in _FILES]
        report = secateur.benchmark(*files, on=on, runs=runs, seed=seed)
    return WalkthroughResult(
        title=f"{model} network on {keras.config.backend()}, 1x1 convolutions pruned to {sparsity:.0%}",
        settings={
            "model": model,
            "sparsity": sparsity,
            "epochs": epochs,
            "baseline_epochs": baseline_epochs,
            "seed": seed,
            "end_step": steps,
        },
        data={"source": images.source, "train": len(x_train), "test": len(x_test)},
        backend=keras.config.backend(),
        output=str(folder),
        rows=rows,
        baseline=_DENSE,
        compressed=False,
        seconds=stages.seconds,
        benchmark=report,
    )


def _eligible(
    name: str,
    schedule: secateur.PruningSchedule,
    policy: secateur.PruningPolicy,
    stages: Stages,
) -> keras.Model:
    """Show what the policy says to a first convolution padded "same", and mend it."""
    padded = build_model(name, padding="same")
    training.compile_classifier(padded)
    try:
        secateur.prune(padded, schedule, policy=policy)
    except ValueError as error:
        stages.say(
            f'  With padding="same" in the first layer it cannot. The policy says:\n    {error}'
        )
        for note in getattr(error, "__notes__", []):
            stages.say(f"    {note}")
    stages.say(
        "  The fix: secateur.xnnpack.adapt(model, allow_approximate=True) puts a ZeroPadding2D(1) "
        "before that layer.\n  It is the same layer on images moved by a pixel, so do it before "
        "training or fine-tuning."
    )
    adapted = secateur.xnnpack.adapt(padded, allow_approximate=True)
    stages.say(
        "  GlobalAveragePooling2D needs no keepdims=True, as the toolkit's page says it does: "
        "XNNPACK minds no more."
    )
    return adapted


def _check_sparsity(sparsity: float) -> None:
    if not 2 / 3 < sparsity < 1:
        raise ValueError(
            "XNNPACK runs a network sparse if more than 2/3 of the weights of its 1x1 convolutions are "
            f"zero; give a share above that and below 1. Received: sparsity={sparsity}"
        )


def _network(name: str) -> Network:
    if name not in NETWORKS:
        known = ", ".join(f'"{known}"' for known in NETWORKS)
        raise ValueError(f"There is no such network. Expected {known}. Received: model={name!r}")
    return NETWORKS[name]


def _load(name: str | os.PathLike[str]) -> datasets.Dataset:
    """Images of 32x32x3 between 0 and 1."""
    try:
        images = datasets.load(name)
    except FileNotFoundError as error:
        if os.fspath(name) != "cifar10":
            raise
        raise FileNotFoundError(
            f"{error} To run the same walkthrough on MNIST instead: --data mnist, or "
            'run(data="mnist").'
        ) from error
    (x, y), (x_test, y_test) = images
    if x.ndim == 3:  # grey images
        x, x_test = (_colour(part) for part in (x, x_test))
    classes = int(max(y.max(), y_test.max())) + 1
    if x.shape[1:] != (32, 32, 3) or classes > 10:
        raise ValueError(
            "This walkthrough needs images of 32x32x3, or smaller grey ones, in at most ten classes; "
            f"the data has shape {x.shape} and {classes} classes. Received: data={str(name)!r}"
        )
    x, x_test = (part.astype("float32") / 255 for part in (x, x_test))
    return datasets.Dataset((x, y), (x_test, y_test), images.source)


def _colour(x: np.ndarray) -> np.ndarray:
    """Grey images of up to 32x32 in the middle of colour ones."""
    if max(x.shape[1:]) > 32:
        return x
    around = [(0, 0), *(((32 - n) // 2, 32 - n - (32 - n) // 2) for n in x.shape[1:])]
    return np.repeat(np.pad(x, around)[..., None], 3, axis=-1)
