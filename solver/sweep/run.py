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

SCRATCH = ".workers"


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


def best_of(records: Sequence[TaskRecord], seeds: Mapping[str, int]) -> TaskRecord | None:
    """Return the best of the solutions of one group: the fastest, and of equals that of the lowest seed."""
    solved = [record for record in records if record.figures is not None]
    return min(solved, key=lambda x: (_latency(x), seeds[x.key]), default=None)


def _latency(record: TaskRecord) -> int:
    assert record.figures is not None
    return record.figures.latency


@dataclass
class SweepRun:
    """One run over the cases that are not finished.

    Attributes
    ----------
    stop : of the whole; no case begins that might not end in time.
    warms : whether searches begin with the mappings of the nearest chip that is solved.
    overrun : seconds after which a case is given up.
    """

    cases: Sequence[SweepCase]
    folder: SweepFolder
    pool: TaskPool
    stop: Stop
    warms: bool
    overrun: float
    observer: SweepObserver
    _began: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Find out what is finished; what failed is tried again."""
        self._by_key = {case.record.key: case for case in self.cases}
        finished = self.folder.finished(self._by_key).items()
        self._records = {key: record for key, record in finished if record.outcome != "failed"}
        self._left = deque(case for case in self.cases if case.record.key not in self._records)
        self._groups: dict[str, list[str]] = {}
        for case in self.cases:
            self._groups.setdefault(case.record.group, []).append(case.record.key)
        self._near = NearestChips(self.cases) if self.warms else None
        for group in self._groups:
            self._keep_best(group)
        self._counts = dict.fromkeys(("solved", "refused", "failed"), 0)
        self._spent, self._slots = 0.0, 0
        self._known = len(self._records)

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
            self._known,
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
        keys = self._groups[group]
        records = [self._records[key] for key in keys if key in self._records]
        best = best_of(records, {key: self._by_key[key].record.seed for key in keys})
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
        if not folder.unfinished(case.record.key for case in cases):
            folder.begin(spec.text, [case.record for case in cases])
            return folder
        with cluster(scheduler, workers or os.cpu_count() or 1, out / SCRATCH) as client:
            folder.begin(spec.text, [case.record for case in cases])
            overrun = least + times * spec.record.seconds
            pool = TaskPool(client, work)
            warms, told = spec.record.warms, observer or SweepObserver()
            SweepRun(cases, folder, pool, limits, warms, overrun, told).run()
    return folder
