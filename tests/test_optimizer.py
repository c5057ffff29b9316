"""The engine: exact sparsity after every step, whatever optimizer it wraps."""

import inspect

import keras
import numpy as np
import pytest

import secateur
from secateur.groups import Target
from support import BACKEND, array, data, dense_model, kept, largest, only, zeros

# Kernels of 4 x 8 and 8 x 4, 32 weights each; the mask updates are at steps 0, 2 and 4.
RAMP = {"begin_step": 0, "end_step": 4, "power": 1, "frequency": 2}
RAMP_ZEROS = [8, 16, 16, 24, 24]


def ramp():
    return secateur.PolynomialDecay(0.25, 0.75, **RAMP)


def small_model(**kwargs):
    return dense_model(8, 4, inputs=4, activation="tanh", **kwargs)


def train(model, steps, x=None, y=None):
    """Trains on one batch `steps` times; yields the kernels' zeros after each."""
    if x is None:
        x, y = data(8, 4, 4)
    for _ in range(steps):
        model.train_on_batch(x, y)
        yield [zeros(layer.kernel) for layer in model.layers]


def assert_ramp(model, steps=5, every=1):
    """Trains and compares the zeros with RAMP_ZEROS, an update taking `every` batches."""
    expected = [[n, n] for n in RAMP_ZEROS[:steps] for _ in range(every)]
    assert list(train(model, steps * every)) == expected


# --- against an independent re-implementation ------------------------------------------------------


def sgd_reference(kernels, biases, x, y, steps, rate, due):
    """Masked SGD of a linear network in numpy; `due` maps updates to sparsities."""
    kernels, biases = [k.copy() for k in kernels], [b.copy() for b in biases]
    masks = [np.ones(k.shape, bool) for k in kernels]
    for update in range(1, steps + 1):
        if update in due:
            masks = [largest(k, kept(k.size, due[update])) for k in kernels]
        inputs = [x]
        for k, b in zip(kernels, biases, strict=True):
            inputs.append(inputs[-1] @ k + b)
        slope = 2 * (inputs[-1] - y) / y.size
        for i in reversed(range(len(kernels))):
            k_slope, b_slope = inputs[i].T @ slope, slope.sum(axis=0)
            slope = slope @ kernels[i].T
            kernels[i] = np.where(masks[i], kernels[i] - rate * k_slope, 0).astype("float32")
            biases[i] = (biases[i] - rate * b_slope).astype("float32")
        yield kernels, biases, masks


def test_weights_equal_those_of_masked_sgd_in_numpy():
    model = dense_model(8, 4, inputs=4)
    x, y = data(8, 4, 4)
    start = [array(layer.kernel) for layer in model.layers]
    model.compile(keras.optimizers.SGD(0.05), "mse")
    secateur.prune(model, secateur.PolynomialDecay(0.25, 0.75, 2, 9, power=1, frequency=3))
    # On the grid 2, 5, 8 and at the end, 9: 1/4 + 1/2 * (step - 2) / 7.
    due = {2: 0.25, 5: 0.25 + 3 / 14, 8: 0.25 + 6 / 14, 9: 0.75}
    no_biases = [np.zeros(8, "float32"), np.zeros(4, "float32")]
    for kernels, biases, masks in sgd_reference(start, no_biases, x, y, 11, 0.05, due):
        model.train_on_batch(x, y)
        for layer, kernel, bias, mask in zip(model.layers, kernels, biases, masks, strict=True):
            np.testing.assert_allclose(array(layer.kernel), kernel, rtol=2e-5, atol=2e-6)
            np.testing.assert_allclose(array(layer.bias), bias, rtol=2e-5, atol=2e-6)
            np.testing.assert_array_equal(array(layer.kernel) != 0, mask)


def test_without_a_mask_update_training_is_that_of_the_wrapped_optimizer():
    x, y = data(8, 4, 4)
    plain, pruned = small_model(), small_model()
    for model in (plain, pruned):
        model.compile(keras.optimizers.Adam(0.01), "mse")
    secateur.prune(pruned, secateur.ConstantSparsity(0.5, begin_step=100))
    for _ in range(3):
        plain.train_on_batch(x, y)
        pruned.train_on_batch(x, y)
    for a, b in zip(plain.weights, pruned.weights, strict=True):
        np.testing.assert_array_equal(array(a), array(b))


# --- every optimizer -------------------------------------------------------------------------------

NAMES = [
    name
    for name, value in vars(keras.optimizers).items()
    if inspect.isclass(value)
    and issubclass(value, keras.optimizers.Optimizer)
    and name not in ("Optimizer", "LossScaleOptimizer", "MultiOptimizer")
]


@pytest.mark.parametrize("name", NAMES)
def test_every_optimizer_of_keras_keeps_weights_exactly_sparse(name):
    model = small_model()
    model.compile(getattr(keras.optimizers, name)(learning_rate=0.01), "mse")
    secateur.prune(model, ramp())
    assert_ramp(model)


OPTIONS = {
    "momentum": lambda: keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True),
    "weight decay": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    "clipping": lambda: keras.optimizers.Adam(0.01, global_clipnorm=0.1),
    "amsgrad": lambda: keras.optimizers.Adam(0.01, amsgrad=True),
    "EMA": lambda: keras.optimizers.Adam(0.01, use_ema=True),
    "EMA that overwrites": lambda: keras.optimizers.SGD(
        0.01, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2
    ),
    "a learning-rate schedule": lambda: keras.optimizers.Adam(
        keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    ),
    "loss scale factor": lambda: keras.optimizers.Adam(0.01, loss_scale_factor=8.0),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_options_of_optimizers(option):
    model = small_model()
    model.compile(OPTIONS[option](), "mse")
    secateur.prune(model, ramp())
    assert_ramp(model)


# --- gradient accumulation -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SGD", "Adam", "Lamb"])
def test_micro_batches_are_no_steps(name):
    model = small_model()
    optimizer = getattr(keras.optimizers, name)(0.01, gradient_accumulation_steps=3)
    model.compile(optimizer, "mse")
    secateur.prune(model, ramp())
    found = list(train(model, 15))
    # After the third, sixth, ... micro-batch; what happens in between is the engine's affair.
    assert found[2::3] == [[n, n] for n in RAMP_ZEROS]
    assert model.optimizer.step == 5


def test_sparsity_never_falls_between_micro_batches():
    model = small_model()
    model.compile(keras.optimizers.SGD(0.01, gradient_accumulation_steps=3), "mse")
    secateur.prune(model, ramp())
    counts = [first for first, _ in train(model, 15)]
    assert counts == sorted(counts)


# --- EMA -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frequency", [None, 3])
def test_the_averages_written_back_at_the_end_are_sparse(frequency):
    model = small_model()
    optimizer = keras.optimizers.Adam(
        0.01, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=frequency
    )
    model.compile(optimizer, "mse")
    secateur.prune(model, ramp())
    x, y = data(8, 4, 4)
    model.fit(x, y, batch_size=2, epochs=2, verbose=0)
    assert [zeros(layer.kernel) for layer in model.layers] == [24, 24]


def test_averages_of_kept_weights_are_those_of_the_wrapped_optimizer():
    x, y = data(8, 4, 4)
    model = dense_model(4, inputs=4)
    model.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), "mse")
    secateur.prune(model, sparsity=0.5)
    averages = []
    for _ in range(3):
        model.train_on_batch(x, y)
        averages.append(array(model.layers[0].kernel))
    # Keras starts the average with the weights after the first step.
    average = 0.25 * averages[0] + 0.25 * averages[1] + 0.5 * averages[2]
    average = np.where(array(model.layers[0].kernel) == 0, 0, average)
    model.optimizer.finalize_variable_values(model.trainable_variables)
    np.testing.assert_allclose(array(model.layers[0].kernel), average, rtol=1e-5)


def test_schedule_free_weights_stay_sparse_to_the_end():
    if not hasattr(keras.optimizers, "ScheduleFreeAdamW"):
        pytest.skip("this Keras has no ScheduleFreeAdamW")
    model = small_model()
    model.compile(keras.optimizers.ScheduleFreeAdamW(0.01), "mse")
    secateur.prune(model, ramp())
    x, y = data(8, 4, 4)
    model.fit(x, y, batch_size=2, epochs=2, verbose=0)
    assert [zeros(layer.kernel) for layer in model.layers] == [24, 24]


# --- several optimizers in one ---------------------------------------------------------------------


def multi_optimizer(model, **kwargs):
    if not hasattr(keras.optimizers, "MultiOptimizer"):
        pytest.skip("this Keras has no MultiOptimizer")
    chosen = keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.01, **kwargs))
    chosen[model.layers[0].kernel.path] = keras.optimizers.Adam(0.01, **kwargs)
    return keras.optimizers.MultiOptimizer(chosen)


def test_multi_optimizer():
    model = small_model()
    model.compile(multi_optimizer(model), "mse")
    secateur.prune(model, ramp())
    assert_ramp(model)


def test_multi_optimizer_with_averages():
    model = small_model()
    model.compile(multi_optimizer(model, use_ema=True, ema_momentum=0.9), "mse")
    secateur.prune(model, ramp())
    x, y = data(8, 4, 4)
    model.fit(x, y, batch_size=2, epochs=2, verbose=0)
    assert [zeros(layer.kernel) for layer in model.layers] == [24, 24]


def test_micro_batches_in_a_multi_optimizer_are_no_steps():
    model = small_model()
    model.compile(multi_optimizer(model, gradient_accumulation_steps=3), "mse")
    secateur.prune(model, ramp())
    found = list(train(model, 15))
    assert model.optimizer.step == 5
    assert found[2::3] == [[n, n] for n in RAMP_ZEROS]


# --- compiled or not -------------------------------------------------------------------------------

MODES = {
    "jit": {"jit_compile": True},
    "auto": {"jit_compile": "auto"},
    "no jit": {"jit_compile": False},
    "eager": {"run_eagerly": True},
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.skipif(BACKEND == "torch", reason="is about tf.function and jax.jit")
def test_every_way_to_run_a_step(mode):
    model = small_model()
    model.compile(keras.optimizers.Adam(0.01), "mse", **MODES[mode])
    secateur.prune(model, ramp())
    assert_ramp(model)


@pytest.mark.parametrize("mode", ["jit", "eager"])
@pytest.mark.skipif(BACKEND == "torch", reason="is about tf.function and jax.jit")
@pytest.mark.parametrize(
    ("structure", "allocation"),
    [
        (secateur.Block((2, 3)), secateur.Uniform()),
        (secateur.Block((2, 2)), secateur.Global()),
        (secateur.Unstructured(), secateur.Global()),
        (secateur.MByN(1, 2), secateur.Uniform()),
    ],
    ids=["ragged block", "global block", "global", "1 by 2"],
)
def test_compiled_and_not_give_the_same_weights(mode, structure, allocation):
    found = []
    for options in (MODES[mode], MODES["no jit"]):
        model = small_model()
        model.compile(keras.optimizers.SGD(0.01), "mse", **options)
        secateur.prune(model, ramp(), structure=structure, allocation=allocation)
        for _ in train(model, 5):
            pass
        found.append([array(layer.kernel) for layer in model.layers])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a == 0, b == 0)
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert (found[0][0] == 0).any()


@pytest.mark.skipif(BACKEND == "torch", reason="Keras has no steps_per_execution on PyTorch")
@pytest.mark.parametrize("jit", [True, False])
def test_several_steps_an_execution(jit):
    model = small_model()
    model.compile(keras.optimizers.Adam(0.01), "mse", steps_per_execution=2, jit_compile=jit)
    secateur.prune(model, ramp())
    x, y = data(10, 4, 4)
    model.fit(x, y, batch_size=2, verbose=0)
    assert [zeros(layer.kernel) for layer in model.layers] == [24, 24]
    assert model.optimizer.step == 5


@only("tensorflow", "jax")
def test_a_training_step_is_compiled_once():
    traces = []

    class Counting(secateur.Criterion):
        def score(self, weight):
            traces.append(1)
            return weight

    model = small_model()
    model.compile(keras.optimizers.SGD(0.01), "mse", jit_compile=True)
    secateur.prune(model, ramp(), criterion=Counting())
    counts = []
    for _ in train(model, 5):
        counts.append(len(traces))
    assert counts[-1] == counts[0]
    x, y = data(8, 4, 4)
    model.fit(x, y, batch_size=4, verbose=0)
    compiled_for_fit = len(traces)
    model.fit(x, y, batch_size=4, epochs=2, verbose=0)
    assert len(traces) == compiled_for_fit


# --- steps -----------------------------------------------------------------------------------------


def counts_of(schedule, steps):
    model = small_model()
    model.compile("sgd", "mse")
    secateur.prune(model, schedule)
    return [first for first, _ in train(model, steps)]


def test_the_first_mask_update_comes_with_the_first_step():
    assert counts_of(secateur.ConstantSparsity(0.5, begin_step=0), 2) == [16, 16]


def test_a_later_begin_is_the_update_of_that_number():
    assert counts_of(secateur.ConstantSparsity(0.5, begin_step=3), 4) == [0, 0, 16, 16]


def test_the_end_is_reached_off_the_frequency_grid():
    schedule = secateur.PolynomialDecay(0.25, 0.75, 0, 5, power=1, frequency=3)
    # Updates at 0, 3 and 5; 32 * (1/4 + 3/5 * 1/2) = 17.6.
    assert counts_of(schedule, 7) == [8, 8, 18, 18, 24, 24, 24]


def test_a_training_of_fewer_steps_than_the_frequency():
    assert counts_of(secateur.PolynomialDecay(0.25, 0.75, 0, 3), 4) == [8, 8, 24, 24]


@pytest.mark.parametrize(("step", "expected"), [(0, [24, 24, 24]), (2, [0, 24, 24])])
def test_begin_may_be_the_end(step, expected):
    schedule = secateur.PolynomialDecay(0.25, 0.75, begin_step=step, end_step=step)
    assert counts_of(schedule, 3) == expected


def test_a_training_of_one_step_reaches_an_end_of_one():
    assert counts_of(secateur.PolynomialDecay(0.25, 0.75, 0, 1), 1) == [24]


def test_masks_stay_as_they_are_after_the_end():
    model = small_model()
    model.compile("sgd", "mse")
    secateur.prune(model, secateur.ConstantSparsity(0.5, 0, end_step=2, frequency=1))
    for _ in train(model, 2):
        pass
    before = {path: array(mask) for path, mask in model.optimizer.masks.items()}
    for _ in train(model, 3):
        pass
    for path, mask in model.optimizer.masks.items():
        np.testing.assert_array_equal(array(mask), before[path])


def test_the_step_counts_updates():
    model = small_model()
    model.compile("adam", "mse")
    secateur.prune(model, ramp())
    assert model.optimizer.step == 0
    for _ in train(model, 3):
        pass
    assert model.optimizer.step == 3
    assert int(array(model.optimizer.iterations)) == 3


# --- masks -----------------------------------------------------------------------------------------


def test_masks_are_bool_and_of_the_kernels_shapes():
    model = small_model()
    model.compile("sgd", "mse")
    secateur.prune(model, ramp())
    masks = model.optimizer.masks
    assert list(masks) == ["sequential/dense/kernel", "sequential/dense_1/kernel"]
    assert [m.dtype for m in masks.values()] == ["bool", "bool"]
    assert [tuple(m.shape) for m in masks.values()] == [(4, 8), (8, 4)]


def test_masks_are_false_exactly_where_weights_are_zero():
    model = small_model()
    model.compile("adam", "mse")
    secateur.prune(model, ramp())
    for _ in train(model, 5):
        for _, kernel, mask in model.optimizer.pruned():
            np.testing.assert_array_equal(array(kernel) != 0, array(mask))


def test_no_negative_zeros():
    model = small_model()
    model.compile("adam", "mse")
    secateur.prune(model, ramp())
    for _ in train(model, 5):
        for layer in model.layers:
            kernel = array(layer.kernel)
            assert not np.signbit(kernel[kernel == 0]).any()


def test_a_pruned_weight_that_became_infinite_is_zero():
    model = dense_model(4, inputs=8)
    model.compile("sgd", "mse")
    secateur.prune(model, sparsity=0.5)
    x, y = data(8, 8, 4)
    model.train_on_batch(x, y)
    pruned = array(model.layers[0].kernel) == 0
    # What an exploding step would leave, -0.0 included.
    spoiled = np.where(pruned, np.inf, array(model.layers[0].kernel))
    spoiled.reshape(-1)[np.flatnonzero(pruned)[:2]] = [-0.0, np.nan]
    model.layers[0].kernel.assign(spoiled)
    model.optimizer.project()
    kernel = array(model.layers[0].kernel)
    assert (kernel[pruned] == 0).all()
    assert not np.signbit(kernel[pruned]).any()


def test_biases_are_not_touched():
    model = small_model()
    model.compile("sgd", "mse")
    secateur.prune(model, sparsity=0.9)
    for _ in train(model, 2):
        pass
    assert all(zeros(layer.bias) == 0 for layer in model.layers)


@pytest.mark.parametrize("shape", [(1, 2), (2, 1)])
def test_the_smallest_kernels_keep_a_weight(shape):
    model = dense_model(shape[1], inputs=shape[0])
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="one of them is kept"):
        secateur.prune(model, sparsity=0.9)
    model.train_on_batch(*data(4, *shape))
    assert zeros(model.layers[0].kernel) == 1


def test_a_kernel_of_one_weight_keeps_it():
    model = dense_model(1, inputs=1)
    model.compile("sgd", "mse")
    secateur.prune(model, sparsity=0.9)
    model.train_on_batch(*data(4, 1, 1))
    assert zeros(model.layers[0].kernel) == 0


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", *(["float64"] if BACKEND != "jax" else [])]
)
def test_kernels_of_other_precisions(dtype):
    keras.config.set_dtype_policy(dtype)
    model = small_model()
    model.compile(keras.optimizers.SGD(0.01), "mse", auto_scale_loss=False)
    secateur.prune(model, ramp())
    assert model.layers[0].kernel.dtype == dtype
    assert_ramp(model)


# --- mixed precision -------------------------------------------------------------------------------


def mixed_model(optimizer=None):
    keras.config.set_dtype_policy("mixed_float16")
    model = small_model()
    model.compile(optimizer or keras.optimizers.Adam(0.01), "mse")
    secateur.prune(model, ramp())
    return model


def test_mixed_precision():
    model = mixed_model()
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert_ramp(model)


def test_a_loss_scale_optimizer_of_ones_own():
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01), initial_scale=4.0)
    model = mixed_model(optimizer)
    assert model.optimizer is optimizer
    assert_ramp(model)


def test_a_step_that_is_not_finite_is_no_step():
    model = mixed_model()
    x, y = data(8, 4, 4)
    model.train_on_batch(x, y)
    engine = model.optimizer.inner_optimizer
    before, masks = [array(v) for v in model.weights], [array(m) for m in engine.masks.values()]
    model.train_on_batch(np.full_like(x, np.inf), y)
    assert engine.step == 1
    for variable, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(array(variable), value)
    for mask, value in zip(engine.masks.values(), masks, strict=True):
        np.testing.assert_array_equal(array(mask), value)
    # And the schedule goes on where it was.
    assert list(train(model, 4, x, y)) == [[n, n] for n in RAMP_ZEROS[1:]]


def test_mixed_precision_with_averages():
    model = mixed_model(keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9))
    x, y = data(8, 4, 4)
    model.fit(x, y, batch_size=2, epochs=2, verbose=0)
    assert [zeros(layer.kernel) for layer in model.layers] == [24, 24]


def test_mixed_precision_with_accumulation():
    model = mixed_model(keras.optimizers.SGD(0.01, gradient_accumulation_steps=2))
    found = list(train(model, 10))
    assert found[1::2] == [[n, n] for n in RAMP_ZEROS]


# --- made by hand ----------------------------------------------------------------------------------


def test_an_optimizer_made_by_hand_prunes_all_kernels():
    model = small_model()
    model.compile(secateur.SparseOptimizer("adam", ramp()), "mse")
    assert_ramp(model)


def test_an_optimizer_made_by_hand_leaves_depthwise_kernels_alone():
    model = keras.Sequential(
        [keras.Input((4, 4, 3)), keras.layers.SeparableConv2D(4, 2), keras.layers.Flatten()]
    )
    schedule = secateur.ConstantSparsity(0.5, 0)
    optimizer = secateur.SparseOptimizer("sgd", schedule)
    optimizer.build(model.trainable_variables)
    assert [t.path.split("/")[-1] for t, _, _ in optimizer.pruned()] == ["pointwise_kernel"]


def test_an_optimizer_made_by_hand_that_finds_no_kernel_says_so():
    layer = keras.layers.BatchNormalization()
    layer.build((None, 4))
    optimizer = secateur.SparseOptimizer("sgd", ramp())
    with pytest.raises(ValueError, match=r"no kernel to prune.*Received: variables=.*gamma"):
        optimizer.build(layer.trainable_variables)
    assert not optimizer.inner_optimizer.built


@pytest.mark.parametrize("arguments", [{}, {"schedule": True, "groups": ()}], ids=["none", "both"])
def test_an_optimizer_needs_a_schedule_or_groups(arguments):
    if arguments:
        arguments = {"schedule": ramp(), "groups": []}
    with pytest.raises(ValueError, match=r"either `schedule`.*or `groups`.*Received: schedule="):
        secateur.SparseOptimizer("sgd", **arguments)


def test_groups_have_schedules_of_their_own():
    model = small_model()
    first = Target("sequential/dense/kernel", 0, (4, 8))
    second = Target("sequential/dense_1/kernel", 2, (8, 4))
    groups = [
        secateur.PruningGroup(ramp(), targets=[first]),
        secateur.PruningGroup(secateur.ConstantSparsity(0.5, 3), targets=[second]),
    ]
    model.compile(secateur.SparseOptimizer("sgd", groups=groups), "mse")
    assert list(train(model, 5)) == [[8, 0], [16, 0], [16, 16], [24, 16], [24, 16]]


def test_a_kernel_that_is_not_there_is_named():
    groups = [secateur.PruningGroup(ramp(), targets=[Target("elsewhere/kernel", 0, (3, 3))])]
    model = small_model()
    optimizer = secateur.SparseOptimizer("sgd", groups=groups)
    with pytest.raises(ValueError, match=r"'elsewhere/kernel' of shape \(3, 3\).*Received:"):
        optimizer.build(model.trainable_variables)


def test_apply_before_build_without_variables_is_refused():
    optimizer = secateur.SparseOptimizer("sgd", ramp())
    with pytest.raises(ValueError, match=r"not built.*Received: trainable_variables=None"):
        optimizer.apply([np.zeros((2, 2))])


def test_an_empty_list_of_gradients_is_no_step():
    model = small_model()
    optimizer = secateur.SparseOptimizer("sgd", ramp())
    optimizer.build(model.trainable_variables)
    optimizer.apply([])
    assert optimizer.step == 0


@only("tensorflow", "torch")  # on JAX, Keras' LossScaleOptimizer.apply fails in eager execution
def test_a_loss_scale_optimizer_inside_counts_the_steps_that_were():
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01), initial_scale=4.0)
    optimizer = secateur.SparseOptimizer(scaled, ramp())
    model = small_model()
    optimizer.build(model.trainable_variables)
    ones = [np.full(v.shape, 4.0, "float32") for v in model.trainable_variables]
    for expected in RAMP_ZEROS[:2]:
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in ones])
        assert [zeros(layer.kernel) for layer in model.layers] == [expected] * 2
    optimizer.apply([keras.ops.convert_to_tensor(g * np.inf) for g in ones])
    assert optimizer.step == 2


@only("torch")
@pytest.mark.filterwarnings("ignore")  # torch.compile's own, and many
def test_compiled_by_torch():
    model = small_model()
    model.compile(keras.optimizers.SGD(0.01), "mse", jit_compile=True)
    secateur.prune(model, ramp())
    assert_ramp(model)


# --- an optimizer with a past ----------------------------------------------------------------------


def test_what_the_optimizer_learned_before_stays():
    model = small_model()
    model.compile(keras.optimizers.Adam(0.01), "mse")
    for _ in train(model, 3):
        pass
    adam, before = model.optimizer, [array(v) for v in model.optimizer.variables]
    secateur.prune(model, ramp())
    assert model.optimizer.inner_optimizer is adam
    for variable, value in zip(adam.variables, before, strict=True):
        np.testing.assert_array_equal(array(variable), value)
    assert_ramp(model)
    assert int(array(adam.iterations)) == 8
    assert model.optimizer.step == 5


def test_per_layer_targets_arrive_when_the_schedule_does():
    model = small_model()
    model.compile("sgd", "mse")
    secateur.prune(model, ramp(), layers={"dense/": 0.75, "dense_1": 0.375})
    # The second follows the first at half its sparsity.
    assert list(train(model, 5)) == [[8, 4], [16, 8], [16, 8], [24, 12], [24, 12]]
