"""The one front door: every method behind one call and one kind of result."""

from __future__ import annotations

from dataclasses import dataclass

from hw.hardware import Hardware
from models.network import Network
from overlapim_files import InputError, nearest
from solver.bound.quick import quick_bound, quick_floor
from solver.mapspace.pools import Pools
from solver.maxplus.latest import postpone
from solver.methods import DEFAULT_METHOD, METHODS
from solver.params import Params
from solver.run import Improvement, Observer, Run, gap
from solver.schedule.pace import apart, best_paced
from solver.schedule.plan import Plan
from solver.schedule.transform import advance
from solver.search.sequential import sequential
from solver.solution import Solution, Status, from_plan, verify
from solver.stop import Ending, Stop
from solver.timing.objective import LATENCY, Floor, Objective, Value
from solver.timing.problem import Problem


@dataclass(frozen=True)
class Result:
    """What a method found.

    Attributes
    ----------
    sequential : value of the objective that the `sequential` method comes to on the same problem; the warm
        start if that finds none.
    bound : no valid solution has a lower value of the objective.
    candidate_bound : no choice among the `candidates` mappings that a solver was given has a lower latency.
        The plan may hold other mappings, so this may lie above its latency.
    ending : why the search ended.
    """

    solution: Solution
    plan: Plan
    objective: Objective
    value: Value
    sequential: Value
    bound: Value
    candidate_bound: Value | None
    candidates: int | None
    trace: tuple[Improvement, ...]
    seconds: float
    steps: int
    ending: Ending

    @property
    def latency(self) -> int:
        """Cycles from time 0 to the end of the last layer."""
        return self.solution.latency

    @property
    def status(self) -> Status:
        """`optimal` if the bound is the value of the objective."""
        return self.solution.status

    @property
    def gap(self) -> float:
        """Share of the value by which the bound falls short of it."""
        return gap(self.value, self.bound)

    @property
    def candidate_gap(self) -> float | None:
        """Share of the value by which the bound over the candidates falls short of it."""
        return None if self.candidate_bound is None else gap(self.value, self.candidate_bound)


def solve(
    network: Network,
    hardware: Hardware,
    *,
    method: str = DEFAULT_METHOD,
    params: Params = Params(),
    stop: Stop | None = None,
    seed: int = 0,
    workers: int = 1,
    objective: Objective = LATENCY,
    warm_start: Plan | None = None,
    observer: Observer | None = None,
) -> Result:
    """Find mappings, starts and banks for all layers together.

    In the result each layer starts as late as it can without any layer ending later.

    Parameters
    ----------
    params : what the methods are tuned by.
    stop : when to end; without it an anytime method runs for 10 seconds.
    seed : of every random choice.
    workers : processes that search side by side.
    objective : what is minimised, within which limits; the latency of one inference unless given.
    warm_start : a plan of the same network and hardware; the result is never worse. See `read_plan`. It is
        gone on from with every layer begun as early as its banks and its data allow.
    observer : is notified of better plans, higher bounds and what is being done.

    Raises
    ------
    InputError
        if the method is unknown, a deterministic search is to have several workers, or the chip cannot hold
        the network, or has no energies that are asked for, or no plan was found within the limits; says which
        limit, layer and amount.
    """
    stop = stop or Stop(seconds=10.0)
    pools = Pools(Problem(network, hardware, objective), params.pools, stop)
    return solve_with(pools, method, params, seed, workers, warm_start, observer or Observer())


def solve_with(
    pools: Pools,
    method: str,
    params: Params,
    seed: int,
    workers: int,
    warm_start: Plan | None,
    observer: Observer,
) -> Result:
    """Solve the problem of some pools until their stop, as `solve` does; they may be used again."""
    problem, stop = pools.problem, pools.stop
    if method not in METHODS:
        raise InputError(f"unknown method '{method}'{nearest(method, list(METHODS))}")
    if stop.pace is not None and workers > 1:
        raise InputError(f"a deterministic search has one worker, not {workers}")
    _check_objective(problem.objective, problem.hardware)
    known = warm_start
    if known is not None and not problem.objective.streams:
        known = advance(problem, known)
    bound = quick_bound(problem, params.bound)
    floor = Floor() if problem.objective.plain else quick_floor(problem, params.bound)
    run = Run(problem, pools, params, stop, seed, workers, observer, bound, floor, warm_start=known)
    if known is not None:
        run.found(known)
    run.doing("maps the layers one after the other")
    run.start = _start(run)
    METHODS[method](run)
    return _result(run, method)


def _check_objective(objective: Objective, hardware: Hardware) -> None:
    """Refuse energies of a chip that has no figures."""
    if objective.weighs_energy and hardware.energy is None:
        raise InputError(f"chip '{hardware.name}' has no section 'energy', so that energies are not known")


def _check_kept(run: Run, plan: Plan) -> None:
    """Refuse a plan that does not keep to the limits, and say what is known of whether any does."""
    objective, figures = run.problem.objective, run.goal.figures(plan.timeline, plan.banks)
    bounds = run.floor.figures(objective, run.latency_bound)
    for what, unit, own, bound, most in (
        ("latency", "cycles", figures.latency, bounds.latency, objective.latency_at_most),
        ("interval", "cycles", figures.interval, bounds.interval, objective.interval_at_most),
        ("energy", "pJ", figures.energy, bounds.energy, objective.energy_at_most),
    ):
        if most is not None and own > most:
            least = f"none has less than {bound:,.10g}, which is proved"
            if bound > most:
                raise InputError(f"no plan has at most {most:,.10g} {unit} of {what}: {least}")
            nearest_found = f"the nearest that was found has {own:,.10g}; {least}"
            raise InputError(f"no plan with at most {most:,.10g} {unit} of {what}: {nearest_found}")


def _start(run: Run) -> Plan:
    """Return the plan without overlap; the warm start if none is found."""
    try:
        return sequential(run.pools, run.stop, run.params.sequential, run.found)
    except InputError:
        if run.warm_start is None:
            raise
        return run.warm_start


def _result(run: Run, method: str) -> Result:
    """Put together what a run has found, and check it once more."""
    ending = run.stop.ending() or "finished"
    run.doing("checks the answer")
    plan = run.incumbent
    if run.problem.objective.streams and apart(plan):
        plan = min(plan, best_paced(run.problem, plan), key=run.goal.rank)
    plan = postpone(run.problem, plan)
    _check_kept(run, plan)
    solution = from_plan(run.problem, plan, method, run.seed, run.bound)
    verify(solution)
    return Result(
        solution=solution,
        plan=plan,
        objective=run.problem.objective,
        value=run.goal.value(plan),
        sequential=run.goal.value(run.sequential),
        bound=run.bound,
        candidate_bound=run.candidate_bound,
        candidates=run.candidates,
        trace=tuple(run.trace),
        seconds=run.stop.wall(),
        steps=run.stop.steps,
        ending=ending,
    )
