"""How fast profiles, evaluations and candidates are."""

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
from solver.params import LayerwiseParams
from solver.schedule.plan import Plan
from solver.search.layerwise import layerwise
from solver.search.sequential import sequential
from solver.stop import Stop
from solver.timing.problem import Problem
from solver.timing.timeline import evaluate, next_layer

REPEATS = 30
CANDIDATES = 2000


class SpeedCase(Record):
    """What is timed: the library on a network and a chip, and `solve` on a network, from outside."""

    on: Subject
    seed: int
    solved: str

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
    """

    evaluate_ms: float
    evaluate_fresh_ms: float
    profile_us: float
    candidates_per_s: float
    edges_per_candidate: float


class CommandSpeed(Record):
    """Whole commands: `--help`, the first answer of `solve`, and the most memory that it took."""

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

    rng = random.Random(seed)
    seconds, edges, profile_seconds = _candidates(problem, plan, rng)
    return LibrarySpeed(
        evaluate_ms=1e3 * _median_seconds(whole),
        evaluate_fresh_ms=1e3 * _median_seconds(whole, clear_caches),
        profile_us=1e6 * statistics.median(profile_seconds),
        candidates_per_s=1 / statistics.median(seconds),
        edges_per_candidate=statistics.mean(edges),
    )


def _candidates(
    problem: Problem, plan: Plan, rng: random.Random
) -> tuple[list[float], list[int], list[float]]:
    """Time new mappings of random layers against fixed neighbours: seconds, operands looked at, profiling."""
    times = dict(enumerate(plan.timeline.layers))
    seconds: list[float] = []
    counts: list[int] = []
    profile_seconds: list[float] = []
    while len(seconds) < CANDIDATES:
        layer = rng.randrange(len(problem.layers))
        mapping = neighbour(problem.layers[layer], times[layer].profile.mapping, problem.hardware, rng)
        if mapping is None:
            continue
        consumers = problem.network.consumers[layer]
        started = time.perf_counter()
        profile = problem.profile(layer, mapping)
        profiled = time.perf_counter()
        changed = times | {layer: next_layer(problem, layer, profile, 0, times)}
        for consumer in consumers:
            next_layer(problem, consumer, times[consumer].profile, 0, changed, previous=plan.timeline)
        seconds.append(time.perf_counter() - started)
        profile_seconds.append(profiled - started)
        counts.append(len(problem.edges[layer]) + len(consumers))
    return seconds, counts, profile_seconds
