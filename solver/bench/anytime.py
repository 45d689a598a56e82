"""How good answers and bounds are over time: each method with several seeds, read from its trace."""

from __future__ import annotations

import resource
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from statistics import median
from typing import Literal

from hw.hardware import Hardware
from models.network import Network
from overlapim_files import InputError
from solver.bench.cases import Case, Measured, Record, Results, Subject
from solver.memory import clear_caches
from solver.run import gap
from solver.solve import solve
from solver.stop import Flag, Stop


class AnytimeCase(Record):
    """One run of one method, for the longest of the limits."""

    on: Subject
    method: str
    seed: int
    workers: int
    limits: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """The time that the run is given."""
        return max(self.limits)

    def __str__(self) -> str:
        """Return it as a line of progress names it."""
        return f"{self.on}, {self.method}, seed {self.seed}"


@dataclass(frozen=True)
class Reading:
    """What a run had after some seconds; None if nothing yet."""

    seconds: float
    latency: int | None
    bound: int | None

    @property
    def gap(self) -> float | None:
        """Share of the latency by which the bound falls short of it."""
        return None if self.latency is None or self.bound is None else gap(self.latency, self.bound)


class AnytimeRun(Record):
    """What came of a run; `refused` says why nothing did.

    Attributes
    ----------
    trace : (seconds, latency, bound) whenever the latency falls or the bound rises; the last entry is the
        answer, even if the last step ended a little after the limit.
    seconds : wall time of the run.
    pool_gap : gap over the last candidates that were solved to the end.
    peak_mib : the most memory that this process, or one that it started, had had by the end of the run.
    """

    trace: tuple[tuple[float, int, int | None], ...]
    seconds: float
    pool_gap: float | None
    candidates: int | None
    peak_mib: int
    refused: str | None = None

    def at(self, seconds: float) -> Reading:
        """Return what the run had after some seconds."""
        known = [entry for entry in self.trace if entry[0] <= seconds]
        return Reading(seconds, known[-1][1], known[-1][2]) if known else Reading(seconds, None, None)

    @property
    def answer(self) -> Reading:
        """What the run had in the end."""
        return self.at(float("inf"))

    def primal_integral(self, best: int, seconds: float) -> float:
        """Return the mean, over some seconds, of the share by which the latency lies above the best known.

        Until there is an answer the share is 1 (T. Berthold, "Measuring the impact of primal heuristics",
        2013, divided by the time).
        """
        times = [0.0, *(min(entry[0], seconds) for entry in self.trace), seconds]
        shares = [1.0, *(1 - best / max(entry[1], 1) for entry in self.trace)]
        spans = (end - begin for begin, end in pairwise(times))
        return sum(span * share for span, share in zip(spans, shares, strict=True)) / seconds

    def __str__(self) -> str:
        """Return it as a line of progress names it."""
        return self.refused or f"{self.answer.latency:,} cycles"


MeasuredRun = Measured[AnytimeCase, AnytimeRun]


class AnytimeResults(Results[AnytimeCase, AnytimeRun]):
    """The file `anytime.json`."""

    format: Literal["overlapim/bench-anytime/1"] = "overlapim/bench-anytime/1"

    def by_subject(self) -> dict[Subject, dict[str, list[MeasuredRun]]]:
        """Return for each network and chip the runs of each method that were not refused."""
        found: dict[Subject, dict[str, list[MeasuredRun]]] = {}
        for case in self.cases:
            if case.result.refused is None:
                methods = found.setdefault(case.what.on, {})
                methods.setdefault(case.what.method, []).append(case)
        return found


def anytime_cases(
    networks: Iterable[Network],
    chips: Iterable[Hardware],
    methods: Iterable[str],
    seeds: Iterable[int],
    workers: int,
    limits: Sequence[float],
) -> Iterator[Case[AnytimeCase, AnytimeRun]]:
    """Yield a run for each combination."""
    for network, chip, seed, method in product(networks, chips, seeds, methods):
        on = Subject.of(network, chip)
        what = AnytimeCase(on=on, method=method, seed=seed, workers=workers, limits=tuple(limits))
        yield _case(network, chip, what)


def _case(network: Network, chip: Hardware, what: AnytimeCase) -> Case[AnytimeCase, AnytimeRun]:
    return Case(what, lambda interrupt: _measure(network, chip, what, interrupt))


def _measure(network: Network, chip: Hardware, what: AnytimeCase, interrupt: Flag) -> AnytimeRun | None:
    """Run a method for its time; None if it was interrupted, as it has not had its time then."""
    clear_caches()  # or a method would find the tables of the one before it
    stop = Stop(seconds=what.seconds, interrupt=interrupt)
    try:
        result = solve(network, chip, method=what.method, stop=stop, seed=what.seed, workers=what.workers)
    except InputError as error:
        text = str(error)
        return AnytimeRun(
            trace=(), seconds=0.0, pool_gap=None, candidates=None, peak_mib=_peak_mib(), refused=text
        )
    if interrupt.is_set():
        return None
    return AnytimeRun(
        trace=tuple((step.seconds, int(step.value), int(step.bound)) for step in result.trace),
        seconds=result.seconds,
        pool_gap=result.candidate_gap,
        candidates=result.candidates,
        peak_mib=_peak_mib(),
    )


def _peak_mib() -> int:
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(one).ru_maxrss for one in who) // 1024


def best_latency(methods: Mapping[str, Sequence[MeasuredRun]]) -> int:
    """Return the lowest latency that any run ended with."""
    answers = (case.result.answer.latency for runs in methods.values() for case in runs)
    return min(latency for latency in answers if latency is not None)


@dataclass(frozen=True)
class Spread:
    """The middle, the least and the largest of some runs."""

    median: float
    least: float
    most: float


def spread(values: Iterable[float | None]) -> Spread | None:
    """Return the spread of values; None if one of them is missing."""
    known = list(values)
    numbers = [value for value in known if value is not None]
    if not numbers or len(numbers) < len(known):
        return None
    return Spread(median(numbers), min(numbers), max(numbers))
