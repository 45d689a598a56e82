"""Blocks in the order in which they become ready: optimal for one layer, never worse for a network."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
from generators import Instance, draw_instance
from hypothesis import given, settings
from hypothesis import strategies as st

from models.network import OUTPUT_DIMS
from solver.problem import Problem
from solver.profile import Profile
from solver.reference import simulate
from solver.schedule import Plan, overlap_shared, overlap_static
from solver.solution import from_plan, verify
from solver.stop import Stop
from solver.timeline import LayerTimes, evaluate, next_layer
from solver.transform import improve, movable, ready_order, transform

FEW = 5
"""Blocks up to which all permutations are tried."""


def drawn(seed: int, weights: str = "static") -> tuple[Problem, list[Profile], Instance]:
    instance = draw_instance(random.Random(seed))
    problem = Problem(instance.network, instance.hardware.with_weights(weights))  # type: ignore[arg-type]
    return problem, [problem.profile(i, m) for i, m in enumerate(instance.mappings)], instance


def whole(profile: Profile) -> bool:
    """Whether no output coordinate is idle, so that all blocks have the same to finish."""
    mapping, layer = profile.mapping, profile.layer
    return all(
        math.prod(loop.bound for loop in mapping.loops if loop.dim == dim) == layer.bound(dim)
        for dim in OUTPUT_DIMS
    )


def last_start(times: LayerTimes) -> int:
    """Return when the last block starts that is not idle."""
    idle, starts = times.profile.idle_blocks(), times.block_starts()
    order = np.arange(len(starts)) if times.order is None else times.order
    return int(starts.max() if idle is None else starts[~idle[order]].max())


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_no_order_of_one_layer_is_better_than_the_ready_one(seed: int) -> None:
    problem, profiles, instance = drawn(seed)
    orders = [None if order is None else np.array(order) for order in instance.orders]
    timeline = evaluate(problem, profiles, instance.releases, orders)
    done = dict(enumerate(timeline.layers))
    for i, profile in enumerate(profiles):
        if not movable(profile) or profile.blocks > FEW:
            continue
        release = instance.releases[i]
        order = ready_order(problem, i, profile, release, done)
        ready = next_layer(problem, i, profile, release, done, order)
        for other in itertools.permutations(range(profile.blocks)):
            times = next_layer(problem, i, profile, release, done, np.array(other))
            assert last_start(ready) <= last_start(times)
            if whole(profile):
                assert ready.end <= times.end


def plans(weights: str) -> list[tuple[Problem, Plan]]:
    found = []
    for seed in range(200):
        problem, profiles, _ = drawn(seed, weights)
        rng = random.Random(seed)
        if weights == "static":
            plan = overlap_static(problem, profiles)
        else:
            layers = problem.network.topological
            punctual = {i for i in layers if rng.random() < 0.5}
            plan = overlap_shared(problem, profiles, layers, punctual)
        if plan is not None and any(map(movable, profiles)):
            found.append((problem, plan))
    return found


@pytest.mark.parametrize("weights", ["static", "shared"])
def test_improved_plans_are_valid_and_no_later(weights: str) -> None:
    earlier = 0
    for problem, plan in plans(weights):
        better = improve(problem, plan, Stop())
        transformed = transform(problem, plan)
        assert better.latency <= min(plan.latency, transformed.latency)
        assert better is plan or better.latency < plan.latency
        earlier += better is not plan
        for result in (better, transformed):
            solution = from_plan(problem, result, "transform", 0, None, None)
            verify(solution)
            orders = [record.order for record in solution.layers.values()]
            simulated = simulate(
                problem.network, problem.hardware, solution.mappings, result.releases, orders
            )
            assert [x.start for x in simulated] == [x.start for x in result.timeline.layers]
            assert [x.end for x in simulated] == [x.end for x in result.timeline.layers]
    assert earlier >= 5
