"""Ways in which a layer may run; the model of the bound takes one for each (docs/bound.md, "The model")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from solver.bound.durations import Lanes, lane_ranges
from solver.bound.quick import LayerDurations
from solver.params import BoundParams
from solver.stop import Stop
from solver.timing.problem import Problem

ALIKE = 1.002
"""Modes that take no more of the chip than by such a factor may be one mode."""


class Mode(NamedTuple):
    """A range of numbers of banks, and of lanes over which each sum is spread.

    Attributes
    ----------
    banks : the least number.
    time : the least in which any number does all the work of the layer.
    held : the least that it takes of the chip: banks or, where layers share them, parts of the time of all.
    """

    banks: int
    time: int
    held: int
    lanes: Lanes


class LayerModes:
    """The modes of all layers, in units of time.

    Parameters
    ----------
    unit, horizon : cycles of a unit, and units than which no layer may take more.
    parts : of a unit of the time of the whole chip, in which bank-times are counted.
    """

    def __init__(self, problem: Problem, unit: int, horizon: int, parts: int, params: BoundParams) -> None:
        self._problem, self._params = problem, params
        self._unit, self._horizon, self._parts = unit, horizon, parts
        self._durations = LayerDurations(problem, params)

    def of_all(self, stop: Stop) -> list[tuple[Mode, ...]]:
        """Return how each layer may run; with wider ranges of lanes if these are too many ways."""
        step = self._params.lane_step
        while True:
            found = []
            for i in range(len(self._problem.layers)):
                stop.check()
                found.append(self._of(i, step))
            if sum(map(len, found)) <= self._params.modes or step > self._problem.hardware.lanes:
                return found
            step *= step

    def _of(self, index: int, step: float) -> tuple[Mode, ...]:
        """Return how a layer may run; on fewer banks it alone would take longer than what is known."""
        found: list[Mode] = []
        for lanes in lane_ranges(self._problem.layers[index], self._problem.chips[index], step):
            own = self._durations.of(index, lanes)
            possible = [
                self._mode(int(banks), int(cycles) // self._unit, lanes)
                for banks, cycles in zip(own.banks, own.cycles, strict=True)
                if cycles < (self._horizon + 1) * self._unit
            ]
            found += extreme(possible) if len(possible) > self._params.numbers else possible
        return tuple(found)

    def _mode(self, banks: int, time: int, lanes: Lanes) -> Mode:
        hardware = self._problem.hardware
        static = hardware.weights == "static"
        return Mode(banks, time, banks if static else banks * time * self._parts // hardware.banks, lanes)


def extreme(modes: Sequence[Mode]) -> list[Mode]:
    """Return modes, from slow to fast, so that no mixture of others is better than a mixture of these.

    Of several that hold nearly as much, one stands for all, with the least that any of them takes.
    """
    hull: list[Mode] = []
    for mode in sorted(modes, key=lambda mode: (-mode.time, mode.held)):
        if hull and mode.time == hull[-1].time:
            continue
        while hull and (hull[-1].held >= mode.held or _above(hull, mode)):
            hull.pop()
        if hull and mode.held <= ALIKE * hull[-1].held:
            mode = mode._replace(held=hull.pop().held)
        hull.append(mode)
    return hull


def _above(hull: Sequence[Mode], mode: Mode) -> bool:
    """Whether the last mode is no better than a mixture of the one before it and another."""
    if len(hull) < 2:
        return False
    one, last = hull[-2:]
    return (one.time - last.time) * (mode.held - one.held) <= (one.time - mode.time) * (last.held - one.held)
