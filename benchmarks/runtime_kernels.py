"""Times the native kernels alone on MobileNetV1-224's layers, against what the processor can do.

    python benchmarks/runtime_kernels.py [--isa avx2] [--threads 2] [--network] [--json FILE]

Prints a row for each distinct layer: milliseconds (the best of some runs, all layers taking turns),
billions of useful multiply-adds a second, and which part that is of the peak, which a loop of
multiply-adds in registers measures. Asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from secateur.runtime._composer import Composer
from secateur.runtime._forms import RELU6, Epilogue, Window
from secateur.runtime._program import isas, peak
from secateur.runtime._pruned import Pruned

# Input channels, output channels, output height and width, how many there are.
POINTWISE = [
    *[(32, 64, 112, 1), (64, 128, 56, 1), (128, 128, 56, 1), (128, 256, 28, 1), (256, 256, 28, 1)],
    *[(256, 512, 14, 1), (512, 512, 14, 5), (512, 1024, 7, 1), (1024, 1024, 7, 1)],
]
# Channels, input height and width, stride, how many there are.
DEPTHWISE = [
    *[(32, 112, 1, 1), (64, 112, 2, 1), (128, 56, 1, 1), (128, 56, 2, 1), (256, 28, 1, 1)],
    *[(256, 28, 2, 1), (512, 14, 1, 5), (512, 14, 2, 1), (1024, 7, 1, 1)],
]


@dataclass
class Layer:
    """A program of a layer alone, its multiply-adds, and how often the network has it."""

    name: str
    program: Composer
    data: list[np.ndarray]
    count: int
    operation: int
    best: float = field(default=float("inf"))

    def run(self, threads: int) -> None:
        """Runs it once and keeps the time of its layer if it is the best."""
        times = np.zeros(self.program.operations)
        self.program.run(self.data, threads=threads, seconds=times)
        self.best = min(self.best, times[self.operation])


def start(isa: str, channels: int, size: int) -> tuple[Composer, int, list[np.ndarray]]:
    program = Composer(isa)
    shape = (channels, size, size)
    source, value = program.input(shape), program.value(shape)
    program.to_chw(source, value)
    data = np.random.default_rng(0).normal(size=(1, size, size, channels)).astype("float32")
    return program, value, [data]


def end(program: Composer, value: int, shape: tuple[int, int, int]) -> None:
    # An output of one number is enough to keep the value in use.
    small = program.value((shape[0], 1, 1))
    program.slice(value, small, (0, 0, 0))
    program.to_nhwc(small, program.output((shape[0], 1, 1)))
    program.finalize(1)


def pointwise(isa: str, inputs: int, outputs: int, size: int, count: int, zeros: float) -> Layer:
    program, value, data = start(isa, inputs, size)
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(outputs, inputs)).astype("float32")
    weights[rng.random(weights.shape) < zeros] = 0
    shape = (outputs, size, size)
    out = program.value(shape)
    bias = np.zeros(outputs, "float32")
    pruned = Pruned(weights, keep=True)
    program.sparse_conv2d(value, out, pruned, bias, epilogue=Epilogue(RELU6))
    end(program, out, shape)
    return Layer(f"1x1 {size}x{size} {inputs}>{outputs}", program, data, count, 1)


def depthwise(isa: str, channels: int, size: int, stride: int, count: int) -> Layer:
    program, value, data = start(isa, channels, size)
    shape = (channels, size // stride + size % stride, size // stride + size % stride)
    before = 1 if stride == 1 or size % 2 else 0
    window = Window((3, 3), (stride, stride), (before, before, 1, 1))
    weights = np.random.default_rng(2).normal(size=(3, 3, channels)).astype("float32")
    out = program.value(shape)
    bias = np.zeros(channels, "float32")
    program.depthwise_conv2d(value, out, weights, bias, window, Epilogue(RELU6))
    end(program, out, shape)
    return Layer(f"depthwise {size}x{size} {channels} stride {stride}", program, data, count, 1)


def stem(isa: str) -> Layer:
    program = Composer(isa)
    source, out = program.input((3, 224, 224)), program.value((32, 112, 112))
    weights = np.random.default_rng(3).normal(size=(32, 3, 3, 3)).astype("float32")
    window = Window((3, 3), (2, 2), (0, 0, 1, 1))
    program.conv2d(source, out, weights, np.zeros(32, "float32"), window, Epilogue(RELU6))
    end(program, out, (32, 112, 112))
    data = np.random.default_rng(0).normal(size=(1, 224, 224, 3)).astype("float32")
    return Layer("3x3 stem 224x224 3>32", program, [data], 1, 0)


def head(isa: str) -> Layer:
    program, value, data = start(isa, 1024, 1)
    weights = np.random.default_rng(3).normal(size=(1000, 1, 1, 1024)).astype("float32")
    out = program.value((1000, 1, 1))
    program.conv2d(value, out, weights, np.zeros(1000, "float32"))
    end(program, out, (1000, 1, 1))
    return Layer("dense head 1024>1000", program, data, 1, 1)


def network(isa: str, zeros: float) -> tuple[Composer, np.ndarray]:
    """All of MobileNetV1-224 in one program: layers take turns by rows, which no layer alone shows."""
    rng = np.random.default_rng(4)
    program = Composer(isa)
    source, x = program.input((3, 224, 224)), program.value((32, 112, 112))
    weights = rng.normal(size=(32, 3, 3, 3)).astype("float32")
    program.conv2d(source, x, weights, None, Window((3, 3), (2, 2), (0, 0, 1, 1)), Epilogue(RELU6))
    blocks = [((32, 112, 1), (32, 64, 112)), ((64, 112, 2), (64, 128, 56))]
    blocks += [((128, 56, 1), (128, 128, 56)), ((128, 56, 2), (128, 256, 28))]
    blocks += [((256, 28, 1), (256, 256, 28)), ((256, 28, 2), (256, 512, 14))]
    blocks += [((512, 14, 1), (512, 512, 14))] * 5
    blocks += [((512, 14, 2), (512, 1024, 7)), ((1024, 7, 1), (1024, 1024, 7))]
    for (channels, _, stride), (_, outputs, size) in blocks:
        shape = (channels, size, size)
        y = program.value(shape)
        before = 2 - stride
        window = Window((3, 3), (stride, stride), (before, before, 1, 1))
        kernel = rng.normal(size=(3, 3, channels)).astype("float32") / 3
        program.depthwise_conv2d(x, y, kernel, None, window, Epilogue(RELU6))
        x = program.value((outputs, size, size))
        matrix = rng.normal(size=(outputs, channels)).astype("float32") / channels**0.5
        matrix[rng.random(matrix.shape) < zeros] = 0
        program.sparse_conv2d(y, x, Pruned(matrix, keep=True), epilogue=Epilogue(RELU6))
    pooled, scores = program.value((1024, 1, 1)), program.value((1000, 1, 1))
    program.mean(x, pooled)
    program.conv2d(pooled, scores, rng.normal(size=(1000, 1, 1, 1024)).astype("float32"))
    program.to_nhwc(scores, program.output((1000, 1, 1)))
    program.finalize()
    return program, rng.normal(size=(1, 224, 224, 3)).astype("float32")


def measure_network(isa: str, zeros: float, rounds: int, threads: int, top: float) -> dict:
    program, image = network(isa, zeros)
    best, whole = np.full(program.operations, np.inf), float("inf")
    for _ in range(rounds * 5):
        times = np.zeros(program.operations)
        program.run([image], threads=threads, seconds=times)
        best = np.minimum(best, times)
        start_time = time.perf_counter()
        program.run([image], threads=threads)
        whole = min(whole, time.perf_counter() - start_time)
    print(f"\nMobileNetV1-224, {zeros:.0%} zeros in 1x1: {whole * 1e3:.3f} ms")
    rows = []
    for i, seconds in enumerate(best):
        adds = program.multiply_adds(i) / seconds / 1e9
        print(f"  {seconds * 1e3:8.4f} ms {adds:7.1f} G/s {adds / top:5.0%}  {program.describe(i)}")
        rows.append({"layer": program.describe(i), "ms": seconds * 1e3, "gmas": adds})
    return {"zeros": zeros, "ms": whole * 1e3, "layers": rows}


def measure(layers: list[Layer], rounds: int, threads: int) -> None:
    for layer in layers:
        layer.run(threads)
    for _ in range(rounds):
        for layer in layers:
            for _ in range(3):  # the first one warms the caches
                layer.run(threads)


def table(title: str, layers: list[Layer], top: float) -> dict:
    print(f"\n{title}")
    rows = []
    for layer in layers:
        adds = layer.program.multiply_adds(layer.operation) / layer.best / 1e9
        text = f"{layer.best * 1e3:8.4f} ms x{layer.count} {adds:7.1f} G/s {adds / top:5.0%}"
        print(f"  {layer.name:34}{text}  {layer.program.describe(layer.operation)}")
        rows.append(
            {"layer": layer.name, "ms": layer.best * 1e3, "count": layer.count, "gmas": adds}
        )
    total = sum(layer.best * layer.count for layer in layers)
    done = sum(layer.program.multiply_adds(layer.operation) * layer.count for layer in layers)
    adds = done / total / 1e9
    print(f"  {'all':34}{total * 1e3:8.4f} ms    {adds:7.1f} G/s {adds / top:5.0%}")
    return {"title": title, "ms": total * 1e3, "layers": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--isa", choices=isas(), default=isas()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--zeros", type=float, nargs="+", default=[0.75, 0.9, 0.95])
    parser.add_argument("--network", action="store_true", help="only the whole network")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    groups = (
        {}
        if args.network
        else {
            f"1x1 convolutions, {zeros:.0%} zeros": [
                pointwise(args.isa, *p, zeros) for p in POINTWISE
            ]
            for zeros in args.zeros
        }
    )
    if not args.network:
        groups["depthwise convolutions"] = [depthwise(args.isa, *d) for d in DEPTHWISE]
        groups["first and last layer"] = [stem(args.isa), head(args.isa)]
    top = peak(args.isa)
    for layers in groups.values():
        measure(layers, args.rounds, args.threads)
    top = max(top, peak(args.isa)) * args.threads
    print(f"{args.isa}, {args.threads} thread(s), peak {top:.1f} billion multiply-adds a second")
    found = [table(title, layers, top) for title, layers in groups.items()]
    whole = [measure_network(args.isa, z, args.rounds, args.threads, top) for z in args.zeros]
    if args.json:
        results = {"isa": args.isa, "threads": args.threads, "peak": top, "groups": found}
        results["networks"] = whole
        args.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
