"""What is minimised, and limits on what else is told of a plan (docs/model.md, "Objectives")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Measure = Literal["makespan", "energy", "edp"]
MEASURES: tuple[Measure, ...] = get_args(Measure)

Value = int | float
"""Cycles of a makespan, pJ of an energy, or the product of both: an integer for a makespan only."""


@dataclass(frozen=True)
class PlanFigures:
    """What an objective is made of.

    Attributes
    ----------
    latency : cycles of one inference.
    interval : cycles by which inferences follow each other.
    makespan : cycles of all inferences.
    energy : pJ of one inference; 0 on a chip without figures.
    """

    latency: int
    interval: int
    makespan: int
    energy: float


@dataclass(frozen=True)
class Objective:
    """What is minimised.

    Attributes
    ----------
    measure : the makespan of all inferences, the energy of one, or their product.
    inferences : how many follow each other; the makespan of one is its latency.
    latency_at_most, interval_at_most : cycles.
    energy_at_most : pJ of one inference.
    """

    measure: Measure = "makespan"
    inferences: int = 1
    latency_at_most: int | None = None
    interval_at_most: int | None = None
    energy_at_most: float | None = None

    @property
    def plain(self) -> bool:
        """Whether nothing counts but the latency."""
        return self == LATENCY

    @property
    def limited(self) -> bool:
        """Whether not every valid plan will do."""
        limits = (self.latency_at_most, self.interval_at_most, self.energy_at_most)
        return any(most is not None for most in limits)

    @property
    def streams(self) -> bool:
        """Whether the interval counts."""
        return self.inferences > 1 or self.interval_at_most is not None

    @property
    def weighs_energy(self) -> bool:
        """Whether the energy counts."""
        return self.measure != "makespan" or self.energy_at_most is not None

    def makespan(self, latency: int, interval: int) -> int:
        """Return the cycles until the last of all inferences ends."""
        return latency + (self.inferences - 1) * interval

    def value(self, figures: PlanFigures) -> Value:
        """Return what is minimised."""
        if self.measure == "makespan":
            return figures.makespan
        return figures.energy * (figures.makespan if self.measure == "edp" else 1)

    def excess(self, figures: PlanFigures) -> float:
        """Return by what share the limits are exceeded, all shares added up; 0 if they are kept."""
        pairs = (
            (figures.latency, self.latency_at_most),
            (figures.interval, self.interval_at_most),
            (figures.energy, self.energy_at_most),
        )
        return sum(max(0.0, own / most - 1) for own, most in pairs if most is not None)


LATENCY = Objective()


@dataclass(frozen=True)
class Floor:
    """What no valid plan is below.

    Attributes
    ----------
    interval : cycles.
    energy : pJ of one inference, standby aside.
    standby : pJ that the chip takes in a cycle.
    """

    interval: int = 1
    energy: float = 0.0
    standby: float = 0.0

    def figures(self, objective: Objective, latency: int) -> PlanFigures:
        """Return what no valid plan is below, given a bound on the latency."""
        makespan = objective.makespan(latency, self.interval)
        energy = self.energy + self.standby * makespan / objective.inferences
        return PlanFigures(latency, self.interval, makespan, energy)

    def value(self, objective: Objective, latency: int) -> Value:
        """Return a bound on an objective, given one on the latency."""
        return objective.value(self.figures(objective, latency))
