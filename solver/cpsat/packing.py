"""Whether shapes fit on a chip side by side, decided by CP-SAT where the quick way finds nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ortools.sat.python.cp_model import FEASIBLE, INFEASIBLE, OPTIMAL, CpModel, CpSolver, LinearExpr

from hw.hardware import Hardware
from solver.params import ModelParams
from solver.schedule.banks import Banks, pack
from solver.timing.profile import Profile


def packed(
    hardware: Hardware, profiles: Sequence[Profile], params: ModelParams = ModelParams()
) -> tuple[list[Banks] | None, bool]:
    """Return banks of its own for every layer, and whether it is proven that there are none."""
    quick = pack(hardware, profiles)
    if quick is not None:
        return quick, False
    width, model = hardware.banks_per_channel, CpModel()
    taken = [
        [model.new_bool_var(f"in{i}_{c}") for c in range(hardware.channels)] for i in range(len(profiles))
    ]
    for profile, own in zip(profiles, taken, strict=True):
        model.add(LinearExpr.sum(own) == profile.mapping.channels)
    wide = [profile.mapping.banks_per_channel for profile in profiles]
    for column in zip(*taken, strict=True):
        model.add(LinearExpr.weighted_sum(column, wide) <= width)
    solver = CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.max_deterministic_time = params.packing_effort
    status = solver.solve(model)
    if status not in (OPTIMAL, FEASIBLE):
        return None, status == INFEASIBLE
    used = np.zeros(hardware.channels, np.int64)
    given = []
    for banks, own in zip(wide, taken, strict=True):
        chosen = np.flatnonzero([solver.boolean_value(literal) for literal in own])
        given.append(((chosen * width + used[chosen])[:, None] + np.arange(banks)).ravel())
        used[chosen] += banks
    return given, False
