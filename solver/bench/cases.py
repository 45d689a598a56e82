"""Benchmarks as lists of cases: each is measured once and kept, so that a run that was stopped goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, model_validator

from hw.hardware import Hardware, Weights
from models.network import Network
from overlapim_files import InputError, digest, fault, load_json, write_text
from solver.stop import Flag


class Record(BaseModel):
    """A frozen record of a file of results."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class Subject(Record):
    """What is mapped: a network and a chip by name, and by the SHA-256 of what their files say."""

    network: str
    hardware: str
    weights: Weights
    network_sha256: str
    hardware_sha256: str

    @classmethod
    def of(cls, network: Network, hardware: Hardware) -> Self:
        """Return the subject for a network and a chip."""
        return cls(
            network=network.name,
            hardware=hardware.name,
            weights=hardware.weights,
            network_sha256=digest(network),
            hardware_sha256=digest(hardware),
        )

    def __str__(self) -> str:
        """Return it as a line of progress or the title of a plot names it."""
        return f"{self.network} on {self.hardware}, {self.weights}"


class Environment(Record):
    """By which command, on which machine and with which versions cases were measured.

    Attributes
    ----------
    command : with all options that were given or have a default, apart from where the results went.
    cores : of the machine, however many of them were used.
    versions : of everything involved; None for what was not installed.
    """

    command: str
    system: str
    cores: int
    versions: dict[str, str | None]


What = TypeVar("What", bound=Record)
Outcome = TypeVar("Outcome", bound=Record)


class Measured(Record, Generic[What, Outcome]):
    """A case that has been measured.

    Attributes
    ----------
    what : all that defines the case; no two cases of a file share it.
    run : position of the environment among those of the file.
    """

    what: What
    result: Outcome
    run: int


class Results(Record, Generic[What, Outcome]):
    """The file of a benchmark; each kind of benchmark has its own format."""

    format: str
    runs: tuple[Environment, ...] = ()
    cases: tuple[Measured[What, Outcome], ...] = ()

    @model_validator(mode="after")
    def _known_runs(self) -> Self:
        for i, case in enumerate(self.cases):
            if not 0 <= case.run < len(self.runs):
                raise fault(f"there is no run {case.run} among {len(self.runs)}", "cases", i, "run")
        return self

    def text(self) -> str:
        """Return the text of the file, with a line for each case."""
        runs = ",\n".join(f"    {run.model_dump_json()}" for run in self.runs)
        cases = ",\n".join(f"    {case.model_dump_json()}" for case in self.cases)
        return (
            f'{{\n  "format": "{self.format}",\n  "runs": [\n{runs}\n  ],\n  "cases": [\n{cases}\n  ]\n}}\n'
        )


AnyResults = TypeVar("AnyResults", bound=Results)  # type: ignore[type-arg]


class Kept(Generic[What, Outcome]):
    """The results so far: in memory, and in a file that is complete after each case.

    Parameters
    ----------
    empty : results of no case, in the format of the benchmark.
    path : of the file, which is read if there is one; None to keep them in memory only.

    Raises
    ------
    InputError
        if the file is not one of this benchmark.
    """

    def __init__(
        self, empty: Results[What, Outcome], environment: Environment, path: Path | None = None
    ) -> None:
        self.results, self._path, self._environment = empty, path, environment
        if path is not None and path.exists():
            try:
                self.results = load_json(path, type(empty))
            except InputError as error:
                raise InputError(
                    f"{error}; move the file away to begin anew, or give another --out"
                ) from None
        self._known = {case.what for case in self.results.cases}

    def __contains__(self, what: What) -> bool:
        """Whether a case has been measured."""
        return what in self._known

    def add(self, what: What, result: Outcome) -> Measured[What, Outcome]:
        """Keep the result of a case."""
        runs = self.results.runs
        runs += () if self._environment in runs else (self._environment,)
        case = Measured(what=what, result=result, run=runs.index(self._environment))
        cases = (*self.results.cases, case)
        self.results = self.results.model_copy(update={"runs": runs, "cases": cases})
        self._known.add(what)
        if self._path is not None:
            write_text(self._path, self.results.text())
        return case


@dataclass(frozen=True)
class Case(Generic[What, Outcome]):
    """What is to be measured, and how; the measurement returns None if it was interrupted."""

    what: What
    measure: Callable[[Flag], Outcome | None]


def run_cases(
    cases: Iterable[Case[What, Outcome]],
    kept: Kept[What, Outcome],
    interrupt: Flag,
    begins: Callable[[What], None] = lambda what: None,
) -> Iterator[Measured[What, Outcome]]:
    """Measure the cases that are not kept yet and yield each; ends early when interrupted.

    Parameters
    ----------
    begins : called with each case before it is measured.
    """
    for case in cases:
        if case.what in kept:
            continue
        if interrupt.is_set():
            return
        begins(case.what)
        result = case.measure(interrupt)
        if result is None:
            return
        yield kept.add(case.what, result)
