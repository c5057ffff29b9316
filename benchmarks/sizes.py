"""What a MobileNet takes on disk, to load and in memory, for each way to store it.

    python benchmarks/sizes.py                    # MobileNetV1-224, 90 % zeros in its 1x1 kernels
    python benchmarks/sizes.py --sparsity 0.8 --head --size 96 --output sizes.json

The network is MobileNetV1 with random weights, in the form that XNNPACK can run sparse: one row or
column of zeros around what is convolved with stride 2. Prints a table of quantization times sparse
mode, and writes JSON. Loading is timed in a process of its own for each file; memory is what that
process needs more than before it loaded.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

WORKER = Path(__file__).resolve().parent / "sizes_worker.py"
QUANTIZE = (None, "float16", "weights", "dynamic", "int8")
SPARSE = ("never", "auto", "always")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sparsity", type=float, default=0.9, help="zeros in each 1x1 kernel")
    parser.add_argument("--head", action="store_true", help="prune the classifier too")
    parser.add_argument("--size", type=int, default=224, help="height and width of the images")
    parser.add_argument("--runs", type=int, default=9, help="how often each file is loaded")
    parser.add_argument("--output", type=Path, default=Path("sizes.json"))
    args = parser.parse_args()

    import numpy as np

    import secateur

    model = mobilenet(args.size, args.sparsity, args.head)
    samples = np.random.default_rng(0).random((8, args.size, args.size, 3), "float32")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder, "base.tflite")
        secateur.export(model, base, sparse="never")
        for quantize in QUANTIZE:
            for sparse in SPARSE:
                if (quantize, sparse) == ("dynamic", "always"):
                    continue  # LiteRT does not run it
                print(f"exporting {quantize}, {sparse} ...", file=sys.stderr, flush=True)
                path = Path(folder, f"{quantize}-{sparse}.tflite")
                source = model if quantize in ("dynamic", "int8") else base
                data = samples if quantize == "int8" else None
                report = secateur.export(source, path, quantize, sparse, data)
                rows.append(
                    {
                        "file": path.name,
                        "quantize": quantize or "none",
                        "sparse": sparse,
                        "bytes": report.bytes,
                        "gzip_bytes": report.gzip_bytes,
                        "sparse_weights": sum(weight.is_sparse for weight in report.weights),
                        "run_sparse": len(report.runs_sparse),
                        "max_difference": report.max_difference,
                        "dense_difference": report.dense_difference,
                    }
                )
        for row in rows:
            print(f"loading {row['file']} ...", file=sys.stderr, flush=True)
            row |= measure(Path(folder, row["file"]), args.runs)
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    setting = {"sparsity": args.sparsity, "head": args.head, "size": args.size}
    args.output.write_text(json.dumps({"machine": machine, **setting, "rows": rows}, indent=2))
    print(table(rows))
    print(f"\n{machine}\nwritten to {args.output}")


def mobilenet(size: int, sparsity: float, head: bool):
    """MobileNetV1 of width 1 for 1,000 classes, its 1x1 kernels pruned by magnitude."""
    import keras
    import numpy as np

    layers = keras.layers
    keras.utils.set_random_seed(0)

    def normalized(x):
        return layers.ReLU(6)(layers.BatchNormalization()(x))

    image = keras.Input((size, size, 3), name="image")
    x = layers.Conv2D(32, 3, 2, use_bias=False, name="stem")(layers.ZeroPadding2D(1)(image))
    x = normalized(x)
    blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
    blocks += [(512, 1)] * 5 + [(1024, 2), (1024, 1)]
    for number, (channels, stride) in enumerate(blocks):
        padding = "same"
        if stride == 2:
            x, padding = layers.ZeroPadding2D(1)(x), "valid"
        name = f"depthwise_{number}"
        x = layers.DepthwiseConv2D(3, stride, padding, use_bias=False, name=name)(x)
        x = normalized(x)
        x = normalized(layers.Conv2D(channels, 1, use_bias=False, name=f"pointwise_{number}")(x))
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, layers.Dense(1000, name="classes")(x), name="mobilenet")
    for layer in model.layers:
        if layer.name.startswith("pointwise") or (head and layer.name == "classes"):
            kernel = layer.kernel.numpy()
            layer.kernel.assign(kernel * (np.abs(kernel) >= np.quantile(np.abs(kernel), sparsity)))
    return model


def measure(path: Path, runs: int) -> dict:
    """The median time to load a file, to run it first, and the memory that it takes."""
    done = subprocess.run(
        [sys.executable, str(WORKER), str(path), str(runs)],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    return {
        "load_ms": statistics.median(found["load_ms"]),
        "first_run_ms": statistics.median(found["first_run_ms"]),
        "run_ms": statistics.median(found["run_ms"]),
        "memory_mb": found["memory_mb"],
    }


def table(rows: list[dict]) -> str:
    head = f"{'quantize':<10}{'sparse':<8}{'MB':>8}{'gzip MB':>9}{'sparse':>8}{'fast':>6}"
    head += f"{'load ms':>9}{'run ms':>8}{'memory MB':>11}"
    lines = [head]
    for row in rows:
        lines.append(
            f"{row['quantize']:<10}{row['sparse']:<8}{row['bytes'] / 1e6:>8.2f}"
            f"{row['gzip_bytes'] / 1e6:>9.2f}{row['sparse_weights']:>8}{row['run_sparse']:>6}"
            f"{row['load_ms']:>9.1f}{row['run_ms']:>8.1f}{row['memory_mb']:>11.1f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
