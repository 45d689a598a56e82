"""Neighbourhoods of the best plan, solved side by side, each in a process of its own."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.pool import AsyncResult

from solver.cpsat.neighbourhoods import Neighbourhoods
from solver.cpsat.pool import improve
from solver.problem import Problem
from solver.schedule import Plan
from solver.search.parallel import POLL_SECONDS, Message, processes
from solver.space import Space
from solver.stop import Stop

NOMINAL_SECONDS = 1.0
"""What one neighbourhood counts for where work is counted instead of time."""


@dataclass
class _Worker:
    """What a process keeps between its neighbourhoods; there is one in each."""

    space: Space


_workers: list[_Worker] = []


def _begin(problem: Problem) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # how the pool ends its processes
    _workers[:] = [_Worker(Space(problem))]


def _improve(message: Message, seed: int, seconds: float) -> Message | None:
    space = _workers[0].space
    plan = message.plan(space.problem)
    better = _improved(space, plan, seed, Stop(seconds=seconds))
    return Message.of(0, better) if better.latency < plan.latency else None


def _improved(space: Space, plan: Plan, seed: int, stop: Stop) -> Plan:
    free, candidates = Neighbourhoods(space, seed).some(plan)
    return improve(space.problem, candidates, plan, free, stop, seed)


def improve_neighbourhoods(
    space: Space, start: Plan, stop: Stop, seed: int, workers: int, found: Callable[[Plan], None]
) -> Plan:
    """Improve a plan until told to stop; `found` hears of every better one.

    With one worker and work counted instead of time, the same seed gives the same plan.
    """
    seeds = random.Random(seed)
    best = start
    if workers > 1:
        return _side_by_side(space.problem, start, stop, seeds, workers, found)
    while not stop.step():
        # A neighbourhood is cut off by time only where time counts.
        limit = None if stop.pace is not None or stop.seconds is None else stop.remaining()
        one = Stop(seconds=limit, interrupt=stop.interrupt)
        better = _improved(space, best, seeds.randrange(2**31), one)
        if stop.pace is not None:
            stop.worked(NOMINAL_SECONDS)
        if better.latency < best.latency:
            best = better
            found(best)
    return best


def _side_by_side(
    problem: Problem,
    start: Plan,
    stop: Stop,
    seeds: random.Random,
    workers: int,
    found: Callable[[Plan], None],
) -> Plan:
    best = start
    running: list[AsyncResult[Message | None]] = []
    with processes().Pool(workers, _begin, (problem,)) as pool:  # its processes end with it
        while not stop.reached():
            while len(running) < workers:
                task = (Message.of(0, best), seeds.randrange(2**31), stop.remaining())
                running.append(pool.apply_async(_improve, task))
            running[0].wait(POLL_SECONDS)
            for result in [r for r in running if r.ready()]:
                running.remove(result)
                stop.steps += 1
                message = result.get()
                plan = None if message is None else message.plan(problem)
                if plan is not None and plan.latency < best.latency:
                    best = plan
                    found(best)
    return best
