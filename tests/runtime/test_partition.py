"""Which units of a chain run natively, for costs that are given."""

import math
from types import SimpleNamespace

import pytest

from secateur.runtime._partition import Prices, choose
from secateur.runtime._units import Unit
from support import only

pytestmark = only("tensorflow")  # needs no Keras


def chosen(native, litert, seam):
    """The sides of a chain in which each unit reads what the one before it writes."""
    units = [Unit(i, [i], [i], [i + 1], cost < math.inf) for i, cost in enumerate(native)]
    graph = SimpleNamespace(shapes=[()] * (len(units) + 1), outputs=[len(units)])
    prices = Prices(native, litert, lambda shape, inside: seam if inside else 0.0)
    return choose(graph, units, prices, always=False)


@pytest.mark.parametrize(
    ("native", "litert", "seam", "expected"),
    [
        ([10, 10, 10], [40, 40, 40], 1, [True, True, True]),
        ([10, 10, 10], [10.2, 10.2, 10.2], 1, [False, False, False]),  # saves too little
        ([20, 10, 10], [10, 40, 40], 1, [False, True, True]),  # saves 9 of 40
        ([20, 10, 10], [10, 40, 40], 9, [True, True, True]),  # saves 1, less than 5 %
        ([12, 10, 10], [8, 40, 40], 0.1, [True, True, True]),  # 4 of 32: not looked for
        ([math.inf, 10, 10], [10, 40, 40], 1, [False, True, True]),
        ([30, 10, 30], [10, 31, 10], 1, [False, True, False]),
        ([30, 10, 30], [10, 12, 10], 1, [False, False, False]),
    ],
)
def test_a_division_saves_enough(native, litert, seam, expected):
    assert chosen(native, litert, seam) == expected
