"""Streams of inferences two ways: every layer on banks of its own, and the whole chip one layer at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import product
from typing import Literal

from hw.hardware import Hardware
from models.network import Network
from overlapim_files import InputError
from solver.bench.cases import Case, Measured, Record, Results, Subject
from solver.memory import clear_caches
from solver.schedule.energy import plan_energy
from solver.solve import solve
from solver.stop import Flag, Stop
from solver.timing.objective import Objective

StreamWay = Literal["apart", "in turn"]


class StreamCase(Record):
    """A network whose inferences follow each other on a chip in one of the two ways.

    Attributes
    ----------
    way : `apart` is the default method with static weights, looking for the least makespan; `in turn` is
        `sequential` with shared weights, an inference beginning when the one before it has ended.
    inferences : one if in turn, as any number of them goes on like that.
    seconds : nominal ones, so that every machine has the same answer; those of the search, if there is one.
    """

    on: Subject
    way: StreamWay
    inferences: int
    seconds: float

    def __str__(self) -> str:
        """Return it as a line of progress names it."""
        return f"{self.on}, {self.way}, {self.inferences:,}"


class StreamRun(Record):
    """What came of it; `refused` says why nothing did.

    Attributes
    ----------
    latency, interval, bound : cycles; the bound is one on the makespan.
    makespan_ns : time until the last inference ends.
    energy_pj : of one inference; None on a chip without figures.
    """

    latency: int = 0
    interval: int = 0
    bound: int = 0
    makespan_ns: float = 0.0
    energy_pj: float | None = None
    refused: str | None = None

    def __str__(self) -> str:
        """Return it as a line of progress names it."""
        return self.refused or f"{self.latency:,} cycles, {self.interval:,} from one to the next"


MeasuredStream = Measured[StreamCase, StreamRun]


class StreamResults(Results[StreamCase, StreamRun]):
    """The file `streams.json`."""

    format: Literal["overlapim/bench-streams/1"] = "overlapim/bench-streams/1"

    def side_by_side(self) -> dict[tuple[str, str], dict[StreamWay, dict[int, StreamRun]]]:
        """Return for each network and chip the runs of both ways by the number of inferences."""
        found: dict[tuple[str, str], dict[StreamWay, dict[int, StreamRun]]] = {}
        for case in self.cases:
            if case.result.refused is None:
                ways = found.setdefault((case.what.on.network, case.what.on.hardware), {})
                ways.setdefault(case.what.way, {})[case.what.inferences] = case.result
        return found


def stream_cases(
    networks: Iterable[Network], chips: Iterable[Hardware], inferences: Iterable[int], seconds: float
) -> Iterator[Case[StreamCase, StreamRun]]:
    """Yield both ways for each network and chip."""
    counts = list(inferences)
    for network, chip in product(networks, chips):
        ways: tuple[tuple[StreamWay, Hardware, list[int]], ...] = (
            ("in turn", chip.with_weights("shared"), [1]),
            ("apart", chip.with_weights("static"), counts),
        )
        for way, own, numbers in ways:
            on = Subject.of(network, own)
            for count in numbers:
                what = StreamCase(on=on, way=way, inferences=count, seconds=seconds)
                yield Case(what, partial(_measure, what, network, own))


def _measure(what: StreamCase, network: Network, chip: Hardware, interrupt: Flag) -> StreamRun | None:
    """Plan one stream; None if interrupted."""
    clear_caches()
    method = "cpsat" if what.way == "apart" else "sequential"
    stop = Stop.deterministic(what.seconds, interrupt)
    try:
        result = solve(
            network, chip, method=method, stop=stop, objective=Objective(inferences=what.inferences)
        )
    except InputError as error:
        return StreamRun(refused=str(error))
    if interrupt.is_set():
        return None
    interval = result.plan.interval if what.way == "apart" else result.latency
    energy = plan_energy(chip, result.plan, what.inferences)
    return StreamRun(
        latency=result.latency,
        interval=interval,
        bound=int(result.bound),
        makespan_ns=chip.nanoseconds(result.latency + (what.inferences - 1) * interval),
        energy_pj=None if energy is None else energy.total,
    )
