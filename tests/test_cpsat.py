"""CP-SAT over given candidates: its optimum is that of trying everything, and its bounds are never above."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence

import pytest
from generators import draw_hardware, draw_mapping, draw_network

from solver.cpsat.candidates import Candidate
from solver.cpsat.pool import PoolResult, optimise
from solver.problem import Problem
from solver.profile import Profile
from solver.schedule import Plan, one_after_another
from solver.solution import from_plan, verify
from solver.stop import Stop
from solver.timeline import evaluate, order_allowed

Pools = list[list[Candidate]]


def draw_candidates(rng: random.Random, problem: Problem, most: int) -> Pools:
    pools = []
    for i, layer in enumerate(problem.layers):
        own = {}
        for _ in range(rng.randint(1, most)):
            mapping = draw_mapping(rng, layer, problem.hardware)
            profile = problem.profile(i, mapping)
            order = list(range(profile.blocks))
            rng.shuffle(order)
            ordered = order_allowed(profile) and profile.blocks > 1 and rng.random() < 0.3
            own[mapping] = Candidate(profile, tuple(order) if ordered else None)
        pools.append(list(own.values()))
    return pools


def places(problem: Problem, profile: Profile) -> Iterator[frozenset[int]]:
    """Yield every set of banks of the profile's shape."""
    width, mapping = problem.hardware.banks_per_channel, profile.mapping
    for channels in itertools.combinations(range(problem.hardware.channels), mapping.channels):
        ways = list(itertools.combinations(range(width), mapping.banks_per_channel))
        for chosen in itertools.product(ways, repeat=len(channels)):
            yield frozenset(c * width + b for c, own in zip(channels, chosen, strict=True) for b in own)


def conflicts(problem: Problem, profiles: Sequence[Profile]) -> set[frozenset[tuple[int, int]]]:
    """Return every set of pairs of layers that some valid choice of banks lets share a bank."""
    found: set[frozenset[tuple[int, int]]] = set()
    shared = problem.hardware.weights == "shared"

    def extend(given: list[frozenset[int]], rows: dict[int, int], pairs: frozenset[tuple[int, int]]) -> None:
        i = len(given)
        if i == len(profiles):
            found.add(pairs)
            return
        # Banks are alike, so it does not matter where the first layer goes.
        for own in itertools.islice(places(problem, profiles[i]), 1 if i == 0 else None):
            meets = frozenset((j, i) for j, other in enumerate(given) if own & other)
            after = {**rows, **{b: rows.get(b, 0) + profiles[i].rows for b in own}}
            if (shared or not meets) and max(after.values()) <= problem.hardware.rows_per_bank:
                extend([*given, own], after, pairs | meets)

    extend([], {}, frozenset())
    return {pairs for pairs in found if not any(other < pairs for other in found)}


def best_schedule(problem: Problem, choice: Sequence[Candidate], pairs: frozenset[tuple[int, int]]) -> int:
    """Return the least latency if these pairs of layers may not hold banks at the same time."""
    profiles, orders = [c.profile for c in choice], [c.order for c in choice]
    best = 2**62
    for sequence in itertools.permutations(range(len(choice))):
        position = {i: place for place, i in enumerate(sequence)}
        if any(position[p] > position[i] for i in sequence for p in problem.network.producers[i]):
            continue
        releases = [0] * len(choice)
        for i in sequence:
            timeline = evaluate(problem, profiles, releases, orders)
            before = [j for j in sequence[: position[i]] if (min(i, j), max(i, j)) in pairs]
            releases[i] = max((timeline.layers[j].end for j in before), default=0)
        best = min(best, evaluate(problem, profiles, releases, orders).latency)
        if not pairs:
            break
    return best


def brute_force(problem: Problem, pools: Pools) -> int:
    """Return the least latency of all choices, 2**62 if none is valid."""
    best = 2**62
    graphs: dict[tuple[tuple[int, int, int], ...], set[frozenset[tuple[int, int]]]] = {}
    for choice in itertools.product(*pools):
        key = tuple(
            (c.profile.mapping.channels, c.profile.mapping.banks_per_channel, c.profile.rows) for c in choice
        )
        if key not in graphs:
            graphs[key] = conflicts(problem, [c.profile for c in choice])
        for pairs in graphs[key]:
            best = min(best, best_schedule(problem, choice, pairs))
    return best


def first_plan(problem: Problem, pools: Pools) -> Plan | None:
    """Return some valid plan."""
    apart = problem.hardware.weights == "static"
    for choice in itertools.islice(itertools.product(*pools), 50):
        plan = one_after_another(problem, [candidate.profile for candidate in choice], apart)
        if plan is not None:
            return plan
    return None


class Heard:
    """What a search has reported."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.latencies: list[int] = []
        self.bounds: list[int] = []

    def found(self, plan: Plan) -> None:
        verify(from_plan(self.problem, plan, "cpsat", 0, None, None))
        self.latencies.append(plan.latency)

    def bounded(self, bound: int) -> None:
        self.bounds.append(bound)


def search(problem: Problem, pools: Pools, start: Plan, stop: Stop) -> tuple[PoolResult, Heard]:
    heard = Heard(problem)
    return optimise(problem, pools, start, stop, 0, 1, heard.found, heard.bounded), heard


@pytest.mark.parametrize("seed", range(300))
def test_the_optimum_over_candidates_is_that_of_trying_everything(seed: int) -> None:
    rng = random.Random(seed)
    network = draw_network(rng, rng.choice((2, 2, 3, 3, 4)))
    weights = "static" if seed % 2 else "shared"
    size = rng.choice(((1, 3), (2, 2), (3, 1), (2, 3), (3, 2)))
    chip = draw_hardware(rng, network).model_copy(
        update={"weights": weights, "channels": size[0], "banks_per_channel": size[1]}
    )
    problem = Problem(network, chip)
    pools = draw_candidates(rng, problem, 3 if len(network.layers) < 4 else 2)
    start = first_plan(problem, pools)
    if start is None:
        pytest.skip("no choice fits")
    best = min(brute_force(problem, pools), start.latency)
    result, heard = search(problem, pools, start, Stop())
    assert result.plan.latency == best
    assert result.optimal and result.bound == best
    assert all(bound <= best for bound in heard.bounds) and heard.bounds == sorted(set(heard.bounds))
    assert heard.latencies == sorted(set(heard.latencies), reverse=True)
