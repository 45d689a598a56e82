"""The energy of a plan: that of its layers, and what the chip takes for as long as they run."""

from __future__ import annotations

import math

from hw.hardware import Hardware
from solver.schedule.plan import Plan
from solver.timing.energy import energy_parts, standby_energy


def plan_energy(hardware: Hardware, plan: Plan) -> float | None:
    """Return the picojoules of one inference by itself; None on a chip without figures."""
    if hardware.energy is None:
        return None
    layers = [energy_parts(profile, hardware).total for profile in plan.profiles]
    return math.fsum([*layers, standby_energy(hardware, plan.latency)])
