"""The method `cpsat`: a bound over all mappings, a warm start, then CP-SAT on candidates near the best plan.

Networks whose mappings are few are given to CP-SAT whole, and solved to the end.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace

from overlapim_files import InputError
from solver.bound.model import BoundModel, raised_bound
from solver.bound.relaxation import linear_bound
from solver.cpsat.optimise import Optimum, optimise
from solver.cpsat.windows import NEIGHBOURHOODS
from solver.mapspace.enumeration import count_allowed
from solver.maxplus.candidates import Candidate
from solver.maxplus.checkpoints import Candidates
from solver.maxplus.options import layer_options
from solver.maxplus.response import Response, efficient
from solver.params import BoundParams, WholeParams
from solver.run import ROUNDING, Run
from solver.schedule.goal import Goal
from solver.schedule.plan import Plan
from solver.schedule.transform import improve
from solver.search.apart import BanksApart
from solver.search.begin import begin
from solver.search.descent import Descent, Neighbourhood
from solver.search.exchanges import Exchanges
from solver.search.nearby import Nearby, crossed
from solver.search.parallel import Descents, Searcher, descend
from solver.search.pursuit import neighbourhoods
from solver.search.static import StaticMoves
from solver.stop import POLL_SECONDS, Flag, Stop, StoppedError
from solver.timing.energy import standby_energy
from solver.timing.objective import PlanFigures, Value
from solver.timing.problem import Problem


def cpsat(run: Run) -> None:
    """Improve on the best plan until it is time to stop or it is proved optimal."""
    run.doing("makes first plans")
    apart = begin(run.pools, run.incumbent, run.stop, run.seed, run.found, run.params)
    if run.stop.reached():
        return
    small = _small(run.problem, run.params.cpsat.whole)
    if small:
        _solve_whole(run)
    if run.refuted:
        return
    if run.workers > 1:
        _side_by_side(run, apart, bounded=small)
    else:
        _in_turn(run, apart, bounded=small)


def _small(problem: Problem, params: WholeParams) -> bool:
    """Whether the mappings of each layer are few."""
    if problem.network.macs > params.macs:
        return False
    return all(count_allowed(problem, i).most <= params.mappings for i in range(len(problem.layers)))


def _solve_whole(run: Run) -> None:
    """Give CP-SAT all mappings and orders that can be part of a better plan, unless they are too many."""
    _bound(run)
    run.doing("chooses among all mappings")
    params = run.params.cpsat.whole
    steps = Stop(iterations=params.first_steps, interrupt=run.stop)
    descend(run.pools, run.incumbent, steps, run.seed, 1, run.found, run.params.descent)
    candidates = whole_mapspace(run.problem, run.incumbent, run.stop, params.pairs)
    if candidates is None or run.stop.reached():
        return
    if not all(candidates):
        run.proved_within(run.goal.value(run.incumbent))
        return
    found = _optimise(run, candidates, run.stop, run.proved_within)
    run.refuted = found.refuted


def whole_mapspace(problem: Problem, plan: Plan, stop: Stop, most: int) -> Candidates | None:
    """Return all mappings and orders of which a better plan may be made; None if they are too many.

    Parameters
    ----------
    most : pairs of candidates, over all edges.
    """
    goal = Goal(problem)
    price = goal.energy if problem.objective.weighs_energy else None
    options: list[list[Response]] = []
    for layer in range(len(problem.layers)):
        try:
            own = layer_options(problem, layer, stop, price)
        except InputError:
            return None
        if own is None:
            return None
        options.append(own)
    least = [min(map(price, (x.profile for x in own)), default=0.0) if price else 0.0 for own in options]
    candidates: list[list[Candidate]] = []
    for own, energy in zip(options, least, strict=True):
        others = math.fsum(least) - energy
        matter = efficient([x for x in own if _promising(goal, plan, x, others)], price)
        orders = (None if x.order is None else tuple(x.order.tolist()) for x in matter)
        candidates.append([Candidate(x.profile, order) for x, order in zip(matter, orders, strict=True)])
    edges = ((edge.producer, i) for i, edges in enumerate(problem.edges) for edge in edges)
    pairs = sum(len(candidates[producer]) * len(candidates[consumer]) for producer, consumer in edges)
    return candidates if pairs <= most else None


def _promising(goal: Goal, plan: Plan, option: Response, others: float) -> bool:
    """Whether a plan with a mapping of a layer may be better than a given one.

    Parameters
    ----------
    others : pJ that the other layers take at least.
    """
    objective, end = goal.objective, int(option.finish.max())
    if objective.plain:
        return end < plan.latency
    makespan, energy = objective.makespan(end, end), 0.0
    if objective.weighs_energy:
        standby = standby_energy(goal.problem.hardware, makespan) / objective.inferences
        energy = (goal.energy(option.profile) + others + standby) * (1 - ROUNDING)
    figures = PlanFigures(end, end, makespan, energy)
    if objective.excess(figures) > 0:
        return False
    return goal.rank(plan)[0] > 0 or objective.value(figures) < goal.value(plan)


def _optimise(run: Run, candidates: Candidates, stop: Stop, bounded: Callable[[Value], None]) -> Optimum:
    return optimise(
        run.problem,
        candidates,
        run.incumbent,
        stop,
        run.seed,
        run.workers,
        run.found,
        bounded,
        run.params.cpsat.model,
    )


def _bound(run: Run) -> None:
    """Prove a bound over all mappings: that of a linear relaxation, raised if the network is small.

    A plan that is known rules out slow layers, so this waits until there is a fair one. Nothing is
    proved if the time is up before the model is there.
    """
    run.doing("proves a bound over all mappings")
    latency, params = run.incumbent.latency, run.params.bound
    with suppress(StoppedError):
        if _takes_long(run):
            began = run.stop.elapsed()
            _relaxed(run, latency, replace(params, fine=params.rough, coarse=params.rough), 1.0)
            if run.stop.remaining() < params.finer * (run.stop.elapsed() - began):
                return
        model, least = _relaxed(run, latency, params, params.linear_share)
        if model.size <= params.small and not run.stop.reached():
            run.bounded(min(raised_bound(model, least, run.stop), latency))


def _relaxed(run: Run, latency: int, params: BoundParams, share: float) -> tuple[BoundModel, int]:
    """Return a model, and the bound of its relaxation, for which there is a share of the time left."""
    model = BoundModel(run.problem, latency, params, run.stop)
    least = linear_bound(model, run.stop.part(share))
    if least > 0:
        run.bounded(min(least, latency))
    return model, least


def _takes_long(run: Run) -> bool:
    """Whether the model of the bound takes long, so that a rough one comes first, and sooner."""
    many = len(run.problem.layers) >= run.params.bound.rough_layers
    return many and run.problem.hardware.weights == "static"


class _Choices:
    """Proves the best choice among candidates near the best plan, again and again.

    Choices that are no better may take `share` of the time.
    """

    def __init__(self, run: Run, share: float = math.inf) -> None:
        self.run = run
        self._share = share
        self.params = run.params.cpsat
        self.nearby = Nearby(run.pools, run.seed, self.params.nearby)
        self.others: deque[Plan] = deque(maxlen=self.params.others)
        self.afar: deque[Plan] = deque(maxlen=self.params.crossed)
        self._pause = self.params.stall
        self._mark = run.goal.value(run.incumbent)
        self._marked = run.stop.elapsed()
        self._vain = 0.0

    def found(self, plan: Plan) -> None:
        """Keep a plan that a descent has found: a better one, or the best of a stretch that began afar."""
        goal = self.run.goal
        better = goal.rank(plan) < goal.rank(self.run.incumbent)
        (self.others if better else self.afar).append(plan)
        self.run.found(plan)
        if (value := goal.value(plan)) < (1 - self.params.progress) * self._mark:
            self._mark, self._marked = value, self.run.stop.elapsed()

    def due(self) -> bool:
        """Whether a descent has stalled, or it is time to prove something about candidates at all."""
        stop, allowance = self.run.stop, self._allowance()
        if self.run.candidate_bound is None and stop.remaining() < self.params.last_share * stop.elapsed():
            return allowance > 0
        return stop.elapsed() > self._marked + self._pause and allowance >= self.params.shortest_choice

    def _allowance(self) -> float:
        """Return for how many seconds a choice may be no better."""
        return self._share * self.run.stop.elapsed() - self._vain

    def improve(self, stop: Stop) -> None:
        """Draw candidates near the best plan and solve for the best choice."""
        stop.count(1)
        self.run.doing("proves the best choice among candidates")
        crossing, begun = tuple(self.afar), stop.elapsed()
        self.afar.clear()
        if self._choose(self._candidates(crossing, stop), stop, adapt=not crossing):
            self._pause = self.params.stall
        else:
            self._pause, self._marked = 2 * self._pause, stop.elapsed()
            self._vain += self._marked - begun
        self.run.found(improve(self.run.problem, self.run.incumbent, stop))

    def _candidates(self, afar: tuple[Plan, ...], stop: Stop) -> Candidates:
        """Return candidates near the best plan, or what layers have in it and in plans from far away."""
        if afar:
            return crossed((self.run.incumbent, *afar))
        return self.nearby.candidates(self.run.incumbent, tuple(self.others), stop)

    def _choose(self, candidates: Candidates, stop: Stop, adapt: bool) -> bool:
        """Solve for a while and return whether a better plan was found.

        What is proved of the candidates is kept if nothing else is known.
        """
        run, number, start = self.run, sum(map(len, candidates)), self.run.incumbent
        found = _optimise(run, candidates, self._moment(stop), lambda _: None)
        if adapt:
            self.nearby.adapt(found.optimal)
        if found.optimal or (found.bound > 0 and run.candidate_bound is None):
            run.candidates_bounded(found.bound, number)
        return run.goal.rank(found.plan) < run.goal.rank(start)

    def _moment(self, stop: Stop) -> Stop:
        """Return when a choice is to end: where work is counted, after the same work on every machine."""
        if stop.pace is None:
            seconds = min(self.params.choice_seconds, self._allowance(), stop.remaining())
            return Stop(seconds=seconds, interrupt=stop)
        stop.worked(self.params.choice_work)
        return Stop(iterations=self.params.choice_solves, interrupt=stop.interrupt)


def _searchers(run: Run, apart: BanksApart | None) -> list[Searcher]:
    """Return what descents side by side search; the second one with banks apart, where that comes near."""
    moves = itertools.cycle(neighbourhoods(run.problem, run.incumbent, NEIGHBOURHOODS))
    found = [Searcher(run.pools, run.incumbent, next(moves)) for _ in range(run.workers)]
    if apart is not None and apart.plan is not None and apart.share() > 0:
        found[1] = Searcher(apart.pools, apart.plan, Exchanges, own=True)
    return found


def _side_by_side(run: Run, apart: BanksApart | None, bounded: bool) -> None:
    """Let descents search, each in a process of its own, while this one proves bounds and chooses.

    Parameters
    ----------
    apart : the search with banks apart.
    bounded : whether the bound over all mappings has been proved already.
    """
    choices, params = _Choices(run), run.params
    run.doing("changes mappings, starts and banks")
    descents = Descents(run.problem, _searchers(run, apart), run.stop, run.seed, params.descent)
    with descents, ThreadPoolExecutor(1) as listener:
        listening = listener.submit(descents.listen, choices.found, lambda: run.incumbent)
        wait([listening], min(params.cpsat.head_start, params.cpsat.head_share * run.stop.remaining()))
        if not bounded:
            _bound_in_time(run)
        while not run.stop.reached():
            if choices.due():
                choices.improve(run.stop)
            else:
                wait([listening], POLL_SECONDS)
        listening.result()


def _in_turn(run: Run, apart: BanksApart | None, bounded: bool) -> None:
    """Search, prove a bound unless that has been done already, and choose, in one process.

    Searches of several kinds take turns, the one more often that brings more. Each goes on from where it
    was, or from what was found since.
    """
    params = run.params.cpsat
    choices = _Choices(run, params.vain_share)
    kinds = neighbourhoods(run.problem, run.incumbent, NEIGHBOURHOODS)
    static = run.problem.hardware.weights == "static"
    if not static:
        kinds = kinds[:1]  # all are one
    searches = [_Search(run, run.seed + i, moves) for i, moves in enumerate(kinds)]
    share, latest = params.descent_share if static else 0.0, params.latest_bound
    if _takes_long(run):
        share, latest = params.soon_share, params.soon_bound
    bound_at = run.stop.elapsed() + share * min(latest, run.stop.remaining())
    for turn in itertools.count():
        if run.stop.reached():
            break
        if not bounded and (choices.due() or run.stop.elapsed() >= bound_at):
            bounded = _bound_in_time(run)
        if choices.due():
            choices.improve(run.stop)
        run.doing("changes mappings, starts and banks")
        until = run.stop.elapsed() + max(params.shortest_turn, params.turn_share * run.stop.elapsed())
        if not bounded and run.stop.elapsed() < bound_at:
            until = min(until, bound_at)
        part = run.stop.part(until=until)
        if apart is not None and (share := apart.share()) > 0:
            own = Exchanges if turn % 2 else StaticMoves
            apart.search(part.part(share), run.seed + turn, choices.found, own)
        search = max(searches, key=lambda one: (one.gain, -one.turn))
        search.go_on(turn, _until_stalled(part, choices), choices.found)


class _Search:
    """A descent that is gone on with again and again.

    Attributes
    ----------
    turn, gain : its last turn, and by what share of the cost a second of that made the best plan better.
    """

    def __init__(self, run: Run, seed: int, moves: Neighbourhood) -> None:
        self.turn, self.gain = -1, math.inf
        self._run = run
        self._descent = Descent(run.pools.until(run.stop), seed, run.params.descent, neighbourhood=moves)

    def go_on(self, turn: int, stop: Stop, found: Callable[[Plan], None]) -> None:
        """Go on until it is time to stop."""
        run, goal = self._run, self._run.goal
        start, before = run.stop.elapsed(), goal.value(run.incumbent)
        if self.turn < 0:
            self._descent.run(run.incumbent, stop, found)
        else:
            self._descent.go_on(run.incumbent, stop, found)
        self.turn = turn
        seconds = max(run.stop.elapsed() - start, POLL_SECONDS)
        self.gain = (before - goal.value(run.incumbent)) / before / seconds


def _until_stalled(stop: Stop, choices: _Choices) -> Stop:
    """Return the stop that is also reached when it is time for a choice."""
    return replace(stop, interrupt=_Pause(stop.interrupt, choices))


@dataclass(frozen=True)
class _Pause:
    """Set by an interrupt, or while it is time for a choice."""

    interrupt: Flag
    choices: _Choices

    def is_set(self) -> bool:
        """Whether it is set."""
        return self.interrupt.is_set() or self.choices.due()


def _bound_in_time(run: Run) -> bool:
    """Prove the bound unless there is too little time to begin, and return whether there was enough."""
    params, layers = run.params.bound, len(run.problem.layers)
    enough = layers < params.most_layers and run.stop.remaining() > params.build_seconds * layers
    if enough and not run.stop.reached():
        _bound(run)
        return True
    return False
