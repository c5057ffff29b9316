"""Bad input: a clear error that names the value and the fix, and nothing changed."""

import keras
import numpy as np
import pytest

import secateur
from support import array, data, dense_model, same, weights


class Unbuilt(keras.Model):
    """A subclassed model that was never called."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(2)

    def call(self, x):
        return self.dense(x)


def compiled_model():
    model = dense_model(8, 4, inputs=4)
    model.compile("adam", "mse")
    return model


def spoil(model, value):
    kernel = array(model.layers[1].kernel)
    kernel[2, 1] = value
    model.layers[1].kernel.assign(kernel)
    return model


CASES = {
    "no sparsity": (compiled_model, {}, r"How much.*sparsity=0\.8.*Received: schedule=None"),
    "both": (
        compiled_model,
        {"schedule": secateur.ConstantSparsity(0.5, 0), "sparsity": 0.5},
        r"not both.*Received: schedule=.*sparsity=0\.5",
    ),
    "a number for a schedule": (
        compiled_model,
        {"schedule": 0.5},
        r"must be a PruningSchedule.*`sparsity=`.*Received: schedule=0\.5",
    ),
    "sparsity of 1": (compiled_model, {"sparsity": 1.0}, r"\[0, 1\).*Received: sparsity=1\.0"),
    "sparsity below 0": (compiled_model, {"sparsity": -0.1}, r"\[0, 1\).*sparsity=-0\.1"),
    "sparsity in percent": (compiled_model, {"sparsity": 80}, r"\[0, 1\).*Received: sparsity=80"),
    "sparsity not a number": (compiled_model, {"sparsity": float("nan")}, r"\[0, 1\).*nan"),
    "sparsity as text": (compiled_model, {"sparsity": "0.8"}, r"\[0, 1\).*sparsity='0\.8'"),
    "a pattern of another sparsity": (
        compiled_model,
        {"sparsity": 0.75, "structure": secateur.MByN(2, 4)},
        r"fixes the sparsity at 0\.5.*Received: sparsity=0\.75",
    ),
    "a pattern and targets": (
        compiled_model,
        {
            "schedule": secateur.ConstantSparsity(0.5, 0),
            "structure": secateur.MByN(2, 4),
            "layers": {"dense": 0.75},
        },
        r"fixes the sparsity at 0\.5.*Received: layers=",
    ),
    "a large block": (
        compiled_model,
        {"sparsity": 0.5, "structure": secateur.Block((5, 1))},
        r"larger than the kernel 'sequential/dense/kernel' of shape \(4, 8\).*shape=\(5, 1\)",
    ),
    "no match": (
        compiled_model,
        {"sparsity": 0.5, "layers": "conv"},
        r"matches no weight.*Received: layers='conv'",
    ),
    "only a bias": (
        compiled_model,
        {"sparsity": 0.5, "layers": "bias"},
        r"cannot be pruned.*not a kernel.*Received: layers='bias'",
    ),
    "NaN": (
        lambda: spoil(compiled_model(), np.nan),
        {"sparsity": 0.5},
        r"'sequential/dense_1/kernel' holds 1 values that are NaN or infinite.*=nan",
    ),
    "infinity": (
        lambda: spoil(compiled_model(), -np.inf),
        {"sparsity": 0.5},
        r"'sequential/dense_1/kernel' holds 1 values.*earlier|checkpoint.*=-inf",
    ),
    "not compiled": (
        lambda: dense_model(8, inputs=4),
        {"sparsity": 0.5},
        r"not compiled.*model\.compile.*prune_once.*Received: model='sequential'",
    ),
    "not built": (
        lambda: compiled(keras.Sequential([keras.layers.Dense(2)])),
        {"sparsity": 0.5},
        r"no weights yet.*`Input`.*Received: model='sequential', built=False",
    ),
    "not built, subclassed": (
        lambda: compiled(Unbuilt()),
        {"sparsity": 0.5},
        r"no weights yet.*Received: model='unbuilt', built=False",
    ),
    "no weights": (
        lambda: compiled(keras.Sequential([keras.Input((4,)), keras.layers.ReLU()])),
        {"sparsity": 0.5},
        r"no weights yet.*Received: ",
    ),
    "nothing to prune": (
        lambda: compiled(keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization()])),
        {"sparsity": 0.5},
        r"nothing to prune.*gamma \(normalization\).*Received: layers=None",
    ),
    "one threshold for patterns": (
        compiled_model,
        {"structure": secateur.MByN(2, 4), "allocation": secateur.Global()},
        r"Global ranks all kernels together.*Received: allocation=Global\(\), structure=MByN\(\)",
    ),
    "a structure by name": (
        compiled_model,
        {"sparsity": 0.5, "structure": "block"},
        r"`structure` must be.*Received: structure='block'",
    ),
    "a class for a structure": (
        compiled_model,
        {"sparsity": 0.5, "structure": secateur.Unstructured},
        r"`structure` must be.*Received: structure=<class",
    ),
    "a criterion by name": (
        compiled_model,
        {"sparsity": 0.5, "criterion": "l1"},
        r"`criterion` must be.*Received: criterion='l1'",
    ),
    "an allocation by name": (
        compiled_model,
        {"sparsity": 0.5, "allocation": "erk"},
        r"`allocation` must be.*Received: allocation='erk'",
    ),
    "a class for a schedule": (
        compiled_model,
        {"schedule": secateur.PolynomialDecay},
        r"must be a PruningSchedule.*Received: schedule=<class",
    ),
    "a policy by name": (
        compiled_model,
        {"sparsity": 0.5, "policy": "xnnpack"},
        r"`policy` must be.*Received: policy='xnnpack'",
    ),
}


def compiled(model):
    model.compile("adam", "mse")
    return model


def everything(model):
    """All that a refused call must leave as it was."""
    optimizer = getattr(model, "optimizer", None)
    config = getattr(model, "_compile_config", None)
    return (
        optimizer,
        None if optimizer is None else optimizer.built,
        None if config is None else dict(config.config),
        getattr(model, "train_function", None),
    )


@pytest.mark.parametrize("case", CASES)
def test_prune_refuses_and_changes_nothing(case):
    make, arguments, message = CASES[case]
    model = make()
    before, values = everything(model), weights(model) if model.built else []
    with pytest.raises(ValueError, match=f"(?s){message}"):
        secateur.prune(model, **arguments)
    assert everything(model) == before
    same(weights(model) if model.built else [], values)


ONCE = [
    name
    for name, (_, arguments, _) in CASES.items()
    if "schedule" not in arguments and name != "not compiled"
]


@pytest.mark.parametrize("case", ONCE)
def test_prune_once_refuses_and_changes_nothing(case):
    make, arguments, message = CASES[case]
    model = make()
    before, values = everything(model), weights(model) if model.built else []
    with pytest.raises(ValueError, match=f"(?s){message}"):
        secateur.prune_once(model, **arguments)
    assert everything(model) == before
    same(weights(model) if model.built else [], values)


@pytest.mark.parametrize("verb", ["prune", "prune_once", "sparsity"])
@pytest.mark.parametrize("model", [None, "model.keras", 3, keras.Sequential, [1]], ids=repr)
def test_what_is_no_model_is_refused(verb, model):
    arguments = {} if verb == "sparsity" else {"sparsity": 0.5}
    with pytest.raises(ValueError, match=r"`model` must be a keras\.Model.*Received: model="):
        getattr(secateur, verb)(model, **arguments)


def test_sparsity_of_an_unbuilt_model_is_refused():
    with pytest.raises(ValueError, match=r"no weights yet.*Received: "):
        secateur.sparsity(Unbuilt())


def test_a_refused_call_leaves_the_pruning_that_goes_on():
    model = compiled_model()
    secateur.prune(model, sparsity=0.5)
    model.train_on_batch(*data(4, 4, 4))
    before = everything(model)
    state = [array(v) for v in model.optimizer.variables]
    with pytest.raises(ValueError, match="matches no weight"):
        secateur.prune(model, sparsity=0.75, layers="conv")
    assert everything(model) == before
    same([array(v) for v in model.optimizer.variables], state)
    model.train_on_batch(*data(4, 4, 4))
    assert secateur.sparsity(model).sparsity == 0.5


def test_nan_in_what_is_not_pruned_is_not_looked_at():
    model = compiled_model()
    spoil(model, np.nan)
    secateur.prune(model, sparsity=0.5, layers="dense/")
    assert isinstance(model.optimizer, secateur.SparseOptimizer)


def test_a_target_that_leaves_nothing_warns_with_the_numbers():
    model = compiled_model()
    with pytest.warns(UserWarning, match=r"0\.99 leaves nothing of the 32 weights of 'seq.*one of"):
        secateur.prune(model, sparsity=0.99, layers="dense/")


@pytest.mark.parametrize("error", ["message", "cause"])
def test_errors_are_plain(error):
    """A refused call tells of the caller's mistake, and not of one inside."""
    with pytest.raises(ValueError, match="Received") as found:
        secateur.prune(compiled_model(), sparsity=2)
    if error == "message":
        assert "\n" not in str(found.value)
    else:
        assert found.value.__cause__ is None
        assert found.value.__context__ is None
