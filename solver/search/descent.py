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
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic

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


@dataclass
class _Walk(Generic[AState]):
    """How far a search has come.

    Attributes
    ----------
    best, near, current : the best state, the best one since the search began anew, and the one to change.
    history : costs of the last states; those to come are compared with the oldest.
    idle : changes since `near` was found.
    restarts, fruitless : how often the search began anew, and how often since it last found a better plan.
    """

    best: AState
    near: AState
    current: AState
    history: deque[float]
    idle: int = 0
    restarts: int = 0
    fruitless: int = 0


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
        self._walk: _Walk[Any]

    def run(self, start: Plan, stop: Stop, found: Callable[[Plan], None], searched: bool = False) -> Plan:
        """Search until it is time to stop. Never worse than `start`.

        Parameters
        ----------
        searched : whether `start` has come from such a search, so that no other plans to begin with are made.
        found : called with better plans, and with the best ones of stretches that began afar.
        """
        best = self.moves.state(start)
        with suppress(StoppedError):
            for looked, state in enumerate(() if searched else self.moves.starts(stop), 1):
                if state.cost < best.cost:
                    best = state
                    found(best.plan)
                elif looked == self.params.first_starts and best.plan is start:
                    break
        length = self.moves.history(0)
        self._walk = _Walk(best, best, best, deque([best.cost] * length, maxlen=length))
        return self._walked(self.moves, self._walk, stop, found)

    def go_on(self, plan: Plan, stop: Stop, found: Callable[[Plan], None]) -> Plan:
        """Go on with a search that `run` has begun, from a plan if that is better than all it has found."""
        if self.goal.rank(plan) < self.goal.rank(self._walk.best.plan):
            self._follow(self._walk, self.moves.state(plan))
        return self._walked(self.moves, self._walk, stop, found)

    def _walked(
        self, moves: Moves[AState], walk: _Walk[AState], stop: Stop, found: Callable[[Plan], None]
    ) -> Plan:
        while not stop.step():
            limit = max(walk.current.cost, walk.history[0])
            try:
                walk.current = moves.change(walk.current, limit) or walk.current
            except StoppedError:
                break
            walk.history.append(walk.current.cost)
            walk.idle += 1
            if walk.current.cost < walk.near.cost:
                walk.near, walk.idle = walk.current, 0
            if walk.near.cost < walk.best.cost:
                if self.goal.rank(walk.near.plan) < self.goal.rank(walk.best.plan):
                    found(walk.near.plan)
                walk.best, walk.fruitless = walk.near, 0
            attentive = walk.near is walk.best and stop.steps % moves.attention == 0
            if attentive and (fed := self._better(moves, walk.best)) is not walk.best:
                self._follow(walk, fed)
            if walk.idle > moves.patience:
                if walk.near is not walk.best:
                    found(walk.near.plan)
                self._begin_anew(moves, walk, stop)
        return walk.best.plan

    def _follow(self, walk: _Walk[AState], fed: AState) -> None:
        """Take up a better state that was found elsewhere, and go on from it if the search is far behind."""
        walk.near, walk.best, walk.idle, walk.fruitless = fed, fed, 0, 0
        if walk.current.cost > self.params.behind * fed.cost:
            walk.current = fed
            walk.history.extend([fed.cost] * len(walk.history))

    def _begin_anew(self, moves: Moves[AState], walk: _Walk[AState], stop: Stop) -> None:
        """Begin at the best state, or at one far from it if beginning there has often brought nothing."""
        walk.best = self._better(moves, walk.best)
        walk.idle, walk.restarts, walk.fruitless = 0, walk.restarts + 1, walk.fruitless + 1
        walk.current = walk.near = walk.best
        if walk.fruitless % self.params.wander == 0:
            with suppress(StoppedError):
                walk.current = walk.near = moves.afar(walk.best, stop) or walk.best
        length = moves.history(walk.restarts)
        noise = self.params.restart_noise
        worse = (walk.near.cost * (1 + noise * self.random.random()) for _ in range(length))
        walk.history = deque(worse, maxlen=length)

    def _better(self, moves: Moves[AState], best: AState) -> AState:
        """Return the better of the best state and what the incumbent feed has."""
        plan = self.incumbent_feed()
        if plan is None or self.goal.rank(plan) >= self.goal.rank(best.plan):
            return best
        return moves.state(plan)
