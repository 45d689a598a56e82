"""The one front door: every method behind one call and one kind of result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hw.hardware import Hardware
from models.network import Network
from overlapim_files import InputError, nearest
from solver.bound.quick import quick_bound, quick_floor
from solver.limits import broken_limit
from solver.mapspace.pools import Pools
from solver.maxplus.latest import postpone
from solver.methods import DEFAULT_METHOD, METHODS
from solver.params import Params
from solver.run import Improvement, Observer, Run, gap
from solver.schedule.pace import apart, best_paced
from solver.schedule.plan import Plan
from solver.schedule.shortlist import Shortlist
from solver.schedule.transform import advance
from solver.search.contradictions import check_limits
from solver.search.layerwise import overlapped
from solver.search.sequential import sequential
from solver.solution import Solution, Status, from_plan, verify
from solver.stop import Ending, Stop
from solver.timing.limits import UNLIMITED, Limits
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
    bound_within : no valid solution within the limits of the objective has a lower value; None without any.
    candidate_bound : no choice among the `candidates` mappings that a solver was given has a lower latency.
        The plan may hold other mappings, so this may lie above its latency.
    ending : why the search ended.
    runners_up : the next best solutions that were come upon, each with other mappings, if they were wanted.
    """

    solution: Solution
    plan: Plan
    objective: Objective
    value: Value
    sequential: Value
    bound: Value
    bound_within: Value | None
    candidate_bound: Value | None
    candidates: int | None
    trace: tuple[Improvement, ...]
    seconds: float
    steps: int
    ending: Ending
    runners_up: tuple[Solution, ...] = ()

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
    def gap_within(self) -> float | None:
        """Share of the value by which the bound within the limits falls short of it."""
        return None if self.bound_within is None else gap(self.value, self.bound_within)

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
    limits: Limits = UNLIMITED,
    top: int = 1,
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
        gone on from with every layer begun as early as its banks and its data allow. Of one that does not
        keep to the limits, what layers may have is taken.
    observer : is notified of better plans, higher bounds and what is being done.
    limits : what layers may have; see `read_limits`. The bound is that of plans that keep to them.
    top : how many solutions to return at most, the best that the search comes upon, of which no two have the
        same mappings.

    Raises
    ------
    InputError
        if the method is unknown, a deterministic search is to have several workers, limits contradict each
        other, or the chip cannot hold the network, or has no energies that are asked for, or no plan was
        found within the limits; says which limit, layer and amount.
    """
    stop = stop or Stop(seconds=10.0)
    pools = Pools(Problem(network, hardware, objective, limits), params.pools, stop)
    return solve_with(pools, method, params, seed, workers, warm_start, observer or Observer(), top)


def solve_with(
    pools: Pools,
    method: str,
    params: Params,
    seed: int,
    workers: int,
    warm_start: Plan | None,
    observer: Observer,
    top: int = 1,
) -> Result:
    """Solve the problem of some pools until their stop, as `solve` does; they may be used again."""
    problem, stop = pools.problem, pools.stop
    if method not in METHODS:
        raise InputError(f"unknown method '{method}'{nearest(method, list(METHODS))}")
    if stop.pace is not None and workers > 1:
        raise InputError(f"a deterministic search has one worker, not {workers}")
    _check_objective(problem.objective, problem.hardware)
    check_limits(pools)
    known = _known(problem, warm_start)
    bound = quick_bound(problem, params.bound)
    floor = Floor() if problem.objective.plain else quick_floor(problem, params.bound)
    run = Run(problem, pools, params, stop, seed, workers, observer, bound, floor, warm_start=known)
    _check_possible(run)
    run.shortlist = Shortlist(top, run.goal)
    if known is not None:
        run.found(known)
    run.doing("maps the layers one after the other")
    # What is drawn at random is compared with such plans, and not mixed with them; nor is what is refused.
    silent = method in ("random", "exhaustive")
    run.start = _start(run, (lambda _: None) if silent else run.found)
    if warm_start is not None and known is None and (part := _allowed_part(run, warm_start)) is not None:
        run.found(part)
    try:
        METHODS[method](run)
    except MemoryError:
        run.found(run.sequential)
        stop.progress.ending = "memory"
    return _result(run, method)


def _check_objective(objective: Objective, hardware: Hardware) -> None:
    """Refuse energies of a chip that has no figures."""
    if objective.weighs_energy and hardware.energy is None:
        raise InputError(f"chip '{hardware.name}' has no section 'energy', so that energies are not known")


def _figures_limited(run: Run) -> Iterator[tuple[str, str, float, float]]:
    """Yield name, unit, limit and bound of each figure of plans that is limited."""
    objective, bounds = run.problem.objective, run.floor.figures(run.problem.objective, run.latency_bound)
    for what, unit, most, bound in (
        ("latency", "cycles", objective.latency_at_most, bounds.latency),
        ("interval", "cycles", objective.interval_at_most, bounds.interval),
        ("energy", "pJ", objective.energy_at_most, bounds.energy),
    ):
        if most is not None:
            yield what, unit, most, bound


def _check_possible(run: Run) -> None:
    """Refuse limits that no plan keeps to, by what is proved of each figure."""
    for what, unit, most, bound in _figures_limited(run):
        if bound > most:
            least = f"none has less than {bound:,.10g}, which is proved"
            raise InputError(f"no plan has at most {most:,.10g} {unit} of {what}: {least}")


def _check_kept(run: Run, plan: Plan) -> None:
    """Refuse a plan that does not keep to the limits, and say what is known of whether any does."""
    _check_possible(run)
    figures = run.goal.figures(plan.timeline, plan.banks)
    for what, unit, most, bound in _figures_limited(run):
        if (own := getattr(figures, what)) > most:
            least = f"none has less than {bound:,.10g}, which is proved"
            known = "no plan keeps to all limits, which is proved" if run.refuted else least
            nearest_found = f"the nearest that was found has {own:,.10g}; {known}"
            raise InputError(f"no plan with at most {most:,.10g} {unit} of {what}: {nearest_found}")


def _start(run: Run, found: Callable[[Plan], None]) -> Plan:
    """Return the plan without overlap; the warm start if none is found."""
    try:
        return sequential(run.pools, run.stop, run.params.sequential, found)
    except InputError as error:
        if run.warm_start is not None:
            return run.warm_start
        if run.problem.limits.layers:
            raise InputError(f"{error}; the limits are part of that: with wider ones it may fit") from None
        raise


def _allowed_part(run: Run, warm_start: Plan) -> Plan | None:
    """Return a plan with what layers may have of a warm start; None if there are no banks for it."""
    problem, chosen = run.problem, list(run.sequential.profiles)
    for i, profile in enumerate(warm_start.profiles):
        if problem.permits(i, profile.mapping):
            chosen[i] = problem.profile(i, profile.mapping)
    return overlapped(run.pools, chosen)


def _known(problem: Problem, warm_start: Plan | None) -> Plan | None:
    """Return the warm start as it is gone on from; None if it does not keep to the limits of layers."""
    if warm_start is None:
        return None
    pairs = zip(warm_start.profiles, problem.layers, strict=True)
    if any(profile.layer.bits != layer.bits for profile, layer in pairs):
        return None
    if not problem.free and broken_limit(problem.limits, from_plan(problem, warm_start, "", 0)) is not None:
        return None
    return warm_start if problem.objective.streams else advance(problem, warm_start)


def _result(run: Run, method: str) -> Result:
    """Put together what a run has found, and check it once more."""
    ending = run.stop.ending() or "finished"
    run.doing("checks the answer")
    plan = run.incumbent
    if run.problem.objective.streams and apart(plan):
        plan = min(plan, best_paced(run.problem, plan), key=run.goal.rank)
    plan = postpone(run.problem, plan)
    _check_kept(run, plan)
    others = [postpone(run.problem, own) for own in run.shortlist.beside(run.incumbent)]
    solution, *runners_up = [_checked(run, own, method) for own in (plan, *others)]
    return Result(
        solution=solution,
        plan=plan,
        objective=run.problem.objective,
        value=run.goal.value(plan),
        sequential=run.goal.value(run.sequential),
        bound=run.bound,
        bound_within=max(run.bound, run.bound_within) if run.problem.objective.limited else None,
        # What holds for all mappings holds for the candidates.
        candidate_bound=None if run.candidate_bound is None else max(run.candidate_bound, run.bound),
        candidates=run.candidates,
        trace=tuple(run.trace),
        seconds=run.stop.wall(),
        steps=run.stop.steps,
        ending=ending,
        runners_up=tuple(runners_up),
    )


def _checked(run: Run, plan: Plan, method: str) -> Solution:
    """Return the solution that states a plan, recomputed and compared with the limits."""
    solution = from_plan(run.problem, plan, method, run.seed, run.bound)
    verify(solution)
    if (broken := broken_limit(run.problem.limits, solution)) is not None:
        raise RuntimeError(broken)
    return solution
