"""Load and run damaged files until one brings the process down: `hostile_worker.py KIND SEED COUNT`.

Prints the number of each file before it touches it, and what became of it: its parent knows which
one it was.
"""

import contextlib
import resource
import sys
import time

import numpy as np
from runtime_files import File

from secateur.litert import read_model, write_model
from secateur.runtime import Interpreter


def network(floor):
    """Every way to store weights, every kind of operator; small, so that most bytes matter.

    With `floor` there is one that only LiteRT has, which then also finds the shapes.
    """
    file = File()
    x = file.input((1, 10, 10, 3), signature=(-1, 10, 10, 3))
    y = file.conv(x, 8, 3, 2, activation="relu6", zeros=0)
    y = file.pad(y, [(0, 0), (1, 1), (1, 1), (0, 0)])
    y = file.depthwise(y, 3, 2, padding=1, how="int8")
    for how, sparse in (("float32", True), ("float16", True), ("int8", False), ("float32", False)):
        z = file.conv(y, 8, how=how, sparse=sparse, zeros=0.8)
        y = file.binary("ADD", z, y, "relu")
    gate = file.unary("LOGISTIC", file.conv(file.mean(y), 8))
    y = file.binary("MUL", y, gate)
    other = file.floor(y) if floor else file.unary("ABS", y)
    y = file.resize("bilinear", file.concat([y, other]), (6, 4))
    y = file.pool("average", y, 2, 2)
    y = file.slice(y, [0, 1, 0, 2], [1, 2, 2, 9])
    y = file.reshape(y, (1, 36))
    return file.file([file.softmax(file.dense(y, 5))])


def flipped(data, rng):
    """A few bits are flipped."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 6)):
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    return bytes(data)


def cut(data, rng):
    """The end is missing, or a part in the middle."""
    if rng.random() < 0.5:
        return data[: rng.integers(len(data))]
    start = int(rng.integers(len(data)))
    return data[:start] + data[start + int(rng.integers(1, 64)) :]


MOST_BYTES = 8 << 30
NUMBERS = [0, 1, -1, 2, 3, 127, 255, 2**15, 2**16, 2**24, 2**30, 2**31 - 1, -(2**31)]


def overwritten(data, rng):
    """Aligned words are replaced by numbers that tend to be trouble."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        place = 4 * int(rng.integers(1, len(data) // 4))
        data[place : place + 4] = np.array(rng.choice(NUMBERS), "<i4").tobytes()
    return bytes(data)


def edited(data, rng):
    """Objects say what cannot be: shapes, indices, options, types, scales, weights."""
    model = read_model(data)
    graph = model.subgraphs[0]
    for _ in range(rng.integers(1, 3)):
        edit(model, graph, rng)
    with contextlib.suppress(Exception):  # some of it cannot even be written
        return write_model(model)
    return data


def edit(model, graph, rng):
    tensor = graph.tensors[rng.integers(len(graph.tensors))]
    operator = graph.operators[rng.integers(len(graph.operators))]
    number = int(rng.choice([0, 1, 2, 3, 5, 7, 64, 1000, 2**14, 2**31 - 1]))
    kind = rng.integers(8)
    if kind == 0 and len(tensor.shape):
        tensor.shape = np.array(tensor.shape)
        tensor.shape[rng.integers(len(tensor.shape))] = number
    elif kind == 1:
        tensor.shape = rng.choice([1, 2, 3, 8], rng.integers(0, 6)).astype(np.int32)
    elif kind == 2:
        tensor.type = int(rng.integers(0, 18))
    elif kind == 3:
        name = "inputs" if rng.random() < 0.7 else "outputs"
        tensors = np.array(getattr(operator, name))
        tensors[rng.integers(len(tensors))] = rng.integers(-1, len(graph.tensors))
        setattr(operator, name, tensors)
    elif kind == 4 and operator.builtinOptions is not None:
        fields = [k for k, v in vars(operator.builtinOptions).items() if isinstance(v, int | float)]
        if fields:
            setattr(operator.builtinOptions, rng.choice(fields), number)
    elif kind == 5:
        operator.opcodeIndex = int(rng.integers(len(model.operatorCodes)))
    elif kind == 6 and tensor.quantization is not None and tensor.quantization.scale is not None:
        scales = np.array(tensor.quantization.scale)
        scales[:] = rng.choice([0, np.nan, np.inf, -1])
        tensor.quantization.scale = scales
    elif kind == 7:
        buffer = model.buffers[tensor.buffer]
        if buffer.data is not None and len(buffer.data) >= 4:
            content = bytearray(np.asarray(buffer.data).tobytes())
            for _ in range(3):
                place = 4 * int(rng.integers(len(content) // 4))
                content[place : place + 4] = np.array(rng.choice(NUMBERS), "<i4").tobytes()
            buffer.data = np.frombuffer(bytes(content), np.uint8)


DAMAGE = {"flipped": flipped, "cut": cut, "overwritten": overwritten, "edited": edited}


def run(data, native):
    """Load a file, look at everything, and run it twice."""
    interpreter = Interpreter(model_content=data, native=native)
    interpreter.allocate_tensors()
    for batch in (None, 2):
        if batch:
            entry = interpreter.get_input_details()[0]
            interpreter.resize_tensor_input(entry["index"], [batch, *entry["shape"][1:]])
            interpreter.allocate_tensors()
        for entry in interpreter.get_input_details():
            value = np.ones(entry["shape"], entry["dtype"])
            interpreter.set_tensor(entry["index"], value)
        interpreter.invoke()
        for entry in interpreter.get_output_details():
            interpreter.get_tensor(entry["index"])
    str(interpreter.plan())


def main():
    kind, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    # One flipped bit in a shape makes a sound model of more memory than there is.
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    sound = [network(floor=True), network(floor=False)]
    for data in sound:
        run(data, "always")
    for number in range(seed, seed + count):
        damaged = DAMAGE[kind](sound[number % 2], np.random.default_rng(number))
        print(number, end=" ", flush=True)
        start = time.perf_counter()
        try:
            run(damaged, "always")
            said = "ran"
        except Exception as error:
            said = type(error).__name__
        print(said, f"{time.perf_counter() - start:.2f}", flush=True)


if __name__ == "__main__":
    main()
