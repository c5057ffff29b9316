"""One process of `overhead.py`: `overhead_worker.py secateur|tfmot ROUNDS|mask`. Prints JSON."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

STEPS, BATCH, FREQUENCY = 100, 32, 100


def build(keras: Any, kind: str) -> Any:
    layers = keras.layers
    keras.utils.set_random_seed(0)
    if kind == "MLP, 3.0 M":
        stack = [keras.Input((784,))]
        stack += [layers.Dense(1024, activation="relu") for _ in range(3)]
    else:
        stack = [keras.Input((28, 28, 1))]
        for filters in (32, 64):
            stack += [layers.Conv2D(filters, 3, activation="relu"), layers.MaxPooling2D()]
        stack += [layers.Flatten(), layers.Dense(128, activation="relu")]
    return keras.Sequential([*stack, layers.Dense(10)])


def compile_model(keras: Any, model: Any) -> Any:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(), loss)
    return model


def plain(keras: Any, kind: str) -> tuple[Any, list]:
    return compile_model(keras, build(keras, kind)), []


def pruned_by_secateur(keras: Any, kind: str) -> tuple[Any, list]:
    import secateur

    model = compile_model(keras, build(keras, kind))
    secateur.prune(model, secateur.ConstantSparsity(0.8, begin_step=0, frequency=FREQUENCY))
    return model, []


def pruned_by_tfmot(keras: Any, kind: str) -> tuple[Any, list]:
    import tensorflow_model_optimization as tfmot

    sparsity = tfmot.sparsity.keras
    schedule = sparsity.ConstantSparsity(0.8, begin_step=0, frequency=FREQUENCY)
    model = sparsity.prune_low_magnitude(build(keras, kind), pruning_schedule=schedule)
    return compile_model(keras, model), [sparsity.UpdatePruningStep()]


def measure_steps(keras: Any, kind: str, pruned: Callable, rounds: int) -> dict:
    shape = (STEPS * BATCH, 784) if kind.startswith("MLP") else (STEPS * BATCH, 28, 28, 1)
    rng = np.random.default_rng(0)
    x = rng.random(shape, dtype=np.float32)
    y = rng.integers(0, 10, len(x))
    ratios, null_ratios, plain_times = [], [], []
    # Equal models differ by a per cent or two, by where their memory lies: several copies average.
    copies = min(3, rounds)
    for copy in range(copies):
        keras.backend.clear_session()
        contenders = [make(keras, kind) for make in (plain, pruned, plain)]

        def train(contender: tuple[Any, list]) -> float:
            model, callbacks = contender
            start = time.perf_counter()
            model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0, callbacks=list(callbacks))
            return time.perf_counter() - start

        for contender in contenders:
            train(contender)
        for i in range(copy, rounds, copies):
            order = [0, 1, 2] if i % 2 else [2, 1, 0]
            times = {j: train(contenders[j]) for j in order}
            ratios.append(times[1] / times[0])
            ratios.append(times[1] / times[2])
            null_ratios.append(times[2] / times[0])
            plain_times.append((times[0] + times[2]) / 2)
    return {
        "plain_ms": float(np.median(plain_times)) / STEPS * 1e3,
        "ratio": float(np.median(ratios)),
        "quartiles": [float(q) for q in np.quantile(ratios, [0.25, 0.75])],
        "null_ratio": float(np.median(null_ratios)),
        "rounds": rounds,
    }


def measure_mask(update: Callable[[], Any], weights: np.ndarray) -> dict:
    """Times a mask update against numpy, in turn; 2048 x 2048 weights, 80 % to go."""
    magnitudes = np.abs(weights).ravel()
    k = int(0.8 * magnitudes.size)
    contenders = {
        "update_ms": update,
        "partition_ms": lambda: np.partition(magnitudes, k),
        "abs_partition_ms": lambda: np.partition(np.abs(weights).ravel(), k),
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for i in range(33):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            if i >= 3:
                times[name].append(time.perf_counter() - start)
    result = {name: float(np.median(t)) * 1e3 for name, t in times.items()}
    result["ratio_to_partition"] = result["update_ms"] / result["partition_ms"]
    result["ratio_to_abs_partition"] = result["update_ms"] / result["abs_partition_ms"]
    return result


def secateur_update(weights: np.ndarray) -> Callable[[], Any]:
    """The mask update as a training step runs it: in a compiled function on TensorFlow and JAX."""
    import keras

    from secateur import _backend
    from secateur.groups import PruningGroup, Target
    from secateur.schedules import ConstantSparsity

    kernel = keras.Variable(weights, name="kernel")
    mask = keras.Variable(np.ones(weights.shape, bool), dtype="bool", trainable=False, name="mask")
    targets = [Target("kernel", 0, weights.shape, 0.8)]
    compute = PruningGroup(ConstantSparsity(0.8, 0), targets=targets).compute_masks
    if keras.backend.backend() == "torch":
        return lambda: _backend.update_masks(True, [kernel], [mask], 0.8, compute)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        @tf.function
        def update(due: Any) -> None:
            _backend.update_masks(due, [kernel], [mask], tf.constant(0.8), compute)

        due = tf.constant(True)
        return lambda: update(due)
    import jax
    from keras import ops

    compiled = jax.jit(lambda value, sparsity: compute([value], sparsity, ops))
    return lambda: jax.block_until_ready(compiled(kernel.value, np.float32(0.8)))


def tfmot_update(weights: np.ndarray) -> Callable[[], Any]:
    import tensorflow as tf
    from tensorflow_model_optimization.python.core.sparsity.keras import (
        pruning_impl,
        pruning_schedule,
    )

    schedule = pruning_schedule.ConstantSparsity(0.8, 0)
    pruning = pruning_impl.Pruning(lambda: 0, lambda: [], schedule, (1, 1), "AVG")
    values = tf.constant(weights)
    pruning._step_fn = lambda: tf.constant(0)
    update = tf.function(lambda w: pruning._update_mask(w))
    return lambda: update(values)


def main() -> None:
    engine, what = sys.argv[1:]
    if engine == "tfmot":
        import tf_keras as keras
    else:
        import keras
    if what == "mask":
        weights = np.random.default_rng(0).standard_normal((2048, 2048)).astype("float32")
        update = tfmot_update(weights) if engine == "tfmot" else secateur_update(weights)
        print(json.dumps(measure_mask(update, weights)))
        return
    pruned = pruned_by_tfmot if engine == "tfmot" else pruned_by_secateur
    kinds = ("MLP, 3.0 M", "CNN, 0.2 M")
    print(json.dumps({"steps": {k: measure_steps(keras, k, pruned, int(what)) for k in kinds}}))


if __name__ == "__main__":
    main()
