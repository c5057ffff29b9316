"""Runs one model in one engine whenever told: `python runtime_worker.py ENGINE MODEL THREADS REPEATS`.

Reads lines from standard input. For each it runs the model once, not timed, so that caches hold it,
then REPEATS times, and answers with the milliseconds of each as JSON. The first answer, before any
line, says what it is. Needs only numpy and the engine, so that it runs in any environment.
"""

import json
import sys
import time

import numpy as np


def litert(path, threads):
    from ai_edge_litert.interpreter import Interpreter

    return through_interpreter(Interpreter(model_path=path, num_threads=threads)), {}


def secateur(path, threads):
    from secateur.runtime import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=threads)
    run = through_interpreter(interpreter)
    plan = interpreter.plan()
    work = sum(layer.multiply_adds for layer in interpreter.profile(1).layers)
    layers = f"{len(plan.native)} of {len(plan.layers)} layers native"
    return run, {"isa": plan.isa, "layers": layers, "multiply_adds": work}


def through_interpreter(interpreter):
    entry = interpreter.get_input_details()[0]
    shape = [1, 224, 224, 3]
    interpreter.resize_tensor_input(entry["index"], shape)
    interpreter.allocate_tensors()
    image = np.random.default_rng(0).random(shape)
    if entry["dtype"] != np.float32:
        image = np.rint(image * 255 - 128)
    interpreter.set_tensor(entry["index"], image.astype(entry["dtype"]))
    return interpreter.invoke


def onnxruntime(path, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).random((1, 3, 224, 224)).astype("float32")
    name = session.get_inputs()[0].name
    return (lambda: session.run(None, {name: image})), {"version": onnxruntime.__version__}


def deepsparse(path, threads):
    import deepsparse

    engine = deepsparse.Engine(path, batch_size=1, num_cores=threads)
    image = [np.random.default_rng(0).random((1, 3, 224, 224)).astype("float32")]
    return (lambda: engine.run(image)), {"version": deepsparse.__version__}


ENGINES = {
    "litert": litert,
    "secateur": secateur,
    "onnxruntime": onnxruntime,
    "deepsparse": deepsparse,
}


def main():
    engine, path, threads, repeats = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    run, facts = ENGINES[engine](path, threads)
    run()
    print("READY " + json.dumps(facts), flush=True)
    for _ in sys.stdin:
        run()
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            run()
            times.append((time.perf_counter() - start) * 1e3)
        print("TIMES " + json.dumps(times), flush=True)


if __name__ == "__main__":
    main()
