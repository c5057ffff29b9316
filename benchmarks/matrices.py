"""How much faster LiteRT multiplies sparse matrices in blocks of 1x4 than dense ones.

    python benchmarks/matrices.py
    python benchmarks/matrices.py --sizes 1024x1024 300x784 --zeros 0.8 0.9 --rows 1 8 32

Random float32 weights of which whole blocks of four inputs are zero, written by `secateur.export`;
the interpreter with one thread, dense and sparse file in turn. Prints the ratios of the fastest runs
(above 1: sparse is faster), and writes JSON.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from secateur.litert import read_model, write_model
from secateur.litert.graph import add_buffer
from secateur.litert.matrices import use_sparse_kernel
from secateur.litert.weights import find_weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="*", default=["1024x1024", "300x784", "128x128", "64x128"])
    parser.add_argument("--zeros", nargs="*", type=float, default=[0.7, 0.8, 0.85, 0.9, 0.95])
    parser.add_argument("--rows", nargs="*", type=int, default=[1, 8, 32, 128])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--output", type=Path, default=Path("matrices.json"))
    args = parser.parse_args()

    results = []
    print(f"{'size':<12}{'zeros':>6}" + "".join(f"{f'{rows} rows':>10}" for rows in args.rows))
    with tempfile.TemporaryDirectory() as folder:
        for size in args.sizes:
            outputs, inputs = map(int, size.split("x"))
            for zeros in args.zeros:
                line = f"{size:<12}{zeros:>6.0%}"
                for rows in args.rows:
                    dense, sparse = write_files(Path(folder), outputs, inputs, zeros, rows)
                    times = fastest([dense, sparse], (rows, inputs), args.runs)
                    line += f"{times[0] / times[1]:>10.2f}"
                    results.append(
                        {"size": size, "zeros": zeros, "rows": rows, "ms": [1e3 * t for t in times]}
                    )
                print(line, flush=True)
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs"
    args.output.write_text(json.dumps({"machine": machine, "results": results}, indent=2))
    print(f"\n{machine}\nwritten to {args.output}")


def write_files(folder: Path, outputs: int, inputs: int, zeros: float, rows: int) -> list[Path]:
    """The same matrix, dense and in the form of LiteRT's sparse kernel."""
    generator = np.random.default_rng(0)
    kept = generator.random((outputs, inputs // 4)) >= zeros
    weights = np.repeat(kept, 4, axis=1) * generator.normal(size=(outputs, inputs))
    model = schema.ModelT(
        version=3,
        buffers=[schema.BufferT()],
        operatorCodes=[schema.OperatorCodeT(deprecatedBuiltinCode=9, builtinCode=9)],
    )
    shapes = [(rows, inputs), (outputs, inputs), (rows, outputs)]
    tensors = [schema.TensorT(shape=np.array(shape, "int32")) for shape in shapes]
    tensors[1].buffer = add_buffer(model, weights.astype("float32"))
    operator = schema.OperatorT(
        inputs=[0, 1, -1],
        outputs=[2],
        builtinOptionsType=schema.BuiltinOptions.FullyConnectedOptions,
        builtinOptions=schema.FullyConnectedOptionsT(),
    )
    graph = schema.SubGraphT(tensors=tensors, inputs=[0], outputs=[2], operators=[operator])
    model.subgraphs = [graph]
    dense, sparse = folder / "dense.tflite", folder / "sparse.tflite"
    dense.write_bytes(write_model(model))
    model = read_model(dense)
    use_sparse_kernel(model, find_weights(model))
    sparse.write_bytes(write_model(model))
    return [dense, sparse]


def fastest(files: list[Path], shape: tuple[int, int], runs: int) -> list[float]:
    """The seconds of the fastest run of each file."""
    x = np.random.default_rng(1).normal(size=shape).astype("float32")
    interpreters = []
    for file in files:
        interpreter = Interpreter(model_content=file.read_bytes(), num_threads=1)
        interpreter.allocate_tensors()
        interpreter.set_tensor(0, x)
        interpreters.append(interpreter)
    best = [float("inf")] * len(files)
    for _ in range(runs):
        for i, interpreter in enumerate(interpreters):
            start = time.perf_counter()
            interpreter.invoke()
            best[i] = min(best[i], time.perf_counter() - start)
    return best


if __name__ == "__main__":
    main()
