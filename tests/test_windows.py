"""Windows of layers that share a chip: the model is exact, and moves keep to it, to time and to the seed."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Iterator, Mapping

import pytest
from generators import draw_hardware, draw_network
from hypothesis import given
from hypothesis import strategies as st

from hw.library import load_hardware
from models.library import load_network
from overlapim_files import InputError
from solver.cpsat.master import Master, PlanWindow
from solver.cpsat.windows import WindowMoves
from solver.mapspace.pools import Pools, lag, shapes
from solver.maxplus.lags import rigid_lag
from solver.params import MoveParams, WindowParams
from solver.schedule.plan import Plan, by_start, in_order, overlap_shared
from solver.search.modes import Modes, length, rigid_start
from solver.search.sequential import sequential
from solver.solution import from_plan, verify
from solver.solve import solve
from solver.stop import Stop
from solver.timing.problem import Problem
from solver.timing.profile import Profile
from solver.timing.timeline import evaluate
from solver.timing.validity import problems

ROOM = 10**5
"""Rows that suffice for all layers."""


def drawn(seed: int, layers: int, **chip: int) -> tuple[Problem, Pools, Plan]:
    """Draw a problem and a plan of it in which no layer waits."""
    rng = random.Random(seed)
    while True:
        network = draw_network(rng, rng.randint(2, layers))
        weights = rng.choice(("shared", "reload"))
        hardware = draw_hardware(rng, network).with_weights(weights).model_copy(update=chip)
        problem = Problem(network, hardware)
        pools = Pools(problem)
        try:
            start = sequential(pools, Stop())
        except InputError:
            continue
        line = by_start(problem, start)
        plan = overlap_shared(problem, start.profiles, line, frozenset(line))
        if plan is not None:
            return problem, pools, plan


def one_channel(seed: int, layers: int) -> tuple[Problem, Pools, Plan]:
    """Draw a problem for which it is enough to count banks."""
    banks = random.Random(seed).randint(2, 6)
    return drawn(seed, layers, channels=1, banks_per_channel=banks, rows_per_bank=ROOM)


def some_modes(
    rng: random.Random, problem: Problem, pools: Pools, plan: Plan, most: int
) -> list[list[Profile]]:
    """Draw modes for each layer, its own first."""
    modes = []
    for i, own in enumerate(plan.profiles):
        pooled = [p for shape in shapes(problem.hardware) for p in pools.pool(i, shape)]
        others = rng.sample(pooled, min(len(pooled), rng.randint(0, most - 1)))
        modes.append([own, *(p for p in others if p.mapping != own.mapping)])
    return modes


def follows(problem: Problem, starts: Mapping[int, int]) -> bool:
    """Whether no layer starts before one that it reads; it may if it takes long to prepare."""
    return all(starts[p] <= starts[i] for i in starts for p in problem.network.producers[i] if p in starts)


def lines(problem: Problem) -> Iterator[tuple[int, ...]]:
    """Yield every topological order."""
    for line in itertools.permutations(range(len(problem.layers))):
        if all(line.index(p) < line.index(i) for i in line for p in problem.network.producers[i]):
            yield line


@given(st.integers(0, 10**6))
def test_the_best_choice_of_modes_is_that_of_all_choices_and_orders(seed: int) -> None:
    problem, pools, plan = one_channel(seed, 3)
    modes = some_modes(random.Random(seed), problem, pools, plan, 3)
    window = PlanWindow(plan, (), {i: modes[i] for i in by_start(problem, plan)}, ())
    answer, _ = Master(problem, window, Stop()).solve(10.0, seed)
    plans = (
        overlap_shared(problem, choice, line, frozenset(line))
        for choice in itertools.product(*modes)
        for line in lines(problem)
    )
    best = min(found.latency for found in plans if found is not None)
    assert answer is not None and answer.optimal and answer.latency <= plan.latency
    # Layers that have no other mode keep their order, so the model has not all orders if they are several.
    if sum(len(own) == 1 for own in modes) < 2:
        assert answer.latency <= best
    if follows(problem, answer.starts):
        assert answer.latency >= best


@given(st.integers(0, 10**6))
def test_what_a_window_says_is_no_earlier_than_what_comes_of_it(seed: int) -> None:
    problem, pools, plan = one_channel(seed, 6)
    rng = random.Random(seed)
    modes = some_modes(rng, problem, pools, plan, 4)
    order = by_start(problem, plan)
    first, last = sorted(rng.sample(range(len(order) + 1), 2))
    chosen = {
        i: modes[i] if place < last else modes[i][:1] for place, i in enumerate(order) if place >= first
    }
    answer, _ = Master(problem, PlanWindow(plan, order[:first], chosen, ()), Stop()).solve(10.0, seed)
    assert answer is not None and answer.latency <= plan.latency
    profiles = [answer.chosen.get(i, own) for i, own in enumerate(plan.profiles)]
    starts = {i: -len(order) + place for place, i in enumerate(order)} | dict(answer.starts)
    line = in_order(problem, starts)
    made = overlap_shared(problem, profiles, line, frozenset(line), plan, first)
    if not follows(problem, answer.starts):
        return
    assert made is not None and made.latency <= answer.latency
    for i, start in answer.starts.items():
        assert made.timeline.layers[i].start <= start
        assert made.timeline.layers[i].waited == 0


@given(st.integers(0, 10**6))
def test_no_layer_waits_from_the_rigid_lag_on(seed: int) -> None:
    problem, pools, _ = drawn(seed, 4)
    rng = random.Random(seed)
    profiles = [rng.choice(pools.pool(i, shapes(problem.hardware)[-1])) for i in range(len(problem.layers))]
    transfer = problem.hardware.cycles.transfer
    releases = [0] * len(profiles)
    tight: list[int] = []
    for i in problem.network.topological:
        lags = [
            (e.producer, rigid_lag(profiles[e.producer], profiles[i], e, transfer)) for e in problem.edges[i]
        ]
        releases[i] = max([0, *(releases[p] + lag for p, lag in lags if lag is not None)])
        tight += [i] if releases[i] > 0 else []
    timeline = evaluate(problem, profiles, releases)
    assert all(times.waited == 0 and times.start == releases[i] for i, times in enumerate(timeline.layers))
    assert all(x.end - x.start == length(x.profile) and rigid_start(x) == x.start for x in timeline.layers)
    for i in tight:
        earlier = [release - (j == i) for j, release in enumerate(releases)]
        times = evaluate(problem, profiles, earlier).layers[i]
        assert times.waited > 0 or times.start > earlier[i]


@given(st.integers(0, 10**6))
def test_modes_stand_for_all_pooled_mappings(seed: int) -> None:
    problem, pools, plan = drawn(seed, 4)
    params = WindowParams()
    modes = Modes(pools, random.Random(seed), params)
    for i, layer in enumerate(problem.layers):
        pooled = [p for shape in shapes(problem.hardware) for p in pools.close(i, shape)]
        for _ in range(3):
            found = modes.of(i, plan)
            changed = {m.mapping for m in found} - {p.mapping for p in pooled}
            assert len(changed) <= params.varied
            assert not any(problems(layer, mapping, problem.hardware) for mapping in changed)
        for p in pooled:
            late = params.finer * min(lag(p), 1.0)
            assert any(
                m.banks <= p.banks and length(m) <= length(p) and min(lag(m), 1.0) <= late for m in found
            )


@given(st.integers(0, 10**6))
def test_moves_give_valid_plans_that_are_no_later(seed: int) -> None:
    problem, pools, plan = drawn(seed, 5)
    params = MoveParams(windows=WindowParams(first=2, fewest=1, following=seed % 3))
    moves = WindowMoves(pools, random.Random(seed), params)
    state = moves.state(plan)
    for _ in range(6):
        changed = moves.change(state, state.cost)
        if changed is not None:
            assert changed.cost <= state.cost
            verify(from_plan(problem, changed.plan, "test", 0))
            state = changed


@pytest.mark.parametrize("weights", ["shared", "reload"])
def test_the_same_seed_gives_the_same_plan(weights: str) -> None:
    network, chip = load_network("toy"), load_hardware("toy").with_weights(weights)
    found = [solve(network, chip, method="cpsat", stop=Stop.deterministic(2), seed=2) for _ in range(2)]
    assert found[0].solution == found[1].solution
    assert found[0].steps == found[1].steps


@pytest.mark.parametrize("seconds", [0.4, 1.5, 2.5, 4.0])
def test_a_search_with_windows_can_be_cut_short_at_any_moment(seconds: float) -> None:
    network, chip = load_network("inception-v1"), load_hardware("hbm2-bitsimd-8stack")
    flag = threading.Event()
    timer = threading.Timer(seconds, flag.set)
    timer.start()
    result = solve(network, chip, method="cpsat", stop=Stop(seconds=60, interrupt=flag))
    assert flag.is_set()
    assert result.seconds < seconds + 3
    assert result.latency <= result.sequential


def test_windows_find_what_other_moves_do_not() -> None:
    network, chip = load_network("squeezenet"), load_hardware("hbm2-bitsimd-8stack")
    alone = solve(network, chip, method="descent", stop=Stop.deterministic(8))
    assert solve(network, chip, method="cpsat", stop=Stop.deterministic(8)).latency < 0.99 * alone.latency
