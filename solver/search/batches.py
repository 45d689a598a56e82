"""A batch from one inference: its plan with the loop over the batch outside all others."""

from __future__ import annotations

from solver.mapspace.pools import lifted
from solver.schedule.plan import Plan, by_start, overlap_shared, overlap_static
from solver.timing.problem import Problem


def lift(problem: Problem, plan: Plan) -> Plan | None:
    """Return the plan of a batch whose layers take one inference after the other; None if it is not valid."""
    mappings = [
        lifted(p.mapping, layer.bound("N")) for p, layer in zip(plan.profiles, problem.layers, strict=True)
    ]
    if not all(problem.permits(i, own) for i, own in enumerate(mappings)):
        return None
    profiles = [problem.profile(i, own) for i, own in enumerate(mappings)]
    if problem.hardware.weights == "static":
        return overlap_static(problem, profiles)
    line = by_start(problem, plan)
    return overlap_shared(problem, profiles, line, frozenset(line))
