"""A bound over all mappings that is there at once, for any network (docs/bound.md, "The first bound")."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hw.hardware import Hardware
from models.network import REDUCTION_DIMS, Layer
from solver.bound.durations import Lanes, block_tail, useful_cycles
from solver.bound.energy import least_energy
from solver.bound.reading import Reads
from solver.bound.reuse import Floats
from solver.params import BoundParams
from solver.timing.energy import standby_energy
from solver.timing.objective import Floor
from solver.timing.problem import Problem


@dataclass(frozen=True, eq=False)
class Durations:
    """The least time of the useful work of a layer.

    Attributes
    ----------
    banks : the least number of banks of each of some ranges, rising; shape (ranges,).
    cycles : the least time with any number of the range, falling; shape (ranges,).
    """

    banks: Floats
    cycles: Floats

    @property
    def work(self) -> float:
        """The least bank-cycles."""
        return float((self.banks * self.cycles).min())


def most_banks(problem: Problem) -> int:
    """Return the most banks that one layer can have if every other one is to have any."""
    hardware = problem.hardware
    others = len(problem.layers) - 1 if hardware.weights == "static" else 0
    return max(min(hardware.banks - others, hardware.most_banks), 1)


def bank_numbers(hardware: Hardware, most: int, params: BoundParams = BoundParams()) -> list[tuple[int, int]]:
    """Return ranges (first, last) that hold every number of banks that a mapping can have."""
    fewer, more = sorted((hardware.channels, hardware.banks_per_channel))
    factors = np.arange(1, min(fewer, most) + 1)
    largest = np.minimum(more, most // factors)
    ranges: list[tuple[int, int]] = []
    last = 0
    while (reached := (others := last // factors + 1) <= largest).any():
        first = int((factors * others)[reached].min())
        within = math.ceil(first * params.bank_step) - 1
        last = int((factors * np.minimum(largest, within // factors)).max())
        ranges.append((first, last))
    return ranges


class LayerDurations:
    """The durations of layers on any number of banks they may have; layers that are alike share theirs."""

    def __init__(self, problem: Problem, params: BoundParams = BoundParams()) -> None:
        self._problem, self._params = problem, params
        self._most = most_banks(problem)
        self._known: dict[object, Durations] = {}
        self._ranges: dict[object, list[tuple[int, int]]] = {}

    def of(self, index: int, spread: Lanes | None = None) -> Durations:
        """Return the durations of a layer, of all mappings or those that spread sums over so many lanes."""
        layer, limits = self._problem.layers[index], self._problem.limits.of(index)
        key = layer.bounds, layer.post, len(layer.loaded), len(layer.residuals), layer.sums, limits, spread
        if key not in self._known:
            self._known[key] = self._durations(layer, self._problem.chips[index], limits.number, spread)
        return self._known[key]

    def _durations(self, layer: Layer, chip: Hardware, number: int | None, spread: Lanes | None) -> Durations:
        """Return the durations of a layer on its own chip, with a number of banks if one is given."""
        most = min(self._most, chip.most_banks)
        ranges = self._numbers(chip, most) if number is None else [(number, number)]
        cycles = useful_cycles(layer, chip, [last for _, last in ranges], self._params, spread)
        return Durations(np.array([first for first, _ in ranges], float), cycles)

    def _numbers(self, chip: Hardware, most: int) -> list[tuple[int, int]]:
        key = chip.channels, chip.banks_per_channel, most
        if key not in self._ranges:
            self._ranges[key] = bank_numbers(chip, most, self._params)
        return self._ranges[key]


def quick_bound(problem: Problem, params: BoundParams = BoundParams()) -> int:
    """Return the larger of two bounds: what banks suffice for, and what layers read along the graph.

    Returns
    -------
    0 if rows suffice for some layer on no number of banks, which is then found out elsewhere.
    """
    durations = _durations(problem, params)
    return max(_all_work(problem, durations), _along(problem, durations)) if durations else 0


def quick_floor(problem: Problem, params: BoundParams = BoundParams()) -> Floor:
    """Return what bounds the interval and the energy.

    No inference can follow before the banks have done all the work of one.
    """
    hardware, durations = problem.hardware, _durations(problem, params)
    slowest = max((int(own.cycles.min()) for own in durations), default=1)
    return Floor(
        max(slowest, _all_work(problem, durations), 1) if durations else 1,
        math.fsum(least_energy(layer, hardware) for layer in problem.layers),
        standby_energy(hardware, 1),
    )


def _durations(problem: Problem, params: BoundParams) -> list[Durations]:
    """Return the durations of all layers; none if rows suffice for one of them on no number of banks."""
    known = LayerDurations(problem, params)
    durations = [known.of(i) for i in range(len(problem.layers))]
    return durations if all(np.isfinite(own.cycles).any() for own in durations) else []


def _all_work(problem: Problem, durations: Sequence[Durations]) -> int:
    """Return how long the banks take at least for the work of all layers."""
    shared_out = _side_by_side if problem.hardware.weights == "static" else _in_turn
    return shared_out(durations, problem.hardware.banks)


def _in_turn(durations: Sequence[Durations], banks: int) -> int:
    """Return how long the chip has to do, if no lane is idle that need not be."""
    return math.ceil(math.fsum(own.work for own in durations) / banks)


def _side_by_side(durations: Sequence[Durations], banks: int) -> int:
    """Return the least time that no layer exceeds if the banks are shared out among all."""
    times = np.unique(np.concatenate([own.cycles[np.isfinite(own.cycles)] for own in durations]))
    low, high = 0, len(times) - 1
    while low < high:
        middle = (low + high) // 2
        if sum(_fewest(own, float(times[middle])) for own in durations) <= banks:
            high = middle
        else:
            low = middle + 1
    return int(times[low])


def _fewest(own: Durations, time: float) -> float:
    """Return the fewest banks with which a layer keeps within a time; infinite if there are none."""
    return float(own.banks[own.cycles <= time].min(initial=math.inf))


def _along(problem: Problem, durations: Sequence[Durations]) -> int:
    """Return when the network ends at least, since what is read last has to be there before a last block."""
    hardware, reads = problem.hardware, Reads()
    fastest = [int(own.cycles.min()) for own in durations]
    firsts: dict[int, int] = {}
    ends: dict[int, int] = {}
    for i in problem.network.topological:
        layer, transfer = problem.layers[i], hardware.cycles.transfer
        after = transfer + block_tail(layer, hardware)
        first, end = first_output(problem, i), problem.earliest[i] + max(fastest[i], _alone(problem, i))
        for edge in problem.edges[i]:
            if waiting := reads.products(layer, edge):
                first = max(first, firsts[edge.producer] + transfer + block_tail(layer, hardware, waiting))
            total = math.prod(problem.network.shapes[problem.layers[edge.producer].name])
            read = reads.in_all(layer, edge)
            part = problem.earliest[edge.producer] + fastest[edge.producer] * read // total
            ready = ends[edge.producer] if read == total else part
            if read:
                end = max(end, ready + after)
        firsts[i], ends[i] = first, max(first, end)
    return max(ends.values())


def first_output(problem: Problem, index: int, lanes: Lanes | None = None) -> int:
    """Return when an output of a layer is finished at the earliest, if it waits for nothing."""
    layer = problem.layers[index]
    products = math.prod(layer.bound(dim) for dim in REDUCTION_DIMS)
    return problem.earliest[index] + block_tail(layer, problem.hardware, products, lanes)


def _alone(problem: Problem, layer: int) -> int:
    """Return how long a layer whose mapping is given holds its banks if it never waits; 0 for others."""
    kept = problem.limits.of(layer).mapping
    if kept is None:
        return 0
    profile = problem.profile(layer, kept)
    return profile.lead + profile.last_finish
