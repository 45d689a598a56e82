"""Moves that are weighed before they are made: what a change leads to is known exactly."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from generators import draw_hardware, draw_mapping, draw_network

from hw.library import load_hardware
from models.library import load_network
from solver.cpsat.optimise import optimise
from solver.mapspace.pools import Pools
from solver.maxplus.through import Remaining
from solver.schedule.plan import overlap_static
from solver.search.exchanges import Exchanges
from solver.search.nearby import crossed
from solver.search.sequential import sequential
from solver.search.static import StaticMoves
from solver.solution import from_plan, verify
from solver.stop import Stop
from solver.timing.problem import Problem
from solver.timing.profile import Profile
from solver.timing.timeline import Order, evaluate, order_allowed


def shuffled(rng: random.Random, profile: Profile) -> Order | None:
    order = list(range(profile.blocks))
    rng.shuffle(order)
    return np.array(order) if order_allowed(profile) and rng.random() < 0.3 else None


@pytest.mark.parametrize("seed", range(40))
def test_a_change_of_one_layer_leads_to_what_it_is_said_to(seed: int) -> None:
    rng = random.Random(seed)
    network = draw_network(rng, rng.randint(2, 7))
    problem = Problem(network, draw_hardware(rng, network))
    layers = range(len(problem.layers))

    def draw(i: int) -> Profile:
        return problem.profile(i, draw_mapping(rng, problem.layers[i], problem.hardware))

    profiles = [draw(i) for i in layers]
    orders = [shuffled(rng, profile) for profile in profiles]
    releases = [rng.choice((0, 0, rng.randint(0, 300))) for _ in layers]
    others = [draw(i) if rng.random() < 0.3 else profile for i, profile in enumerate(profiles)]
    kept = [order if others[i] is profiles[i] else None for i, order in enumerate(orders)]
    before = evaluate(problem, profiles, releases, orders)
    tails = Remaining(problem, before)
    again = Remaining(problem, before, Remaining(problem, evaluate(problem, others, releases, kept)))
    for _ in range(20):
        i = rng.choice(layers)
        changed = draw(i)
        through = tails.through(i, changed)
        assert again.through(i, changed) == through
        given = [*profiles[:i], changed, *profiles[i + 1 :]], releases, [*orders[:i], None, *orders[i + 1 :]]
        latency = evaluate(problem, *given).latency
        assert through <= latency <= max(through, before.latency)
        assert all(tails.through(j, p) <= before.latency for j, p in enumerate(profiles) if orders[j] is None)


@pytest.mark.parametrize("seed", range(3))
def test_moves_lead_to_valid_plans_within_the_limit(seed: int) -> None:
    chip = load_hardware("toy").with_weights("static")
    problem = Problem(load_network("toy"), chip)
    moves = Exchanges(Pools(problem), random.Random(seed))
    state, made = moves.state(sequential(moves.pools, Stop())), 0
    for _ in range(80):
        changed = moves.change(state, 1.05 * state.cost)
        if changed is not None:
            assert changed.cost <= 1.05 * state.cost
            verify(from_plan(problem, changed.plan, "cpsat", seed))
            state, made = changed, made + 1
    assert made > 10


@pytest.mark.parametrize("seed", range(3))
def test_a_state_far_away_is_a_valid_plan_of_other_mappings(seed: int) -> None:
    problem = Problem(load_network("resnet18"), load_hardware("hbm2-bitsimd").with_weights("static"))
    moves = StaticMoves(Pools(problem), random.Random(seed))
    state, apart = moves.state(sequential(moves.pools, Stop())), set()
    for _ in range(3):
        far = moves.afar(state, Stop())
        assert far is not None
        verify(from_plan(problem, far.plan, "test", seed))
        pairs = zip(state.plan.profiles, far.plan.profiles, strict=True)
        apart.add(sum(own.mapping != other.mapping for own, other in pairs))
    assert max(apart) > len(problem.layers) // 4 and len(apart) > 1


def test_crossing_plans_is_as_good_as_the_best_of_all_their_mixtures() -> None:
    problem = Problem(load_network("toy"), load_hardware("toy").with_weights("static"))
    moves = StaticMoves(Pools(problem), random.Random(1))
    start = moves.state(sequential(moves.pools, Stop()))
    plans = [start.plan, *(far.plan for _ in range(3) if (far := moves.afar(start, Stop())) is not None)]
    candidates = crossed(plans)
    assert max(map(len, candidates)) > 1
    mixtures = [
        plan.latency
        for chosen in itertools.product(*candidates)
        if (plan := overlap_static(problem, [c.profile for c in chosen])) is not None
    ]
    found = optimise(problem, candidates, start.plan, Stop(), 0, 1, lambda _: None, lambda _: None)
    assert found.optimal and found.plan.latency == min(mixtures) <= min(plan.latency for plan in plans)
