"""Anytime local search over mappings, bank counts and starts, aimed at the critical path.

Late acceptance (Burke and Bykov, "The late acceptance hill-climbing heuristic", EJOR 2017): a change is kept
if it is no worse than the current plan or than the plan some steps ago. When nothing has improved for long,
the search goes on from the best plan, and may at first become a little worse.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from solver.mapspace.pools import Pools
from solver.params import DescentParams, MoveParams
from solver.schedule.goal import Goal
from solver.schedule.plan import Plan
from solver.search.shared import SharedMoves
from solver.search.state import AState, Moves
from solver.search.static import StaticMoves
from solver.stop import Stop, StoppedError

Neighbourhood = Callable[[Pools, random.Random, MoveParams], Moves[Any]]
"""Makes the moves of a search; a function that can be sent to another process."""


def moves_for(
    static: type[StaticMoves], shared: type[SharedMoves], pools: Pools, rng: random.Random, params: MoveParams
) -> Moves[Any]:
    """Return moves of the kind that is given for the weights of the chip."""
    return (static if pools.problem.hardware.weights == "static" else shared)(pools, rng, params)


single_moves = partial(moves_for, StaticMoves, SharedMoves)
"""Moves of one layer, several where banks change hands or layers are put side by side."""


class Descent:
    """One search; every random choice comes from its seed."""

    def __init__(
        self,
        pools: Pools,
        seed: int,
        params: DescentParams,
        incumbent_feed: Callable[[], Plan | None] = lambda: None,
        neighbourhood: Neighbourhood = single_moves,
    ) -> None:
        """Search in a space.

        Parameters
        ----------
        incumbent_feed : asked before the search begins anew, and every `attention` moves, for the best plan
            that other searches have found since.
        """
        self.params = params
        self.incumbent_feed = incumbent_feed
        self.random = random.Random(seed)
        self.goal = Goal(pools.problem)
        self.moves = neighbourhood(pools, self.random, params.moves)

    def run(self, start: Plan, stop: Stop, found: Callable[[Plan], None], searched: bool = False) -> Plan:
        """Search until it is time to stop. Never worse than `start`.

        Parameters
        ----------
        searched : whether `start` has come from such a search, so that no other plans to begin with are made.
        found : called with better plans, and with the best ones of stretches that began afar.
        """
        return self._run(self.moves, start, stop, found, searched)

    def _run(
        self, moves: Moves[AState], start: Plan, stop: Stop, found: Callable[[Plan], None], searched: bool
    ) -> Plan:
        best = moves.state(start)
        with suppress(StoppedError):
            for looked, state in enumerate(() if searched else moves.starts(stop), 1):
                if state.cost < best.cost:
                    best = state
                    found(best.plan)
                elif looked == self.params.first_starts and best.plan is start:
                    break
        current, near, idle, restarts, fruitless = best, best, 0, 0, 0
        history = deque([current.cost] * moves.history(0), maxlen=moves.history(0))
        while not stop.step():
            try:
                current = moves.change(current, max(current.cost, history[0])) or current
            except StoppedError:
                break
            history.append(current.cost)
            idle += 1
            if current.cost < near.cost:
                near, idle = current, 0
            if near.cost < best.cost:
                if self.goal.rank(near.plan) < self.goal.rank(best.plan):
                    found(near.plan)
                best, fruitless = near, 0
            attentive = near is best and stop.steps % moves.attention == 0
            if attentive and (fed := self._better(moves, best)) is not best:
                near, best, idle, fruitless = fed, fed, 0, 0
                if current.cost > self.params.behind * best.cost:
                    current = best
                    history.extend([best.cost] * len(history))
            if idle > moves.patience:
                if near is not best:
                    found(near.plan)
                best, restarts, fruitless = self._better(moves, best), restarts + 1, fruitless + 1
                current = near = self._begin_anew(moves, best, fruitless, stop)
                idle = 0
                length = moves.history(restarts)
                noise = self.params.restart_noise
                worse = (near.cost * (1 + noise * self.random.random()) for _ in range(length))
                history = deque(worse, maxlen=length)
        return best.plan

    def _begin_anew(self, moves: Moves[AState], best: AState, fruitless: int, stop: Stop) -> AState:
        """Return the best state, or one far away from it if beginning there has often brought nothing."""
        if fruitless % self.params.wander == 0:
            with suppress(StoppedError):
                return moves.afar(best, stop) or best
        return best

    def _better(self, moves: Moves[AState], best: AState) -> AState:
        """Return the better of the best state and what the incumbent feed has."""
        plan = self.incumbent_feed()
        if plan is None or self.goal.rank(plan) >= self.goal.rank(best.plan):
            return best
        return moves.state(plan)
