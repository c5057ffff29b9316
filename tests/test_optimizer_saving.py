"""A run that is saved, killed and resumed equals the run that was not: masks, step, weights."""

import copy

import keras
import numpy as np
import pytest

import secateur
from support import BACKEND, array, data, dense_model, only, same, zeros

EPOCHS = 4


def ramp():
    """Ends at step 18 of 24, off the grid of its frequency."""
    return secateur.PolynomialDecay(0.1, 0.75, begin_step=2, end_step=18, frequency=5)


def new_model(optimizer=None, seed=0):
    model = dense_model(8, 4, inputs=4, activation="tanh", seed=seed, name="net")
    loss = keras.losses.MeanSquaredError()  # a name would not survive .h5
    model.compile(optimizer or keras.optimizers.Adam(0.01), loss, jit_compile=BACKEND == "jax")
    return model


def pruned_model(optimizer=None, **kwargs):
    model = new_model(optimizer, **kwargs)
    secateur.prune(model, ramp())
    return model


def fit(model, epochs, **kwargs):
    """Six steps an epoch, always in the same order."""
    x, y = data(12, 4, 4)
    kwargs = {"verbose": 0, "shuffle": False, "batch_size": 2, **kwargs}
    return model.fit(x, y, epochs=epochs, **kwargs)


def state(model):
    """Everything that a resumed run must have: weights, masks, step, slots, iterations."""
    return [array(v) for v in [*model.weights, *model.optimizer.variables]]


def fit_part(model, epochs):
    """The first part of a training that goes on after a reload."""
    with pytest.warns(UserWarning, match="Training ended at step"):
        fit(model, epochs)


@pytest.fixture(scope="module")
def whole_run():
    """The state after a training without interruption."""
    keras.utils.set_random_seed(7)
    keras.config.set_dtype_policy("float32")
    model = pruned_model()
    fit(model, EPOCHS)
    assert [zeros(layer.kernel) for layer in model.layers] == [24, 24]
    return state(model)


# --- files -----------------------------------------------------------------------------------------


def test_a_saved_model_goes_on_as_if_never_saved(tmp_path, whole_run):
    model = pruned_model()
    fit_part(model, 2)
    model.save(tmp_path / "a.keras")
    again = keras.models.load_model(tmp_path / "a.keras")
    assert isinstance(again.optimizer, secateur.SparseOptimizer)
    same(state(again), state(model))
    fit(again, EPOCHS, initial_epoch=2)
    same(state(again), whole_run)


def test_an_old_h5_file_goes_on_as_if_never_saved(tmp_path, whole_run):
    model = pruned_model()
    fit_part(model, 2)
    model.save(tmp_path / "a.h5")
    again = keras.models.load_model(tmp_path / "a.h5")
    same([array(v) for v in again.weights], [array(v) for v in model.weights])
    fit(again, EPOCHS, initial_epoch=2)
    same(state(again), whole_run)


def test_saved_weights_go_on_in_a_fresh_model(tmp_path, whole_run):
    model = pruned_model()
    fit_part(model, 2)
    model.save_weights(tmp_path / "a.weights.h5")
    again = pruned_model(seed=50)
    again.load_weights(tmp_path / "a.weights.h5")
    same(state(again), state(model))
    fit(again, EPOCHS, initial_epoch=2)
    same(state(again), whole_run)


def test_a_file_of_an_untrained_model_holds_the_settings(tmp_path, whole_run):
    pruned_model().save(tmp_path / "a.keras")
    again = keras.models.load_model(tmp_path / "a.keras")
    (group,) = again.optimizer.groups
    assert group.schedule.get_config() == ramp().get_config()
    fit(again, EPOCHS)
    same(state(again), whole_run)


def test_all_settings_are_in_the_file(tmp_path):
    model = new_model()
    secateur.prune(
        model,
        secateur.PolynomialDecay(0.1, 0.5, 3, 9, 2.0, 4),
        structure=secateur.Block((2, 2), "MAX"),
        allocation=secateur.ErdosRenyi(kernel=False),
    )
    model.save(tmp_path / "a.keras")
    (before,) = model.optimizer.groups
    (after,) = keras.models.load_model(tmp_path / "a.keras").optimizer.groups
    assert settings(after) == settings(before)


def settings(group):
    """The group's configuration, less the paths: Keras drops a Sequential's name on loading."""
    config = group.get_config()
    for target in config["targets"]:
        target["path"] = target["path"].removeprefix("net/")
    return config


def test_a_reloaded_pattern_is_the_pattern(tmp_path):
    model = new_model()
    secateur.prune(model, secateur.ConstantSparsity(0.5, 2), structure=secateur.MByN(2, 4))
    model.save(tmp_path / "a.keras")
    again = keras.models.load_model(tmp_path / "a.keras")
    fit(again, 1)
    groups = array(again.layers[1].kernel).reshape(2, 4, 4)
    assert ((groups == 0).sum(axis=1) == 2).all()


OPTIMIZERS = {
    "momentum": lambda: keras.optimizers.SGD(0.01, momentum=0.9),
    "EMA": lambda: keras.optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=4),
    "accumulation": lambda: keras.optimizers.SGD(0.01, gradient_accumulation_steps=2),
    "learning-rate schedule": lambda: keras.optimizers.RMSprop(
        keras.optimizers.schedules.CosineDecay(0.01, 20)
    ),
    "Lamb": lambda: keras.optimizers.Lamb(0.01),
}


def steps(model, number):
    x, y = data(2, 4, 4)
    for _ in range(number):
        model.train_on_batch(x, y)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_every_kind_of_optimizer_goes_on(tmp_path, kind):
    model = pruned_model(OPTIMIZERS[kind]())
    steps(model, 5)
    model.save(tmp_path / "a.keras")
    again = keras.models.load_model(tmp_path / "a.keras")
    steps(model, 5)
    steps(again, 5)
    same(state(again), state(model))
    assert zeros(model.layers[0].kernel) > 0


@pytest.mark.parametrize("explicit", [False, True], ids=["by compile", "explicit"])
def test_mixed_precision_goes_on(tmp_path, explicit):
    keras.config.set_dtype_policy("mixed_float16")
    optimizer = keras.optimizers.Adam(0.01)
    if explicit:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, 8.0)
    model = pruned_model(optimizer)
    steps(model, 5)
    model.save(tmp_path / "a.keras")
    again = keras.models.load_model(tmp_path / "a.keras")
    assert isinstance(again.optimizer, keras.optimizers.LossScaleOptimizer)
    assert isinstance(again.optimizer.inner_optimizer, secateur.SparseOptimizer)
    assert isinstance(again.optimizer.inner_optimizer.inner_optimizer, keras.optimizers.Adam)
    same(state(again), state(model))
    steps(model, 5)
    steps(again, 5)
    same(state(again), state(model))


def test_several_optimizers_in_one_go_on(tmp_path):
    if not hasattr(keras.optimizers, "MultiOptimizer"):
        pytest.skip("this Keras has no MultiOptimizer")

    def optimizer():
        chosen = keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.01, momentum=0.9))
        chosen["net/dense/.*"] = keras.optimizers.Adam(0.01)
        return keras.optimizers.MultiOptimizer(chosen)

    model = pruned_model(optimizer())
    steps(model, 5)
    model.save_weights(tmp_path / "a.weights.h5")
    again = pruned_model(optimizer(), seed=50)
    again.load_weights(tmp_path / "a.weights.h5")
    steps(model, 5)
    steps(again, 5)
    same(state(again), state(model))


def test_an_optimizer_made_by_hand_goes_on(tmp_path, whole_run):
    model = new_model(secateur.SparseOptimizer(keras.optimizers.Adam(0.01), ramp()))
    fit_part(model, 2)
    model.save(tmp_path / "a.keras")
    again = keras.models.load_model(tmp_path / "a.keras")
    fit(again, EPOCHS, initial_epoch=2)
    same(state(again), whole_run)


def test_a_copy_goes_on(whole_run):
    model = pruned_model()
    fit_part(model, 2)
    again = copy.deepcopy(model)
    fit(again, EPOCHS, initial_epoch=2)
    same(state(again), whole_run)


def test_a_file_without_an_optimizer_holds_sparse_weights(tmp_path):
    model = pruned_model()
    fit(model, EPOCHS)
    model.save(tmp_path / "a.keras", include_optimizer=False)
    again = keras.models.load_model(tmp_path / "a.keras")
    same([array(v) for v in again.weights], [array(v) for v in model.weights])
    assert secateur.sparsity(again).sparsity == 0.75


@only("tensorflow")
def test_a_tensorflow_checkpoint_goes_on(tmp_path, whole_run):
    import tensorflow as tf

    model = pruned_model()
    fit_part(model, 2)
    path = tf.train.Checkpoint(model).save(str(tmp_path / "a"))
    again = pruned_model(seed=50)
    tf.train.Checkpoint(again).restore(path).assert_existing_objects_matched()
    same(state(again), state(model))
    fit(again, EPOCHS, initial_epoch=2)
    same(state(again), whole_run)


# --- killed and resumed ----------------------------------------------------------------------------


class Kill(keras.callbacks.Callback):
    """Ends the training as a pulled plug would, before any callback's end of training."""

    def __init__(self, epoch, batch=None):
        super().__init__()
        self.epoch, self.batch, self.now = epoch, batch, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.now, batch) == (self.epoch, self.batch):
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        if self.batch is None and epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("epoch", "batch"), [(1, None), (2, 3), (3, 0)])
def test_a_killed_run_resumed_equals_the_run_that_was_not(tmp_path, whole_run, epoch, batch):
    model = pruned_model()
    with pytest.raises(KeyboardInterrupt):
        fit(model, EPOCHS, callbacks=[backup(tmp_path), Kill(epoch, batch)])
    again = pruned_model(seed=50)
    fit(again, EPOCHS, callbacks=[backup(tmp_path)])
    same(state(again), whole_run)


def backup(path, **kwargs):
    return keras.callbacks.BackupAndRestore(str(path / "backup"), **kwargs)


class Look(keras.callbacks.Callback):
    """Notes the model's state when the training begins, and stops it."""

    def on_train_begin(self, logs=None):
        self.state = state(self.model)
        self.model.stop_training = True


@pytest.mark.filterwarnings("ignore:Training ended at step")
def test_a_run_killed_within_an_epoch_restores_the_step_it_was_at(tmp_path):
    model = pruned_model()
    with pytest.raises(KeyboardInterrupt):
        fit(model, EPOCHS, callbacks=[backup(tmp_path, save_freq=1), Kill(1, 2)])
    assert int(model.optimizer.step) == 9
    again = pruned_model(seed=50)
    look = Look()
    fit(again, EPOCHS, callbacks=[backup(tmp_path, delete_checkpoint=False), look])
    same(look.state, state(model))


def test_a_killed_run_goes_on_with_an_optimizer_made_by_hand(tmp_path, whole_run):
    def by_hand(**kwargs):
        return new_model(secateur.SparseOptimizer(keras.optimizers.Adam(0.01), ramp()), **kwargs)

    model = by_hand()
    with pytest.raises(KeyboardInterrupt):
        fit(model, EPOCHS, callbacks=[backup(tmp_path), Kill(2, 3)])
    again = by_hand(seed=50)
    fit(again, EPOCHS, callbacks=[backup(tmp_path)])
    same(state(again), whole_run)


# --- compiled again --------------------------------------------------------------------------------


def test_compiling_again_with_the_same_optimizer_goes_on(tmp_path, whole_run):
    model = pruned_model()
    fit_part(model, 2)
    model.compile(model.optimizer, "mse")
    fit(model, EPOCHS, initial_epoch=2)
    same(state(model), whole_run)
    model.save(tmp_path / "a.keras")
    same(state(keras.models.load_model(tmp_path / "a.keras")), whole_run)


def test_a_file_of_a_model_pruned_after_training_holds_the_masks(tmp_path):
    model = new_model()
    fit(model, 1)
    secateur.prune(model, ramp())
    fit(model, EPOCHS)
    model.save(tmp_path / "a.keras")
    same(state(keras.models.load_model(tmp_path / "a.keras")), state(model))


def test_a_file_of_a_model_pruned_twice_holds_the_last_settings(tmp_path):
    model = pruned_model()
    secateur.prune(model, sparsity=0.5)
    model.save(tmp_path / "a.keras")
    (group,) = keras.models.load_model(tmp_path / "a.keras").optimizer.groups
    assert group.schedule.get_config() == secateur.ConstantSparsity(0.5, 0).get_config()


# --- checkpoints that do not fit -------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")
def test_a_checkpoint_from_before_pruning_leaves_the_masks(tmp_path):
    dense = new_model()
    fit(dense, 1)
    dense.save_weights(tmp_path / "dense.weights.h5")
    model = pruned_model()
    fit(model, EPOCHS)
    masks, step = [array(m) for m in model.optimizer.masks.values()], model.optimizer.step
    with pytest.warns(UserWarning, match="holds no pruning state"):
        model.load_weights(tmp_path / "dense.weights.h5")
    same([array(m) for m in model.optimizer.masks.values()], masks)
    assert model.optimizer.step == step
    same([array(v) for v in model.weights], [array(v) for v in dense.weights])
    fit(model, 1)
    assert [zeros(layer.kernel) for layer in model.layers] == [24, 24]


def test_a_pruned_checkpoint_loads_into_a_plain_model(tmp_path):
    model = pruned_model()
    fit(model, EPOCHS)
    model.save_weights(tmp_path / "a.weights.h5")
    plain = dense_model(8, 4, inputs=4, seed=50)
    plain.load_weights(tmp_path / "a.weights.h5")
    same([array(v) for v in plain.weights], [array(v) for v in model.weights])


def test_loading_before_the_build_says_so():
    store = {}
    model = pruned_model()
    fit(model, EPOCHS)
    model.optimizer.save_own_variables(store)
    fresh = secateur.SparseOptimizer("sgd", ramp())
    with pytest.warns(UserWarning, match="not built.*optimizer.build"):
        fresh.load_own_variables(store)


def damage_step(store):
    store["pruning_step"] = np.int64(-3)


def damage_step_type(store):
    store["pruning_step"] = np.float32(1.5)


def damage_missing(store):
    del store["mask_1"]


def damage_extra(store):
    store["mask_2"] = store["mask_1"]


def damage_short(store):
    store["mask_1"] = store["mask_1"][:-1]


def damage_type(store):
    store["mask_0"] = store["mask_0"].astype("float32")


@pytest.mark.parametrize(
    "damage",
    [damage_step, damage_step_type, damage_missing, damage_extra, damage_short, damage_type],
    ids=lambda function: function.__name__[7:],
)
def test_a_damaged_state_is_refused_and_nothing_changes(damage):
    model = pruned_model()
    fit(model, EPOCHS)
    store = {}
    model.optimizer.save_own_variables(store)
    damage(store)
    fresh = pruned_model()
    before = state(fresh)
    with pytest.raises(ValueError, match=r"does not fit this model, or is damaged.*Received: "):
        fresh.optimizer.load_own_variables(store)
    same(state(fresh), before)


def test_a_checkpoint_of_other_layers_is_refused(tmp_path):
    model = pruned_model()
    fit(model, EPOCHS)
    model.save_weights(tmp_path / "a.weights.h5")
    other = new_model(seed=50)
    secateur.prune(other, ramp(), layers="dense_1")
    masks = [array(m) for m in other.optimizer.masks.values()]
    with pytest.raises(ValueError, match="expected 1 masks"):
        other.load_weights(tmp_path / "a.weights.h5")
    same([array(m) for m in other.optimizer.masks.values()], masks)
    assert other.optimizer.step == 0


def frozen_since(path, frozen, **kwargs):
    """A saved model of three equal layers, one of which was frozen before it was saved."""
    model = dense_model(4, 4, 4, inputs=4, name="net")
    model.compile("sgd", "mse", jit_compile=BACKEND == "jax")
    secateur.prune(model, sparsity=0.5, **kwargs)
    model.layers[frozen].trainable = False
    model.save(path / "a.keras")
    return path / "a.keras"


@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")
def test_a_layer_frozen_since_does_not_shift_the_masks(tmp_path):
    path = frozen_since(tmp_path, 0, layers="dense_[12]")
    model = keras.models.load_model(path)
    fit(model, 1)
    assert [zeros(layer.kernel) for layer in model.layers] == [0, 8, 8]


def test_a_pruned_layer_frozen_since_is_an_error(tmp_path):
    path = frozen_since(tmp_path, 0)
    with pytest.raises(ValueError, match=r"'net/dense/kernel'.*is not among.*prune. again"):
        keras.models.load_model(path)
    assert keras.models.load_model(path, compile=False).built


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_half_written_file_is_an_error(tmp_path, share):
    model = pruned_model()
    fit(model, EPOCHS)
    path = tmp_path / "a.keras"
    model.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises((ValueError, OSError)):
        keras.models.load_model(path)


@pytest.mark.parametrize("wrong", ["number", "shape"])
def test_weights_that_do_not_fit_are_refused_and_nothing_changes(wrong):
    model = pruned_model()
    before = state(model)
    values = [array(v) + 1 for v in model.optimizer.variables]
    values = values[:-1] if wrong == "number" else [*values[:-1], values[-1][:1]]
    with pytest.raises(ValueError, match=r"weights do not fit.*Received: weights of shapes"):
        model.optimizer.set_weights(values)
    same(state(model), before)


def test_masks_take_a_bit_a_weight_in_a_file():
    model = pruned_model()
    store = {}
    model.optimizer.save_own_variables(store)
    assert {key: value.nbytes for key, value in store.items() if key.startswith("mask")} == {
        "mask_0": 4,
        "mask_1": 4,
    }
