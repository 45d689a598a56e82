"""One call of a method: what limits it, what it has found and proved so far, and who is notified."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field

from solver.mapspace.pools import Pools
from solver.params import Params
from solver.schedule.plan import Plan
from solver.schedule.shortlist import Shortlist
from solver.stop import Stop
from solver.timing.problem import Problem

log = logging.getLogger("overlapim")


def gap(latency: int, bound: int) -> float:
    """Return the share of the latency by which a bound falls short of it."""
    return max(latency - bound, 0) / max(latency, 1)


@dataclass(frozen=True)
class Improvement:
    """A better plan or a higher bound: seconds since the start, and latency and bound from then on."""

    seconds: float
    latency: int
    bound: int

    @property
    def gap(self) -> float:
        """Share of the latency by which the bound falls short of it."""
        return gap(self.latency, self.bound)


class Observer:
    """Is notified of what a run does while it does it; this one ignores it."""

    def improved(self, improvement: Improvement) -> None:
        """Called when the latency has fallen or the bound has risen."""

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
    bound : no valid plan is faster; at first what is known at once (`quick_bound`).
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
    bound: int
    warm_start: Plan | None = None
    start: Plan | None = None
    best: Plan | None = None
    candidate_bound: int | None = None
    candidates: int | None = None
    trace: list[Improvement] = field(default_factory=list)
    shortlist: Shortlist = field(default_factory=lambda: Shortlist(1))
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def found(self, plan: Plan) -> None:
        """Keep a plan if it is better than all before."""
        with self._lock:  # searches side by side report from threads of their own
            self.shortlist.add(plan)
            if self.best is None or plan.latency < self.best.latency:
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

    def bounded(self, bound: int) -> None:
        """Raise the bound that is proved for all valid plans, if this one is higher than those before."""
        with self._lock:
            if bound > self.bound:
                self.bound = bound
                self._improved()

    def candidates_bounded(self, bound: int, candidates: int) -> None:
        """Replace what is proved for plans that are made of the candidates a solver was given."""
        self.candidate_bound, self.candidates = bound, candidates

    def doing(self, text: str) -> None:
        """Say what is being done."""
        self.observer.doing(text)

    def _improved(self) -> None:
        """Note the new state, and let the stop judge whether it is good enough."""
        if self.best is None:
            return
        latency = self.best.latency
        if self.bound > latency:
            raise RuntimeError(f"a bound of {self.bound} was proved, but a plan takes {latency} cycles")
        improvement = Improvement(round(self.stop.wall(), 3), latency, self.bound)
        self.trace.append(improvement)
        log.debug("%.3f s: %d cycles, bound %s", improvement.seconds, latency, self.bound)
        self.observer.improved(improvement)
        self.stop.improved(improvement.gap)
