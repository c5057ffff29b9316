"""What sparsity brings in a browser: MobileNetV1 and V2 in WebAssembly, by LiteRT.js in Node.

    python benchmarks/web.py                          # both networks, 70 to 95 % zeros
    python benchmarks/web.py --networks v1 --zeros 0.9 --runs 100
    python benchmarks/web.py --on arm64 --zeros 0.9   # instructions instead, after a set-up

The networks are built here from plain Keras layers in the form that XNNPACK runs sparse, with random
weights, so that size, speed and numbers are real, and accuracy is not spoken of. The weights of the
1x1 convolutions are pruned by magnitude and the files written by `secateur.export`; the dense file
holds weights without zeros, so that outputs differ from its outputs: what counts is that each file
gives what LiteRT gives. Prints ratios first and writes JSON. Needs TensorFlow for its converter, and
Node with npm.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import secateur

layers = keras.layers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--zeros", nargs="*", type=float, default=[0.7, 0.8, 0.85, 0.9, 0.95])
    parser.add_argument("--size", type=int, default=224, help="the side of the images")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--on", nargs="*", default=["web"])
    parser.add_argument("--output", type=Path, default=Path("web.json"))
    args = parser.parse_args()

    reports = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in args.networks:
            files = write_files(name, args.size, args.zeros, Path(folder))
            reports[name] = secateur.benchmark(
                *files, on=args.on, runs=args.runs, progress=progress
            )
            print(file=sys.stderr)
    results = {name: report.to_dict() for name, report in reports.items()}
    machine = f"{platform.platform()}, {os.cpu_count()} CPUs"
    args.output.write_text(json.dumps({"machine": machine, "results": results}, indent=2))
    for name, report in reports.items():
        print(f"{TITLES[name]}, {args.size}x{args.size}\n{report}\n")
    print(f"{machine}\nwritten to {args.output}")


def write_files(name: str, size: int, zeros: list[float], folder: Path) -> list[Path]:
    """A dense file, and a sparse one for each share of zeros, all of the same initial weights."""
    files = []
    for share in (0.0, *zeros):
        label = f"{share:.0%}" if share else "dense"
        path = folder / f"{name}-{label}.tflite"
        progress(f"writing {path.name}")
        keras.utils.set_random_seed(0)
        model = NETWORKS[name](size)
        prune_pointwise(model, share)
        secateur.export(model, path, sparse="auto" if share else "never")
        files.append(path)
    return files


def prune_pointwise(model: keras.Model, share: float) -> None:
    """Set the smallest weights of each 1x1 convolution to zero."""
    for layer in model.layers:
        if type(layer) is layers.Conv2D and layer.kernel_size == (1, 1):
            kernel = np.array(keras.ops.convert_to_numpy(layer.kernel))
            smallest = np.argsort(np.abs(kernel), axis=None)[: round(share * kernel.size)]
            kernel.flat[smallest] = 0
            layer.kernel.assign(kernel)


def mobilenet_v1(size: int) -> keras.Model:
    """MobileNet 1.0 (Howard et al., 2017), padded as XNNPACK wants it."""
    image = keras.Input((size, size, 3))
    x = stem(image)
    blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5]
    for channels, stride in [*blocks, (1024, 2), (1024, 1)]:
        x = pointwise(depthwise(x, stride), channels)
    return keras.Model(image, layers.Dense(1000)(layers.GlobalAveragePooling2D()(x)))


def mobilenet_v2(size: int) -> keras.Model:
    """MobileNetV2 1.0 (Sandler et al., 2018), padded as XNNPACK wants it."""
    image = keras.Input((size, size, 3))
    x = stem(image)
    stages = [
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ]
    for expansion, channels, repeats, first_stride in stages:
        for stride in (first_stride, *[1] * (repeats - 1)):
            y = pointwise(x, expansion * x.shape[-1]) if expansion > 1 else x
            y = layers.Conv2D(channels, 1)(depthwise(y, stride))
            x = layers.Add()([x, y]) if stride == 1 and x.shape[-1] == channels else y
    x = pointwise(x, 1280)
    return keras.Model(image, layers.Dense(1000)(layers.GlobalAveragePooling2D()(x)))


def stem(x):
    return layers.ReLU(6.0)(layers.Conv2D(32, 3, strides=2)(layers.ZeroPadding2D(1)(x)))


def depthwise(x, stride: int):
    if stride == 2:
        y = layers.DepthwiseConv2D(3, strides=2)(layers.ZeroPadding2D(1)(x))
    else:
        y = layers.DepthwiseConv2D(3, padding="same")(x)
    return layers.ReLU(6.0)(y)


def pointwise(x, channels: int):
    return layers.ReLU(6.0)(layers.Conv2D(channels, 1)(x))


def progress(text: str) -> None:
    print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


NETWORKS = {"v1": mobilenet_v1, "v2": mobilenet_v2}
TITLES = {"v1": "MobileNetV1 1.0", "v2": "MobileNetV2 1.0"}


if __name__ == "__main__":
    main()
