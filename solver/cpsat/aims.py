"""What the CP-SAT model minimises if that is not the latency alone (docs/formulation.md, "Other objectives").

All numbers of the model are integers. Cycles are counted in the units of the model, energies in a quantum
that is small beside the best plan's; both are rounded down, so that the optimum stays a lower bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from ortools.sat.python.cp_model import IntVar, LinearExpr

from solver.bound.quick import quick_floor
from solver.cpsat.banks import BankVariables
from solver.cpsat.model import Model
from solver.maxplus.checkpoints import Candidates
from solver.run import ROUNDING
from solver.schedule.goal import Goal
from solver.schedule.plan import Plan
from solver.stop import StoppedError
from solver.timing.energy import standby_energy
from solver.timing.objective import PlanFigures, Value
from solver.timing.problem import Problem

FINE = 2**52
"""Quanta in the energy of the best plan."""

COARSE = 2**28
"""Steps of a makespan that is multiplied by an energy."""

LARGE = 2**58
"""Beyond this sums might leave 64 bits."""

TURNS = 16
"""Inferences that may be under way at a time, up to which it is decided in which order they hold a bank."""


@dataclass(frozen=True, eq=False)
class Aim:
    """The variable that is minimised, and how much of the objective one of it is."""

    variable: IntVar
    unit: float

    def bound(self, proved: float) -> Value:
        """Return the bound on the objective that a bound on the variable is."""
        whole = math.floor(proved * (1 - 1e-15)) if abs(proved) > 2**53 else round(proved)
        return whole * int(self.unit) if self.unit == int(self.unit) else whole * self.unit


def latest(problem: Problem, candidates: Candidates, plan: Plan) -> int:
    """Return a latency that some plan does not exceed that is as good as a given one, and as any better one.

    Whatever candidates are chosen, all of them one after the other are a plan, in which no layer waits. If
    banks are shared by inferences that follow each other, each layer may have to be put off by an interval to
    find its banks free; intervals longer than that plan are not needed (docs/formulation.md, "Other
    objectives").
    """
    objective, goal = problem.objective, Goal(problem)
    if objective.plain:
        return plan.latency
    most = _one_by_one(problem, candidates)
    if objective.streams and problem.hardware.weights != "static":
        most += len(candidates) * min(most, objective.interval_at_most or most)
    most = max(most, plan.latency)
    figures = goal.figures(plan.timeline, plan.banks)
    if objective.excess(figures) == 0:
        rest = (objective.inferences - 1) * quick_floor(problem).interval
        most = min(most, max(_longest(goal, candidates, figures) - rest, plan.latency))
    return min(most, objective.latency_at_most or most)


def _one_by_one(problem: Problem, candidates: Candidates) -> int:
    """Return when all layers have ended at the latest, one after the other, whatever their candidates."""
    transfer = problem.hardware.cycles.transfer
    each = (max(c.profile.lead + c.end for c in own) + transfer for own in candidates)
    return max(problem.earliest) + sum(each)


def _longest(goal: Goal, candidates: Candidates, figures: PlanFigures) -> int:
    """Return the longest makespan with which plans can be as good as one with some figures."""
    objective = goal.objective
    if objective.measure == "makespan":
        return figures.makespan
    least = math.fsum(min(goal.energy(c.profile) for c in own) for own in candidates)
    if objective.measure == "edp":
        cycles = objective.value(figures) / least if least else math.inf
    else:
        standby = standby_energy(goal.problem.hardware, 1) / objective.inferences
        cycles = (figures.energy - least) / standby if standby else math.inf
    return LARGE if cycles > LARGE else math.ceil(cycles * (1 + ROUNDING)) + 1


def add_aim(model: Model, held: Sequence[BankVariables] | None, plan: Plan) -> Aim:
    """Minimise the objective of the model's problem, within its limits; `plan` is the best one known.

    Raises
    ------
    StoppedError
        if its numbers are too large for the model.
    """
    problem = model.graph.problem
    objective, goal = problem.objective, Goal(problem)
    if objective.plain:
        return Aim(model.latency, model.unit)
    makespan: LinearExpr = model.latency
    if objective.streams:
        spacing = _spacing(model, held)
        makespan = model.latency + (objective.inferences - 1) * spacing
    span = model.limit // model.unit * objective.inferences
    if span > LARGE:
        raise StoppedError
    if not objective.weighs_energy:
        aim = Aim(_equal(model, makespan, span, "makespan"), model.unit)
    else:
        aim = _with_energy(model, goal, makespan, span, plan)
    model.cp.minimize(aim.variable)
    return aim


def _equal(model: Model, expression: LinearExpr, most: int, name: str) -> IntVar:
    variable = model.cp.new_int_var(0, most, name)
    model.cp.add(variable == expression)
    return variable


def _with_energy(model: Model, goal: Goal, makespan: LinearExpr, span: int, plan: Plan) -> Aim:
    """Add the energy of one inference, in quanta, and what is minimised of it."""
    objective, problem = goal.objective, goal.problem
    figures = goal.figures(plan.timeline, plan.banks)
    quantum = figures.energy / FINE
    standby = standby_energy(problem.hardware, model.unit) / objective.inferences / quantum
    parts = [
        layer.chosen([int(goal.energy(c.profile) / quantum) for c in own])
        for layer, own in zip(model.layers, model.graph.candidates, strict=True)
    ]
    most = min(LARGE, 64 * FINE)
    if standby * span > LARGE:
        standby = 0.0
    energy = _equal(model, LinearExpr.sum(parts) + math.floor(standby) * makespan, most, "energy")
    if objective.energy_at_most is not None:
        model.cp.add(energy <= math.floor(objective.energy_at_most / quantum))
    if objective.measure == "makespan":
        return Aim(_equal(model, makespan, span, "makespan"), model.unit)
    if objective.measure == "energy":
        return Aim(energy, quantum)
    cycles, long = _coarse(model, makespan, span, COARSE, "cycles")
    energies, large = _coarse(model, energy, most, LARGE // min(span + 1, COARSE), "energies")
    product = model.cp.new_int_var(0, 2 * LARGE, "product")
    model.cp.add_multiplication_equality(product, [energies, cycles])
    return Aim(product, quantum * model.unit * long * large)


def _coarse(model: Model, expression: LinearExpr, most: int, steps: int, name: str) -> tuple[IntVar, int]:
    """Return an expression in steps so large that there are few of them, rounded down, and the step."""
    step = -(-most // steps)
    variable = model.cp.new_int_var(0, most // step + 1, name)
    model.cp.add(step * variable >= expression - (step - 1))
    return variable, step


def _spacing(model: Model, held: Sequence[BankVariables] | None) -> IntVar:
    """Return the interval: no bank is held twice at a time, whichever inferences hold it."""
    objective, unit = model.graph.problem.objective, model.unit
    most = min(model.limit, objective.interval_at_most or model.limit) // unit
    spacing = model.cp.new_int_var(1, max(most, 1), "interval")
    slack = 0 if unit == 1 else 1
    for i, layer in enumerate(model.layers):
        start = layer.start - layer.chosen((model.graph.leads[i] // unit).tolist())
        model.cp.add(spacing + 2 * slack >= layer.end - start)
    if held is None:
        return spacing
    hardware = model.graph.problem.hardware
    work = []
    for layer, own in zip(model.layers, model.graph.candidates, strict=True):
        work.append(layer.chosen([c.profile.banks * ((c.profile.lead + c.end) // unit) for c in own]))
    model.cp.add(hardware.banks * (spacing + slack) >= LinearExpr.sum(work))
    problem, candidates = model.graph.problem, model.graph.candidates
    floor = quick_floor(problem).interval
    # Put off by an interval each, at most, layers end within so many intervals.
    latest_end = _one_by_one(problem, candidates) // floor + len(candidates)
    under_way = min(model.limit // floor, latest_end) + 1
    if held[0].on and unit == 1 and under_way <= TURNS:
        _in_turns(model, held, spacing, under_way)
    return spacing


def _in_turns(model: Model, held: Sequence[BankVariables], spacing: IntVar, most: int) -> None:
    """Let two layers hold one bank so that whichever inferences they are of, one comes after the other.

    If layer `j` of an inference comes after layer `i` of the one `k` later, but before that of the next, then
    `start_j >= end_i + k T` and `end_j <= start_i + (k + 1) T`. Each pair has one such `k`.

    Parameters
    ----------
    most : inferences that can be under way at a time.
    """
    for (i, first), (j, second) in combinations(enumerate(held), 2):
        turns = {k: model.cp.new_bool_var(f"turn{i}_{j}_{k}") for k in range(-most - 1, most + 1)}
        together = model.cp.new_bool_var(f"together{i}_{j}")
        for one, other in zip(first.on, second.on, strict=True):
            model.cp.add_implication(one, together).only_enforce_if(other)
        model.cp.add_exactly_one(*turns.values(), ~together)
        ends = model.layers[i].end, model.layers[j].end
        for k, literal in turns.items():
            model.cp.add(second.start >= ends[0] + k * spacing).only_enforce_if(literal)
            model.cp.add(ends[1] <= first.start + (k + 1) * spacing).only_enforce_if(literal)
