"""How good answers and bounds are after some time: each method once, read at several limits."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from hw.hardware import Hardware
from models.network import Network
from overlapim_files import InputError
from solver.kept import forget_all
from solver.solve import Improvement, Result, gap, solve
from solver.stop import Flag, Stop

METHODS = ("cpsat", "descent")


@dataclass(frozen=True)
class Reading:
    """What a run had after some seconds; None if nothing yet."""

    seconds: float
    latency: int | None
    bound: int | None

    @property
    def gap(self) -> float | None:
        """Share of the latency by which the bound falls short of it."""
        return None if self.latency is None else gap(self.latency, self.bound)


@dataclass(frozen=True)
class AnytimeRow:
    """One run of one method; `refused` says why there is none.

    Attributes
    ----------
    readings : one for each limit, the longest last; that one is the result itself.
    seconds : wall time of the run.
    pool_gap : gap over the last candidates that were solved to the end.
    peak_mib : the most memory that this process, or one that it started, has had so far.
    """

    network: str
    hardware: str
    weights: str
    method: str
    seed: int
    readings: tuple[Reading, ...]
    seconds: float | None
    pool_gap: float | None
    candidates: int | None
    peak_mib: int
    refused: str | None = None

    def as_json(self) -> dict[str, object]:
        """Return the raw result."""
        return asdict(self)


def bench_anytime(
    network: Network,
    hardware: Hardware,
    methods: Sequence[str],
    limits: Sequence[float],
    seed: int,
    workers: int,
    interrupt: Flag,
) -> Iterator[AnytimeRow]:
    """Run each method once for the longest limit and yield what it had at all of them.

    A run that is interrupted is left out, as it has not had its time.
    """
    for method in methods:
        forget_all()  # or the second method would find the tables of the first
        result = refused = None
        stop = Stop(seconds=max(limits), interrupt=interrupt)
        try:
            result = solve(network, hardware, method, stop, seed, workers)
        except InputError as error:
            refused = str(error)
        if interrupt.is_set():
            return
        yield AnytimeRow(
            network=network.name,
            hardware=hardware.name,
            weights=hardware.weights,
            method=method,
            seed=seed,
            readings=_readings(result, sorted(limits)) if result else (),
            seconds=result.seconds if result else None,
            pool_gap=result.pool_gap if result else None,
            candidates=result.candidates if result else None,
            peak_mib=_peak_mib(),
            refused=refused,
        )


def _readings(result: Result, limits: Sequence[float]) -> tuple[Reading, ...]:
    # The last step may end a little after the limit, and what it found is the answer all the same.
    last = Reading(limits[-1], result.latency, result.bound)
    return (*(_at(result.trace, seconds) for seconds in limits[:-1]), last)


def _at(trace: Sequence[Improvement], seconds: float) -> Reading:
    known = [x for x in trace if x.seconds <= seconds]
    if not known:
        return Reading(seconds, None, None)
    return Reading(seconds, known[-1].latency, known[-1].bound)


def _peak_mib() -> int:
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(one).ru_maxrss for one in who) // 1024
