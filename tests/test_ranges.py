"""Ranges of tables, against going over each range entry by entry."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hw.library import load_hardware
from models.library import load_network
from solver.timing.infinity import INFINITY, MINUS_INFINITY
from solver.timing.problem import Problem
from solver.timing.ranges import Entries, range_maximum, range_minima


@st.composite
def ranged(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]], Entries]:
    """Draw a number of entries, ranges of them, empty ones among these, and a row of values for each."""
    entries = draw(st.integers(1, 40))
    ends = st.integers(0, entries - 1)
    ranges = draw(st.lists(st.one_of(st.tuples(ends, ends).map(sorted), st.just([0, -1])), max_size=12))
    values = draw(st.lists(st.integers(-50, 50), min_size=2 * len(ranges), max_size=2 * len(ranges)))
    return entries, [(low, high) for low, high in ranges], np.array(values, np.int64).reshape(-1, 2)


def ends(ranges: list[tuple[int, int]]) -> tuple[Entries, Entries]:
    found = np.array(ranges, np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


@given(ranged())
def test_each_entry_gets_the_least_value_of_the_ranges_that_have_it(
    drawn: tuple[int, list[tuple[int, int]], Entries],
) -> None:
    entries, ranges, values = drawn
    expected = np.full((entries, 2), INFINITY)
    for (low, high), row in zip(ranges, values, strict=True):
        for entry in range(low, high + 1):
            expected[entry] = np.minimum(expected[entry], row)
    assert range_minima(values, *ends(ranges), entries).tolist() == expected.tolist()
    assert range_minima(values[:, 0], *ends(ranges), entries).tolist() == expected[:, 0].tolist()


@given(ranged(), st.data())
def test_each_range_has_its_largest_entry(
    drawn: tuple[int, list[tuple[int, int]], Entries], data: st.DataObject
) -> None:
    entries, ranges, _ = drawn
    table = np.array(data.draw(st.lists(st.integers(-50, 50), min_size=entries, max_size=entries)), np.int64)
    expected = [max(table[low : high + 1].tolist(), default=MINUS_INFINITY) for low, high in ranges]
    assert range_maximum(table, *ends(ranges)).tolist() == expected


def test_layers_that_read_alike_share_what_they_read() -> None:
    """A hundred equal layers need the intervals of a million values once."""
    problem = Problem(load_network("bert-base"), load_hardware("hbm2-bitsimd"))
    groups = [group for edges in problem.edges for edge in edges for group in edge.groups]
    described = {(g.axes, g.terms, g.offset, g.extents, g.windows) for g in groups}
    assert len({id(group) for group in groups}) == len(described) < len(groups) / 10
