"""Several descents side by side, each in a process of its own with a seed of its own."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.context import ForkContext, SpawnContext
from multiprocessing.queues import Queue

from solver.mapspace.pools import Pools
from solver.params import DescentParams
from solver.schedule.banks import Banks
from solver.schedule.goal import Goal
from solver.schedule.plan import Plan
from solver.search.descent import Descent, Neighbourhood, single_moves
from solver.stop import POLL_SECONDS, Stop
from solver.timing.mapping import Mapping
from solver.timing.problem import Problem
from solver.timing.timeline import Order, evaluate

FAREWELL_SECONDS = 0.3
"""How long processes that are to end are waited for."""


@dataclass(frozen=True)
class Message:
    """A plan on its way between processes; one without mappings says that the worker has ended."""

    worker: int
    steps: int = 0
    mappings: tuple[Mapping, ...] = ()
    releases: tuple[int, ...] = ()
    orders: tuple[Order | None, ...] = ()
    banks: tuple[Banks, ...] = ()

    @classmethod
    def of(cls, worker: int, plan: Plan) -> Message:
        """Return the message that carries a plan."""
        mappings = tuple(profile.mapping for profile in plan.profiles)
        return cls(worker, 0, mappings, plan.releases, tuple(plan.orders), tuple(plan.banks))

    def plan(self, problem: Problem) -> Plan:
        """Return the plan that it carries."""
        profiles = [problem.profile(i, mapping) for i, mapping in enumerate(self.mappings)]
        return Plan(evaluate(problem, profiles, self.releases, self.orders), self.banks)


def processes() -> ForkContext | SpawnContext:
    """Return how processes are started: by forking, which shares what is imported, where that is safe."""
    if sys.platform == "linux":
        return multiprocessing.get_context("fork")
    return multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Searcher:
    """Where a descent begins, and what it changes.

    Attributes
    ----------
    own : whether it goes its own way: the incumbent is not fed to it.
    """

    pools: Pools
    start: Plan
    neighbourhood: Neighbourhood
    own: bool = False


def _work(
    pools: Pools,
    start: Message,
    stop: Stop,
    seed: int,
    params: DescentParams,
    neighbourhood: Neighbourhood,
    messages: Queue[Message],
    inbox: Queue[Message],
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    own = pools.until(stop)
    search = Descent(own, seed, params, lambda: _latest(inbox, pools.problem), neighbourhood)
    begin = start.plan(pools.problem)
    search.run(begin, stop, lambda plan: messages.put(Message.of(start.worker, plan)))
    messages.put(Message(start.worker, stop.steps))


def _end_with_parent() -> None:
    """End this process at once when the one that began it is gone, even if that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _latest(inbox: Queue[Message], problem: Problem) -> Plan | None:
    """Return the plan that came last, if any has come."""
    message = None
    with suppress(queue.Empty):
        while True:
            message = inbox.get_nowait()
    return None if message is None else message.plan(problem)


class Descents:
    """Descents in processes of their own, seeded `seed`, `seed + 1`, ..; the incumbent is fed to them.

    They end with the context that it manages.
    """

    def __init__(
        self, problem: Problem, searchers: Sequence[Searcher], stop: Stop, seed: int, params: DescentParams
    ) -> None:
        context = processes()
        self._problem = problem
        self._stop = stop
        self._ended, self._messages = context.Event(), context.Queue()
        self._inboxes: list[Queue[Message]] = [context.Queue() for _ in searchers]
        self._fed = {i: Goal(problem).rank(own.start) for i, own in enumerate(searchers) if not own.own}
        abroad = stop.abroad(self._ended)
        self._processes = [
            context.Process(
                target=_work,
                args=(
                    own.pools,
                    Message.of(i, own.start),
                    abroad,
                    seed + i,
                    params,
                    own.neighbourhood,
                    self._messages,
                    inbox,
                ),
                daemon=True,
            )
            for i, (own, inbox) in enumerate(zip(searchers, self._inboxes, strict=True))
        ]

    def __enter__(self) -> Descents:
        """Start them."""
        for process in self._processes:
            process.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End them."""
        self._ended.set()
        for inbox in self._inboxes:
            inbox.cancel_join_thread()
        for process in self._processes:
            process.join(FAREWELL_SECONDS / len(self._processes))
            process.kill()
            process.join()

    def listen(self, found: Callable[[Plan], None], best: Callable[[], Plan]) -> None:
        """Report every better plan and feed the best one to all, until they end or are to stop."""
        rank = Goal(self._problem).rank
        known = self._fed
        running = set(range(len(self._processes)))
        while running and not self._late():
            plan = best()
            for i in [i for i in running & known.keys() if rank(plan) < known[i]]:
                known[i] = rank(plan)
                self._inboxes[i].put(Message.of(i, plan))
            try:
                message = self._messages.get(timeout=POLL_SECONDS)
            except queue.Empty:
                ended = {i for i in running if not self._processes[i].is_alive()}
                running -= ended if self._messages.empty() else set()
                continue
            if message.mappings:
                plan = message.plan(self._problem)
                if message.worker in known:
                    known[message.worker] = min(known[message.worker], rank(plan))
                found(plan)
            else:
                running.discard(message.worker)
                self._stop.count(message.steps)

    def _late(self) -> bool:
        """Whether not to wait for what ends by itself, at the limits that each process sees on its own."""
        if self._stop.ending() in (None, "time", "iterations"):
            return self._stop.remaining() < -FAREWELL_SECONDS
        return True


def descend(
    pools: Pools,
    start: Plan,
    stop: Stop,
    seed: int,
    workers: int,
    found: Callable[[Plan], None],
    params: DescentParams,
    neighbourhood: Neighbourhood = single_moves,
) -> None:
    """Search with `workers` descents, seeded `seed`, `seed + 1`, ..; `found` is called with better plans."""
    if workers == 1:
        Descent(pools.until(stop), seed, params, neighbourhood=neighbourhood).run(start, stop, found)
        return
    best, rank = start, Goal(pools.problem).rank

    def keep(plan: Plan) -> None:
        nonlocal best
        if rank(plan) < rank(best):
            best = plan
        found(plan)

    searchers = [Searcher(pools, start, neighbourhood)] * workers
    with Descents(pools.problem, searchers, stop, seed, params) as descents:
        descents.listen(keep, lambda: best)
