"""The interval of a plan, against inferences that are laid over each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solver.schedule.interval import interval

Held = list[tuple[int, int, list[int]]]
"""(start, end, banks) of each layer."""


@st.composite
def held(draw: st.DrawFn) -> Held:
    """Draw layers that hold banks, no two of them one bank at a time."""
    free = dict.fromkeys(range(draw(st.integers(1, 4))), 0)
    layers: Held = []
    for _ in range(draw(st.integers(1, 7))):
        banks = sorted(draw(st.sets(st.sampled_from(sorted(free)), min_size=1)))
        start = max(free[bank] for bank in banks) + draw(st.integers(0, 9))
        end = start + draw(st.integers(1, 9))
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


def test_a_bank_of_one_layer_is_free_when_that_ends() -> None:
    assert interval([0, 5], [7, 30], [np.array([0]), np.array([1])]) == 25


@pytest.mark.parametrize(("gap", "expected"), [(0, 20), (1, 21), (5, 25), (10, 30), (15, 35), (20, 20)])
def test_two_layers_of_ten_cycles_on_one_bank(gap: int, expected: int) -> None:
    """The second starts `gap` cycles after the first has ended."""
    bank = np.array([3])
    assert interval([0, 10 + gap], [10, 20 + gap], [bank, bank]) == expected
