"""Which units of a chain run natively, for costs that are given."""

import math
from types import SimpleNamespace

import pytest

from secateur.runtime._partition import Prices, choose, segments
from secateur.runtime._units import Unit
from support import only

pytestmark = only("tensorflow")  # needs no Keras


def chosen(native, litert, seam, unit=1e6):
    """The sides of a chain in which each reads what the one before it writes; costs are in `unit`s."""
    native, litert, seam = [unit * c for c in native], [unit * c for c in litert], unit * seam
    units = [Unit(i, [i], [i], [i + 1]) for i in range(len(native))]
    graph = SimpleNamespace(shapes=[()] * (len(units) + 1), inputs=[0], outputs=[len(units)])
    prices = Prices(native, litert, lambda shape, inside: seam if inside else 0.0)
    return choose(graph, units, prices, always=False)


@pytest.mark.parametrize(
    ("native", "litert", "seam", "expected"),
    [
        ([10, 10, 10], [40, 40, 40], 1, [True, True, True]),
        ([10, 10, 10], [10.2, 10.2, 10.2], 1, [False, False, False]),  # saves too little
        ([20, 10, 10], [10, 40, 40], 1, [False, True, True]),  # saves 9 of 40
        ([20, 10, 10], [10, 40, 40], 9, [True, True, True]),  # saves 1
        ([12, 10, 10], [8, 40, 40], 0.1, [True, True, True]),  # 4 of 32, too little for a mixture
        ([math.inf, 10, 10], [10, 40, 40], 1, [False, True, True]),
        ([30, 10, 30], [10, 31, 10], 1, [False, True, False]),
        ([30, 10, 30], [10, 12, 10], 1, [False, False, False]),
        ([math.inf, 10, 10], [30, 12, 12], 0, [False, False, False]),  # 4 of 54
    ],
)
def test_a_division_saves_enough(native, litert, seam, expected):
    assert chosen(native, litert, seam) == expected


@pytest.mark.parametrize(("unit", "mixed"), [(1e3, False), (5e3, True)])
def test_a_mixture_saves_more_than_loading_it_is_worth(unit, mixed):
    """It saves 40 units of each run; 0.1 ms are not enough where they are 1 us each."""
    sides = chosen([math.inf, 10, 10], [10, 30, 30], 0, unit)
    assert sides == ([False, True, True] if mixed else [False] * 3)


def test_what_all_takes_natively_is_the_same_without_a_look_at_the_units():
    """Two inputs and two outputs, one of which another unit reads, too."""
    units = [Unit(0, [0], [0, 1], [2]), Unit(1, [1], [2], [3]), Unit(2, [2], [2, 3], [4])]
    shapes = [(1, 2), (1, 3), (1, 5), (1, 7), (1, 11)]
    graph = SimpleNamespace(shapes=shapes, inputs=[0, 1], outputs=[3, 4])
    prices = Prices([1.0, 2.0, 4.0], [9.0, 9.0, 9.0], lambda shape, inside: shape[1] + 100 * inside)
    assert prices.whole(graph) == 7 + 2 + 3 + 7 + 11
    assert prices.of(graph, segments(graph, units, [True] * 3)) == prices.whole(graph)


def test_what_a_segment_leaves_to_a_later_one_changes_its_layout_twice():
    """Tensor 1 is read by LiteRT's unit and by the last one; LiteRT's writes tensor 2."""
    units = [Unit(0, [0], [0], [1]), Unit(1, [1], [1], [2]), Unit(2, [2], [1, 2], [3])]
    graph = SimpleNamespace(shapes=[(10**k,) for k in range(4)], inputs=[0], outputs=[3])
    prices = Prices([1.0, math.inf, 1.0], [5.0, 5.0, 5.0], lambda shape, inside: shape[0])
    parts = segments(graph, units, [True, False, True])
    assert prices.of(graph, parts) == 7 + 1 + 2 * 10 + 100 + 1000
