"""Anytime local search over mappings, bank counts and starts, aimed at the critical path.

Late acceptance (Burke and Bykov, "The late acceptance hill-climbing heuristic", EJOR 2017): a change is kept
if it is no worse than the current plan or than the plan some steps ago. When nothing has improved for long,
the search goes on from the best plan, and may at first become a little worse.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from solver.mapspace.pools import Pools
from solver.schedule.plan import Plan
from solver.search.shared import SharedMoves
from solver.search.state import AState, Moves
from solver.search.static import StaticMoves
from solver.stop import Stop

BEHIND = 1.003
"""How many times as late as another search's best plan a plan may be that is gone on from."""

Neighbourhood = Callable[[Pools, random.Random], Moves[Any]]
"""Makes the moves of a search; a function that can be sent to another process."""

FIRST_STARTS = 2
"""Ways to begin after which no more are looked at if the given plan is better."""


def moves_for(static: type[StaticMoves], pools: Pools, rng: random.Random) -> Moves[Any]:
    """Return moves of the given kind with static weights, the only kind there is with shared ones."""
    return (static if pools.problem.hardware.weights == "static" else SharedMoves)(pools, rng)


single_moves = partial(moves_for, StaticMoves)
"""Moves of one layer, two where banks change hands."""


class Descent:
    """One search; every random choice comes from its seed."""

    def __init__(
        self,
        pools: Pools,
        seed: int,
        incumbent_feed: Callable[[], Plan | None] = lambda: None,
        neighbourhood: Neighbourhood = single_moves,
    ) -> None:
        """Search in a space.

        Parameters
        ----------
        news : asked before the search begins anew, for the best plan that other searches have found since.
        """
        self.incumbent_feed = incumbent_feed
        self.random = random.Random(seed)
        self.moves = neighbourhood(pools, self.random)

    def run(self, start: Plan, stop: Stop, found: Callable[[Plan], None]) -> Plan:
        """Search until told to stop; `found` hears of every better plan. Never worse than `start`."""
        return self._run(self.moves, start, stop, found)

    def _run(self, moves: Moves[AState], start: Plan, stop: Stop, found: Callable[[Plan], None]) -> Plan:
        best = moves.state(start)
        for looked, state in enumerate(moves.starts(stop), 1):
            if state.cost < best.cost:
                best = state
                found(best.plan)
            elif looked == FIRST_STARTS and best.plan is start:
                break
        current, idle, restarts = best, 0, 0
        history = deque([current.cost] * moves.history(0), maxlen=moves.history(0))
        while not stop.step():
            current = moves.change(current, max(current.cost, history[0])) or current
            history.append(current.cost)
            idle += 1
            if current.cost < best.cost:
                if current.plan.latency < best.plan.latency:
                    found(current.plan)
                best, idle = current, 0
            if stop.steps % moves.attention == 0 and (heard := self._better(moves, best)) is not best:
                best, idle = heard, 0
                if current.cost > BEHIND * best.cost:
                    current = best
                    history.extend([best.cost] * len(history))
            if idle > moves.patience:
                best = self._better(moves, best)
                current, idle, restarts = best, 0, restarts + 1
                length = moves.history(restarts)
                worse = (current.cost * (1 + 0.02 * self.random.random()) for _ in range(length))
                history = deque(worse, maxlen=length)
        return best.plan

    def _better(self, moves: Moves[AState], best: AState) -> AState:
        plan = self.incumbent_feed()
        return best if plan is None or plan.latency >= best.plan.latency else moves.state(plan)
