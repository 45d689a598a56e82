"""One call of a method: what limits it, what it has found and proved so far, and who is notified."""

from __future__ import annotations

import logging
import math
import threading
from dataclasses import dataclass, field

from solver.mapspace.pools import Pools
from solver.params import Params
from solver.schedule.goal import Goal
from solver.schedule.plan import Plan
from solver.schedule.shortlist import Shortlist
from solver.stop import Stop
from solver.timing.objective import Floor, Value
from solver.timing.problem import Problem

log = logging.getLogger("overlapim")

ROUNDING = 1e-9
"""By what share a bound that is no integer may be off."""


def gap(value: Value, bound: Value) -> float:
    """Return the share of a value, such as a latency, by which a bound falls short of it."""
    return max(value - bound, 0) / max(value, 1)


@dataclass(frozen=True)
class Improvement:
    """A better plan or a higher bound.

    Attributes
    ----------
    seconds : since the start.
    value, bound : of the objective from then on; the value is the latency unless another one is asked for.
    """

    seconds: float
    value: Value
    bound: Value

    @property
    def gap(self) -> float:
        """Share of the value by which the bound falls short of it."""
        return gap(self.value, self.bound)


class Observer:
    """Is notified of what a run does while it does it; this one ignores it."""

    def improved(self, improvement: Improvement) -> None:
        """Called when the value of the objective has fallen or its bound has risen."""

    def doing(self, text: str) -> None:
        """Called with what the method begins to do, in a few words."""


@dataclass
class Run:
    """One call of `solve`: the problem, what limits it, and what has been found and proved.

    Attributes
    ----------
    warm_start : a plan that was known before, already reported as found.
    start : the plan of `sequential`, which every method begins with; the warm start if that finds none.
    best : the best plan so far.
    latency_bound : no valid plan is faster; at first what is known at once (`quick_bound`).
    floor : what else no valid plan is below (`quick_floor`).
    bound : no valid plan has a lower value of the objective.
    bound_within : no valid plan within the limits of the objective has a lower one; below `bound` it says
        nothing.
    refuted : whether it is proved that no valid plan keeps to these limits.
    candidate_bound, candidates : no choice among so many candidate mappings is faster.
    shortlist : the best plans so far that differ in a mapping; none but the best unless more are wanted.
    """

    problem: Problem
    pools: Pools
    params: Params
    stop: Stop
    seed: int
    workers: int
    observer: Observer
    latency_bound: int
    floor: Floor = Floor()
    bound: Value = 0
    bound_within: Value = 0
    refuted: bool = False
    warm_start: Plan | None = None
    start: Plan | None = None
    best: Plan | None = None
    candidate_bound: Value | None = None
    candidates: int | None = None
    trace: list[Improvement] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        """Make what plans are compared by, and what is known at once of the objective."""
        self.goal = Goal(self.problem)
        self.shortlist = Shortlist(1, self.goal)
        self.bounded(self.latency_bound)

    def found(self, plan: Plan) -> None:
        """Keep a plan if it is better than all before."""
        with self._lock:  # searches side by side report from threads of their own
            self.shortlist.add(plan)
            if self.best is None or self.goal.rank(plan) < self.goal.rank(self.best):
                self.best = plan
                self._improved()

    @property
    def sequential(self) -> Plan:
        """The plan without overlap, once it has been made."""
        assert self.start is not None
        return self.start

    @property
    def incumbent(self) -> Plan:
        """The best plan so far, once there is one."""
        assert self.best is not None
        return self.best

    def bounded(self, latency: int) -> None:
        """Note that no valid plan is faster, and raise the bound on the objective if that follows."""
        self.latency_bound = max(latency, self.latency_bound)
        self.proved(self.floor.value(self.problem.objective, self.latency_bound))

    def proved(self, bound: Value) -> None:
        """Raise the bound on the objective of all valid plans, if this one is higher than those before."""
        with self._lock:
            if bound > self.bound:
                self.bound = bound
                self._improved()

    def proved_within(self, bound: Value) -> None:
        """Raise the bound on the objective of plans within its limits: of all, if it has none."""
        if not self.problem.objective.limited:
            self.proved(bound)
            return
        with self._lock:
            if bound > max(self.bound_within, self.bound):
                self.bound_within = bound
                self._improved()

    def candidates_bounded(self, bound: Value, candidates: int) -> None:
        """Replace what is proved for plans that are made of the candidates a solver was given."""
        self.candidate_bound, self.candidates = bound, candidates

    def doing(self, text: str) -> None:
        """Say what is being done."""
        self.observer.doing(text)

    def _improved(self) -> None:
        """Note the new state, and let the stop judge whether it is good enough."""
        if self.best is None:
            return
        value, kept = self.goal.value(self.best), self.goal.rank(self.best)[0] == 0
        self.bound = self._possible(self.bound, value)
        if kept:
            self.bound_within = self._possible(self.bound_within, value)
        improvement = Improvement(round(self.stop.wall(), 3), value, self.bound)
        self.trace.append(improvement)
        log.debug("%.3f s: %s, bound %s", improvement.seconds, value, self.bound)
        self.observer.improved(improvement)
        self.stop.improved(gap(value, max(self.bound, self.bound_within)) if kept else math.inf)

    def _possible(self, bound: Value, value: Value) -> Value:
        """Return a bound, or the value that a plan has if it is that apart from rounding.

        Raises
        ------
        RuntimeError
            if it is above the value, which cannot be.
        """
        if bound == value or (isinstance(value, float) and math.isclose(bound, value, rel_tol=ROUNDING)):
            return value
        if bound > value:
            raise RuntimeError(f"a bound of {bound} was proved, but a plan has {value}")
        return bound
