"""When every block of every layer starts: as a file states it, or as the solver has computed it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from solver.solution import Solution
from solver.timing.mapping import Mapping
from solver.timing.problem import Problem
from solver.timing.profile import Cycles
from solver.timing.timeline import LayerTimes, Order, check_order, layer_times
from solver.timing.validity import check_mapping


@dataclass(frozen=True, eq=False)
class LayerSchedule:
    """One layer's blocks.

    Attributes
    ----------
    order : which block, counted in the loops' own order, is executed when; None for that order.
    starts : the start of each block in the order of execution; shape (blocks,).
    """

    mapping: Mapping
    order: Order | None
    starts: Cycles


def stated(solution: Solution) -> list[LayerSchedule]:
    """Return the schedule that a file states, whether or not it is right.

    A layer begins when the file says so, whether what it reads is ready or not, but not before its release;
    its first block follows when its weights and first row are there.
    How long it waits before its other blocks is not in a file; it is what the solver's closed form says
    when all layers begin as stated.

    Raises
    ------
    InputError
        if a mapping or an order is not valid.
    """
    problem = Problem(solution.network, solution.hardware)
    times: dict[int, LayerTimes] = {}
    schedules: dict[int, LayerSchedule] = {}
    mappings = solution.mappings
    for i in problem.network.topological:
        layer = problem.layers[i]
        record = solution.layers[layer.name]
        check_mapping(layer, mappings[i], problem.hardware)
        profile = problem.profile(i, mappings[i])
        order = None if record.order is None else np.array(record.order, np.int64)
        if order is not None:
            check_order(profile, order)
        edges = problem.edges[i]
        begin, sources = max(record.start, record.release), [times[edge.producer] for edge in edges]
        times[i] = layer_times(profile, begin, sources, edges, problem.hardware.cycles.transfer, order)
        starts = times[i].block_starts()
        starts[0] = begin + profile.lead
        schedules[i] = LayerSchedule(mappings[i], order, starts)
    return [schedules[i] for i in range(len(problem.layers))]
