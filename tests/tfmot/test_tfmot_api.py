"""Names, signatures, defaults and error texts are tfmot's."""

import inspect
import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers as L

import secateur
import secateur.tfmot as tfmot

K = tfmot.sparsity.keras

# As `inspect.signature` prints them for tensorflow_model_optimization 0.8.1.
SIGNATURES = {
    "prune_low_magnitude": "(to_prune, pruning_schedule=ConstantSparsity, block_size=(1, 1), "
    "block_pooling_type='AVG', pruning_policy=None, sparsity_m_by_n=None, **kwargs)",
    "strip_pruning": "(model)",
    "prune_scope": "()",
    "UpdatePruningStep": "()",
    "PruningSummaries": "(log_dir, update_freq='epoch', **kwargs)",
    "ConstantSparsity": "(target_sparsity, begin_step, end_step=-1, frequency=100)",
    "PolynomialDecay": "(initial_sparsity, final_sparsity, begin_step, end_step, power=3, "
    "frequency=100)",
    "PruningSchedule": "()",
    "PrunableLayer": "()",
    "PruningPolicy": "()",
    "PruneForLatencyOnXNNPack": "()",
}


def exactly(text):
    return f"^{re.escape(text)}$"


def signature(thing):
    parts = []
    for parameter in inspect.signature(thing).parameters.values():
        default = parameter.default
        if isinstance(default, K.PruningSchedule):
            parts.append(f"{parameter.name}={type(default).__name__}")
        else:
            parts.append(str(parameter.replace(annotation=inspect.Parameter.empty)))
    return f"({', '.join(parts)})"


def test_exactly_the_eleven_names():
    assert sorted(x for x in dir(K) if not x.startswith("_")) == sorted(SIGNATURES)
    assert sorted(K.__all__) == sorted(SIGNATURES)


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name):
    assert signature(getattr(K, name)) == SIGNATURES[name]


def test_default_schedule():
    default = inspect.signature(K.prune_low_magnitude).parameters["pruning_schedule"].default
    assert default.get_config()["config"] == {
        "target_sparsity": 0.5,
        "begin_step": 0,
        "end_step": -1,
        "frequency": 100,
    }


def test_the_other_ways_to_import():
    from secateur.tfmot.sparsity import keras as sparsity

    assert sparsity is secateur.tfmot.sparsity.keras is K


def test_importing_sets_no_environment_and_loads_no_other_backend():
    """tfmot's import turns `tf.keras` into Keras 2 for the whole process."""
    others = {"tensorflow", "jax", "torch"} - {keras.backend.backend()}
    code = (
        "import os, sys; before = dict(os.environ); import keras; "
        "between = set(sys.modules); import secateur.tfmot; "
        "after = {m.split('.')[0] for m in set(sys.modules) - between}; "
        "changed = {k for k in os.environ if os.environ[k] != before.get(k)}; "
        f"print(sorted(after & {others!r}), 'TF_USE_LEGACY_KERAS' in changed)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.split("\n")[-2] == "[] False"


class Custom(L.Layer):
    pass


class Subclassed(keras.Model):
    pass


CONSTANT = {
    "begin_step should be >= 0": (0.5, -1),
    "end_step can be -1 or >= 0": (0.5, 0, -2),
    "begin_step should be <= end_step if end_step != -1": (0.5, 3, 2),
    "frequency should be > 0": (0.5, 0, 1, 0),
    "target_sparsity must be in range [0,1)": (1.0, 0),
}


@pytest.mark.parametrize("message", CONSTANT)
def test_constant_sparsity_messages(message):
    with pytest.raises(ValueError, match=exactly(message)):
        K.ConstantSparsity(*CONSTANT[message])


POLYNOMIAL = {
    "end_step cannot be -1.": (0.0, 0.5, 0, -1),
    "initial_sparsity must be in range [0,1)": (-0.1, 0.5, 0, 1),
    "final_sparsity must be in range [0,1)": (0.0, 1.5, 0, 1),
}


@pytest.mark.parametrize("message", POLYNOMIAL)
def test_polynomial_decay_messages(message):
    with pytest.raises(ValueError, match=exactly(message)):
        K.PolynomialDecay(*POLYNOMIAL[message])


def test_a_step_between_steps_is_refused():
    with pytest.raises(ValueError, match=r"whole number of steps.*end_step=2\.5"):
        K.PolynomialDecay(0.0, 0.5, 0, 2.5)


def wrap(**kwargs):
    return lambda: K.prune_low_magnitude(L.Dense(2), **kwargs)


M_BY_N = "The sparsity_m_by_n argument must be a tuple/list of 2 integers.received: "
TYPES = (
    "`prune_low_magnitude` can only prune an object of the following types: "
    "keras.models.Sequential, keras functional model, keras.layers.Layer, list of "
    "keras.layers.Layer. You passed an object of type: "
)
MESSAGES = {
    TYPES + "Subclassed.": lambda: K.prune_low_magnitude(Subclassed()),
    TYPES + "int.": lambda: K.prune_low_magnitude(3),
    "Unsupported pooling type 'SUM'. Should be 'AVG' or 'MAX'.": wrap(block_pooling_type="SUM"),
    "Please initialize `Prune` layer with a `Layer` instance. You passed: 3": (
        lambda: K.prune_low_magnitude([3])
    ),
    "Please initialize `Prune` with a supported layer. Layers should either be supported by the "
    "PruneRegistry (built-in keras layers) or should be a `PrunableLayer` instance, or should has a "
    f"customer defined `get_prunable_weights` method. You passed: {Custom}": (
        lambda: K.prune_low_magnitude(Custom())
    ),
    M_BY_N + "2.": wrap(sparsity_m_by_n=2),
    M_BY_N + "(1, 2, 3).": wrap(sparsity_m_by_n=(1, 2, 3)),
    M_BY_N + "(1, 2.0) including element 2.0 of type <class 'float'>.": wrap(
        sparsity_m_by_n=(1, 2.0)
    ),
    "Argument m_by_n received (4, 4), m be must smaller than n.": wrap(sparsity_m_by_n=(4, 4)),
    "Expected model to be a `keras.Model` instance but got: 3": lambda: K.strip_pruning(3),
    "`log_dir` must be a non-empty string. You passed `log_dir`=.": lambda: K.PruningSummaries(""),
    "`log_dir` must be a non-empty string. You passed `log_dir`=3.": lambda: K.PruningSummaries(3),
}


@pytest.mark.parametrize("message", MESSAGES)
def test_messages(message):
    with pytest.raises(ValueError, match=exactly(message)):
        MESSAGES[message]()


def test_message_for_a_subclassed_model_in_a_model():
    class Inner(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = L.Dense(4)

        def build(self, shape):
            self.dense.build(shape)

        def call(self, x):
            return self.dense(x)

    model = keras.Sequential([keras.Input((8,)), Inner()])
    with pytest.raises(ValueError, match=r"^Subclassed models are not supported currently\.$"):
        K.prune_low_magnitude(model)


def test_message_of_the_mixin():
    class Layer(K.PrunableLayer):
        def get_prunable_weights(self):
            return super().get_prunable_weights()

    with pytest.raises(NotImplementedError, match=r"^Must be implemented in subclasses\.$"):
        Layer().get_prunable_weights()


@pytest.mark.parametrize("how", ["fit", "train_on_batch"])
def test_training_without_the_callback_raises_and_inference_does_not(how):
    model = K.prune_low_magnitude(keras.Sequential([keras.Input((3,)), L.Dense(2)]))
    model.compile("sgd", "mse")
    x, y = np.ones((4, 3)), np.ones((4, 2))
    model.predict(x, verbose=0)
    model.evaluate(x, y, verbose=0)
    message = (
        "Prune() wrapper requires the UpdatePruningStep callback to be provided during training. "
        "Please add it as a callback to your model.fit call."
    )
    with pytest.raises(ValueError, match="requires the UpdatePruningStep callback") as error:
        model.fit(x, y, verbose=0) if how == "fit" else model.train_on_batch(x, y)
    assert str(error.value) == message


def test_compiled_again_and_trained_without_the_callback_raises():
    # `call` of Conv1D takes no `training`, from which the wrapper tells training from inference.
    model = K.prune_low_magnitude(keras.Sequential([keras.Input((5, 3)), L.Conv1D(2, 1)]))
    x, y = np.ones((4, 5, 3)), np.ones((4, 5, 2))
    model.compile("sgd", "mse")
    model.fit(x, y, verbose=0, callbacks=[K.UpdatePruningStep()])
    model.fit(x, y, verbose=0)  # the engine is in the optimizer
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="requires the UpdatePruningStep callback"):
        model.fit(x, y, verbose=0)


def test_call_with_training_while_building_a_functional_model():
    inputs = keras.Input((4, 3))
    outputs = K.prune_low_magnitude(L.LSTM(2, dropout=0.5))(inputs, training=True)
    assert keras.Model(inputs, outputs).output_shape == (None, 2)


def test_pruning_schedule_must_be_one():
    with pytest.raises(ValueError, match=r"must be a PruningSchedule.*pruning_schedule=0\.5"):
        K.prune_low_magnitude(L.Dense(2), 0.5)


def test_summaries_refuse_unknown_arguments(tmp_path):
    with pytest.raises(TypeError, match=r"unexpected keyword argument.*update_frequency=3"):
        K.PruningSummaries(str(tmp_path), update_frequency=3)


def test_summaries_take_the_arguments_of_the_tensorboard_callback(tmp_path):
    K.PruningSummaries(str(tmp_path), profile_batch=0, write_graph=True)
    with pytest.warns(UserWarning, match=r"scalars only.*histogram_freq=1"):
        K.PruningSummaries(str(tmp_path), histogram_freq=1)


def test_a_keras_file_loads_after_a_bare_import_of_secateur(tmp_path):
    model = K.prune_low_magnitude(keras.Sequential([keras.Input((3,)), L.Dense(2)]))
    model.save(tmp_path / "m.keras")
    code = (
        "import secateur, keras; "
        f"model = keras.models.load_model({str(tmp_path / 'm.keras')!r}); "
        "print(model.layers[0].pruning_schedule.get_config()['class_name'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.split("\n")[-2] == "ConstantSparsity"
