"""How fast profiles, evaluations, candidates and the moves of each search are."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from typing import Literal

from hw.hardware import Hardware
from models.network import Network
from solver.bench.cases import Record, Results, Subject
from solver.mapspace.neighbours import neighbour
from solver.mapspace.pools import Pools
from solver.memory import clear_caches
from solver.params import LayerwiseParams, Params, RandomParams
from solver.schedule.plan import Plan
from solver.search.descent import Descent, Neighbourhood
from solver.search.exchanges import Exchanges
from solver.search.impact import impact
from solver.search.layerwise import layerwise
from solver.search.random_mapper import draw_mapping
from solver.search.sequential import sequential
from solver.search.shared import SharedMoves
from solver.search.static import StaticMoves
from solver.stop import Stop
from solver.timing.problem import Problem
from solver.timing.timeline import evaluate

REPEATS = 200
CANDIDATES = 2000
DRAWN = 500
SEARCHED = 4.0
"""Seconds for which the moves of each search are counted."""


class SpeedCase(Record):
    """A network and a chip on which the library is timed from within, and `solve` from outside."""

    on: Subject
    seed: int

    def __str__(self) -> str:
        """Return it as a line of progress names it."""
        return str(self.on)


class LibrarySpeed(Record):
    """Medians over several runs in this process.

    Attributes
    ----------
    evaluate_ms : the whole network, every profile and need at hand.
    evaluate_fresh_ms : the same with profiles at hand and every need computed anew.
    profile_us : one profile of a new mapping.
    candidates_per_s : new mappings of one layer profiled and run after their producers, with the layers that
        read them; `edges_per_candidate` is the mean number of operands that this looks at.
    drawn_per_s : valid mappings of random layers drawn at random and profiled, by process time.
    single_per_s, exchanges_per_s, shared_per_s : moves of the searches: with static weights, random and
        weighed ones, and with shared weights.
    """

    evaluate_ms: float
    evaluate_fresh_ms: float
    profile_us: float
    candidates_per_s: float
    edges_per_candidate: float
    drawn_per_s: float
    single_per_s: float
    exchanges_per_s: float
    shared_per_s: float


class CommandSpeed(Record):
    """Whole commands: `--help`, the first answer of `solve`, and the most memory that it took in 10 s."""

    help_s: float
    first_solution_s: float
    peak_mib: float


class Speed(Record):
    """The library from within, by the core that runs and by Python too; commands from outside."""

    library: LibrarySpeed
    python: LibrarySpeed | None = None
    commands: CommandSpeed

    def __str__(self) -> str:
        """Return it as a line of progress names it."""
        return f"{self.library.candidates_per_s:,.0f} candidates/s"


class SpeedResults(Results[SpeedCase, Speed]):
    """The file `speed.json`."""

    format: Literal["overlapim/bench-speed/1"] = "overlapim/bench-speed/1"


def _median_seconds(run: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    seconds = []
    for _ in range(REPEATS):
        before()
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def library_speed(network: Network, hardware: Hardware, seed: int) -> LibrarySpeed:
    """Measure on the plan of the `layerwise` method, each layer on banks of its own."""
    problem = Problem(network, hardware.with_weights("static"))
    pools = Pools(problem)
    walk = LayerwiseParams("forward")
    plan = layerwise(pools, sequential(pools, Stop()), Stop(), walk)
    releases = [0] * len(plan.profiles)

    def whole() -> None:
        evaluate(problem, plan.profiles, releases)

    shared = Pools(Problem(network, hardware.with_weights("shared")))
    turns = sequential(shared, Stop())
    seconds, edges, profile_seconds = _candidates(problem, plan, random.Random(seed))
    return LibrarySpeed(
        evaluate_ms=1e3 * _median_seconds(whole),
        evaluate_fresh_ms=1e3 * _median_seconds(whole, clear_caches),
        profile_us=1e6 * statistics.median(profile_seconds),
        candidates_per_s=1 / statistics.median(seconds),
        edges_per_candidate=statistics.mean(edges),
        drawn_per_s=_drawn(problem, random.Random(seed)),
        single_per_s=_moves(pools, plan, StaticMoves, seed),
        exchanges_per_s=_moves(pools, plan, Exchanges, seed),
        shared_per_s=_moves(shared, turns, SharedMoves, seed),
    )


def _drawn(problem: Problem, rng: random.Random) -> float:
    """Return how many valid mappings a second of process time are drawn and profiled."""
    tries = RandomParams().tries
    found, began = 0, time.process_time()
    while found < DRAWN:
        layer = rng.randrange(len(problem.layers))
        mapping = draw_mapping(problem.layers[layer], problem.chips[layer], rng, tries)
        if mapping is not None:
            problem.profile(layer, mapping)
            found += 1
    return found / (time.process_time() - began)


def _moves(pools: Pools, start: Plan, moves: Neighbourhood, seed: int) -> float:
    """Return how many moves a second a search makes from a plan on."""
    stop = Stop(seconds=SEARCHED)
    began = time.perf_counter()
    Descent(pools, seed, Params().descent, neighbourhood=moves).run(start, stop, _nothing, searched=True)
    return stop.steps / (time.perf_counter() - began)


def _nothing(plan: Plan) -> None:
    """Take a better plan and do nothing with it."""


def _candidates(
    problem: Problem, plan: Plan, rng: random.Random
) -> tuple[list[float], list[int], list[float]]:
    """Time new mappings of random layers against fixed neighbours: seconds, operands looked at, profiling."""
    own = plan.profiles
    seconds: list[float] = []
    counts: list[int] = []
    profile_seconds: list[float] = []
    while len(seconds) < CANDIDATES:
        layer = rng.randrange(len(problem.layers))
        mapping = neighbour(problem.layers[layer], own[layer].mapping, problem.hardware, rng)
        if mapping is None:
            continue
        started = time.perf_counter()
        profile = problem.profile(layer, mapping)
        profiled = time.perf_counter()
        impact(problem, layer, profile, plan.timeline)
        seconds.append(time.perf_counter() - started)
        profile_seconds.append(profiled - started)
        counts.append(len(problem.edges[layer]) + len(problem.network.consumers[layer]))
    return seconds, counts, profile_seconds
