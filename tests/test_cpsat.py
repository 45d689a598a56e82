"""CP-SAT over given candidates: its optimum is that of trying everything, and its bounds are never above."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from generators import CandidateLists, draw_candidates, draw_hardware, draw_network
from ortools.sat.python.cp_model import OPTIMAL, CpSolver

from hw.library import load_hardware
from models.library import load_network
from models.network import Layer
from solver.cpsat import model as cpsat
from solver.cpsat.banks import add_shared, add_static, hint_banks
from solver.cpsat.optimise import Optimum, optimise
from solver.cpsat.packing import packed
from solver.mapspace.pools import Pools
from solver.maxplus.candidates import Candidate
from solver.maxplus.heads import lag_graph, reduce
from solver.params import ModelParams
from solver.schedule.plan import Plan, one_after_another
from solver.solution import from_plan, verify
from solver.stop import Stop
from solver.timing.mapping import Loop, Mapping
from solver.timing.problem import Problem
from solver.timing.profile import Profile, profile
from solver.timing.timeline import LayerTimes, evaluate


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


def brute_force(problem: Problem, pools: CandidateLists) -> int:
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


def first_plan(problem: Problem, pools: CandidateLists) -> Plan | None:
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
        verify(from_plan(self.problem, plan, "cpsat", 0))
        self.latencies.append(plan.latency)

    def bounded(self, bound: int) -> None:
        self.bounds.append(bound)


def search(problem: Problem, pools: CandidateLists, start: Plan, stop: Stop) -> tuple[Optimum, Heard]:
    heard = Heard(problem)
    return optimise(problem, pools, start, stop, 0, 1, heard.found, heard.bounded), heard


@dataclass(frozen=True)
class Instance:
    """A problem, candidates for each layer, and a valid plan."""

    problem: Problem
    pools: CandidateLists
    start: Plan


def draw_instance(seed: int) -> Instance:
    """Draw an instance of which some choice fits; even seeds share banks over time."""
    rng = random.Random(seed)
    while True:
        lag_graph = draw_network(rng, rng.choice((2, 2, 3, 3, 4)))
        channels, banks = rng.choice(((1, 3), (2, 2), (3, 1), (2, 3), (3, 2)))
        chip = draw_hardware(rng, lag_graph).model_copy(
            update={
                "weights": "static" if seed % 2 else "shared",
                "channels": channels,
                "banks_per_channel": banks,
            }
        )
        problem = Problem(lag_graph, chip)
        pools = draw_candidates(rng, problem, 3 if len(lag_graph.layers) < 4 else 2)
        start = first_plan(problem, pools)
        if start is not None:
            return Instance(problem, pools, start)


@pytest.mark.parametrize("seed", range(300))
def test_the_optimum_over_candidates_is_that_of_trying_everything(seed: int) -> None:
    drawn = draw_instance(seed)
    best = min(brute_force(drawn.problem, drawn.pools), drawn.start.latency)
    result, heard = search(drawn.problem, drawn.pools, drawn.start, Stop())
    assert result.plan.latency == best
    assert result.optimal and result.bound == best
    assert all(bound <= best for bound in heard.bounds) and heard.bounds == sorted(set(heard.bounds))
    assert heard.latencies == sorted(set(heard.latencies), reverse=True)


@pytest.mark.parametrize("first", range(0, 60, 10))
def test_a_plan_satisfies_every_constraint_as_a_complete_hint(first: int) -> None:
    assert sum(_is_a_complete_hint(draw_instance(seed)) for seed in range(first, first + 10)) >= 8


def _is_a_complete_hint(drawn: Instance) -> bool:
    """Check the best plan of an instance; return whether it is made of the candidates."""
    found = search(drawn.problem, drawn.pools, drawn.start, Stop())[0].plan
    stop = Stop()
    graph = lag_graph(drawn.problem, drawn.pools, stop)
    graph, bounds = reduce(graph, found.latency, stop)
    if bounds.latency > found.latency or not all(map(_among, drawn.pools, found.timeline.layers)):
        return False
    model = cpsat.build_model(graph, bounds, found.latency, cpsat.places(graph, found))
    assert cpsat.hint(model, found)
    if model.static:
        add_static(model)
    else:
        hint_banks(model, add_shared(model), found)
    assert len(model.cp.proto.solution_hint.vars) == len(model.cp.proto.variables)
    solver = CpSolver()
    solver.parameters.fix_variables_to_their_hinted_value = True
    assert solver.solve(model.cp) == OPTIMAL
    assert solver.value(model.latency) == found.latency
    return True


def _among(own: list[Candidate], times: LayerTimes) -> bool:
    order = None if times.order is None else tuple(times.order.tolist())
    return any(c.profile is times.profile and c.blocks == order for c in own)


@pytest.mark.parametrize("seed", range(0, 40))
def test_times_are_the_same_counted_in_large_units(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = draw_instance(seed)
    best = search(drawn.problem, drawn.pools, drawn.start, Stop())[0].plan.latency
    monkeypatch.setattr(cpsat, "RANGE", 64)
    result, _ = search(drawn.problem, drawn.pools, drawn.start, Stop(iterations=20))
    assert result.bound <= best <= result.plan.latency


def shaped(channels: int, banks: int) -> Profile:
    """Return a profile of a matrix product of the given shape."""
    chip = load_hardware("toy")
    loops = (Loop("K", channels, "channel"), Loop("P", banks, "bank"))
    dims = {"K": channels, "P": banks}
    layer = Layer.model_validate({"name": "x", "dims": dims, "operands": [{"from": "image"}]})
    return profile(layer, Mapping(loops), chip)


@pytest.mark.parametrize(
    ("shapes", "fits"),
    [([(1, 4), (1, 4)], True), ([(1, 3), (1, 3), (1, 2)], False), ([(2, 2), (1, 2), (1, 2)], True)],
)
def test_shapes_are_packed_or_proven_not_to_fit(shapes: list[tuple[int, int]], fits: bool) -> None:
    given, misfit = packed(load_hardware("toy"), [shaped(*shape) for shape in shapes])
    assert misfit != fits
    assert (given is not None) == fits
    if given is not None:
        assert len(set(np.concatenate(given).tolist())) == 8


def test_whether_shapes_fit_stays_open_when_it_is_time_to_stop() -> None:
    """Three layers to a channel of a hundred banks, none of them idle: CP-SAT would take a minute."""
    rng, widths = random.Random(0), list[int]()
    for _ in range(24):
        first, second = rng.randint(26, 40), rng.randint(26, 40)
        widths += [first, second, 100 - first - second]
    chip = load_hardware("toy").model_copy(update={"channels": 24, "banks_per_channel": 100})
    profiles, began = [shaped(1, width) for width in widths], time.process_time()
    profiles[:2] = shaped(1, widths[0] + 1), shaped(1, widths[1] - 1)
    params = ModelParams(packing_effort=60.0)
    assert packed(chip, profiles, params, interrupt=Stop(seconds=0)) == (None, False)
    assert time.process_time() - began < 5


def test_nothing_is_found_or_proved_once_it_is_time_to_stop() -> None:
    drawn = draw_instance(1)
    result, heard = search(drawn.problem, drawn.pools, drawn.start, Stop(seconds=0))
    assert result.plan is drawn.start and not result.optimal
    assert heard.latencies == heard.bounds == []


@pytest.mark.parametrize("weights", ["static", "shared"])
def test_the_same_seed_gives_the_same_answer(weights: str) -> None:
    chip = load_hardware("toy").with_weights(weights)  # type: ignore[arg-type]
    problem = Problem(load_network("toy"), chip)
    pools = Pools(problem)
    pools = [[Candidate(p) for p in pools.pool(i, (1, 2))[:6]] for i in range(len(problem.layers))]
    start = first_plan(problem, pools)
    assert start is not None
    results = [search(problem, pools, start, Stop(iterations=3)) for _ in range(2)]
    assert results[0][1].latencies == results[1][1].latencies
    assert results[0][1].bounds == results[1][1].bounds
