"""The methods by name. Each is given a run, which holds the plan without overlap, and reports to it."""

from __future__ import annotations

from collections.abc import Callable

from solver.run import Run
from solver.schedule.plan import Plan
from solver.search.begin import begin
from solver.search.descent import single_moves
from solver.search.layerwise import layerwise
from solver.search.parallel import descend
from solver.search.pursuit import neighbourhoods
from solver.search.random_mapper import random_mapper

DEFAULT_METHOD = "cpsat"


def _sequential(run: Run) -> None:
    """Report the plan without overlap."""
    run.found(run.sequential)


def _random(run: Run) -> None:
    """Draw mappings at random and keep the fastest of each layer."""
    run.doing("draws mappings at random")
    run.found(random_mapper(run.problem, run.sequential, run.stop, run.seed, run.params.random))


def _layerwise(run: Run) -> None:
    """Walk through the layers, from the better of the plan without overlap and the warm start on."""
    run.doing("walks through the layers")
    run.found(layerwise(run.pools, _known(run), run.stop, run.params.layerwise))


def _descent(run: Run) -> None:
    """Walk through the layers once, then change mappings, starts and banks until it is time to stop."""
    params = run.params
    run.found(run.sequential)
    run.doing("makes first plans")
    begin(run.pools, run.incumbent, run.stop, run.seed, run.found, params)
    run.doing("changes mappings, starts and banks")
    (moves,) = neighbourhoods(run.problem, run.incumbent, [single_moves])
    descend(run.pools, run.incumbent, run.stop, run.seed, run.workers, run.found, params.descent, moves)


def _cpsat(run: Run) -> None:
    """See `solver.cpsat.method`, which is imported only now, as it takes long, and not if it is too late."""
    run.found(run.sequential)
    if not run.stop.reached():
        from solver.cpsat.method import cpsat

        cpsat(run)


def _exhaustive(run: Run) -> None:
    """Try every plan."""
    from solver.search.exhaustive import exhaustive

    run.doing("tries every plan")
    found = exhaustive(run.problem, run.params.exhaustive.combinations, run.stop)
    run.found(run.sequential)
    if found.plan is not None:
        run.found(found.plan)
        if found.complete:
            run.proved_within(run.goal.value(found.plan))
    run.refuted = found.complete and found.plan is None


def _known(run: Run) -> Plan:
    """Return the warm start if it is better than the plan without overlap, which is returned otherwise."""
    return min(run.sequential, run.warm_start or run.sequential, key=run.goal.rank)


METHODS: dict[str, Callable[[Run], None]] = {
    "sequential": _sequential,
    "random": _random,
    "layerwise": _layerwise,
    "descent": _descent,
    "cpsat": _cpsat,
    "exhaustive": _exhaustive,
}
"""Every method: what `solve`, the command line and the benchmarks know of."""
