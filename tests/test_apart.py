"""Banks of their own for layers that may share them: valid plans, and no more time than they are worth."""

from __future__ import annotations

import random

import pytest
from generators import draw_solvable

from hw.hardware import Weights
from hw.library import load_hardware
from models.library import load_network
from solver.mapspace.pools import Pools
from solver.params import ApartParams, Params
from solver.schedule.pace import apart
from solver.schedule.plan import Plan
from solver.search.apart import BanksApart
from solver.search.exchanges import Exchanges
from solver.search.sequential import sequential
from solver.search.shared import SharedMoves
from solver.solution import from_plan, verify
from solver.stop import Stop
from solver.timing.problem import Problem
from solver.timing.timeline import evaluate

PARAMS = ApartParams()
LEAST = PARAMS.first + (1 - PARAMS.first) * PARAMS.rounds[0][0]
"""Share of the time for what comes not near the best plan, at most."""


def searched(problem: Problem, seconds: float) -> tuple[Plan, list[Plan], Stop]:
    pools, stop, found = Pools(problem), Stop.deterministic(seconds), list[Plan]()
    start = sequential(pools, Stop())
    search = BanksApart(pools, Params())
    search.begin(start, stop, 0, found.append)
    search.go_on(start, stop, 0, found.append)
    return start, found, stop


@pytest.mark.parametrize("weights", ["shared", "reload"])
def test_plans_with_static_weights_are_valid_where_banks_may_be_shared(weights: Weights) -> None:
    known = 0
    for seed in range(25):
        problem = Problem(*draw_solvable(random.Random(seed), 5, weights))
        _, found, _ = searched(problem, 2)
        for plan in found:
            verify(from_plan(problem, plan, "descent", seed))
            assert apart(plan)
        known += len(found)
    assert known > 15


def test_a_small_network_on_a_large_chip_is_faster_on_banks_of_its_own() -> None:
    problem = Problem(load_network("toy"), load_hardware("hbm2-bitsimd-8stack"))
    start, found, stop = searched(problem, 10)
    assert min(plan.latency for plan in found) < start.latency
    assert stop.elapsed() > LEAST * 10, "it goes on, as it is ahead"


def test_little_time_is_lost_where_banks_are_few() -> None:
    problem = Problem(load_network("toy"), load_hardware("toy"))
    start, found, stop = searched(problem, 10)
    assert all(plan.latency > start.latency for plan in found)
    assert 0 < stop.elapsed() <= LEAST * 10 + 0.1


@pytest.mark.parametrize("stop", [Stop(iterations=200), Stop()])
def test_it_ends_without_a_limit_on_time(stop: Stop) -> None:
    problem = Problem(load_network("toy"), load_hardware("toy"))
    pools = Pools(problem)
    search, start = BanksApart(pools, Params()), sequential(pools, Stop())
    search.begin(start, stop, 0, lambda _: None)
    search.go_on(start, stop, 0, lambda _: None)
    assert not stop.reached()


def test_a_chip_with_fewer_banks_than_layers_is_left_alone() -> None:
    chip = load_hardware("toy").model_copy(update={"channels": 1, "banks_per_channel": 2})
    assert searched(Problem(load_network("toy"), chip), 2)[1] == []


def test_moves_of_layers_apart_leave_some_apart_and_bring_others_together() -> None:
    problem = Problem(load_network("toy"), load_hardware("hbm2-bitsimd-8stack"))
    _, found, _ = searched(problem, 2)
    moves = SharedMoves(Pools(problem), random.Random(0))
    state = moves.state(found[-1])
    changed = [moves.change(state, float("inf")) for _ in range(60)]
    kinds = {apart(own.plan) for own in changed if own is not None}
    assert kinds == {True, False}


def test_the_search_goes_on_from_its_own_best_plan() -> None:
    problem = Problem(load_network("toy"), load_hardware("hbm2-bitsimd-8stack"))
    pools, found = Pools(problem), list[Plan]()
    search, start = BanksApart(pools, Params()), sequential(pools, Stop())
    assert search.share() == 0, "there is no plan yet"
    search.begin(start, Stop.deterministic(2), 0, found.append)
    first = search.plan
    assert first is not None and [plan.latency for plan in found] == [first.latency]
    search.search(Stop.deterministic(5), 1, found.append, Exchanges)
    assert search.plan is not None and search.plan.latency == found[-1].latency < first.latency


def later(problem: Problem, plan: Plan, share: float) -> Plan:
    """Return a plan that ends later by a share of its latency."""
    releases = [release + int(share * plan.latency) for release in plan.releases]
    return Plan(evaluate(problem, plan.profiles, releases), plan.banks)


def test_the_nearer_a_plan_the_longer_it_is_gone_on_from() -> None:
    problem = Problem(load_network("toy"), load_hardware("hbm2-bitsimd-8stack"))
    pools = Pools(problem)
    search, start = BanksApart(pools, Params()), sequential(pools, Stop())
    shares = []
    for own, best in ((0.0, 0.3), (0.0, 0.1), (0.05, 0.0), (0.15, 0.0)):
        search.plan = later(problem, start, own)
        search.go_on(later(problem, start, best), Stop(iterations=0), 0, lambda _: None)
        shares.append(search.share())
    assert shares == [*(share for _, share in PARAMS.shares), 0]


def test_what_is_clearly_better_keeps_others_from_being_looked_for() -> None:
    problem = Problem(load_network("toy"), load_hardware("hbm2-bitsimd-8stack"))
    pools = Pools(problem)
    start = sequential(pools, Stop())
    found = [
        BanksApart(pools, Params()).begin(
            later(problem, start, share), Stop.deterministic(5), 0, lambda _: None
        )
        for share in (0.0, 2.0)
    ]
    assert found == [False, True]
