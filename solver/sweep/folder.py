"""The folder of a sweep: what is to be solved, and a file for each case that is finished.

A case is finished once its record is there; that is written last, and whole or not at all. So a sweep that
was killed goes on with what has no record.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from overlapim_files import InputError, load_json, remove_unfinished, write_text
from solver.sweep.cases import CaseRecord
from solver.sweep.task import Finished, TaskRecord

SPEC, CASES, TASKS, SOLUTIONS = "sweep.yaml", "cases.json", "tasks", "solutions"


class CaseList(BaseModel):
    """The file `cases.json`: all cases of the specification that was swept last."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    format: Literal["overlapim/sweep-cases/1"] = "overlapim/sweep-cases/1"
    cases: list[CaseRecord]


class SweepFolder:
    """The files of a sweep.

    Parameters
    ----------
    path : of the folder, which is there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def solution(self, key: str) -> Path:
        """Return the path of the solution file of a case."""
        return self.path / SOLUTIONS / f"{key}.yaml"

    def _record(self, key: str) -> Path:
        return self.path / TASKS / f"{key}.json"

    def begin(self, text: str, cases: Sequence[CaseRecord]) -> None:
        """Write what is to be solved. Raises InputError if that fails."""
        for name in (TASKS, SOLUTIONS):
            try:
                (self.path / name).mkdir(exist_ok=True)
                remove_unfinished(self.path / name)
            except OSError as error:
                reason = (error.strerror or "unknown reason").lower()
                raise InputError(f"{self.path / name}: cannot be made a directory: {reason}") from None
        write_text(self.path / SPEC, text)
        write_text(self.path / CASES, CaseList(cases=list(cases)).model_dump_json() + "\n")

    def cases(self) -> list[CaseRecord]:
        """Return what was to be solved. Raises InputError if the folder is not that of a sweep."""
        if not (self.path / CASES).exists():
            raise InputError(f"{self.path}: holds no sweep; `overlapim sweep SPEC.yaml -o DIR` makes one")
        return load_json(self.path / CASES, CaseList).cases

    def finished(self, keys: Iterable[str]) -> dict[str, TaskRecord]:
        """Return the records of those cases that are finished; one that cannot be read is not finished."""
        with contextlib.suppress(OSError):
            there = {file.name for file in (self.path / TASKS).iterdir()}
            records = (self._read(key) for key in keys if f"{key}.json" in there)
            return {record.key: record for record in records if record is not None}
        return {}

    def _read(self, key: str) -> TaskRecord | None:
        try:
            record = load_json(self._record(key), TaskRecord)
        except InputError:
            return None
        solved = record.outcome == "solved"
        return record if record.key == key and solved == (record.figures is not None) else None

    def keep(self, finished: Finished) -> None:
        """Write what came of a case: its solution, then the record that says that it is finished."""
        if finished.solution:
            write_text(self.solution(finished.record.key), finished.solution)
        write_text(self._record(finished.record.key), finished.record.model_dump_json() + "\n")

    def drop_solutions(self, keys: Iterable[str]) -> None:
        """Remove the solutions of cases; their records stay."""
        for key in keys:
            self.solution(key).unlink(missing_ok=True)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other sweeps out of the folder, for as long as this process lives at most.

        Raises
        ------
        InputError
            if another sweep is in it.
        """
        place = os.open(self.path, os.O_RDONLY)
        try:
            self._lock(place)
            yield
        finally:
            os.close(place)

    def _lock(self, place: int) -> None:
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{self.path}: another sweep is running in this folder") from None
