"""What plans of a problem are compared by: its objective, its limits, and what decides between equals."""

from __future__ import annotations

import math
from collections.abc import Sequence

from solver.memory import Cache
from solver.schedule.banks import Banks
from solver.schedule.interval import interval
from solver.schedule.pace import longest_held
from solver.schedule.plan import Plan
from solver.timing.energy import energy_parts, standby_energy
from solver.timing.objective import PlanFigures, Value
from solver.timing.problem import Problem
from solver.timing.profile import Profile
from solver.timing.timeline import Timeline

TIE = 0.01
"""Weight of the mean end of the layers in the cost of a timeline: it decides between like latencies."""

HASTE = 1e-4
"""The same for energies: weight of the logarithm of the latency."""

PENALTY = 1000.0
"""Weight of the shares by which limits are exceeded."""

MEMORY = 100_000
"""Energies of profiles that are kept at most."""

PlanRank = tuple[float, Value, int]


class Goal:
    """The objective of a problem, for plans and for timelines whose banks are yet to be found."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.objective = problem.objective
        self._energies: Cache[Profile, float] = Cache()

    def figures(self, timeline: Timeline, banks: Sequence[Banks] | None = None) -> PlanFigures:
        """Return what the objective is made of.

        Parameters
        ----------
        banks : of each layer; unless given, every layer has banks of its own.
        """
        own = self.objective
        spacing = self._interval(timeline, banks) if own.streams else 1
        makespan = own.makespan(timeline.latency, spacing)
        energy = self._energy(timeline, makespan) if own.weighs_energy else 0.0
        return PlanFigures(timeline.latency, spacing, makespan, energy)

    def value(self, plan: Plan) -> Value:
        """Return what is minimised."""
        return self.objective.value(self.figures(plan.timeline, plan.banks))

    def rank(self, plan: Plan) -> PlanRank:
        """Return how good a plan is, the best having the least: limits first, then value, then latency."""
        figures = self.figures(plan.timeline, plan.banks)
        return self.objective.excess(figures), self.objective.value(figures), plan.latency

    def cost(self, timeline: Timeline, banks: Sequence[Banks] | None = None) -> float:
        """Return what a search goes by: the value, more if limits are exceeded, a little less if layers end
        earlier."""
        ends = timeline.ends
        mean = sum(ends) / len(ends)
        if self.objective.plain:
            return max(ends) + TIE * mean
        figures = self.figures(timeline, banks)
        value = self.objective.value(figures)
        if self.objective.measure == "makespan":
            value += TIE * mean
        else:
            value *= 1 + HASTE * math.log(mean)
        return value * (1 + PENALTY * self.objective.excess(figures))

    def energy(self, profile: Profile) -> float:
        """Return the pJ of one inference of a layer, standby aside."""
        energy = self._energies.get(profile)
        if energy is None:
            if len(self._energies) > MEMORY:
                self._energies.clear()
            energy = self._energies[profile] = energy_parts(profile, self.problem.hardware).total
        return energy

    def _energy(self, timeline: Timeline, makespan: int) -> float:
        busy = math.fsum(self.energy(layer.profile) for layer in timeline.layers)
        return busy + standby_energy(self.problem.hardware, makespan) / self.objective.inferences

    def _interval(self, timeline: Timeline, banks: Sequence[Banks] | None) -> int:
        if banks is None or self.problem.hardware.weights == "static":
            return max(1, longest_held(timeline))
        layers = timeline.layers
        return interval([x.start for x in layers], [x.end for x in layers], banks)
