"""What a descent goes from and to: a plan, and what decides how it was put together."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from solver.params import MoveParams
from solver.schedule.goal import Goal
from solver.schedule.pace import longest_held
from solver.schedule.plan import Plan
from solver.stop import Stop
from solver.timing.timeline import Timeline


def decisive_layers(goal: Goal, timeline: Timeline, rng: random.Random, params: MoveParams) -> list[int]:
    """Return layers that the objective hangs on: a critical path, or those that cost most otherwise."""
    objective, layers = goal.objective, timeline.layers
    if objective.streams and rng.random() < params.otherwise:
        most = params.nearly * longest_held(timeline)
        return [i for i, times in enumerate(layers) if times.end - times.start >= most]
    if objective.weighs_energy and rng.random() < params.otherwise:
        energies = [goal.energy(times.profile) for times in layers]
        mean = sum(energies) / len(energies)
        return rng.choices(range(len(layers)), [own + mean for own in energies] if mean else None)
    return timeline.critical


@dataclass(frozen=True, eq=False)
class State:
    """A plan and what it costs, as the goal of its problem has it."""

    plan: Plan
    cost: float


AState = TypeVar("AState", bound=State)


class Moves(Protocol[AState]):
    """The moves of one kind of weights."""

    patience: int
    """Moves without a better plan after which a search begins anew."""

    attention: int
    """Moves after which a search asks for the best plan of the others even if it does not begin anew."""

    def history(self, restarts: int) -> int:
        """Return how many steps back a change is compared with, after the search has begun anew so often."""

    def state(self, plan: Plan) -> AState:
        """Return the state to go on from with a plan."""

    def starts(self, stop: Stop) -> Iterator[AState]:
        """Yield other states to begin with."""

    def afar(self, state: AState, stop: Stop) -> AState | None:
        """Return a state in which much is otherwise, and which may cost more; None if there is none."""

    def change(self, state: AState, limit: float) -> AState | None:
        """Return a state one move away that costs no more than the limit, or None if the move led nowhere."""
