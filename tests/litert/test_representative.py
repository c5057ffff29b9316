"""Representative data in all the shapes that people have it in."""

import numpy as np
import pytest

from secateur.litert.representative import MOST_SAMPLES, load_samples, samples_of, save_samples
from secateur.litert.signature import InputSpec
from support import only

pytestmark = only("tensorflow")  # needs no Keras

ONE = [InputSpec("x", (None, 2), "float32")]
TWO = [InputSpec("a", (None, 2), "float32"), InputSpec("b", (None, 1), "int32")]
X = np.arange(6.0).reshape(3, 2)
B = np.arange(3).reshape(3, 1)


def values(samples):
    return [{name: array.tolist() for name, array in sample.items()} for sample in samples]


@pytest.mark.parametrize(
    "data",
    [
        X,
        {"x": X},
        list(X),
        iter(X),
        [row[None] for row in X],
        [(row,) for row in X],
        [{"x": row} for row in X],
        lambda: iter(X),
        X.tolist(),
    ],
    ids=["array", "dict", "rows", "iterator", "batches", "tuples", "dicts", "function", "lists"],
)
def test_one_input(data):
    samples = samples_of(data, ONE)
    assert values(samples) == [{"x": [[0, 1]]}, {"x": [[2, 3]]}, {"x": [[4, 5]]}]
    assert samples[0]["x"].dtype == "float32"


@pytest.mark.parametrize(
    "data",
    [
        {"b": B, "a": X},
        (X, B),
        [X, B],
        list(zip(X, B, strict=True)),
        [{"b": b, "a": a} for a, b in zip(X, B, strict=True)],
        ([a[None], b[None]] for a, b in zip(X, B, strict=True)),
    ],
    ids=["dict", "tuple", "list", "pairs", "dicts", "generator"],
)
def test_two_inputs(data):
    samples = samples_of(data, TWO)
    assert values(samples) == [
        {"a": [[0, 1]], "b": [[0]]},
        {"a": [[2, 3]], "b": [[1]]},
        {"a": [[4, 5]], "b": [[2]]},
    ]
    assert samples[0]["b"].dtype == "int32"


def test_a_fixed_batch_size():
    samples = samples_of(np.ones((7, 2)), [InputSpec("x", (3, 2), "float32")])
    assert [sample["x"].shape for sample in samples] == [(3, 2), (3, 2)]


def test_an_endless_generator_ends():
    def forever():
        while True:
            yield np.zeros(2)

    assert len(samples_of(forever(), ONE)) == MOST_SAMPLES


def test_samples_may_differ_in_length():
    spec = [InputSpec("x", (None, None), "float32")]
    samples = samples_of([np.ones((1, 3)), np.ones((1, 5))], spec)
    assert [sample["x"].shape for sample in samples] == [(1, 3), (1, 5)]


def test_they_can_be_saved(tmp_path):
    for samples in ([], samples_of((X, B), TWO)):
        save_samples(tmp_path / "s.npz", samples)
        again = load_samples(tmp_path / "s.npz")
        assert values(again) == values(samples)
        assert [s["b"].dtype for s in again] == [s["b"].dtype for s in samples]


@pytest.mark.parametrize(
    ("data", "inputs", "says"),
    [
        ([], ONE, "is empty.*Received: representative_data=list of no samples"),
        (np.ones((0, 2)), ONE, "is empty"),
        (3, ONE, "must be arrays.*Received: representative_data=int"),
        ("x.npz", ONE, "must be arrays.*Received: representative_data=str"),
        (np.ones((4, 3)), ONE, r"does not fit input 'x'.*\(None, 2\).*Received: shape=\(1, 3\)"),
        ({"y": X}, ONE, r"arrays named x\. Received: names=\['y'\]"),
        (np.ones((4, 2)), TWO, "needs 2 arrays, for the inputs a, b"),
        ((X, B[:2]), TWO, r"the same number.*Received: samples=\{'a': 3, 'b': 2\}"),
        ((X, X[:, :1]), TWO, "input 'b' has the wrong dtype. Expected int32.*float64"),
        (np.array(["a", "b"]), ONE, "Received: "),
    ],
)
def test_what_does_not_fit(data, inputs, says):
    with pytest.raises(ValueError, match=says):
        samples_of(data, inputs)
