"""Packing decided by CP-SAT: which item of each layer goes into which bins.

For each item of a layer a literal says whether it is chosen, one for each group whether it has bins there,
and one for each bin whether it is one of them. Where an item takes all bins of a group the literal of the
group stands for its bins, and where it takes all groups that of the item stands for these. What a bin holds
is then one sum over the layers, without big constants.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ortools.sat.python.cp_model import FEASIBLE, INFEASIBLE, OPTIMAL, CpModel, CpSolver, IntVar, LinearExpr

from solver.schedule.bins import Bins, Item, Packed
from solver.stop import Stop, interrupting

MOST_COST = 2**50
"""Costs are rounded up to units of which all layers together have at most so many."""

ROUNDING = 1e-6
"""By how much a bound on an integer may be above the integer that it proves."""


@dataclass(frozen=True, eq=False)
class Decision:
    """A packing, if one was found; else whether it is proven that there is none."""

    packed: Packed | None
    impossible: bool


@dataclass(frozen=True, eq=False)
class _Choice:
    """The literals of one item: that it is chosen, and for each group and bin that it has it."""

    taken: IntVar
    groups: Sequence[IntVar]
    bins: Sequence[IntVar]


class _Model:
    """One layer after the other, each with one of its items in bins of its shape."""

    def __init__(self, bins: Bins, items: Sequence[Sequence[Item]]) -> None:
        self.bins, self.items, self.cp = bins, items, CpModel()
        self.choices = [[self._choice(item) for item in own] for own in items]
        for own in self.choices:
            self.cp.add_exactly_one(choice.taken for choice in own)

    def _choice(self, item: Item) -> _Choice:
        groups, width = self.bins.groups, self.bins.width
        taken = self.cp.new_bool_var("")
        if item.groups == groups:
            chosen = [taken] * groups
        else:
            chosen = [self.cp.new_bool_var("") for _ in range(groups)]
            self.cp.add(LinearExpr.sum(chosen) == item.groups * taken)
        inside: list[IntVar] = []
        for group in chosen:
            if item.bins == width:
                inside += [group] * width
            else:
                own = [self.cp.new_bool_var("") for _ in range(width)]
                self.cp.add(LinearExpr.sum(own) == item.bins * group)
                inside += own
        return _Choice(taken, chosen, inside)

    def loads(self) -> list[LinearExpr]:
        """Return what each bin holds."""
        literals = [choice.bins for own in self.choices for choice in own]
        sizes = [item.size for own in self.items for item in own]
        return [LinearExpr.weighted_sum(column, sizes) for column in zip(*literals, strict=True)]

    def cost(self) -> LinearExpr:
        """Return what the chosen items cost, in units."""
        most = sum(max(item.cost for item in own) for own in self.items)
        unit = -(-most // MOST_COST)
        literals = [choice.taken for own in self.choices for choice in own]
        costs = [-(-item.cost // max(unit, 1)) for own in self.items for item in own]
        return LinearExpr.weighted_sum(literals, costs)

    def hint(self, packed: Packed) -> None:
        """Let the search begin with a packing."""
        width, hints = self.bins.width, dict[int, tuple[IntVar, bool]]()
        for own, chosen, place in zip(self.choices, packed.chosen, packed.places, strict=True):
            for i, choice in enumerate(own):
                held = set(place.tolist()) if i == chosen else set[int]()
                within = {b // width for b in held}
                values = [(choice.taken, i == chosen)]
                values += [(literal, g in within) for g, literal in enumerate(choice.groups)]
                values += [(literal, b in held) for b, literal in enumerate(choice.bins)]
                hints |= {literal.index: (literal, value) for literal, value in values}
        for literal, value in hints.values():
            self.cp.add_hint(literal, value)

    def packed(self, solver: CpSolver) -> Packed:
        """Return the packing that a solver has found."""
        chosen, places = [], []
        for own in self.choices:
            i = next(i for i, choice in enumerate(own) if solver.boolean_value(choice.taken))
            chosen.append(i)
            places.append(np.flatnonzero([solver.boolean_value(literal) for literal in own[i].bins]))
        return Packed(tuple(chosen), tuple(places))


def literals(bins: Bins, items: Sequence[Sequence[Item]]) -> int:
    """Return about how many literals a model has, to tell whether it is worth making."""
    whole = bins.groups * bins.width
    return sum(whole if item.bins < bins.width else bins.groups for own in items for item in own)


def find(bins: Bins, items: Sequence[Sequence[Item]], effort: float, stop: Stop) -> Decision:
    """Look for any packing.

    Parameters
    ----------
    effort : deterministic time, about seconds, after which the question stays open.
    stop : when reached, the same; where it counts work, the effort is counted.
    """
    model = _within(bins, items)
    solver = CpSolver()
    status = _solve(solver, model.cp, effort, stop)
    if status in (OPTIMAL, FEASIBLE):
        return Decision(model.packed(solver), False)
    return Decision(None, status == INFEASIBLE)


def improve_packing(
    bins: Bins, items: Sequence[Sequence[Item]], start: Packed, effort: float, stop: Stop
) -> Packed:
    """Look for the packing of least cost, and return the best that is found in time; see `find`.

    Parameters
    ----------
    start : a packing, than which none worse is returned.
    """
    model = _within(bins, items)
    model.cp.minimize(model.cost())
    model.hint(start)
    solver = CpSolver()
    if _solve(solver, model.cp, effort, stop) not in (OPTIMAL, FEASIBLE):
        return start
    return min(start, model.packed(solver), key=lambda packed: packed.cost(items))


def _within(bins: Bins, items: Sequence[Sequence[Item]]) -> _Model:
    """Return the model of all packings."""
    model = _Model(bins, items)
    for load, room in zip(model.loads(), bins.room, strict=True):
        model.cp.add(load <= room)
    return model


def least_capacity(bins: Bins, items: Sequence[Sequence[Item]], effort: float, stop: Stop) -> int:
    """Return a capacity of the bins below which there is no packing; as high as the effort proves."""
    model = _Model(bins, items)
    most = sum(max(item.size for item in own) for own in items)
    capacity = model.cp.new_int_var(0, most, "")
    for load in model.loads():
        model.cp.add(load <= capacity)
    model.cp.minimize(capacity)
    solver = CpSolver()
    _solve(solver, model.cp, effort, stop)
    return math.ceil(solver.best_objective_bound - ROUNDING)


def _solve(solver: CpSolver, model: CpModel, effort: float, stop: Stop) -> int:
    """Solve a model in one process, as it is repeatable, and return the status."""
    solver.parameters.num_workers = 1
    solver.parameters.catch_sigint_signal = False  # or no one else would hear of it
    solver.parameters.random_seed = 0
    if stop.pace is None:
        solver.parameters.max_deterministic_time = effort
        if math.isfinite(stop.remaining()):
            solver.parameters.max_time_in_seconds = max(stop.remaining(), 0.0)
    else:
        solver.parameters.max_deterministic_time = max(min(effort, stop.remaining()), 0.0)
    with interrupting(solver, stop):
        status = solver.solve(model)
    if stop.pace is not None:
        stop.worked(solver.response_proto.deterministic_time)
    return int(status)
