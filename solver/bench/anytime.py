"""How good answers and bounds are after some time: each method once, read at several limits."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from hw.hardware import Hardware
from models.network import Network
from overlapim_files import InputError
from solver.solve import Improvement, gap, solve
from solver.stop import Stop

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
    pool_gap : gap over the last candidates that were solved to the end.
    peak_mib : the most memory that this process, or one that it started, has had so far.
    """

    network: str
    hardware: str
    weights: str
    method: str
    seed: int
    readings: tuple[Reading, ...]
    pool_gap: float | None
    candidates: int | None
    peak_mib: int
    refused: str | None = None

    def as_json(self) -> dict[str, object]:
        """Return the raw result."""
        return asdict(self)


def bench_anytime(
    network: Network, hardware: Hardware, limits: Sequence[float], seed: int, workers: int
) -> Iterator[AnytimeRow]:
    """Run each method once for the longest limit and yield what it had at all of them."""
    for method in METHODS:
        readings: tuple[Reading, ...] = ()
        pool_gap = candidates = refused = None
        try:
            result = solve(network, hardware, method, Stop(seconds=max(limits)), seed, workers)
            readings = tuple(_at(result.trace, seconds) for seconds in sorted(limits))
            pool_gap, candidates = result.pool_gap, result.candidates
        except InputError as error:
            refused = str(error)
        row = AnytimeRow(
            network=network.name,
            hardware=hardware.name,
            weights=hardware.weights,
            method=method,
            seed=seed,
            readings=readings,
            pool_gap=pool_gap,
            candidates=candidates,
            peak_mib=_peak_mib(),
            refused=refused,
        )
        yield row
        if refused is not None:
            return


def _at(trace: Sequence[Improvement], seconds: float) -> Reading:
    # What came while the last step was coming to its end still counts.
    known = [x for x in trace if x.seconds <= seconds] if seconds < trace[-1].seconds else trace
    if not known:
        return Reading(seconds, None, None)
    return Reading(seconds, known[-1].latency, known[-1].bound)


def _peak_mib() -> int:
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(one).ru_maxrss for one in who) // 1024
