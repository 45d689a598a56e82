"""Several descents side by side, each in a process of its own with a seed of its own."""

from __future__ import annotations

import multiprocessing
import queue
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.context import ForkContext, SpawnContext
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event

from solver.banks import Banks
from solver.mapping import Mapping
from solver.problem import Problem
from solver.schedule import Plan
from solver.search.descent import Descent
from solver.space import Space
from solver.stop import Stop
from solver.timeline import Order, evaluate

POLL_SECONDS = 0.1
FAREWELL_SECONDS = 0.5


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
        return cls(worker, 0, mappings, plan.releases, tuple(plan.orders), plan.banks)

    def plan(self, problem: Problem) -> Plan:
        """Return the plan that it carries."""
        profiles = [problem.profile(i, mapping) for i, mapping in enumerate(self.mappings)]
        return Plan(evaluate(problem, profiles, self.releases, self.orders), self.banks)


def processes() -> ForkContext | SpawnContext:
    """Return how processes are started: by forking, which shares what is imported, where that is safe."""
    if sys.platform == "linux":
        return multiprocessing.get_context("fork")
    return multiprocessing.get_context("spawn")


def _work(
    space: Space,
    start: Message,
    stop: Stop,
    seed: int,
    ended: Event,
    messages: Queue[Message],
    inbox: Queue[Message],
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    own = replace(stop, interrupt=ended, steps=0)
    search = Descent(space, seed, lambda: _latest(inbox, space.problem))
    begin = start.plan(space.problem)
    search.run(begin, own, lambda plan: messages.put(Message.of(start.worker, plan)))
    messages.put(Message(start.worker, own.steps))


def _latest(inbox: Queue[Message], problem: Problem) -> Plan | None:
    """Return the plan that came last, if any has come."""
    message = None
    with suppress(queue.Empty):
        while True:
            message = inbox.get_nowait()
    return None if message is None else message.plan(problem)


def descend(
    space: Space, start: Plan, stop: Stop, seed: int, workers: int, found: Callable[[Plan], None]
) -> None:
    """Search with `workers` descents, seeded `seed`, `seed + 1`, ..; `found` hears of every better plan.

    Each is told of better plans of the others.
    """
    if workers == 1:
        Descent(space, seed).run(start, stop, found)
        return
    context = processes()
    ended, messages = context.Event(), context.Queue()
    portable = replace(stop, interrupt=ended)
    inboxes: list[Queue[Message]] = [context.Queue() for _ in range(workers)]
    least = start.latency
    started = []
    for worker in range(workers):
        message = Message.of(worker, start)
        arguments = (space, message, portable, seed + worker, ended, messages, inboxes[worker])
        started.append(context.Process(target=_work, args=arguments, daemon=True))
        started[-1].start()
    running = set(range(workers))
    try:
        while running and not (stop.ended or stop.interrupt.is_set() or stop.remaining() < -FAREWELL_SECONDS):
            try:
                message = messages.get(timeout=POLL_SECONDS)
            except queue.Empty:
                running -= {i for i in running if not started[i].is_alive() and messages.empty()}
                continue
            if not message.mappings:
                running.discard(message.worker)
                stop.steps += message.steps
                continue
            plan = message.plan(space.problem)
            found(plan)
            if plan.latency < least:
                least = plan.latency
                for worker in running - {message.worker}:
                    inboxes[worker].put(message)
    finally:
        ended.set()
        for inbox in inboxes:
            inbox.cancel_join_thread()
        for process in started:
            process.join(FAREWELL_SECONDS / workers)
            process.kill()
