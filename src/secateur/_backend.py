"""Everything that differs between TensorFlow, JAX and PyTorch, in one place.

Variables here are `keras.Variable`s: kernels, and the bool masks of the same shape.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

Pairs = Sequence[tuple[Any, Any]]


def concrete(x: Any) -> np.ndarray | None:
    """Returns the value of a tensor or variable, or None inside a function being traced."""
    backend = keras.backend.backend()
    value = x.value if isinstance(x, keras.Variable) else x
    if backend == "jax":
        import jax

        if isinstance(value, jax.core.Tracer):
            return None
    elif backend == "tensorflow":
        import tensorflow as tf

        if not tf.executing_eagerly():
            return None
    return ops.convert_to_numpy(value)


def outside_graphs() -> contextlib.AbstractContextManager[Any]:
    """In this context, operations on constants and assignments to variables happen at once.

    Even while TensorFlow traces a function, and, operations only, while JAX does.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.init_scope()
    if backend == "jax":
        import jax

        return jax.ensure_compile_time_eval()
    return contextlib.nullcontext()


def uncompiled(function: Callable[..., None], *args: Any) -> None:
    """Calls a function such that `torch.compile` leaves it alone.

    It would make a graph of each of the first steps, since each has another number; and a copy of a
    counter, x + 0, the very counter (PyTorch 2.13).
    """
    if keras.backend.backend() == "torch":
        import torch

        if torch.compiler.is_compiling():
            function = torch.compiler.disable(function)
    function(*args)


def scope_of(model: Any) -> contextlib.AbstractContextManager[Any]:
    """In this context, variables are made where the model's are: TensorFlow's `strategy.scope()`."""
    if keras.backend.backend() != "tensorflow" or not hasattr(model, "distribute_strategy"):
        return contextlib.nullcontext()
    return model.distribute_strategy.scope()


def magnitude_bits(x: Any) -> Any:
    """Returns int32 whose order is the order of |x|: the bits of a float32 without its sign."""
    x = ops.cast(x, "float32")
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        bits = jax.lax.bitcast_convert_type(x, "int32")
    elif backend == "tensorflow":
        import tensorflow as tf

        bits = tf.bitcast(x, tf.int32)
    else:
        import torch

        bits = x.view(torch.int32)
    return ops.bitwise_and(bits, 0x7FFFFFFF)


def not_hoisted(x: Any, turn: Any) -> Any:
    """Returns x, in a loop's body such that XLA does not compute things from it before the loop.

    It would keep them in memory as large as x; in the loop they cost nothing.

    Args:
        x: A tensor from outside of the loop.
        turn: A value of the loop's state.
    """
    if keras.backend.backend() != "jax":
        return x
    import jax

    return jax.lax.optimization_barrier((x, turn))[0]


def count_rows(x: Any) -> Any:
    """Returns how many elements of each x[i] are true, as int32; x is bool, (rows, up to 64, n)."""
    if keras.backend.backend() != "jax":
        return ops.sum(ops.cast(x, "int32"), axis=(1, 2))
    # XLA's CPU compiler widens to int32 before it adds; adding int8 first (no overflow, with 64) lets
    # it work on bytes, and makes the count three times as fast.
    import jax.numpy as jnp

    return jnp.sum(jnp.sum(x, axis=1, dtype=jnp.int8), axis=1, dtype=jnp.int32)


def update_masks(
    due: Any,
    weights: Sequence[Any],
    masks: Sequence[Any],
    sparsity: Any,
    compute: Callable[[Sequence[Any], Any, Any], list[Any]],
) -> None:
    """Assigns `compute(weights, sparsity, xp)` to the masks if `due`.

    Args:
        due: Scalar bool tensor, or a Python bool.
        weights: Variables to compute the masks from.
        masks: Bool variables to assign.
        sparsity: Scalar float32.
        compute: Returns one bool array per weight. Called with xp=numpy where the values can be had
            on the host (eager execution, TensorFlow's graphs), which is fastest on a CPU and needs
            no compilation; with xp=keras.ops inside a function compiled by XLA.
    """
    backend = keras.backend.backend()
    if isinstance(due, bool):
        if due:
            _assign_now(weights, masks, sparsity, compute)
    elif backend == "jax":
        # Variables can't be assigned inside a branch: the branches return values instead.
        new = ops.cond(
            due,
            lambda: compute([w.value for w in weights], sparsity, ops),
            lambda: [m.value for m in masks],
        )
        for mask, value in zip(masks, new, strict=True):
            mask.assign(value)
    elif backend == "tensorflow":
        _update_masks_in_tf_graph(due, weights, masks, sparsity, compute)
    else:
        update_masks(bool(due), weights, masks, sparsity, compute)


def _assign_now(
    weights: Sequence[Any], masks: Sequence[Any], sparsity: Any, compute: Callable[..., list[Any]]
) -> None:
    if keras.backend.backend() == "torch":
        import torch

        # torch.compile would try, and fail, to turn the numpy code into a graph.
        _assign_torch = torch.compiler.disable(_assign_from_host)
        with torch.no_grad():
            on_cpu = all(w.value.device.type == "cpu" for w in weights)
            if on_cpu:
                _assign_torch(weights, masks, sparsity, compute)
            else:
                sparsity = ops.convert_to_tensor(sparsity, "float32")
                new = compute([w.value for w in weights], sparsity, ops)
                for mask, value in zip(masks, new, strict=True):
                    mask.assign(value)
    else:
        _assign_from_host(weights, masks, sparsity, compute)


def _assign_from_host(
    weights: Sequence[Any], masks: Sequence[Any], sparsity: Any, compute: Callable[..., list[Any]]
) -> None:
    values = [to_float32(w) for w in weights]
    new = compute(values, np.float32(ops.convert_to_numpy(sparsity)), np)
    for mask, value in zip(masks, new, strict=True):
        mask.assign(value)


def to_float32(variable: Any) -> np.ndarray:
    """Returns a variable's value as a float32 numpy array, without a copy where that is possible."""
    if keras.backend.backend() == "torch":
        value = variable.value.detach().float()
        return value.cpu().numpy()
    return np.asarray(ops.convert_to_numpy(variable), dtype=np.float32)


def _update_masks_in_tf_graph(
    due: Any,
    weights: Sequence[Any],
    masks: Sequence[Any],
    sparsity: Any,
    compute: Callable[..., list[Any]],
) -> None:
    import tensorflow as tf

    def new_masks() -> list[Any]:
        values = [tf.cast(w.value, tf.float32) for w in weights]
        if _compiled_by_xla():
            return compute(values, sparsity, ops)

        def on_host(s: np.ndarray, *arrays: np.ndarray) -> list[np.ndarray]:
            return compute(arrays, np.float32(s), np)

        new = tf.numpy_function(on_host, [sparsity, *values], [tf.bool] * len(values))
        return [tf.ensure_shape(m, v.shape) for m, v in zip(new, values, strict=True)]

    def assign() -> None:
        for mask, value in zip(masks, new_masks(), strict=True):
            mask.assign(value)

    if tf.distribute.has_strategy():
        # In a replica, variables can't be assigned inside a branch. Each replica computes the same
        # masks from the same weights.
        new = tf.cond(due, new_masks, lambda: [tf.identity(m.value) for m in masks])
        for mask, value in zip(masks, new, strict=True):
            mask.assign(value)
    else:
        tf.cond(due, assign, lambda: None)


def _compiled_by_xla() -> bool:
    """True while a `tf.function(jit_compile=True)` is traced, where calls to Python can't be made."""
    try:
        from tensorflow.python.ops import control_flow_util
    except ImportError:
        return False
    import tensorflow as tf

    graph = tf.compat.v1.get_default_graph()
    return bool(control_flow_util.GraphOrParentsInXlaContext(graph))


def run_update(
    update: Callable[[Sequence[Any]], None], grads: Sequence[Any], jit_compile: bool
) -> None:
    """Calls `update(grads)`, which updates variables and then projects them.

    TensorFlow's graphs run each operation of an optimizer by itself, which on a CPU is bound by
    memory; a projection adds a tenth to a step of a large model. As one XLA computation both together
    take less time than the update alone did.

    Args:
        update: Takes gradients, returns nothing.
        grads: The gradients.
        jit_compile: Whether to do that where it is possible; JAX and PyTorch are not concerned.
    """
    if jit_compile and _can_compile(grads):
        import tensorflow as tf

        tf.function(update, jit_compile=True, autograph=False)(list(grads))
    else:
        update(grads)


def _can_compile(grads: Sequence[Any]) -> bool:
    """Whether this is a TensorFlow graph for the CPU, with dense gradients, not compiled anyway."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return (
        not tf.executing_eagerly()
        and not tf.distribute.has_strategy()
        and not _compiled_by_xla()
        and all(isinstance(g, tf.Tensor) for g in grads)
        and not tf.config.list_logical_devices("GPU")
    )


def project(pairs: Pairs) -> None:
    """Sets the kernels to +0.0 where their masks are false.

    A select and not a product: a product would leave -0.0, NaN and infinity behind.

    Args:
        pairs: (kernel, mask) variables.
    """
    backend = keras.backend.backend()
    if backend == "torch":
        _project_torch(pairs)
    elif backend == "tensorflow":
        _project_tf(pairs)
    else:
        import jax.numpy as jnp

        for kernel, mask in pairs:
            value = kernel.value
            kernel.assign(jnp.where(mask.value, value, jnp.zeros((), value.dtype)))


def _project_torch(pairs: Pairs) -> None:
    import torch

    integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    with torch.no_grad():
        for kernel, mask in pairs:
            # Multiplying the bits as integers is that select, in place, and four times as fast as
            # torch.where or masked_fill_.
            value = kernel.value
            value.view(integer[value.element_size()]).mul_(mask.value)


def _project_tf(pairs: Pairs) -> None:
    import tensorflow as tf

    def project_one(kernel: Any, mask: Any) -> None:
        kernel.assign(tf.where(mask, kernel, tf.zeros([], kernel.dtype)))

    if not tf.distribute.has_strategy():
        for kernel, mask in pairs:
            project_one(kernel.value, mask.value)
        return

    def project_all(strategy: Any) -> None:
        for kernel, mask in pairs:
            strategy.extended.update(kernel.value, project_one, args=(mask.value,), group=False)

    strategy = tf.distribute.get_strategy()
    if tf.distribute.in_cross_replica_context():
        project_all(strategy)
    else:
        tf.distribute.get_replica_context().merge_call(project_all)
