"""How long the closed form and the pairwise comparison take for the same answers, edge by edge."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from hw.hardware import Hardware
from models.network import Network
from solver.kept import forget_all
from solver.overlap.closed import ideal_need
from solver.overlap.pairwise import data_spaces, pairwise_need
from solver.problem import Edge, Problem
from solver.profile import Cycles, Profile
from solver.search.sequential import sequential
from solver.space import Space
from solver.stop import Stop

REPEATS = 7
GROWTH_DOUBLINGS = 5


@dataclass(frozen=True)
class OverlapRow:
    """One edge: who reads whom, on how many data spaces, in how many seconds each way."""

    producer: str
    consumer: str
    producer_spaces: int
    consumer_spaces: int
    closed_s: float
    pairwise_s: float
    equal: bool
    ratio: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratio", self.pairwise_s / self.closed_s)

    @property
    def pairs(self) -> int:
        """Pairs of data spaces that the pairwise analysis compares."""
        return self.producer_spaces * self.consumer_spaces


@dataclass(frozen=True)
class OverlapReport:
    """All edges of a network, and one edge cut into more and more data spaces."""

    network: str
    hardware: str
    rows: tuple[OverlapRow, ...]
    growth: tuple[OverlapRow, ...]

    @property
    def median_ratio(self) -> float:
        """Median over the edges of pairwise time over closed-form time."""
        return statistics.median(row.ratio for row in self.rows)

    @property
    def all_equal(self) -> bool:
        """Whether both ways gave the same answer on every edge."""
        return all(row.equal for row in (*self.rows, *self.growth))

    def exponents(self) -> tuple[float, float]:
        """Return the powers of the number of pairs with which closed form and pairwise analysis grow."""
        pairs = np.log([row.pairs for row in self.growth])
        closed = np.polyfit(pairs, np.log([row.closed_s for row in self.growth]), 1)[0]
        pairwise = np.polyfit(pairs, np.log([row.pairwise_s for row in self.growth]), 1)[0]
        return float(closed), float(pairwise)

    def as_json(self) -> dict[str, object]:
        """Return everything as plain data."""
        closed, pairwise = self.exponents()
        return {
            "network": self.network,
            "hardware": self.hardware,
            "median_ratio": self.median_ratio,
            "all_equal": self.all_equal,
            "growth_exponents": {"closed": closed, "pairwise": pairwise},
            "rows": [asdict(row) for row in self.rows],
            "growth": [asdict(row) for row in self.growth],
        }


def measure_edge(producer: Profile, consumer: Profile, edge: Edge) -> OverlapRow:
    """Time both ways on one edge; the closed form starts from nothing every time."""
    seconds = []
    for _ in range(REPEATS):
        forget_all()
        elapsed, closed = _timed(lambda: ideal_need(producer, consumer, edge))
        seconds.append(elapsed)
    pairwise_s, pairwise = _timed(lambda: pairwise_need(producer, consumer, edge.operand))
    return OverlapRow(
        producer=producer.layer.name,
        consumer=consumer.layer.name,
        producer_spaces=data_spaces(producer),
        consumer_spaces=data_spaces(consumer),
        closed_s=statistics.median(seconds),
        pairwise_s=pairwise_s,
        equal=bool(np.array_equal(closed, pairwise)),
    )


def _timed(run: Callable[[], Cycles]) -> tuple[float, Cycles]:
    started = time.perf_counter()
    result = run()
    return time.perf_counter() - started, result


def bench_overlap(
    network: Network, hardware: Hardware, on_row: Callable[[OverlapRow], None] = lambda row: None
) -> OverlapReport:
    """Measure every edge of a network under the mappings of the `sequential` method."""
    rows = []
    problem = Problem(network, hardware)
    profiles = sequential(Space(problem), Stop()).profiles
    for consumer, edges in enumerate(problem.edges):
        for edge in edges:
            rows.append(measure_edge(profiles[edge.producer], profiles[consumer], edge))
            on_row(rows[-1])
    return OverlapReport(network.name, hardware.name, tuple(rows), tuple(_growth(network, hardware)))


def _growth(network: Network, hardware: Hardware) -> Sequence[OverlapRow]:
    """Measure the network's first edge on chips with ever fewer columns, down to those of the given chip."""
    rows = []
    for doublings in reversed(range(GROWTH_DOUBLINGS)):
        columns = hardware.columns_per_bank << doublings
        wider = hardware.model_copy(update={"columns_per_bank": columns, "weights": "shared"})
        problem = Problem(network, wider)
        consumer, edge = next((i, edges[0]) for i, edges in enumerate(problem.edges) if edges)
        profiles = sequential(Space(problem), Stop()).profiles
        rows.append(measure_edge(profiles[edge.producer], profiles[consumer], edge))
    return rows
