"""A descent that is stopped and gone on with is the one that was not stopped."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hw.hardware import Weights
from hw.library import load_hardware
from models.library import load_network
from solver.mapspace.pools import Pools
from solver.params import DescentParams
from solver.schedule.plan import Plan
from solver.search.descent import Descent
from solver.search.sequential import sequential
from solver.stop import Stop
from solver.timing.problem import Problem

STEPS = 400


def begun(weights: Weights) -> tuple[Descent, Plan]:
    """Return a search that begins anew often, and its first plan."""
    problem = Problem(load_network("toy"), load_hardware("toy").with_weights(weights))
    pools, params = Pools(problem), DescentParams()
    moves = replace(params.moves, static=replace(params.moves.static, patience=40))
    return Descent(pools, 3, replace(params, moves=moves)), sequential(pools, Stop())


@pytest.mark.parametrize("weights", ["static", "shared"])
def test_a_search_goes_on_from_where_it_was(weights: Weights) -> None:
    whole, plan = begun(weights)
    expected: list[int] = []
    stop = Stop(iterations=STEPS)
    best = whole.run(plan, stop, lambda found: expected.append(found.latency))
    cut, plan = begun(weights)
    found: list[int] = []
    stop = Stop(iterations=STEPS)
    parted = cut.run(plan, replace(stop, iterations=STEPS // 4), lambda own: found.append(own.latency))
    for quarter in (2, 3, 4):
        # The step at which it stops is counted and not made.
        own = replace(stop, iterations=quarter * STEPS // 4 + quarter - 1)
        parted = cut.go_on(parted, own, lambda plan: found.append(plan.latency))
    assert found == expected and parted.latency == best.latency < plan.latency


def test_a_search_takes_up_a_better_plan() -> None:
    search, plan = begun("static")
    better, _ = begun("static")
    best = better.run(plan, Stop(iterations=STEPS), lambda _: None)
    own = search.run(plan, Stop(iterations=0), lambda _: None, searched=True)
    assert own.latency > best.latency
    assert search.go_on(best, Stop(iterations=0), lambda _: None) is best
    assert search.go_on(own, Stop(iterations=0), lambda _: None) is best
