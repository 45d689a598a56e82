"""A sweep under way: cases are handed out as processes get free, and what comes back is kept at once."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from overlapim_files import InputError
from solver.memory import machine_memory
from solver.stop import Flag, Stop
from solver.sweep.cases import CaseRecord, SweepCase, read_spec, sweep_cases
from solver.sweep.cluster import TaskPool, Work, cluster
from solver.sweep.folder import SweepFolder
from solver.sweep.nearest_chips import NearestChips
from solver.sweep.task import Neighbour, SweepTask, TaskRecord, solve_task, unsolved

POLL_SECONDS = 0.2
"""How often it is looked whether there are more processes, or the sweep is to end."""

OVERRUN = 60.0, 10.0
"""Seconds, and multiples of its limit, after which a case is given up that does not end by itself."""


@dataclass(frozen=True)
class SweepState:
    """How far a sweep has come.

    Attributes
    ----------
    total : cases of the specification.
    known : of these were finished when it began.
    solved, refused, failed : since it began.
    running : under way.
    slots : how many can be under way.
    seconds : that a case takes, on average.
    ending : whether no more cases begin.
    """

    total: int
    known: int
    solved: int = 0
    refused: int = 0
    failed: int = 0
    running: int = 0
    slots: int = 0
    seconds: float = 0.0
    ending: bool = False

    @property
    def done(self) -> int:
        """Cases that are finished."""
        return self.known + self.solved + self.refused + self.failed

    @property
    def seconds_left(self) -> float:
        """About how long the rest takes; infinity as long as there are no processes."""
        left = self.total - self.done
        return self.seconds * left / min(self.slots, max(left, 1)) if self.slots else math.inf


class SweepObserver:
    """Is told of what happens; all methods do nothing unless overridden."""

    def changed(self, state: SweepState) -> None:
        """Take note of how far the sweep has come."""

    def ended(self, case: CaseRecord, record: TaskRecord) -> None:
        """Take note of a case that has ended."""


def groups(cases: Sequence[CaseRecord]) -> dict[str, list[CaseRecord]]:
    """Return the cases that differ in their seeds only, by their common key."""
    found: dict[str, list[CaseRecord]] = {}
    for case in cases:
        found.setdefault(case.group, []).append(case)
    return found


def best_of(group: Sequence[CaseRecord], records: Mapping[str, TaskRecord]) -> TaskRecord | None:
    """Return the best solution of a group by its objective, and of equals that of the lowest seed."""
    found = [
        (record.figures.value, case.seed, record)
        for case in group
        if (record := records.get(case.key)) is not None and record.figures is not None
    ]
    return min(found, key=lambda entry: entry[:2])[2] if found else None


def known_records(cases: Sequence[CaseRecord], folder: SweepFolder) -> dict[str, TaskRecord]:
    """Return what came of the cases that need not be solved any more, by key.

    What failed is tried again. So is what is now the best of its group and was not when its solution was
    removed, because a better seed is not asked for any more.
    """
    finished = folder.finished(case.key for case in cases)
    known = {key: record for key, record in finished.items() if record.outcome != "failed"}
    for group in groups(cases).values():
        while (best := best_of(group, known)) is not None and not folder.solution(best.key).exists():
            del known[best.key]
    return known


@dataclass
class SweepRun:
    """One run over the cases that are not finished.

    Attributes
    ----------
    known : what is finished, by key; see `known_records`.
    stop : of the whole; no case begins that might not end in time.
    warms : whether searches begin with the mappings of the nearest chip that is solved.
    overrun : seconds after which a case is given up.
    memory : bytes that a case may take; half of what its machine has unless given.
    """

    cases: Sequence[SweepCase]
    known: Mapping[str, TaskRecord]
    folder: SweepFolder
    pool: TaskPool
    stop: Stop
    warms: bool
    overrun: float
    observer: SweepObserver
    memory: int | None = None
    _began: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Find out what is left."""
        self._by_key = {case.record.key: case for case in self.cases}
        self._groups = groups([case.record for case in self.cases])
        self._records = dict(self.known)
        self._left = deque(case for case in self.cases if case.record.key not in self.known)
        self._near = NearestChips(self.cases) if self.warms else None
        for group in self._groups:
            self._keep_best(group)
        self._counts = dict.fromkeys(("solved", "refused", "failed"), 0)
        self._spent, self._slots = 0.0, 0

    def run(self) -> None:
        """Solve what is left, until that is done or it is time to end; what is under way then is finished."""
        while self._left or len(self.pool):
            self._begin()
            self.observer.changed(self.state)
            if self._late() and not (len(self.pool) and self._slots):
                break
            for finished in self.pool.ended(POLL_SECONDS):
                self.folder.keep(finished)
                self._note(finished.record)
            self._give_up()
        self.observer.changed(self.state)

    @property
    def state(self) -> SweepState:
        """How far it has come."""
        ended = sum(self._counts.values())
        seconds = self._spent / ended if ended else self.cases[0].record.question.seconds
        return SweepState(
            len(self.cases),
            len(self.known),
            **self._counts,
            running=len(self.pool),
            slots=self._slots,
            seconds=seconds,
            ending=self._late(),
        )

    def _late(self) -> bool:
        """Whether no more cases begin."""
        needed = self._left[0].record.question.seconds if self._left else 0.0
        return self.stop.reached() or self.stop.remaining() < needed

    def _begin(self) -> None:
        """Hand out as many cases as there is room for."""
        self._slots = self.pool.slots()
        while self._left and len(self.pool) < self._slots and not self._late():
            case = self._left.popleft()
            record = case.record
            self._began[record.key] = time.monotonic()
            self.pool.begin(
                SweepTask(
                    record.key,
                    case.network,
                    case.hardware,
                    record.question,
                    record.seed,
                    self._neighbour(case),
                    self.memory,
                )
            )

    def _neighbour(self, case: SweepCase) -> Neighbour | None:
        key = self._near.nearest_to(case.record.key) if self._near else None
        if key is None:
            return None
        try:
            return Neighbour(key, self.folder.solution(key).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def _note(self, record: TaskRecord) -> None:
        """Count what has ended, and keep the best solution of its group."""
        case = self._by_key[record.key].record
        self._records[record.key] = record
        self._counts[record.outcome] += 1
        self._spent += time.monotonic() - self._began.pop(record.key)
        self._keep_best(case.group)
        self.observer.ended(case, record)

    def _keep_best(self, group: str) -> None:
        """Remove the solutions of a group that are not its best."""
        records = [self._records[case.key] for case in self._groups[group] if case.key in self._records]
        best = best_of(self._groups[group], self._records)
        others = [record.key for record in records if record is not best]
        self.folder.drop_solutions(others)
        if self._near is not None:
            for key in others:
                self._near.remove(key)
            if best is not None:
                self._near.add(best.key)

    def _give_up(self) -> None:
        """Give up what has been under way for much too long."""
        now = time.monotonic()
        for key in [key for key, began in self._began.items() if now - began > self.overrun]:
            self.pool.give_up(key)
            finished = unsolved(key, "failed", f"did not end within {self.overrun:g} s")
            self.folder.keep(finished)
            self._note(finished.record)


def run_sweep(
    source: str | Path | Mapping[str, Any],
    out: Path,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    memory: int | None = None,
    seconds: float | None = None,
    interrupt: Flag | None = None,
    observer: SweepObserver | None = None,
    work: Work = solve_task,
) -> SweepFolder:
    """Solve all cases of a specification that are not finished, and return their folder.

    Parameters
    ----------
    source : the file of a specification, or what stands in one.
    out : a folder that is there.
    workers : processes on this machine; as many as there are cores unless given.
    scheduler : the address of a Dask scheduler whose processes are to be used instead.
    memory : bytes that all processes on this machine may take together, half of what it has unless given;
        with a scheduler those that each process may take.
    seconds : of the whole.
    interrupt : ends it once the cases that are under way are solved.
    work : what solves a case.

    Raises
    ------
    InputError
        if the specification is wrong, the folder cannot be written to, or no scheduler answers.
    """
    spec = read_spec(source)
    beside = Path() if isinstance(source, Mapping) else Path(source).parent
    cases = sweep_cases(spec, beside)
    folder = SweepFolder(out)
    limits = Stop(seconds=seconds) if interrupt is None else Stop(seconds=seconds, interrupt=interrupt)
    least, times = OVERRUN
    with folder.alone():
        records = [case.record for case in cases]
        known = known_records(records, folder)
        if len(known) == len(cases) or limits.reached():
            folder.begin(spec.text, records)
            return folder
        count = workers or os.cpu_count() or 1
        share = memory if scheduler else (memory or machine_memory() // 2) // count
        try:
            with cluster(scheduler, count) as client:
                folder.begin(spec.text, records)
                overrun = least + times * spec.record.seconds
                pool = TaskPool(client, work)
                warms, told = spec.record.warms, observer or SweepObserver()
                SweepRun(cases, known, folder, pool, limits, warms, overrun, told, share).run()
        except InputError:
            if not limits.interrupt.is_set():
                raise
            folder.begin(spec.text, records)  # the signal has ended its processes, too
    return folder
