"""Plans between which none is better in all that counts: a front of latency, interval and energy.

Two plans that are next to each other in one figure leave a gap between them. The largest gap is looked into
first: the one figure is minimised while the other keeps to the middle, from the plan at the gap's end on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, cycle, pairwise
from operator import methodcaller
from typing import Literal, get_args

from hw.hardware import Hardware
from models.network import Network
from overlapim_files import InputError
from solver.bound.quick import quick_bound, quick_floor
from solver.mapspace.pools import Pools
from solver.methods import DEFAULT_METHOD
from solver.params import Params
from solver.run import Observer
from solver.schedule.plan import Plan
from solver.solution import Solution, from_plan
from solver.solve import solve_with
from solver.stop import Stop
from solver.timing.objective import Objective
from solver.timing.problem import Problem

FrontAxis = Literal["latency", "interval", "energy"]
AXES: tuple[FrontAxis, ...] = get_args(FrontAxis)

STREAM = 2**20
"""Inferences of a stream so long that little but the interval counts."""

NARROW = 1e-3
"""By what share the figures at both ends of a gap differ at least, if it is to be looked into."""


@dataclass(frozen=True, eq=False)
class FrontPoint:
    """A plan of a front."""

    solution: Solution
    plan: Plan

    def figure(self, axis: FrontAxis) -> float:
        """Return cycles, or pJ."""
        if axis == "latency":
            return self.solution.latency
        return self.plan.interval if axis == "interval" else self.solution.energy_pj or 0.0


@dataclass(frozen=True, eq=False)
class Front:
    """A front.

    Attributes
    ----------
    points : by the first of the figures.
    least : what no valid plan is below, one by one.
    solves : how often something was minimised.
    """

    over: tuple[FrontAxis, ...]
    points: tuple[FrontPoint, ...]
    least: dict[FrontAxis, float]
    solves: int


def front(
    network: Network,
    hardware: Hardware,
    over: Sequence[FrontAxis] = AXES,
    *,
    stop: Stop,
    share: float = 1 / 12,
    seed: int = 0,
    workers: int = 1,
    params: Params = Params(),
    found: Callable[[Sequence[FrontPoint]], None] = lambda _: None,
) -> Front:
    """Return a front, as fine as time allows.

    Parameters
    ----------
    over : the figures, two or three.
    share : of the time, for each solve.
    found : called with the points whenever they change.

    Raises
    ------
    InputError
        if the chip cannot hold the network, or has no energies that are asked for.
    """
    search = _FrontSearch(network, hardware, tuple(over), stop, share, seed, workers, params, found)
    return search.run()


@dataclass
class _FrontSearch:
    network: Network
    hardware: Hardware
    over: tuple[FrontAxis, ...]
    stop: Stop
    share: float
    seed: int
    workers: int
    params: Params
    found: Callable[[Sequence[FrontPoint]], None]
    points: list[FrontPoint] = field(default_factory=list)
    tried: set[tuple[FrontAxis, FrontAxis, float]] = field(default_factory=set)
    solves: int = 0

    def __post_init__(self) -> None:
        """Make the pools that all solves share."""
        problem = Problem(self.network, self.hardware)
        self.pools = Pools(problem, self.params.pools, self.stop)
        self.latency_bound = quick_bound(problem, self.params.bound)

    def run(self) -> Front:
        slice = self.share * self.stop.remaining()
        for axis in self.over:
            if not self.points or not self.stop.reached():
                self.minimise(axis, Objective(), None, slice)
        ends = cycle(self.over)
        while not self.stop.reached():
            gap = max(self.gaps(), key=lambda own: own.size, default=None)
            if gap is None:
                axis = next(ends)
                best = min(self.points, key=methodcaller("figure", axis))
                self.minimise(axis, Objective(), best.plan, slice)
            else:
                self.tried.add(gap.key)
                self.minimise(gap.axis, gap.limit(), gap.near.plan, slice)
        points = sorted(self.points, key=lambda p: p.figure(self.over[0]))
        return Front(self.over, tuple(points), self.least(), self.solves)

    def minimise(self, axis: FrontAxis, within: Objective, start: Plan | None, seconds: float) -> None:
        """Minimise a figure within limits, and keep the plan if it is on the front."""
        self.solves += 1
        objective = Objective(
            "energy" if axis == "energy" else "makespan",
            STREAM if axis == "interval" else 1,
            within.latency_at_most,
            within.interval_at_most,
            within.energy_at_most,
        )
        most = max(0.0, min(seconds, self.stop.remaining()))
        limit = Stop(seconds=most, interrupt=self.stop, pace=self.stop.pace, memory=self.stop.memory)
        try:
            problem = Problem(self.network, self.hardware, objective)
            pools = replace(self.pools, problem=problem, stop=limit)
            seed = self.seed + self.solves
            result = solve_with(pools, DEFAULT_METHOD, self.params, seed, self.workers, start, Observer())
        except InputError:
            if start is None:
                raise
            return
        if limit.pace is not None:
            self.stop.worked(limit.elapsed())
        if objective.plain:
            self.latency_bound = max(self.latency_bound, int(result.bound))
        alone = Problem(self.network, self.hardware)
        solution = from_plan(alone, result.plan, DEFAULT_METHOD, seed, self.latency_bound)
        self.add(FrontPoint(solution, result.plan))

    def add(self, new: FrontPoint) -> None:
        """Keep a point unless another one is as good in all figures, and none that it is as good as."""
        if any(self.covers(own, new) for own in self.points):
            return
        self.points = [*(own for own in self.points if not self.covers(new, own)), new]
        self.found(self.points)

    def covers(self, one: FrontPoint, other: FrontPoint) -> bool:
        """Whether one point is no worse than another in any figure."""
        return all(one.figure(axis) <= other.figure(axis) for axis in self.over)

    def gaps(self) -> Iterator[_Gap]:
        """Yield the gaps that have not been looked into, from both sides."""
        for pair in combinations(self.over, 2):
            for axis, other in (pair, pair[::-1]):
                line = sorted(self.points, key=methodcaller("figure", other))
                for near, far in pairwise(line):
                    gap = _Gap(axis, other, near, far)
                    if gap.key not in self.tried and gap.wide:
                        yield gap

    def least(self) -> dict[FrontAxis, float]:
        """Return what no valid plan is below."""
        floor = quick_floor(self.pools.problem, self.params.bound)
        figures = floor.figures(Objective(), self.latency_bound)
        return {axis: getattr(figures, axis) for axis in self.over}


@dataclass(frozen=True, eq=False)
class _Gap:
    """Two plans that follow each other in `other`; in between `axis` may be lower than at the near end."""

    axis: FrontAxis
    other: FrontAxis
    near: FrontPoint
    far: FrontPoint

    @property
    def middle(self) -> float:
        """The figure up to which plans are looked for, halfway by ratio."""
        return math.sqrt(self.near.figure(self.other) * self.far.figure(self.other))

    @property
    def key(self) -> tuple[FrontAxis, FrontAxis, float]:
        """What the gap is known by once it has been looked into."""
        return self.axis, self.other, round(math.log(max(self.middle, 1)) / NARROW)

    @property
    def ratios(self) -> tuple[float, float]:
        """By how much the far end is lower in `axis`, and higher in `other`."""
        return (
            self.near.figure(self.axis) / max(self.far.figure(self.axis), 1),
            self.far.figure(self.other) / max(self.near.figure(self.other), 1),
        )

    @property
    def wide(self) -> bool:
        """Whether there is something to be found in between."""
        return min(self.ratios) > 1 + NARROW

    @property
    def size(self) -> float:
        """How much may be found in between."""
        return math.prod(math.log(ratio) for ratio in self.ratios)

    def limit(self) -> Objective:
        """Return the limit of what is looked for."""
        most = {f"{self.other}_at_most": self.middle if self.other == "energy" else math.floor(self.middle)}
        return Objective(**most)  # type: ignore[arg-type]
