"""The bound as a constraint model: no valid solution ends before its optimum (docs/bound.md, "The model").

For each layer the model chooses a number of banks, and has the real times at which some shares of its
outputs are finished. All that it demands of them holds in every valid solution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from ortools.sat.python import cp_model

from models.network import Layer
from solver.bound.durations import block_tail
from solver.bound.quick import LayerDurations
from solver.bound.reading import Counts, enabled, needed_by_shares, read_key
from solver.bound.reuse import Floats
from solver.params import BoundParams
from solver.stop import Stop
from solver.timing.problem import Edge, Problem

EPSILON = 1e-9
"""Allows for rounding where shares are floating-point numbers."""


@dataclass(frozen=True, eq=False)
class _LayerVariables:
    """What the model says of one layer.

    Attributes
    ----------
    numbers, units, chosen : least numbers of banks of some ranges, the least time in which a number of the
        range does all the work of the layer, and which range is taken.
    work : that time of the one that is taken.
    finished : time at which at least the share `i / grid` of the outputs is finished; entry 0 is time 0.
    idle : for each share of its work the latest time up to which no more can be done, less the time that
        this share takes.
    """

    numbers: tuple[int, ...]
    chosen: list[cp_model.IntVar]
    units: tuple[int, ...]
    work: cp_model.IntVar
    finished: list[cp_model.IntVar]
    idle: list[cp_model.IntVar]


class _Reading(NamedTuple):
    """See `needed_by_shares`, and `enabled` for just less than each share of the producer."""

    needed: Counts
    enabled: Floats


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
        self.grid = params.coarse if len(problem.layers) >= params.many_layers else params.fine
        self._durations = LayerDurations(problem, params)
        self._readings: dict[object, _Reading] = {}
        self.unit = max(1, latency // params.resolution)
        self.horizon = latency // self.unit + 1
        self.end = self.model.new_int_var(0, self.horizon, "end")
        self.layers: list[_LayerVariables] = []
        for i in range(len(problem.layers)):
            stop.check()
            self.layers.append(self._layer(i))
        self._share_banks()
        for index, edges in enumerate(problem.edges):
            for edge in edges:
                stop.check()
                self._wait(index, edge)
        for earliest, variables in zip(problem.earliest, self.layers, strict=True):
            stop.check()
            self._finish(variables, earliest // self.unit)
        self.model.minimize(self.end)

    def _layer(self, layer: int) -> _LayerVariables:
        least = self._durations.of(layer)
        # On fewer banks the layer alone would take longer than the latency that is known.
        possible = [
            (int(banks), int(cycles))
            for banks, cycles in zip(least.banks, least.cycles // self.unit, strict=True)
            if cycles <= self.horizon
        ]
        numbers, units = tuple(first for first, _ in possible), tuple(c for _, c in possible)
        chosen = [self.model.new_bool_var("") for _ in possible]
        work = self.model.new_int_var(0, self.horizon, "")
        finished = [self.model.new_int_var(0, self.horizon, "") for _ in range(self.grid + 1)]
        idle = [self.model.new_int_var(-self.horizon, self.horizon, "") for _ in range(self.grid + 1)]
        self.model.add_exactly_one(chosen)
        self.model.add(work == sum(u * v for u, v in zip(units, chosen, strict=True)))
        return _LayerVariables(numbers, chosen, units, work, finished, idle)

    def _finish(self, layer: _LayerVariables, earliest: int) -> None:
        """A share of the outputs takes its share of the work, and what could be done before some time."""
        for i in range(1, self.grid + 1):
            self.model.add(self.grid * (layer.finished[i] - earliest + 1) >= i * layer.work)
            self.model.add(self.grid * (layer.finished[i] - layer.idle[i] + 1) >= i * layer.work)
            self.model.add(layer.finished[i] >= layer.finished[i - 1])
            self.model.add(layer.idle[i] >= layer.idle[i - 1])
        self.model.add(self.end >= layer.finished[self.grid])

    def _share_banks(self) -> None:
        """Static: the banks of all layers together; shared: the time for which they hold banks."""
        hardware = self.problem.hardware
        if hardware.weights == "static":
            used = [n * v for x in self.layers for n, v in zip(x.numbers, x.chosen, strict=True)]
            self.model.add(sum(used) <= hardware.banks)
            return
        held = [n * u * v for x in self.layers for n, u, v in zip(x.numbers, x.units, x.chosen, strict=True)]
        self.model.add(sum(held) <= hardware.banks * (self.end + 1))

    def _wait(self, index: int, edge: Edge) -> None:
        """What a layer does not yet find finished, it can only work on later."""
        layer, consumer, producer = self.problem.layers[index], self.layers[index], self.layers[edge.producer]
        total = math.prod(self.problem.network.shapes[self.problem.layers[edge.producer].name])
        transfer = self.problem.hardware.cycles.transfer
        reading = self._reading(layer, edge, total)
        least, most = reading.needed, reading.enabled
        after = (transfer + block_tail(layer, self.problem.hardware)) // self.unit
        for i, before in enumerate((least * self.grid // total).tolist()):
            if before:
                self.model.add(consumer.finished[i] >= producer.finished[before] + after)
        # The first row may have been opened before what is waited for.
        opened = self.problem.hardware.cycles.open or 0
        scale = 10**3
        for i, done in enumerate(most.tolist(), 1):
            share = math.ceil(done * scale + EPSILON)
            first = math.floor(share / scale * self.grid) + 1
            if first <= self.grid:
                late = producer.finished[i] + (transfer - opened) // self.unit - 1 - consumer.idle[first]
                self.model.add(scale * late <= share * consumer.work)

    @property
    def size(self) -> int:
        """Number of variables."""
        return len(self.model.proto.variables)

    def _reading(self, layer: Layer, edge: Edge, total: int) -> _Reading:
        """Return what a layer reads through an edge; many layers of a network read alike."""
        key = read_key(layer, edge)
        if key not in self._readings:
            # Up to the time at which a share is finished, fewer elements are.
            fewer = np.ceil(np.arange(1, self.grid + 1) / self.grid * total - EPSILON) - 1
            self._readings[key] = _Reading(
                needed_by_shares(layer, edge, self.grid), enabled(layer, edge, fewer)
            )
        return self._readings[key]


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
