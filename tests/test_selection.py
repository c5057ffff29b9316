"""What `layers=` takes: layers, variables, regular expressions, callables, dictionaries."""

import keras
import pytest

import secateur
from secateur import Reason
from support import dense_model

L = keras.layers


def three(**kwargs):
    return dense_model(6, 6, 6, inputs=6, **kwargs)


def pruned(model, layers):
    """The layers that are pruned, by their place in the model."""
    report = secateur.prune_once(model, 0.5, layers=layers)
    paths = [layer.kernel.path for layer in model.layers]
    found = [paths.index(w.path) for w in report.pruned]
    assert found == sorted(found)
    return found


WAYS = {
    "everything": lambda m: None,
    "a layer": lambda m: m.layers[1],
    "a variable": lambda m: m.layers[1].kernel,
    "an expression": lambda m: "dense_1/kernel$",
    "a list": lambda m: [m.layers[0], "dense_2"],
    "a tuple": lambda m: (m.layers[0].kernel, m.layers[2]),
    "a set": lambda m: {"dense_1", "dense_2"},
    "a callable": lambda m: lambda layer: layer.name.endswith("_2"),
    "the model": lambda m: m,
    "a dictionary of layers": lambda m: {m.layers[2]: 0.5},
    "a dictionary of expressions": lambda m: {"dense_[12]": 0.5},
    "a dictionary with a callable": lambda m: {(lambda layer: layer.name == "dense"): 0.5},
}
EXPECTED = [[0, 1, 2], [1], [1], [1], [0, 2], [0, 2], [1, 2], [2], [0, 1, 2], [2], [1, 2], [0]]


@pytest.mark.parametrize(("way", "expected"), list(zip(WAYS, EXPECTED, strict=True)))
def test_ways_to_say_which(way, expected):
    model = three()
    assert pruned(model, WAYS[way](model)) == expected


def test_what_is_not_selected_is_reported():
    model = three()
    report = secateur.prune_once(model, 0.5, layers="dense_1")
    kernels = {w.path: w.reason for w in report.left_alone if w.path.endswith("kernel")}
    assert kernels == {
        "sequential/dense/kernel": Reason.NOT_SELECTED,
        "sequential/dense_2/kernel": Reason.NOT_SELECTED,
    }


def test_an_expression_is_searched_anywhere_in_the_path():
    assert pruned(three(), "ense_2/ker") == [2]


def test_an_expression_that_matches_everything():
    report = secateur.prune_once(three(), 0.5, layers=".*")
    assert [w.path.split("/")[-1] for w in report.pruned] == ["kernel"] * 3


def test_names_with_special_characters():
    import re

    name = "block1+(a)[0]"
    model = keras.Sequential(
        [keras.Input((6,)), L.Dense(6, name=name), L.Dense(6, name="block11a0")]
    )
    assert pruned(model, re.escape(name)) == [0]


def test_a_layer_selects_what_is_inside_it():
    inner = keras.Sequential([keras.Input((6,)), L.Dense(6), L.Dense(6)])
    model = keras.Sequential([keras.Input((6,)), L.Dense(6), inner])
    report = secateur.prune_once(model, 0.5, layers=inner)
    assert [w.path for w in report.pruned] == [layer.kernel.path for layer in inner.layers]


def test_a_wrapper_selects_what_it_wraps():
    model = keras.Sequential([keras.Input((3, 2)), L.Bidirectional(L.GRU(4)), L.Dense(2)])
    report = secateur.prune_once(model, 0.5, layers=model.layers[0])
    assert len(report.pruned) == 4
    assert {w.layer for w in report.pruned} == {"GRUCell"}


def test_selected_twice_is_pruned_once():
    model = three()
    assert pruned(model, [model.layers[0], "dense/", model.layers[0].kernel]) == [0]


@pytest.mark.parametrize("layers", ["nowhere", [], (), set(), {}, ["dense", "nowhere"]], ids=repr)
def test_what_matches_nothing_is_refused(layers):
    model = three()
    with pytest.raises(
        ValueError, match=r"(matches no weight|nothing to prune).*Received: layers="
    ):
        secateur.prune_once(model, 0.5, layers=layers)


def test_the_error_lists_the_weights_there_are():
    with pytest.raises(ValueError, match=r"sequential/dense_2/kernel.*Received: layers='conv'"):
        secateur.prune_once(three(), 0.5, layers="conv")


def test_what_cannot_be_pruned_is_refused_with_the_reason():
    model = three()
    with pytest.raises(ValueError, match=r"cannot be pruned: .*bias \(not a kernel\).*Received:"):
        secateur.prune_once(model, 0.5, layers="dense_1/bias")


def test_a_frozen_layer_is_refused_with_the_reason():
    model = three()
    model.layers[1].trainable = False
    with pytest.raises(ValueError, match=r"kernel \(frozen\).*Received:"):
        secateur.prune_once(model, 0.5, layers=model.layers[1])


def test_a_layer_of_another_model_is_refused():
    with pytest.raises(ValueError, match="matches no weight of the model"):
        secateur.prune_once(three(), 0.5, layers=three(seed=9).layers[0])


def test_a_broken_expression_is_refused():
    with pytest.raises(ValueError, match=r"no valid regular expression.*Received: layers='dense\("):
        secateur.prune_once(three(), 0.5, layers="dense(")


@pytest.mark.parametrize("layers", [3, 0.5, b"dense", [None], L.Dense], ids=repr)
def test_nonsense_is_refused(layers):
    with pytest.raises(ValueError, match=r"`layers` takes layers.*Received: layers="):
        secateur.prune_once(three(), 0.5, layers=layers)


@pytest.mark.parametrize("target", [1.0, -0.1, "0.5", None, float("nan")])
def test_targets_out_of_range_are_refused(target):
    with pytest.raises(ValueError, match=r"\[0, 1\).*Received: layers\['dense'\]="):
        secateur.prune_once(three(), layers={"dense": target})


def test_a_target_of_zero_leaves_a_layer_dense():
    model = three()
    report = secateur.prune_once(model, layers={"dense/": 0.0, "dense_1": 0.5})
    assert [w.zeros for w in report.pruned] == [0, 18]


def test_targets_that_a_structure_would_ignore_are_refused():
    with pytest.raises(ValueError, match=r"fixes the sparsity.*Received: layers="):
        secateur.prune_once(three(), layers={"dense": 0.75}, structure=secateur.MByN(2, 4))


def test_targets_that_a_structure_would_give_anyway_pass():
    report = secateur.prune_once(three(), layers={"dense": 0.5}, structure=secateur.MByN(1, 2))
    assert report.sparsity == 0.5


class Wide:
    """A policy that lets only some layers through."""

    def __init__(self):
        self.checked = []

    def allow_pruning(self, layer):
        return layer.name != "dense_1"

    def ensure_model_supports_pruning(self, model):
        self.checked.append(model)


def test_a_policy_narrows_the_choice():
    model, policy = three(), Wide()
    report = secateur.prune_once(model, 0.5, policy=policy)
    assert policy.checked == [model]
    assert [w.path.split("/")[1] for w in report.pruned] == ["dense", "dense_2"]
    reasons = {w.path.split("/")[1]: w.reason for w in report.left_alone if "kernel" in w.path}
    assert reasons == {"dense_1": Reason.POLICY}


def test_a_policy_that_leaves_nothing_is_an_error():
    with pytest.raises(ValueError, match=r"nothing to prune.*left out by the policy"):
        secateur.prune_once(three(), 0.5, layers="dense_1", policy=Wide())
