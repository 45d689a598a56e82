"""The energy of a plan: that of its layers, and what the chip takes for as long as they run."""

from __future__ import annotations

from dataclasses import dataclass

from hw.hardware import Hardware
from solver.schedule.plan import Plan
from solver.timing.energy import EnergyParts, energy_parts, standby_energy


@dataclass(frozen=True)
class PlanEnergy:
    """Picojoules of one inference.

    Attributes
    ----------
    layers : those of each layer, in the order of the network.
    standby : what the chip takes as it stands by until the end, or its share of that of several inferences.
    """

    layers: tuple[EnergyParts, ...]
    standby: float

    @property
    def parts(self) -> EnergyParts:
        """The sums over the layers."""
        return sum(self.layers, EnergyParts())

    @property
    def total(self) -> float:
        """All of it."""
        return self.parts.total + self.standby


def plan_energy(hardware: Hardware, plan: Plan, inferences: int = 1) -> PlanEnergy | None:
    """Return the energy of one of so many inferences in a row; None on a chip without figures."""
    if hardware.energy is None:
        return None
    layers = tuple(energy_parts(profile, hardware) for profile in plan.profiles)
    makespan = plan.latency + (inferences - 1) * plan.interval
    return PlanEnergy(layers, standby_energy(hardware, makespan) / inferences)
