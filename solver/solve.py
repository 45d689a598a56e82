"""The one front door: every method behind one call and one kind of result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hw.hardware import Hardware
from models.network import Network
from overlapim_files import InputError, nearest
from solver.mapspace.pools import Pools
from solver.params import Strategy
from solver.run import Improvement, Observer, Run, gap
from solver.schedule.plan import Plan
from solver.search.layerwise import layerwise
from solver.search.parallel import descend
from solver.search.random_mapper import random_mapper
from solver.search.sequential import sequential
from solver.solution import BoundScope, Solution, Status, from_plan, verify
from solver.stop import Stop
from solver.timing.problem import Problem

DEFAULT_METHOD = "cpsat"

COMBINATIONS = 10**9
"""Combinations beyond which `exhaustive` refuses to begin; bounds leave out most of those below."""


@dataclass(frozen=True)
class Result:
    """What a method found.

    Attributes
    ----------
    sequential : latency of the `sequential` method on the same problem.
    bound : no valid solution has a lower latency, if anything was proved.
    pool_bound : no choice among the `candidates` mappings that a solver was given has a lower latency. The
        plan may hold other mappings, so this may lie above its latency.
    """

    solution: Solution
    plan: Plan
    sequential: int
    bound: int | None
    candidate_bound: int | None
    candidates: int | None
    trace: tuple[Improvement, ...]
    seconds: float
    steps: int

    @property
    def latency(self) -> int:
        """Cycles from time 0 to the end of the last layer."""
        return self.solution.latency

    @property
    def bound_scope(self) -> BoundScope:
        """What the bound that the solution states holds for."""
        return self.solution.bound_scope

    @property
    def status(self) -> Status:
        """`optimal` if the bound is the latency."""
        return self.solution.status

    @property
    def gap(self) -> float | None:
        """Share of the latency by which the bound falls short of it."""
        return gap(self.latency, self.bound)

    @property
    def candidate_gap(self) -> float | None:
        """Share of the latency by which the bound over the candidates falls short of it."""
        return gap(self.latency, self.candidate_bound)


def _sequential(run: Run, start: Plan) -> None:
    run.found(start)


def _layerwise(run: Run, start: Plan) -> None:
    run.doing("walks through the layers")
    run.found(layerwise(run.pools, _better(run.warm_start, start), run.stop, run.strategy))


def _random(run: Run, start: Plan) -> None:
    run.doing("draws mappings at random")
    run.found(random_mapper(run.problem, start, run.stop, run.seed))


def _descent(run: Run, start: Plan) -> None:
    run.found(start)
    run.doing("walks through the layers")
    run.found(layerwise(run.pools, start, run.stop))
    run.doing("changes mappings, starts and banks")
    descend(run.pools, _better(run.best, start), run.stop, run.seed, run.workers, run.found)


def _exhaustive(run: Run, start: Plan) -> None:
    from solver.search.exhaustive import exhaustive

    run.doing("tries every plan")
    found = exhaustive(run.problem, COMBINATIONS, run.stop)
    run.found(start)
    if found.plan is not None:
        run.found(found.plan)
        if found.complete:
            run.bounded(found.plan.latency)


def _cpsat(run: Run, start: Plan) -> None:
    run.found(start)
    from solver.cpsat.method import cpsat

    cpsat(run)


def _better(plan: Plan | None, start: Plan) -> Plan:
    """Return the plan of lower latency; `start` if there is no other."""
    return start if plan is None or start.latency <= plan.latency else plan


METHODS: dict[str, Callable[[Run, Plan], None]] = {
    "sequential": _sequential,
    "random": _random,
    "layerwise": _layerwise,
    "descent": _descent,
    "cpsat": _cpsat,
    "exhaustive": _exhaustive,
}
"""Every method, by name. Each is given the plan without overlap and reports what it finds to the run."""


def solve(
    network: Network,
    hardware: Hardware,
    method: str = DEFAULT_METHOD,
    stop: Stop | None = None,
    seed: int = 0,
    workers: int = 1,
    warm_start: Plan | None = None,
    observer: Observer | None = None,
    strategy: Strategy = "best",
) -> Result:
    """Find mappings, starts and banks for all layers together.

    Parameters
    ----------
    stop : when to end; without it an anytime method runs for 10 seconds.
    seed : of every random choice.
    workers : processes that search side by side.
    warm_start : a plan of the same network and hardware; the result is never worse. See `read_plan`.
    observer : hears of better plans, higher bounds and what is being done.
    strategy : which way `layerwise` walks; other methods do not ask.

    Raises
    ------
    InputError
        if the method is unknown, a deterministic search is to have several workers, or the chip cannot hold
        the network; says which limit, layer and amount.
    """
    if method not in METHODS:
        raise InputError(f"unknown method '{method}'{nearest(method, list(METHODS))}")
    stop = stop or Stop(seconds=10.0)
    if stop.pace is not None and workers > 1:
        raise InputError(f"a deterministic search has one worker, not {workers}")
    problem = Problem(network, hardware)
    run = Run(problem, Pools(problem), stop, seed, workers, observer or Observer(), warm_start, strategy)
    if warm_start is not None:
        run.found(warm_start)
    run.doing("maps the layers one after the other")
    start = sequential(run.pools, stop, run.found)
    METHODS[method](run, start)
    return _result(run, method, start)


def _result(run: Run, method: str, start: Plan) -> Result:
    """Put together what a run has found, and check it once more."""
    run.doing("checks the answer")
    plan = run.incumbent
    solution = from_plan(run.problem, plan, method, run.seed, run.bound, run.candidate_bound)
    verify(solution)
    return Result(
        solution=solution,
        plan=plan,
        sequential=start.latency,
        bound=run.bound,
        candidate_bound=run.candidate_bound,
        candidates=run.candidates,
        trace=tuple(run.trace),
        seconds=run.stop.wall(),
        steps=run.stop.steps,
    )
