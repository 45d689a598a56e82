"""Moves for shared weights that decide many layers together: which run side by side, on how many banks each.

Large neighbourhood search: layers that start one after the other get new modes and starts, the others keep
their modes and the order of their starts (`solver.cpsat.master`). Between such moves come those of a descent.
"""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial

from solver.cpsat.master import Answer, Master, PlanWindow
from solver.mapspace.pools import Pools
from solver.params import MoveParams
from solver.schedule.plan import Plan, by_start, in_order
from solver.search.descent import Neighbourhood, moves_for
from solver.search.exchanges import Exchanges
from solver.search.modes import Modes, length
from solver.search.shared import SharedMoves, SharedState
from solver.search.static import StaticMoves
from solver.stop import STEP_LAYERS, STEPS_PER_SECOND
from solver.timing.profile import Profile


class WindowMoves(SharedMoves):
    """See `Moves`."""

    def __init__(self, pools: Pools, rng: random.Random, params: MoveParams = MoveParams()) -> None:
        super().__init__(pools, rng, params)
        self._modes = Modes(pools, rng, params.windows)
        self._free = params.windows.first
        self._rows = 1.0
        self._owed = 0

    def change(self, state: SharedState, limit: float) -> SharedState | None:
        """See `Moves`; a window that brings nothing is followed by as many other moves as it has cost."""
        if self._owed:
            self._owed -= 1
            return super().change(state, limit)
        changed, work = self._window(state)
        self.pools.stop.worked(work)
        if changed is not None and changed.cost < state.cost:
            return changed
        self._owed = round(work * STEPS_PER_SECOND * min(1, STEP_LAYERS / len(self.problem.layers)))
        return None

    def _window(self, state: SharedState) -> tuple[SharedState | None, float]:
        """Return what the best choice in a window comes to, and how many nominal seconds it took."""
        params, plan = self.params.windows, state.plan
        order = by_start(self.problem, plan)
        number = min(self._free, len(order))
        first = self.random.randrange(len(order) - number + 1)
        end = first + number + params.following
        free = order[first : first + number]
        modes = {i: self._options(i, plan, self._span(state, free)) for i in free}
        given = {i: (plan.profiles[i],) for i in order[first + number : end]}
        window = PlanWindow(plan, order[:first], {**modes, **given}, order[end:], self._rows)
        master = Master(self.problem, window, self.pools.stop)
        answer, effort = master.solve(params.effort, self.random.getrandbits(30))
        self._free += 1 if answer is not None and answer.optimal else -1
        self._free = min(max(self._free, params.fewest), params.most)
        if answer is None:
            self._rows, changed = 1.0, None
        else:
            changed = self._made(state, order, first, answer)
        work = params.pair_work * master.pairs + params.layer_work * number + params.solving_work * effort
        return changed, work

    def _span(self, state: SharedState, free: tuple[int, ...]) -> int:
        times = [state.plan.timeline.layers[i] for i in free]
        return max(x.end for x in times) - min(x.start for x in times)

    def _options(self, layer: int, plan: Plan, span: int) -> tuple[Profile, ...]:
        """Return the modes of a layer that are no longer than all of the window, its own first."""
        own = plan.profiles[layer]
        others = [m for m in self._modes.of(layer, plan) if m.mapping != own.mapping and length(m) <= span]
        return (own, *others)

    def _made(
        self, state: SharedState, order: tuple[int, ...], first: int, answer: Answer
    ) -> SharedState | None:
        """Place the layers as the answer says, and those after them as their banks become free."""
        starts = {i: place - len(order) for place, i in enumerate(order[:first])} | dict(answer.starts)
        last = max(starts.values())
        starts |= {i: last + place for place, i in enumerate(order) if i not in starts}
        line = in_order(self.problem, starts)
        ready = replace(state, priority=line, punctual=state.punctual | set(order[first:]))
        made = self._planned(ready, dict(answer.chosen), first)
        if made is None:
            self._rows *= self.params.windows.retreat
        return made


NEIGHBOURHOODS: tuple[Neighbourhood, ...] = (
    partial(moves_for, StaticMoves, WindowMoves),
    partial(moves_for, Exchanges, WindowMoves),
)
"""Of searches side by side, or one after the other: random choices are faster on some networks, exact ones
on others."""
