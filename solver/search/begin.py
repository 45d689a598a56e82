"""What searches begin with: plans that are soon made, each better than the ones before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from models.batch import single
from overlapim_files import InputError
from solver.mapspace.pools import Pools
from solver.params import Params
from solver.schedule.goal import Goal
from solver.schedule.plan import Plan
from solver.search.apart import BanksApart
from solver.search.batches import lift
from solver.search.descent import Descent
from solver.search.layerwise import layerwise
from solver.search.polish import polish
from solver.search.pursuit import first_plans
from solver.search.sequential import sequential
from solver.search.shares import share_banks
from solver.stop import Stop


def begin(
    pools: Pools, start: Plan, stop: Stop, seed: int, found: Callable[[Plan], None], params: Params
) -> BanksApart | None:
    """Walk through the layers once, share out the banks, and plan one inference of a batch.

    Where banks may be shared, the search for plans in which they are not is returned, to go on with.

    Parameters
    ----------
    start : a plan to begin with.
    found : called with each better plan.
    """
    plans, goal, apart = [start], Goal(pools.problem), None

    def better(plan: Plan) -> None:
        if goal.rank(plan) < goal.rank(plans[-1]):
            plans.append(plan)
            found(plan)

    for plan in first_plans(pools, stop.part(params.descent.pursuit.share), seed, params):
        better(plan)
    walk = replace(params.layerwise, strategy=params.descent.walk)
    if pools.problem.hardware.weights == "static":
        better(
            layerwise(pools, start, stop if goal.objective.plain else stop.part(params.descent.walking), walk)
        )
    else:
        better(layerwise(pools, start, stop.part(params.descent.walking), walk))
        others = [plans[-1]]

        def other(plan: Plan) -> None:
            others.append(plan)
            better(plan)

        clear = False
        if goal.objective.plain:
            apart = BanksApart(pools, params)
            clear = apart.begin(others[0], stop, seed, better)
        if not clear:
            shares = params.descent.shares
            share_banks(pools, others[0], stop.part(shares.share), seed, other, shares)
            if others[-1].latency > params.descent.polish.near * start.latency:
                faster = polish(pools, start, stop.part(params.descent.polish.share), seed, params)
                if faster is not None:
                    other(faster)
        if apart is not None:
            apart.go_on(others[-1], stop, seed, better)
    batch = _one_of_batch(pools, stop.part(params.descent.batch), seed, params)
    if batch is not None:
        better(batch)
    return apart


def _one_of_batch(pools: Pools, stop: Stop, seed: int, params: Params) -> Plan | None:
    """Return what a plan of one inference makes of the batch; None without a batch, or if it is not valid."""
    network = None if pools.problem.limits.mapped else single(pools.problem.network)
    if network is None:
        return None
    alone = Pools(replace(pools.problem, network=network), pools.params, stop)
    try:
        plans = [sequential(alone, stop, params.sequential)]
    except InputError:
        return None
    begin(alone, plans[0], stop, seed, plans.append, params)
    best = Descent(alone, seed, params.descent).run(plans[-1], stop, lambda _: None)
    return lift(pools.problem, best)
