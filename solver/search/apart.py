"""A start for layers that may share banks: each has banks of its own, as if weights were static.

Such a plan is valid however weights are kept. On a chip that is large for a network it may be better than all
plans in which layers take turns, and changes of a few layers rarely lead from those to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from overlapim_files import InputError
from solver.mapspace.pools import Pools, shapes
from solver.params import Params
from solver.schedule.plan import Plan
from solver.search.descent import Descent
from solver.search.exchanges import TableCheckedMoves
from solver.search.layerwise import layerwise
from solver.search.sequential import banks_apart
from solver.stop import Stop, StoppedError
from solver.timing.problem import Problem
from solver.timing.timeline import evaluate


def keep_apart(
    pools: Pools, best: Plan, stop: Stop, seed: int, found: Callable[[Plan], None], params: Params
) -> None:
    """Search with static weights; `found` is called with what better and better plans are worth here.

    The search goes on from one round to the next only if it has come near to `best`.
    """
    problem, rounds = pools.problem, params.descent.apart.rounds
    steps = params.descent.apart.steps * len(problem.layers)
    looking = _part(stop, rounds[0][0], steps)
    static = replace(problem, hardware=problem.hardware.with_weights("static"))
    alone = Pools(static, pools.params, looking)
    sizes = shapes(problem.hardware)[:: -params.sequential.coarse]
    try:
        plan = banks_apart(static, alone.favourites, sizes, params.sequential)
    except (InputError, StoppedError):
        return
    if plan is None:
        return
    plan = layerwise(alone, plan, looking, replace(params.layerwise, strategy=params.descent.walk))
    found(as_kept(problem, plan))
    for share, near in rounds:
        part = _part(stop, share, steps)
        search = Descent(alone.until(part), seed, params.descent, neighbourhood=TableCheckedMoves)
        plan = search.run(plan, part, lambda better: found(as_kept(problem, better)))
        if stop.reached() or plan.latency > near * best.latency:
            return


def _part(stop: Stop, share: float, most: int) -> Stop:
    """Return the stop of a share of the time and of the steps that are left, and of so many steps at most."""
    part = stop if math.isinf(stop.remaining()) else stop.part(share)
    left = most if stop.iterations is None else min(most, int(share * (stop.iterations - stop.steps)))
    return replace(part, iterations=stop.steps + left)


def as_kept(problem: Problem, plan: Plan) -> Plan:
    """Return a plan with static weights as one of a problem whose weights are kept otherwise."""
    profiles = [problem.profile(i, own.mapping) for i, own in enumerate(plan.profiles)]
    return Plan(evaluate(problem, profiles, plan.releases, plan.orders), plan.banks)
