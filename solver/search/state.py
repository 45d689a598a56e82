"""What a descent goes from and to: a plan, and what decides how it was put together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar

from solver.schedule.plan import Plan
from solver.stop import Stop
from solver.timing.timeline import Timeline

TIE = 0.01
"""Weight of the mean end of the layers in the cost of a timeline: it decides between like latencies."""


def cost(timeline: Timeline) -> float:
    """Latency; among equals the timeline whose layers end earlier is better."""
    ends = [layer.end for layer in timeline.layers]
    return max(ends) + TIE * sum(ends) / len(ends)


def critical_layers(timeline: Timeline) -> list[int]:
    """Return the layers that decide the latency, the last one first: each waited last for the next one."""
    path = []
    ends = [layer.end for layer in timeline.layers]
    layer: int | None = ends.index(max(ends))
    while layer is not None:
        path.append(layer)
        layer = timeline.layers[layer].binding_producer
    return path


@dataclass(frozen=True, eq=False)
class State:
    """A plan and what it costs."""

    plan: Plan

    @cached_property
    def cost(self) -> float:
        """See `cost`."""
        return cost(self.plan.timeline)


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
