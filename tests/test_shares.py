"""Layers that share the chip: which banks are free, plans made anew in part, moves that put them together."""

from __future__ import annotations

import math
import random

import numpy as np
import numpy.typing as npt
import pytest
from generators import draw_hardware, draw_network
from hypothesis import given
from hypothesis import strategies as st

from hw.hardware import Hardware
from hw.library import load_hardware
from models.library import load_network
from overlapim_files import InputError
from solver.mapspace.pools import Pools, shapes
from solver.params import MoveParams, SharedParams, SharesParams
from solver.schedule.banks import Ledger
from solver.schedule.plan import Plan, by_start, overlap_shared
from solver.search.sequential import sequential
from solver.search.shared import SharedMoves
from solver.search.shares import share_banks
from solver.solution import from_plan, verify
from solver.stop import Stop
from solver.timing.problem import Problem
from solver.timing.profile import Profile
from solver.timing.timeline import evaluate

Banks = npt.NDArray[np.int64]


class SlowLedger:
    """The same as `Ledger`, with an array for each question instead of sets."""

    def __init__(self, hardware: Hardware) -> None:
        self.shape = (hardware.channels, hardware.banks_per_channel)
        self.keeps = hardware.weights != "reload"
        self.rows = np.full(self.shape, hardware.rows_per_bank, np.int64)
        self.held: list[tuple[int, int, Banks]] = []

    def free(self, profile: Profile, start: int, end: int) -> list[int] | None:
        available = self.rows >= profile.rows
        for held_from, held_until, banks in self.held:
            if held_from < end and start < held_until:
                available.reshape(-1)[banks] = False
        width, channels = profile.mapping.banks_per_channel, profile.mapping.channels
        fitting = sorted((int(own.sum()), c) for c, own in enumerate(available) if own.sum() >= width)
        if len(fitting) < channels:
            return None
        chosen = sorted(c for _, c in fitting[:channels])
        return [c * self.shape[1] + int(b) for c in chosen for b in np.flatnonzero(available[c])[:width]]

    def hold(self, profile: Profile, start: int, end: int, banks: Banks) -> None:
        if self.keeps:
            self.rows.reshape(-1)[banks] -= profile.rows
        self.held.append((start, end, banks))


def small(seed: int) -> tuple[Problem, Pools, Plan]:
    """Draw a problem that layers can share a chip for."""
    rng = random.Random(seed)
    while True:
        network = draw_network(rng, rng.randint(2, 5))
        hardware = draw_hardware(rng, network).with_weights(rng.choice(("shared", "reload")))
        problem = Problem(network, hardware)
        pools = Pools(problem)
        try:
            return problem, pools, sequential(pools, Stop())
        except InputError:
            continue


@given(st.integers(0, 10**6))
def test_sets_of_banks_say_what_arrays_say(seed: int) -> None:
    problem, pools, _ = small(seed)
    rng = random.Random(seed)
    fast, slow = Ledger(problem.hardware), SlowLedger(problem.hardware)
    for _ in range(12):
        layer = rng.randrange(len(problem.layers))
        pool = pools.pool(layer, rng.choice(shapes(problem.hardware)))
        start = rng.randint(0, 30)
        if not pool:
            continue
        profile, end = rng.choice(pool), start + rng.randint(1, 20)
        banks = fast.free(profile, start, end, fast.roomy(profile))
        assert (None if banks is None else banks.tolist()) == slow.free(profile, start, end)
        if banks is not None:
            fast.hold(profile, start, end, banks)
            slow.hold(profile, start, end, banks)


@given(st.integers(0, 10**6))
def test_layers_before_a_change_stay_where_they_are(seed: int) -> None:
    """Placing only the layers from a change on gives the plan that placing all gives."""
    problem, pools, start = small(seed)
    rng, line = random.Random(seed), problem.network.topological
    first = overlap_shared(problem, start.profiles, line, frozenset(line))
    if first is None:
        return
    place = rng.randrange(len(line))
    profiles = list(start.profiles)
    profiles[line[place]] = rng.choice(pools.pool(line[place], shapes(problem.hardware)[-1]))
    anew = overlap_shared(problem, profiles, line, frozenset(line))
    kept = overlap_shared(problem, profiles, line, frozenset(line), first, place)
    assert (anew is None) == (kept is None)
    if anew is not None and kept is not None:
        assert [x.start for x in kept.timeline.layers] == [x.start for x in anew.timeline.layers]
        assert [x.end for x in kept.timeline.layers] == [x.end for x in anew.timeline.layers]
        assert [b.tolist() for b in kept.banks] == [b.tolist() for b in anew.banks]


@given(st.integers(0, 10**6))
def test_times_that_are_kept_over_many_changes_stay_right(seed: int) -> None:
    """A wait that another one hides is found out anew when what it waits for changes."""
    problem, pools, plan = small(seed)
    rng, timeline = random.Random(seed), plan.timeline
    profiles, releases = list(plan.profiles), [0] * len(problem.layers)
    for _ in range(25):
        i = rng.randrange(len(profiles))
        releases[i] = rng.choice((0, 0, timeline.layers[i].end, rng.randrange(timeline.latency)))
        profiles[i] = rng.choice((profiles[i], *pools.pool(i, shapes(problem.hardware)[-1])[:3]))
        timeline = evaluate(problem, profiles, releases, previous=timeline)
        fresh = evaluate(problem, profiles, releases)
        assert [(x.start, x.end) for x in timeline.layers] == [(x.start, x.end) for x in fresh.layers]


@given(st.integers(0, 10**6))
def test_layers_stand_in_line_by_their_starts_after_their_producers(seed: int) -> None:
    problem, _, plan = small(seed)
    line = by_start(problem, plan)
    waiting = sorted(problem.network.topological, key=lambda i: plan.timeline.layers[i].start)
    for place, i in enumerate(line):
        # The first of those that are left of which all producers stand before it.
        able = (j for j in waiting if set(problem.network.producers[j]) <= set(line[:place]))
        assert next(able) == i
        waiting.remove(i)
    assert not waiting


@given(st.integers(0, 10**6))
def test_shares_of_banks_give_valid_and_better_plans(seed: int) -> None:
    problem, pools, start = small(seed)
    found: list[Plan] = []
    params = SharesParams(patience=5)
    share_banks(pools, start, Stop(iterations=25), seed, found.append, params)
    latencies = [start.latency, *(plan.latency for plan in found)]
    assert latencies == sorted(latencies, reverse=True) and len(set(latencies)) == len(latencies)
    for plan in found:
        verify(from_plan(problem, plan, "test", 0))


@given(st.integers(0, 10**6))
def test_layers_put_side_by_side_make_valid_plans(seed: int) -> None:
    problem, pools, start = small(seed)
    rng = random.Random(seed)
    params = MoveParams(shared=SharedParams(together=1.0, reschedule=0.0), reorderings=0.0)
    moves = SharedMoves(pools, rng, params)
    state = moves.state(start)
    for _ in range(6):
        state = moves.change(state, math.inf) or state
    verify(from_plan(problem, state.plan, "test", 0))


@pytest.mark.parametrize("weights", ["shared", "reload"])
def test_branches_run_side_by_side(weights: str) -> None:
    """On a chip far too large for each layer, a network with branches ends a fifth earlier than in turn."""
    chip = load_hardware("hbm2-bitsimd-8stack").with_weights(weights)  # type: ignore[arg-type]
    pools = Pools(Problem(load_network("inception-v1"), chip))
    start = sequential(pools, Stop())
    found = [start]
    share_banks(pools, start, Stop(iterations=20), 0, found.append, SharesParams(finest=8))
    assert found[-1].latency < 0.8 * start.latency
