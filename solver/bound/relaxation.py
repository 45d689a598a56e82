"""The linear relaxation of the bound model, and what its dual proves in exact arithmetic.

Any multipliers of the right signs prove a bound, so rounding in the linear solver costs strength only
(A. Neumaier and O. Shcherbina, "Safe bounds in linear and mixed-integer linear programming", 2004).
"""

from __future__ import annotations

from dataclasses import dataclass

from ortools.linear_solver import pywraplp
from ortools.sat.python import cp_model

from solver.bound.model import BoundModel
from solver.stop import Stop

SCALE = 2**40
"""Multipliers are rounded to multiples of one over this."""

SIMPLEX = "use_dual_simplex: true change_status_to_imprecise: false"
"""Every variable has limits, so a feasible point of the dual is at hand: its simplex takes half of the time.
Multipliers that are a little off still prove a bound."""

MOST_SECONDS = 10**6
"""A limit on wall time from which on the linear solver is given none."""


@dataclass(frozen=True)
class _Row:
    """low <= sum of coefficient * variable <= high; None for no limit."""

    terms: tuple[tuple[int, int], ...]
    low: int | None
    high: int | None


def _rows(model: cp_model.CpModel, stop: Stop) -> list[_Row]:
    rows = []
    for constraint in model.proto.constraints:
        stop.check()
        if constraint.has_linear():
            linear = constraint.linear
            low, *_, high = linear.domain
            terms = tuple(zip(linear.vars, linear.coeffs, strict=True))
            rows.append(_Row(terms, low if low > -(2**62) else None, high if high < 2**62 else None))
        elif constraint.has_exactly_one():
            rows.append(_Row(tuple((i, 1) for i in constraint.exactly_one.literals), 1, 1))
    return rows


def linear_bound(bound: BoundModel, stop: Stop) -> int:
    """Return the bound in cycles that the relaxation of a model proves; 0 if time runs out in the solver.

    Raises
    ------
    StoppedError
        if it is time to stop before the solver has all of it.
    """
    model, objective = bound.model, bound.end.index
    rows = _rows(model, stop)
    limits = [(v.domain[0], v.domain[1]) for v in model.proto.variables]
    solver = pywraplp.Solver.CreateSolver("GLOP")
    solver.SetSolverSpecificParametersAsString(SIMPLEX)
    variables = [solver.NumVar(low, high, "") for low, high in limits]
    made = []
    for row in rows:
        stop.check()
        low = -solver.infinity() if row.low is None else row.low
        high = solver.infinity() if row.high is None else row.high
        constraint = solver.Constraint(low, high)
        for i, coefficient in row.terms:
            constraint.SetCoefficient(variables[i], coefficient)
        made.append(constraint)
    solver.Minimize(variables[objective])
    if (seconds := stop.wall_remaining()) < MOST_SECONDS:
        solver.SetTimeLimit(max(int(seconds * 1000), 1))
    if solver.Solve() != pywraplp.Solver.OPTIMAL:
        return 0
    return _proven(rows, [c.dual_value() for c in made], limits, objective) * bound.unit


def _proven(rows: list[_Row], duals: list[float], limits: list[tuple[int, int]], objective: int) -> int:
    """Return the bound that multipliers prove: the limits of the rows times them, and the least rest."""
    rest = [0] * len(limits)
    rest[objective] = SCALE
    value = 0
    for row, dual in zip(rows, duals, strict=True):
        multiplier = round(dual * SCALE)
        limit = row.low if multiplier > 0 else row.high
        if multiplier == 0 or limit is None:
            continue
        value += multiplier * limit
        for i, coefficient in row.terms:
            rest[i] -= multiplier * coefficient
    value += sum(r * (low if r > 0 else high) for r, (low, high) in zip(rest, limits, strict=True))
    return -(-value // SCALE)
