"""The interval of a plan, against inferences that are laid over each other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solver.schedule.interval import interval

Held = list[tuple[int, int, list[int]]]
"""(start, end, banks) of each layer."""


@st.composite
def held(draw: st.DrawFn, most: int = 7, longest: int = 9) -> Held:
    """Draw layers that hold banks, no two of them one bank at a time."""
    free = dict.fromkeys(range(draw(st.integers(1, 4))), 0)
    layers: Held = []
    for _ in range(draw(st.integers(1, most))):
        banks = sorted(draw(st.sets(st.sampled_from(sorted(free)), min_size=1)))
        start = max(free[bank] for bank in banks) + draw(st.integers(0, longest))
        end = start + draw(st.integers(1, longest))
        free.update(dict.fromkeys(banks, end))
        layers.append((start, end, banks))
    return draw(st.permutations(layers))


def possible(layers: Held, distance: int) -> bool:
    """Whether each bank is held at most once at a time by inferences that follow at a distance."""
    busy: dict[int, list[int]] = {}
    for start, end, banks in layers:
        for bank in banks:
            busy.setdefault(bank, []).extend(cycle % distance for cycle in range(start, end))
    return all(len(set(cycles)) == len(cycles) for cycles in busy.values())


@given(held())
@settings(max_examples=300)
def test_the_interval_is_the_least_at_which_no_bank_is_held_twice(layers: Held) -> None:
    starts, ends = [start for start, _, _ in layers], [end for _, end, _ in layers]
    found = interval(starts, ends, [np.array(banks) for _, _, banks in layers])
    assert possible(layers, found)
    assert not any(possible(layers, distance) for distance in range(1, found))


def by_all_pairs(layers: Held) -> int:
    """The least interval past all gaps that any two layers of a bank rule out."""
    pairs = [
        (max(one[0], other[0]) - min(one[1], other[1]), max(one[1], other[1]) - min(one[0], other[0]))
        for one, other in itertools.combinations(layers, 2)
        if set(one[2]) & set(other[2])
    ]
    banks = {bank for _, _, own in layers for bank in own}
    found = max(sum(end - start for start, end, own in layers if bank in own) for bank in banks)
    while late := [(high, k) for low, high in pairs if (k := low // found + 1) * found < high]:
        found = max(-(-high // k) for high, k in late)
    return found


@given(held(most=40, longest=10**9))
def test_long_queues_and_times(layers: Held) -> None:
    starts, ends = [start for start, _, _ in layers], [end for _, end, _ in layers]
    assert interval(starts, ends, [np.array(banks) for _, _, banks in layers]) == by_all_pairs(layers)


def test_a_bank_of_one_layer_is_free_when_that_ends() -> None:
    assert interval([0, 5], [7, 30], [np.array([0]), np.array([1])]) == 25


@pytest.mark.parametrize(("gap", "expected"), [(0, 20), (1, 21), (5, 25), (10, 30), (15, 35), (20, 20)])
def test_two_layers_of_ten_cycles_on_one_bank(gap: int, expected: int) -> None:
    """The second starts `gap` cycles after the first has ended."""
    bank = np.array([3])
    assert interval([0, 10 + gap], [10, 20 + gap], [bank, bank]) == expected
