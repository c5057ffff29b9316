"""Reports: the same numbers as text, as a dictionary, as JSON and as HTML."""

import html.parser
import json

import keras
import pytest

import secateur
from secateur import PruningReport, Reason
from secateur.report import WeightReport
from support import dense_model


def example():
    return PruningReport(
        "A <title> & more",
        [
            WeightReport("net/a<b>/kernel", "Dense", (40, 50), 1500, 0.75),
            WeightReport("net/a<b>/bias", "Dense", (50,), 0, None, Reason.NOT_A_KERNEL),
            WeightReport("net/c/kernel", "Conv2D", (3, 3, 1, 2), 9),
        ],
        target=0.75,
        notes=("a note",),
    )


def test_shares_by_hand():
    report = example()
    assert [w.size for w in report.weights] == [2000, 50, 18]
    assert [w.sparsity for w in report.weights] == [0.75, 0.0, 0.5]
    assert report.sparsity == 1509 / 2018
    assert report.total_sparsity == 1509 / 2068


def test_pruned_and_left_alone_are_told_apart_by_the_reason():
    report = example()
    assert [w.path for w in report.pruned] == ["net/a<b>/kernel", "net/c/kernel"]
    assert [w.path for w in report.left_alone] == ["net/a<b>/bias"]


def test_the_text():
    assert str(example()).splitlines() == [
        "A <title> & more",
        "weight           layer     shape  zeros  sparsity  target",
        "net/a<b>/kernel  Dense     40x50  1,500    75.00%  75.00%",
        "net/c/kernel     Conv2D  3x3x1x2      9    50.00%",
        "total                      2,018  1,509    74.78%  75.00%",
        "left alone: 1 x not a kernel",
        "a note",
    ]
    assert repr(example()) == str(example())


def test_the_dictionary_and_the_json_are_one():
    report = example()
    found = report.to_dict()
    assert json.loads(report.to_json()) == found
    assert found["title"] == "A <title> & more"
    assert (found["target"], found["sparsity"]) == (0.75, 1509 / 2018)
    assert found["notes"] == ["a note"]
    assert found["weights"][1] == {
        "path": "net/a<b>/bias",
        "layer": "Dense",
        "shape": [50],
        "size": 50,
        "zeros": 0,
        "sparsity": 0.0,
        "target": None,
        "reason": "not a kernel",
    }


class Cells(html.parser.HTMLParser):
    """The text of each cell, row by row, and all tags."""

    def __init__(self):
        super().__init__()
        self.rows, self.tags = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, text):
        if self.tags[-1] in ("td", "th"):
            self.rows[-1][-1] += text


def test_the_html_has_a_row_for_each_line_and_escapes_names():
    page = Cells()
    page.feed(example()._repr_html_())
    assert page.rows[1] == ["net/a<b>/kernel", "Dense", "40x50", "1,500", "75.00%", "75.00%"]
    assert len(page.rows) == 4
    assert set(page.tags) == {"b", "table", "tr", "th", "td", "div"}  # no tag out of a name


def test_an_empty_report():
    report = PruningReport("nothing", [])
    assert (report.sparsity, report.total_sparsity) == (0.0, 0.0)
    assert "nothing" in str(report)
    json.loads(report.to_json())


def test_a_scalar_and_an_empty_weight():
    assert WeightReport("w", "L", (), 1).sparsity == 1.0
    assert WeightReport("w", "L", (0, 3), 0).sparsity == 0.0


@pytest.mark.parametrize(
    "verb",
    [
        lambda m: secateur.prune(m, sparsity=0.75),
        lambda m: secateur.prune(
            m, structure=secateur.MByN(2, 4), schedule=secateur.ConstantSparsity(0.5, 3)
        ),
        lambda m: secateur.prune_once(m, 0.75),
        lambda m: secateur.sparsity(m),
    ],
    ids=["prune", "pattern", "prune_once", "sparsity"],
)
def test_every_report_survives_json(verb):
    model = dense_model(8, 4, inputs=4)
    model.compile("sgd", "mse")
    report = verb(model)
    assert json.loads(report.to_json()) == report.to_dict()
    assert model.name in str(report)


def test_the_target_of_a_pattern_is_the_patterns():
    model = dense_model(8, inputs=4)
    model.compile("sgd", "mse")
    schedule = secateur.ConstantSparsity(0.9, begin_step=3)
    report = secateur.prune(model, schedule, structure=secateur.MByN(1, 4))
    assert report.target == report.pruned[0].target == 0.25


def test_targets_of_single_layers_average_by_size():
    model = dense_model(8, 2, inputs=4)
    report = secateur.prune_once(model, layers={"dense/": 0.5, "dense_1": 0.25})
    assert report.target == (0.5 * 32 + 0.25 * 16) / 48


def test_a_report_of_a_model_with_everything():
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3),
            layers.BatchNormalization(),
            layers.DepthwiseConv2D(3),
            layers.Flatten(),
            layers.Dense(2, trainable=False),
        ]
    )
    lines = str(secateur.prune_once(model, 0.5)).splitlines()
    assert lines[-4:] == [
        "left alone: 1 x depthwise kernel: pruned only when asked for by itself",
        "left alone: 2 x frozen",
        "left alone: 2 x normalization",
        "left alone: 2 x not a kernel",
    ]
