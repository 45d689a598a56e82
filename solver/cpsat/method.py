"""The method `cpsat`: a bound over all mappings, a warm start, then CP-SAT on candidates near the best plan.

Networks whose mappings are few are given to CP-SAT whole, and solved to the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from overlapim_files import InputError
from solver.bound.model import BoundModel, raised_bound
from solver.bound.relaxation import linear_bound
from solver.cpsat.candidates import Candidate
from solver.cpsat.checkpoints import Candidates
from solver.cpsat.neighbourhoods import Neighbourhoods
from solver.cpsat.parallel import improve_neighbourhoods
from solver.cpsat.pool import PoolResult, optimise
from solver.dominance import efficient
from solver.exhaustive import layer_options
from solver.mapspace import count
from solver.problem import Problem
from solver.search.layerwise import layerwise
from solver.search.parallel import descend
from solver.solve import Run
from solver.stop import Stop

WHOLE = 2000
"""Mappings of one layer up to which the whole mapspace is listed."""

WHOLE_MACS = 3000
"""Multiply-accumulates beyond which mappings are not even counted, which takes a while for large layers."""

WHOLE_PAIRS = 20_000
"""Pairs of candidates, over all edges, up to which CP-SAT is given the whole mapspace."""

FIRST_STEPS = 100
"""Steps of descent before that: a good plan rules out most candidates."""

SMALL = 600
"""Times and choices in the bound model up to which CP-SAT can raise the bound of the relaxation."""

BUILD_SECONDS = 0.1
"""Seconds for each layer without which the bound is not begun, since its model cannot be cut short."""

FIRST_ROUND = 60.0
"""Seconds; each round after it is as long as all before."""

DESCENT_SHARE = 0.7
SOME_SHARE = 0.5
"""Shares of what is left of a round for the descent, and then for neighbourhoods of a few layers."""

NOMINAL_SECONDS = 2.0
SOLVES = 6
"""What one choice among candidates counts, and its solves, where work is counted instead of time."""


def cpsat(run: Run) -> None:
    """Improve on the best plan until told to stop or until it is proved optimal."""
    run.doing("walks through the layers")
    run.found(layerwise(run.space, run.incumbent, run.stop))
    if not run.stop.reached() and _small(run.problem):
        _solve_whole(run)
    seed = run.seed
    while not run.stop.reached():
        _round(run, seed)
        seed += run.workers


def _small(problem: Problem) -> bool:
    if problem.network.macs > WHOLE_MACS:
        return False
    return all(count(layer, problem.hardware).least <= WHOLE for layer in problem.layers)


def _solve_whole(run: Run) -> None:
    """Give CP-SAT all mappings and orders that can be part of a better plan, unless they are too many."""
    _bound(run)
    run.doing("chooses among all mappings")
    steps = Stop(iterations=FIRST_STEPS, interrupt=run.stop.interrupt)
    descend(run.space, run.incumbent, steps, run.seed, 1, run.found)
    candidates = whole_mapspace(run.problem, run.incumbent.latency, run.stop)
    if candidates is None or run.stop.reached():
        return
    if all(candidates):
        found = _optimise(run, candidates, run.stop, run.bounded)
        run.bounded(found.bound)
    else:
        run.bounded(run.incumbent.latency)


def whole_mapspace(problem: Problem, latency: int, stop: Stop) -> Candidates | None:
    """Return all mappings and orders that end before a latency and matter; None if they are too many."""
    candidates: list[list[Candidate]] = []
    for layer in range(len(problem.layers)):
        try:
            options = layer_options(problem, layer, stop)
        except InputError:
            return None
        if options is None:
            return None
        early = efficient([x for x in options if x.finish.max() < latency])
        own = [Candidate(x.profile, None if x.order is None else tuple(x.order.tolist())) for x in early]
        candidates.append(own)
    edges = ((edge.producer, i) for i, edges in enumerate(problem.edges) for edge in edges)
    pairs = sum(len(candidates[producer]) * len(candidates[consumer]) for producer, consumer in edges)
    return candidates if pairs <= WHOLE_PAIRS else None


def _optimise(run: Run, candidates: Candidates, stop: Stop, bounded: Callable[[int], None]) -> PoolResult:
    return optimise(run.problem, candidates, run.incumbent, stop, run.seed, run.workers, run.found, bounded)


def _bound(run: Run) -> None:
    """Prove a bound over all mappings: that of a linear relaxation, raised if the network is small.

    A plan that is known rules out slow layers, so this waits until there is a fair one.
    """
    run.doing("proves a bound over all mappings")
    latency = run.incumbent.latency
    model = BoundModel(run.problem, latency)
    least = linear_bound(model, None if run.stop.pace is not None else run.stop.remaining())
    if least > 0:
        run.bounded(min(least, latency))
    if model.size <= SMALL and not run.stop.reached():
        run.bounded(min(raised_bound(model, least), latency))


def _round(run: Run, seed: int) -> None:
    """Search, improve a few layers at a time, and prove the best choice among candidates nearby."""
    end = run.stop.elapsed() + max(FIRST_ROUND, run.stop.elapsed())
    with _part(run, end, DESCENT_SHARE):
        run.doing("changes mappings, starts and banks")
        descend(run.space, run.incumbent, run.stop, seed, run.workers, run.found)
    if run.bound is None and run.stop.remaining() > BUILD_SECONDS * len(run.problem.layers):
        _bound(run)
    with _part(run, end, SOME_SHARE):
        run.doing("chooses anew for a few layers at a time")
        improve_neighbourhoods(run.space, run.incumbent, run.stop, seed, run.workers, run.found)
    with _part(run, end, 1.0):
        run.doing("proves the best choice among candidates")
        neighbourhoods = Neighbourhoods(run.space, seed)
        while not run.stop.step():
            _choose(run, neighbourhoods.all(run.incumbent))


def _choose(run: Run, candidates: Candidates) -> None:
    """Solve for the best choice among some candidates; what is proved of them is kept if nothing else is."""
    number = sum(map(len, candidates))
    stop = run.stop
    if stop.pace is not None:
        stop.worked(NOMINAL_SECONDS)
        stop = Stop(iterations=SOLVES, interrupt=stop.interrupt)
    found = _optimise(run, candidates, stop, lambda _: None)
    if found.optimal or (found.bound > 0 and run.pool_bound is None):
        run.pool_bounded(found.bound, number)


@contextmanager
def _part(run: Run, end: float, share: float) -> Iterator[None]:
    """Let the run stop after a share of what is left until `end`, and go on afterwards."""
    whole = run.stop
    seconds = whole.elapsed() + share * (min(end, whole.elapsed() + whole.remaining()) - whole.elapsed())
    run.stop = part = replace(whole, seconds=seconds)
    yield
    run.stop = whole
    whole.steps, whole.work = part.steps, part.work
    if part.ended:
        whole.end()
