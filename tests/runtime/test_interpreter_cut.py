"""The division of a graph between two sides is the cheapest there is."""

import doctest
import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.runtime import _cut
from secateur.runtime._cut import Cut
from support import only

pytestmark = only("tensorflow")  # needs no Keras

COSTS = st.integers(0, 20)


def test_examples():
    result = doctest.testmod(_cut)
    assert result.failed == 0
    assert result.attempted > 0


def cost(sides, pays, edges):
    """What a division costs, by the definition."""
    total = sum(pay[0] if side else pay[1] for side, pay in zip(sides, pays, strict=True))
    return total + sum(price for a, b, price in edges if sides[a] and not sides[b])


@st.composite
def problems(draw):
    count = draw(st.integers(1, 8))
    pays = [
        draw(st.one_of(st.tuples(COSTS, COSTS), st.tuples(st.just(math.inf), COSTS)))
        for _ in range(count)
    ]
    nodes = st.integers(0, count - 1)
    edge = st.tuples(nodes, nodes, st.one_of(COSTS, st.just(math.inf)))
    return pays, draw(st.lists(edge, max_size=20))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(problems())
def test_against_all_divisions(problem):
    pays, edges = problem
    cut = Cut(len(pays))
    for node, (source, sink) in enumerate(pays):
        cut.pay(node, source, sink)
    for start, end, price in edges:
        cut.edge(start, end, price)
    least = min(
        cost(sides, pays, edges) for sides in itertools.product((True, False), repeat=len(pays))
    )
    assert cost(cut.solve(), pays, edges) == pytest.approx(least)
