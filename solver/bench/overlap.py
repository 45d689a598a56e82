"""How long the closed form and the pairwise comparison take for the same answers, edge by edge."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Literal

import numpy as np

from hw.hardware import Hardware
from models.network import Network
from solver.bench.cases import Case, Measured, Record, Results, Subject
from solver.mapspace.pools import Pools
from solver.memory import clear_caches
from solver.search.sequential import sequential
from solver.stop import Stop
from solver.timing.need import ideal_need
from solver.timing.pairwise import data_spaces, pairwise_need
from solver.timing.problem import Edge, Problem
from solver.timing.profile import Cycles, Profile

TIMINGS = 7
GROWTH_DOUBLINGS = 5


class EdgeCase(Record):
    """One operand of a layer that reads another, both under the mappings of the `sequential` method.

    Attributes
    ----------
    operand : position among the operands of the consumer that read layers.
    columns : of each bank; more than the chip has where one edge is cut into fewer data spaces, `growth`.
    """

    on: Subject
    part: Literal["network", "growth"]
    producer: str
    consumer: str
    operand: int
    columns: int

    def __str__(self) -> str:
        """Return it as a line of progress names it."""
        return f"{self.on}: {self.producer} -> {self.consumer}, {self.columns:,} columns"


class EdgeTimes(Record):
    """One edge: on how many data spaces, and in how many seconds each way."""

    producer_spaces: int
    consumer_spaces: int
    closed_s: float
    pairwise_s: float
    equal: bool

    @property
    def ratio(self) -> float:
        """Pairwise time over closed-form time."""
        return self.pairwise_s / self.closed_s

    @property
    def pairs(self) -> int:
        """Pairs of data spaces that the pairwise analysis compares."""
        return self.producer_spaces * self.consumer_spaces

    def __str__(self) -> str:
        """Return it as a line of progress names it."""
        return f"{self.ratio:,.0f} x" if self.equal else "NOT EQUAL"


MeasuredEdge = Measured[EdgeCase, EdgeTimes]


class OverlapResults(Results[EdgeCase, EdgeTimes]):
    """The file `overlap.json`."""

    format: Literal["overlapim/bench-overlap/1"] = "overlapim/bench-overlap/1"

    @property
    def all_equal(self) -> bool:
        """Whether both ways gave the same answer on every edge."""
        return all(case.result.equal for case in self.cases)

    def edges(self) -> dict[Subject, list[MeasuredEdge]]:
        """Return the edges of each network, apart from those of one edge that was cut."""
        found: dict[Subject, list[MeasuredEdge]] = {}
        for case in self.cases:
            if case.what.part == "network":
                found.setdefault(case.what.on, []).append(case)
        return found

    def growth(self, on: Subject) -> list[MeasuredEdge]:
        """Return one edge of a network cut into more and more data spaces."""
        return [case for case in self.cases if case.what.part == "growth" and case.what.on == on]


def median_ratio(edges: Sequence[MeasuredEdge]) -> float:
    """Return the median of pairwise time over closed-form time."""
    return statistics.median(case.result.ratio for case in edges)


def exponents(growth: Sequence[MeasuredEdge]) -> tuple[float, float]:
    """Return the powers of the number of pairs with which closed form and pairwise analysis grow.

    They are the slopes of straight lines through at least two points, both axes being logarithmic.
    """
    pairs = np.log([case.result.pairs for case in growth])
    closed = np.polyfit(pairs, np.log([case.result.closed_s for case in growth]), 1)[0]
    pairwise = np.polyfit(pairs, np.log([case.result.pairwise_s for case in growth]), 1)[0]
    return float(closed), float(pairwise)


def overlap_cases(network: Network, hardware: Hardware) -> Iterator[Case[EdgeCase, EdgeTimes]]:
    """Yield every edge of a network, then its first edge cut into more and more data spaces."""
    on, problem = Subject.of(network, hardware), Problem(network, hardware)
    chip = _Chip(problem)
    for consumer, edges in enumerate(problem.edges):
        for operand in range(len(edges)):
            yield chip.case(on, "network", consumer, operand)
    first = next((i for i, edges in enumerate(problem.edges) if edges), None)
    for doublings in reversed(range(GROWTH_DOUBLINGS if first is not None else 0)):
        columns = hardware.columns_per_bank << doublings
        wider = hardware.model_copy(update={"columns_per_bank": columns, "weights": "shared"})
        yield _Chip(Problem(network, wider)).case(on, "growth", first or 0, 0)


class _Chip:
    """A problem whose layers are mapped one after the other when the first case asks for it."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._profiles = cache(lambda: sequential(Pools(problem), Stop()).profiles)

    def case(
        self, on: Subject, part: Literal["network", "growth"], consumer: int, operand: int
    ) -> Case[EdgeCase, EdgeTimes]:
        """Return the case of one operand of a layer."""
        layers, edge = self._problem.layers, self._problem.edges[consumer][operand]
        what = EdgeCase(
            on=on,
            part=part,
            producer=layers[edge.producer].name,
            consumer=layers[consumer].name,
            operand=operand,
            columns=self._problem.hardware.columns_per_bank,
        )
        return Case(what, lambda interrupt: self._measure(consumer, edge))

    def _measure(self, consumer: int, edge: Edge) -> EdgeTimes:
        profiles = self._profiles()
        return measure_edge(profiles[edge.producer], profiles[consumer], edge)


def measure_edge(producer: Profile, consumer: Profile, edge: Edge) -> EdgeTimes:
    """Time both ways on one edge; the closed form starts from nothing every time."""
    seconds = []
    for _ in range(TIMINGS):
        clear_caches()
        elapsed, closed = _timed(lambda: ideal_need(producer, consumer, edge))
        seconds.append(elapsed)
    pairwise_s, pairwise = _timed(lambda: pairwise_need(producer, consumer, edge))
    return EdgeTimes(
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
