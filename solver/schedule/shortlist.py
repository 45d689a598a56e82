"""The best plans of a search that differ from each other in at least one mapping."""

from __future__ import annotations

from models.network import DIMS
from solver.schedule.goal import Goal
from solver.schedule.plan import Plan
from solver.timing.profile import Profile

Meaning = tuple[object, ...]


def meaning(profile: Profile) -> Meaning:
    """Return what a mapping means: its loops over each dim, those in time, and its load depth."""
    loops = profile.mapping.loops
    by_dim = tuple(tuple(loop for loop in loops if loop.dim == dim) for dim in DIMS)
    return by_dim, tuple(loop for loop in loops if loop.kind == "temporal"), profile.load_depth


class Shortlist:
    """So many plans at most, the best of those that were added."""

    def __init__(self, most: int, goal: Goal) -> None:
        self._most, self._rank = most, goal.rank
        self._plans: dict[Meaning, Plan] = {}

    def add(self, plan: Plan) -> None:
        """Keep a plan if it is better than the one with the same mappings, and among the best."""
        key = tuple(map(meaning, plan.profiles))
        if key in self._plans and self._rank(self._plans[key]) <= self._rank(plan):
            return
        self._plans[key] = plan
        if len(self._plans) > self._most:
            # Of equal ones that which came last, so that the first of the best ones stays.
            del self._plans[max(reversed(self._plans), key=lambda own: self._rank(self._plans[own]))]

    def beside(self, best: Plan) -> list[Plan]:
        """Return the plans with other mappings than one of them, the best first."""
        key = tuple(map(meaning, best.profiles))
        others = [plan for own, plan in self._plans.items() if own != key]
        return sorted(others, key=self._rank)
