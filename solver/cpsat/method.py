"""The method `cpsat`: a bound over all mappings, a warm start, then CP-SAT on candidates near the best plan.

Networks whose mappings are few are given to CP-SAT whole, and solved to the end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace

from overlapim_files import InputError
from solver.bound.model import BoundModel, raised_bound
from solver.bound.relaxation import linear_bound
from solver.cpsat.optimise import Optimum, optimise
from solver.mapspace.enumeration import count
from solver.maxplus.candidates import Candidate
from solver.maxplus.checkpoints import Candidates
from solver.maxplus.options import layer_options
from solver.maxplus.response import efficient
from solver.run import Run
from solver.schedule.plan import Plan
from solver.schedule.transform import improve
from solver.search.exchanges import NEIGHBOURHOODS, exchanges
from solver.search.layerwise import layerwise
from solver.search.nearby import Nearby
from solver.search.parallel import POLL_SECONDS, Descents, descend
from solver.stop import Stop
from solver.timing.problem import Problem

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

HEAD_START = 8.0
HEAD_SHARE = 0.2
"""Seconds, and share of what is left, for the descents alone: what is near a poor plan is of no use."""

STALL_SECONDS = 3.0
PROGRESS = 0.001
"""CP-SAT leaves the processors to descents that have become better by such a share in so many seconds, twice
as many after each choice that was none."""

LAST_SHARE = 0.15
"""In the last part of the time it does not, unless something has been proved about candidates before."""

POOL_SECONDS = 8.0
"""Seconds after which candidates are drawn anew, near what is then the best plan."""

OTHERS = 8
"""Other good plans whose mappings are among the candidates: the last ones that were found."""

FIRST_ROUND = 60.0
"""Seconds, where one process does everything in turn; each round after it is as long as all before."""

DESCENT_SHARE = 0.7
"""Share of a round for the descent."""

NOMINAL_SECONDS = 4.0
SOLVES = 3
"""What one choice among candidates counts, and its solves, where work is counted instead of time."""


def cpsat(run: Run) -> None:
    """Improve on the best plan until told to stop or until it is proved optimal."""
    run.doing("walks through the layers")
    run.found(layerwise(run.pools, run.incumbent, run.stop))
    if not run.stop.reached() and _small(run.problem):
        _solve_whole(run)
    if run.workers > 1:
        _side_by_side(run)
    else:
        _in_turn(run)


def _small(problem: Problem) -> bool:
    if problem.network.macs > WHOLE_MACS:
        return False
    return all(count(layer, problem.hardware).most <= WHOLE for layer in problem.layers)


def _solve_whole(run: Run) -> None:
    """Give CP-SAT all mappings and orders that can be part of a better plan, unless they are too many."""
    _bound(run)
    run.doing("chooses among all mappings")
    steps = Stop(iterations=FIRST_STEPS, interrupt=run.stop.interrupt)
    descend(run.pools, run.incumbent, steps, run.seed, 1, run.found)
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


def _optimise(run: Run, candidates: Candidates, stop: Stop, bounded: Callable[[int], None]) -> Optimum:
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


class _Choices:
    """Proves the best choice among candidates near the best plan, again and again."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.nearby = Nearby(run.pools, run.seed)
        self.others: deque[Plan] = deque(maxlen=OTHERS)
        self._pause = STALL_SECONDS
        self._mark = run.incumbent.latency
        self._marked = run.stop.wall()

    def found(self, plan: Plan) -> None:
        """Keep a plan that a descent has found."""
        self.others.append(plan)
        self.run.found(plan)
        if plan.latency < (1 - PROGRESS) * self._mark:
            self._mark, self._marked = plan.latency, self.run.stop.wall()

    def stalled(self) -> bool:
        """Whether it is long ago that a descent made progress, or it is time to prove something at all."""
        stop = self.run.stop
        late = self.run.candidate_bound is None and stop.remaining() < LAST_SHARE * stop.elapsed()
        return late or stop.wall() > self._marked + self._pause

    def improve(self) -> None:
        """Draw candidates near the best plan and solve for the best choice."""
        self.run.stop.steps += 1
        self.run.doing("proves the best choice among candidates")
        if self._choose(self.nearby.candidates(self.run.incumbent, tuple(self.others), self.run.stop)):
            self._pause = STALL_SECONDS
        else:
            self._pause, self._marked = 2 * self._pause, self.run.stop.wall()
        self.run.found(improve(self.run.problem, self.run.incumbent, self.run.stop))

    def _choose(self, candidates: Candidates) -> bool:
        """Solve for a while and return whether a better plan was found.

        What is proved of the candidates is kept if nothing else is known.
        """
        run, number, start = self.run, sum(map(len, candidates)), self.run.incumbent
        stop = Stop(seconds=min(POOL_SECONDS, run.stop.remaining()), interrupt=run.stop.interrupt)
        if run.stop.pace is not None:
            run.stop.worked(NOMINAL_SECONDS)
            stop = Stop(iterations=SOLVES, interrupt=run.stop.interrupt)
        found = _optimise(run, candidates, stop, lambda _: None)
        self.nearby.adapt(found.optimal)
        if found.optimal or (found.bound > 0 and run.candidate_bound is None):
            run.candidates_bounded(found.bound, number)
        return found.plan.latency < start.latency


def _side_by_side(run: Run) -> None:
    """Let descents search, each in a process of its own, while this one proves bounds and chooses."""
    choices = _Choices(run)
    run.doing("changes mappings, starts and banks")
    descents = Descents(run.pools, run.incumbent, run.stop, run.seed, run.workers, NEIGHBOURHOODS)
    with descents, ThreadPoolExecutor(1) as listener:
        listening = listener.submit(descents.listen, choices.found, lambda: run.incumbent)
        wait([listening], min(HEAD_START, HEAD_SHARE * run.stop.remaining()))
        _bound_once(run)
        while not run.stop.reached():
            if choices.stalled():
                choices.improve()
            else:
                wait([listening], POLL_SECONDS)
        listening.result()


def _in_turn(run: Run) -> None:
    """Search, prove a bound, and choose, in one process."""
    choices = _Choices(run)
    seed = run.seed
    while not run.stop.reached():
        end = run.stop.elapsed() + max(FIRST_ROUND, run.stop.elapsed())
        with _part(run, end, DESCENT_SHARE):
            run.doing("changes mappings, starts and banks")
            descend(run.pools, run.incumbent, run.stop, seed, 1, choices.found, exchanges)
        _bound_once(run)
        with _part(run, end, 1.0):
            while not run.stop.reached():
                choices.improve()
        seed += 1


def _bound_once(run: Run) -> None:
    enough = run.stop.remaining() > BUILD_SECONDS * len(run.problem.layers)
    if run.bound is None and enough and not run.stop.reached():
        _bound(run)


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
