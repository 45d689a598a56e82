"""The one front door: every method behind one call and one kind of result."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from hw.hardware import Hardware
from models.network import Network
from overlapim_files import InputError, nearest
from solver.problem import Problem
from solver.schedule import Plan
from solver.search.layerwise import layerwise
from solver.search.parallel import descend
from solver.search.sequential import sequential
from solver.solution import BoundScope, Solution, Status, from_plan, verify
from solver.space import Space
from solver.stop import Stop

log = logging.getLogger("overlapim")

DEFAULT_METHOD = "descent"


@dataclass(frozen=True)
class Improvement:
    """A better plan: seconds since the start, its latency, and the bound known then."""

    seconds: float
    latency: int
    bound: int | None


@dataclass(frozen=True)
class Result:
    """What a method found."""

    solution: Solution
    plan: Plan
    sequential: int
    """Latency of the `sequential` method on the same problem."""
    trace: tuple[Improvement, ...]
    seconds: float
    steps: int

    @property
    def latency(self) -> int:
        """Cycles from time 0 to the end of the last layer."""
        return self.solution.latency

    @property
    def bound(self) -> int | None:
        """Proven lower bound on the latency, in the scope that `bound_scope` names."""
        return self.solution.bound

    @property
    def bound_scope(self) -> BoundScope:
        """What the bound holds for."""
        return self.solution.bound_scope

    @property
    def status(self) -> Status:
        """`optimal` if the bound is the latency."""
        return self.solution.status

    @property
    def gap(self) -> float | None:
        """Share of the latency by which the bound falls short of it."""
        return None if self.bound is None else (self.latency - self.bound) / self.latency


@dataclass
class Run:
    """One call of `solve`: the problem, what limits it, and what has been found."""

    problem: Problem
    space: Space
    stop: Stop
    seed: int
    workers: int
    on_improvement: Callable[[Improvement], None] | None
    best: Plan | None = None
    trace: list[Improvement] = field(default_factory=list)

    def found(self, plan: Plan) -> None:
        """Keep a plan if it is better than all before."""
        if self.best is not None and plan.latency >= self.best.latency:
            return
        self.best = plan
        improvement = Improvement(round(self.stop.elapsed(), 3), plan.latency, None)
        self.trace.append(improvement)
        log.debug("%.3f s: %d cycles", improvement.seconds, plan.latency)
        if self.on_improvement:
            self.on_improvement(improvement)


def _sequential(run: Run, start: Plan) -> None:
    run.found(start)


def _layerwise(run: Run, start: Plan) -> None:
    run.found(layerwise(run.space, start, run.stop))


def _descent(run: Run, start: Plan) -> None:
    run.found(start)
    run.found(layerwise(run.space, start, run.stop))
    assert run.best is not None
    descend(run.space, run.best, run.stop, run.seed, run.workers, run.found)


METHODS: dict[str, Callable[[Run, Plan], None]] = {
    "sequential": _sequential,
    "layerwise": _layerwise,
    "descent": _descent,
}
"""Every method, by name. Each is given the plan without overlap and reports what it finds to the run."""


def solve(
    network: Network,
    hardware: Hardware,
    method: str = DEFAULT_METHOD,
    stop: Stop | None = None,
    seed: int = 0,
    workers: int = 1,
    on_improvement: Callable[[Improvement], None] | None = None,
) -> Result:
    """Find mappings, starts and banks for all layers together.

    Parameters
    ----------
    stop : when to end; without it an anytime method runs for 10 seconds.
    seed : of every random choice.
    workers : processes that search side by side.
    on_improvement : called with every better plan as soon as it is found.

    Raises
    ------
    InputError
        if the method is unknown, or the chip cannot hold the network; says which limit, layer and amount.
    """
    if method not in METHODS:
        raise InputError(f"unknown method '{method}'{nearest(method, list(METHODS))}")
    stop = stop or Stop(seconds=10.0)
    problem = Problem(network, hardware)
    run = Run(problem, Space(problem), stop, seed, workers, on_improvement)
    start = sequential(run.space, stop)
    METHODS[method](run, start)
    assert run.best is not None
    solution = from_plan(problem, run.best, method, seed, None, "mapspace")
    verify(solution)
    return Result(solution, run.best, start.latency, tuple(run.trace), stop.elapsed(), stop.steps)
