"""The latest starts with which no layer ends later: banks are held no longer than the ends ask for.

A layer whose first block reads little, only padding perhaps, can start long before the rest of its data is
there. That gains nothing if it then waits, and a stream of inferences has to wait for its banks.
"""

from __future__ import annotations

from solver.maxplus.candidates import Candidate
from solver.maxplus.through import Remaining
from solver.schedule.plan import Plan
from solver.timing.problem import Problem
from solver.timing.timeline import evaluate


class _Lateness(Remaining):
    """The same with a deadline for each layer, the end that it has; what is left is minus the time for it.

    So minus what is left after a moment is the largest delay there with which every layer still ends in time.
    """

    def _by_core(self, previous: Remaining | None) -> None:
        """Return nothing: the compiled core knows no deadlines."""

    def _own(self, layer: int, candidate: Candidate) -> int:
        return candidate.end - self.timeline.layers[layer].end


def latest_releases(problem: Problem, plan: Plan) -> list[int]:
    """Return for each layer the latest release with which no layer ends later, all of them together.

    The larger a delay, the later is all after it, and whatever delays keep to the largest ones that are
    allowed leave all ends as they are (docs/search.md, "Starts"). None is earlier than the present start.
    """
    lateness = _Lateness(problem, plan.timeline)
    tails = [lateness.tails[i][1] for i in range(len(problem.layers))]
    return [-int(left[0]) - p.lead for left, p in zip(tails, plan.profiles, strict=True)]


def postpone(problem: Problem, plan: Plan) -> Plan:
    """Return the plan with each start as late as it can be without any layer ending later.

    Mappings, banks, orders and all ends are as before, and no layer starts earlier.
    """
    releases = latest_releases(problem, plan)
    return Plan(evaluate(problem, plan.profiles, releases, plan.orders), plan.banks)
