"""The bound as a constraint model: no valid solution ends before its optimum (docs/bound.md, "The model").

For each layer the model chooses a number of banks, and has the real times at which some shares of its
outputs are finished. All that it demands of them holds in every valid solution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from ortools.sat.python import cp_model

from solver.bound.composed import needed_through
from solver.bound.durations import Lanes, block_tail
from solver.bound.modes import LayerModes, Mode
from solver.bound.quick import first_output
from solver.bound.reading import Counts, enabled, needed_by_shares, read_key, reading_products
from solver.bound.reuse import Floats
from solver.params import BoundParams
from solver.stop import Stop
from solver.timing.problem import Edge, Problem

EPSILON = 1e-9
"""Allows for rounding where shares are floating-point numbers."""

SCALE = 10**3
"""Shares of the work are rounded to multiples of one over this."""


@dataclass(frozen=True, eq=False)
class _LayerVariables:
    """What the model says of one layer.

    Attributes
    ----------
    modes, chosen : ways to run the layer, and which is taken.
    work, tail : time of the one that is taken for all the work, and from an arrival to an output, at least.
    finished : time at which at least the share `i / grid` of the outputs is finished; entry 0: one of them.
    idle : for each share of its work the latest time up to which no more can be done, less the time that
        this share takes.
    """

    modes: tuple[Mode, ...]
    chosen: list[cp_model.IntVar]
    work: cp_model.IntVar
    tail: cp_model.IntVar
    finished: list[cp_model.IntVar]
    idle: list[cp_model.IntVar]


class _Reading(NamedTuple):
    """See `needed_by_shares`, `enabled` for just less than each share of a producer, `reading_products`."""

    needed: Counts
    enabled: Floats
    products: int


class BoundModel:
    """The model of one problem, given a latency that is known to be possible."""

    def __init__(
        self,
        problem: Problem,
        latency: int,
        params: BoundParams = BoundParams(),
        stop: Stop | None = None,
    ) -> None:
        """Build the model.

        Raises
        ------
        StoppedError
            if it is time to stop before all of it is there.
        """
        stop = stop or Stop()
        self.problem = problem
        self.params = params
        self.model = cp_model.CpModel()
        self.grid = self._grid()
        self._readings: dict[object, _Reading] = {}
        self._through: dict[object, int] = {}
        self.unit = max(1, latency // params.resolution)
        self.horizon = latency // self.unit + 1
        # Of a unit of the time of the whole chip, so that bank-times are numbers of the size of times.
        self.parts = max(1, params.resolution // self.horizon)
        self.end = self.model.new_int_var(0, self.horizon, "end")
        modes = LayerModes(problem, self.unit, self.horizon, self.parts, params)
        self.layers = [self._layer(i, own) for i, own in enumerate(modes.of_all(stop))]
        for index, edges in enumerate(problem.edges):
            for edge in edges:
                stop.check()
                self._wait(index, edge)
                for further in problem.edges[edge.producer]:
                    self._wait_through(index, edge, further)
        for i in range(len(problem.layers)):
            stop.check()
            self._finish(i)
        self._share_banks(stop)
        self.model.minimize(self.end)

    def _grid(self) -> int:
        params = self.params
        if self.problem.hardware.weights != "static":
            return params.in_turn
        return params.coarse if len(self.problem.layers) >= params.many_layers else params.fine

    def _layer(self, index: int, modes: tuple[Mode, ...]) -> _LayerVariables:
        layer, chip = self.problem.layers[index], self.problem.hardware
        chosen = [self.model.new_bool_var("") for _ in modes]
        work = self.model.new_int_var(0, self.horizon, "")
        tail = self.model.new_int_var(0, self.horizon, "")
        finished = [self.model.new_int_var(0, self.horizon, "") for _ in range(self.grid + 1)]
        idle = [self.model.new_int_var(-self.horizon, self.horizon, "") for _ in range(self.grid + 1)]
        self.model.add_exactly_one(chosen)
        variables = _LayerVariables(modes, chosen, work, tail, finished, idle)
        self.model.add(work == _total(variables, [mode.time for mode in modes]))
        self.model.add(tail == self._by_lanes(variables, lambda lanes: block_tail(layer, chip, lanes=lanes)))
        return variables

    def _by_lanes(self, layer: _LayerVariables, cycles: Callable[[Lanes], int]) -> cp_model.LinearExpr:
        """Return a time that depends on the lanes over which sums are spread, in units."""
        times = {lanes: cycles(lanes) // self.unit for lanes in {mode.lanes for mode in layer.modes}}
        return _total(layer, [times[mode.lanes] for mode in layer.modes])

    def _finish(self, index: int) -> None:
        """A share of the outputs takes its share of the work, and what could be done before some time."""
        layer, earliest = self.layers[index], self.problem.earliest[index] // self.unit
        first = self._by_lanes(layer, lambda lanes: first_output(self.problem, index, lanes))
        self.model.add(layer.finished[0] >= first)
        for i in range(1, self.grid + 1):
            self.model.add(self.grid * (layer.finished[i] - earliest + 1) >= i * layer.work)
            self.model.add(self.grid * (layer.finished[i] - layer.idle[i] + 1) >= i * layer.work)
            self.model.add(layer.finished[i] >= layer.finished[i - 1])
            self.model.add(layer.idle[i] >= layer.idle[i - 1])
        self.model.add(self.end >= layer.finished[self.grid])

    def _share_banks(self, stop: Stop) -> None:
        """Static: the banks of all layers together; shared: the time for which they hold banks.

        What follows a layer is done after its first output, so it has only the time from then on.
        """
        hardware = self.problem.hardware
        if hardware.weights == "static":
            self.model.add(cp_model.LinearExpr.sum(list(map(_held, self.layers))) <= hardware.banks)
            return
        self._after_first_outputs(stop)

    def _after_first_outputs(self, stop: Stop) -> None:
        """What layers do after the first output of one from which they follow, the banks do from then on."""
        network, cycles = self.problem.network, self.problem.hardware.cycles
        # Each layer may have opened a row before what it waits for.
        early = max(-((cycles.transfer - (cycles.open or 0)) // self.unit), 0)
        held = [self.model.new_int_var(0, self.parts * self.horizon, "") for _ in self.layers]
        for variable, layer in zip(held, self.layers, strict=True):
            self.model.add(variable == _held(layer))
        self.model.add(sum(held) <= self.parts * (self.end + 1))
        readings = [
            [(edge.producer, self._reading(i, edge)) for edge in edges]
            for i, edges in enumerate(self.problem.edges)
        ]
        step = -(-len(self.layers) // self.params.windows)
        for first in network.topological[::step]:
            stop.check()
            later, work = {first}, []
            for i in network.topological:
                own = [reading for producer, reading in readings[i] if producer in later]
                if any(reading.products for reading in own):
                    later.add(i)
                done = min((float(reading.enabled[0]) for reading in own), default=1.0)
                work.append(max(SCALE - math.ceil(done * SCALE + EPSILON), 0) * held[i])
            span = self.end + 1 - self.layers[first].finished[0] + early
            self.model.add(sum(work) <= SCALE * self.parts * span)

    def _wait(self, index: int, edge: Edge) -> None:
        """What a layer does not yet find finished, it can only work on later."""
        layer, consumer, producer = self.problem.layers[index], self.layers[index], self.layers[edge.producer]
        total, transfer = self._total(edge), self.problem.hardware.cycles.transfer
        reading = self._reading(index, edge)
        least, most = reading.needed, reading.enabled
        if reading.products:
            sums = self._by_lanes(
                consumer, lambda lanes: block_tail(layer, self.problem.hardware, reading.products, lanes)
            )
            self.model.add(consumer.finished[0] >= producer.finished[0] + transfer // self.unit + sums)
        for i, before in enumerate((least * self.grid // total).tolist()):
            if before:
                arrival = producer.finished[before] + transfer // self.unit
                self.model.add(consumer.finished[i] >= arrival + consumer.tail)
        # The first row may have been opened before what is waited for.
        opened = self.problem.hardware.cycles.open or 0
        for i, done in enumerate(most.tolist()):
            share = math.ceil(done * SCALE + EPSILON)
            first = math.floor(share / SCALE * self.grid) + 1
            if first <= self.grid:
                late = producer.finished[i] + (transfer - opened) // self.unit - 1 - consumer.idle[first]
                self.model.add(SCALE * late <= share * consumer.work)

    def _wait_through(self, index: int, edge: Edge, further: Edge) -> None:
        """What an output needs of a layer two reads away has been read by what it reads."""
        layers, transfer = self.problem.layers, self.problem.hardware.cycles.transfer
        producer = layers[edge.producer]
        key = read_key(layers[index], edge), read_key(producer, further)
        if key not in self._through:
            self._through[key] = needed_through(layers[index], edge, producer, further)
        before = self._through[key] * self.grid // self._total(further)
        if before:
            hops = [self.layers[i].tail + transfer // self.unit for i in (edge.producer, index)]
            ready = self.layers[further.producer].finished[before] + sum(hops)
            self.model.add(self.layers[index].finished[0] >= ready)

    @property
    def size(self) -> int:
        """Number of variables."""
        return len(self.model.proto.variables)

    def _reading(self, index: int, edge: Edge) -> _Reading:
        """Return what a layer reads through an edge; many layers of a network read alike."""
        layer = self.problem.layers[index]
        key = read_key(layer, edge)
        if key not in self._readings:
            total = self._total(edge)
            # Up to the time at which a share is finished, fewer elements are.
            fewer = np.ceil(np.arange(self.grid + 1) / self.grid * total - EPSILON) - 1
            self._readings[key] = _Reading(
                needed_by_shares(layer, edge, self.grid),
                enabled(layer, edge, np.maximum(fewer, 0)),
                reading_products(layer, edge),
            )
        return self._readings[key]

    def _total(self, edge: Edge) -> int:
        """Return how many elements a producer has."""
        return math.prod(self.problem.network.shapes[self.problem.layers[edge.producer].name])


def _held(layer: _LayerVariables) -> cp_model.LinearExpr:
    """Return what a layer takes of the chip."""
    return _total(layer, [mode.held for mode in layer.modes])


def _total(layer: _LayerVariables, values: Sequence[int]) -> cp_model.LinearExpr:
    """Return the value of the mode that is taken."""
    return cp_model.LinearExpr.weighted_sum(layer.chosen, values)


def raised_bound(model: BoundModel, least: int, stop: Stop) -> int:
    """Return a bound no lower than a known one, in cycles: the best that CP-SAT proves in a moment."""
    model.model.add(model.end >= min(least // model.unit, model.horizon))
    solver = cp_model.CpSolver()
    solver.parameters.max_deterministic_time = model.params.raise_effort
    solver.parameters.num_workers = 1
    solver.parameters.catch_sigint_signal = False  # or no one else would hear of it
    solver.parameters.max_time_in_seconds = max(stop.wall_remaining(), 0.0)
    status = solver.solve(model.model)
    if status == cp_model.INFEASIBLE:
        return model.horizon * model.unit
    return max(least, math.ceil(solver.best_objective_bound - EPSILON) * model.unit)
