"""Solutions as files: writing, reading, and recomputing everything that a file claims."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from hw.hardware import Hardware
from models.network import Dim, Network
from overlapim_files import FileModel, InputError, load, nearest, shorten
from solver.bank_list import BankList, bank_list, listed_banks
from solver.schedule.banks import Banks
from solver.schedule.energy import PlanEnergy, plan_energy
from solver.schedule.plan import Plan
from solver.timing.mapping import Kind, Loop, Mapping
from solver.timing.objective import Measure, Objective, PlanFigures, Value
from solver.timing.problem import Problem
from solver.timing.profile import MAX_LATENCY
from solver.timing.timeline import Timeline, evaluate
from solver.timing.validity import check_mapping

BoundScope = Literal["mapspace", "pool"]
Status = Literal["feasible", "optimal"]
ENERGY_TOLERANCE = 1e-9
"""By what share an energy in a file may be off: it is a sum of rounded numbers."""

MAX_INFERENCES = 2**40

NAMES: dict[Measure, str] = {"makespan": "makespan", "energy": "energy", "edp": "energy-delay product"}
"""What each objective is called."""

Cycle = Annotated[int, Field(ge=0, le=MAX_LATENCY)]

BlockNumber = Annotated[int, Field(ge=0, le=2**40)]


class LoopRecord(FileModel):
    """One loop of a mapping."""

    dim: Dim
    bound: Annotated[int, Field(ge=1, le=2**40)]
    kind: Kind


def stated_mapping(loops: Sequence[LoopRecord], load: int | None) -> Mapping:
    """Return the mapping that a file states."""
    return Mapping(tuple(Loop(x.dim, x.bound, x.kind) for x in loops), load)


class LayerRecord(FileModel):
    """What a solution says of one layer; `loops` stand outermost first, `load` is the load depth."""

    loops: tuple[LoopRecord, ...] = Field(strict=False, max_length=1024)
    load: Annotated[int, Field(ge=0, le=1024)] | None = None
    banks: BankList
    release: Cycle
    start: Cycle
    end: Cycle
    order: tuple[BlockNumber, ...] | None = Field(default=None, strict=False)


class Solution(FileModel):
    """A whole answer: network, hardware, and for each layer its mapping, banks and times.

    `bound` is one on the objective: the makespan of `inferences`, the energy of one of them, or the product.
    `interval` is the least number of cycles by which they can follow each other, `energy_pj` the energy of
    one of them on a chip that has figures.
    """

    format: Literal["overlapim/solution/1"]
    network: Network
    hardware: Hardware
    latency: Cycle
    bound: Annotated[int | float, Field(ge=0)] | None = None
    bound_scope: BoundScope = "mapspace"
    status: Status = "feasible"
    objective: Measure = "makespan"
    inferences: Annotated[int, Field(ge=1, le=MAX_INFERENCES)] = 1
    interval: Annotated[int, Field(ge=1, le=MAX_LATENCY)] | None = None
    energy_pj: Annotated[float, Field(ge=0)] | None = None
    method: str
    seed: int
    layers: dict[str, LayerRecord]

    @model_validator(mode="after")
    def _every_layer_once(self) -> Self:
        names = list(self.network.index)
        for name in self.layers:
            if name not in self.network.index:
                raise ValueError(f"layers: '{name}' is no layer of the network{nearest(name, names)}")
        for name in names:
            if name not in self.layers:
                raise ValueError(f"layers: '{name}' is missing")
        return self

    @property
    def problem(self) -> Problem:
        """What it is a solution of; the limits that it was looked for within are not known."""
        return Problem(self.network, self.hardware, Objective(self.objective, self.inferences))

    @property
    def mappings(self) -> list[Mapping]:
        """The mapping of each layer, in the order of the network."""
        records = (self.layers[layer.name] for layer in self.network.layers)
        return [stated_mapping(record.loops, record.load) for record in records]


def from_plan(problem: Problem, plan: Plan, method: str, seed: int, bound: Value | None = None) -> Solution:
    """Return the solution that states a plan.

    Parameters
    ----------
    bound : of the objective, proved for all valid solutions; the plan is optimal if it is its value.
    """
    objective, layers = problem.objective, {}
    energy = plan_energy(problem.hardware, plan, objective.inferences)
    for layer, times, banks in zip(problem.layers, plan.timeline.layers, plan.banks, strict=True):
        layers[layer.name] = LayerRecord(
            loops=tuple(LoopRecord(**loop._asdict()) for loop in times.profile.mapping.loops),
            load=times.profile.mapping.load,
            banks=bank_list(banks, problem.hardware),
            release=times.release,
            start=times.start,
            end=times.end,
            order=None if times.order is None else tuple(times.order.tolist()),
        )
    return Solution(
        format="overlapim/solution/1",
        network=problem.network,
        hardware=problem.hardware,
        latency=plan.latency,
        bound=bound,
        status="optimal" if bound == _value(objective, plan, energy) else "feasible",
        objective=objective.measure,
        inferences=objective.inferences,
        interval=plan.interval,
        energy_pj=energy.total if energy else None,
        method=method,
        seed=seed,
        layers=layers,
    )


def _value(objective: Objective, plan: Plan, energy: PlanEnergy | None) -> Value:
    """Return what an objective says of a plan."""
    makespan = objective.makespan(plan.latency, plan.interval)
    return objective.value(
        PlanFigures(plan.latency, plan.interval, makespan, energy.total if energy else 0.0)
    )


@dataclass(frozen=True)
class Recomputed:
    """A solution's plan, computed anew, and every way in which the file disagrees with it."""

    problem: Problem
    plan: Plan
    differences: list[str]


def recompute(solution: Solution) -> Recomputed:
    """Compute a solution's times anew and compare.

    Raises
    ------
    InputError
        if a mapping is not valid, an order is not allowed, or the banks are not free; names the layer.
    """
    problem = solution.problem
    records = [solution.layers[layer.name] for layer in problem.layers]
    for layer, mapping in zip(problem.layers, solution.mappings, strict=True):
        check_mapping(layer, mapping, problem.hardware)
    profiles = [problem.profile(i, mapping) for i, mapping in enumerate(solution.mappings)]
    orders = [None if record.order is None else np.array(record.order, np.int64) for record in records]
    banks = stated_banks(problem, [record.banks for record in records])
    check_banks(problem, solution.mappings, banks)
    timeline = evaluate(problem, profiles, [record.release for record in records], orders)
    check_holders(problem, timeline, banks)
    differences = []
    for layer, record, times in zip(problem.layers, records, timeline.layers, strict=True):
        for what, stated, found in (("start", record.start, times.start), ("end", record.end, times.end)):
            if stated != found:
                differences.append(f"layer '{layer.name}': {what} is {found}, the file says {stated}")
    if solution.latency != timeline.latency:
        differences.append(f"latency is {timeline.latency}, the file says {solution.latency}")
    plan = Plan(timeline, banks)
    differences += _bound_differences(solution, plan)
    if solution.interval not in (None, plan.interval):
        differences.append(f"interval is {plan.interval}, the file says {solution.interval}")
    differences += _energy_differences(solution, plan)
    return Recomputed(problem, plan, differences)


def _bound_differences(solution: Solution, plan: Plan) -> list[str]:
    """Return what is wrong with what a file says of its objective."""
    objective = solution.problem.objective
    energy = plan_energy(solution.hardware, plan, solution.inferences)
    if objective.weighs_energy and energy is None:
        return [f"the objective is {solution.objective}, but the chip has no energies"]
    value, tolerance = _value(objective, plan, energy), ENERGY_TOLERANCE if objective.weighs_energy else 0.0
    what = "latency" if objective.plain else NAMES[objective.measure]
    bound, differences = solution.bound, list[str]()
    alike = bound is not None and math.isclose(bound, value, rel_tol=tolerance)
    if bound is not None and bound > value and not alike:
        differences.append(f"bound {bound} is above the {what} {value}")
    if solution.status == "optimal" and not (alike and solution.bound_scope == "mapspace"):
        differences.append(f"status is optimal, but no bound over the mapspace is stated that is the {what}")
    return differences


def _energy_differences(solution: Solution, plan: Plan) -> list[str]:
    stated, found = solution.energy_pj, plan_energy(solution.hardware, plan, solution.inferences)
    if stated is None:
        return []
    if found is None:
        return ["energy_pj is stated, but the chip has no energies"]
    right = math.isclose(stated, found.total, rel_tol=ENERGY_TOLERANCE)
    return [] if right else [f"energy_pj is {found.total}, the file says {stated}"]


def read_verified(path: str | Path) -> tuple[Solution, Plan]:
    """Read a solution file and recompute it.

    Raises
    ------
    InputError
        if the file is not a solution, or says anything that is not so; names the layer.
    """
    solution = load(path, Solution)
    try:
        found = recompute(solution)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if found.differences:
        raise InputError(f"{path}: {found.differences[0]}")
    return solution, found.plan


def read_plan(path: str | Path, network: Network, hardware: Hardware) -> Plan:
    """Read the plan of a solution file to go on from; its bound is not believed.

    Raises
    ------
    InputError
        if the file is not right, or of another network or hardware; says what differs.
    """
    solution, plan = read_verified(path)
    # A layer may be given other bits than it had: then it has other times.
    without = {"layers": {"__all__": {"bits"}}}
    for what, own, wanted in (
        ("network", solution.network.model_dump(exclude=without), network.model_dump(exclude=without)),
        ("chip", solution.hardware.model_dump(), hardware.model_dump()),
    ):
        if text := difference(own, wanted):
            raise InputError(f"{path}: it is a solution for another {what}: {text}")
    return plan


def difference(own: object, wanted: object, path: str = "") -> str:
    """Return where and how two dumped models differ first; empty if they do not."""
    if own == wanted:
        return ""
    if isinstance(own, dict) and isinstance(wanted, dict):
        keys = list(own | wanted)
        pairs = [(f"{path}.{key}".lstrip("."), own.get(key), wanted.get(key)) for key in keys]
    elif isinstance(own, tuple) and isinstance(wanted, tuple) and len(own) == len(wanted):
        pairs = [(f"{path}[{i}]", *pair) for i, pair in enumerate(zip(own, wanted, strict=True))]
    elif isinstance(own, tuple) and isinstance(wanted, tuple):
        return f"{path} has {len(own)} entries, not {len(wanted)}"
    else:
        return f"{path} is {shorten(str(own))}, not {shorten(str(wanted))}"
    return next(text for where, a, b in pairs if (text := difference(a, b, where)))


def verify(solution: Solution) -> None:
    """Raise `InputError` that says what is wrong with a solution, if anything is."""
    differences = recompute(solution).differences
    if differences:
        raise InputError(differences[0])


def stated_banks(problem: Problem, lists: Sequence[Sequence[int | str]]) -> tuple[Banks, ...]:
    """Return the banks of all layers. Raises `InputError` that names the layer if there are none such."""
    return tuple(
        listed_banks(entries, problem.hardware, f"layer '{layer.name}'")
        for layer, entries in zip(problem.layers, lists, strict=True)
    )


def check_banks(problem: Problem, mappings: Sequence[Mapping], banks: Sequence[Banks]) -> None:
    """Raise `InputError` unless each layer has banks of the chip, in the shape of its mapping."""
    hardware = problem.hardware
    for layer, mapping, given in zip(problem.layers, mappings, banks, strict=True):
        ordered = np.sort(given)  # often it is; np.unique takes much longer
        if (ordered[1:] == ordered[:-1]).any() or len(given) != mapping.banks:
            raise InputError(f"layer '{layer.name}': its mapping needs {mapping.banks} different banks")
        used = np.bincount(given // hardware.banks_per_channel)
        if set(used[used > 0].tolist()) != {mapping.banks_per_channel}:
            shape = f"{mapping.banks_per_channel} banks in each of {mapping.channels} channels"
            raise InputError(f"layer '{layer.name}': its banks are not {shape}")


def check_holders(problem: Problem, timeline: Timeline, banks: Sequence[Banks]) -> None:
    """Raise `InputError` about the first bank that is held twice at a time, or has too few rows."""
    hardware, times = problem.hardware, timeline.layers
    held_until, holders, rows = np.zeros((3, max(int(own.max()) for own in banks) + 1), np.int64)
    faulty = np.zeros(len(rows), np.bool_)
    for i in sorted(range(len(banks)), key=lambda i: (times[i].start, times[i].end)):
        own = banks[i]
        faulty[own] |= (holders[own] > 0) & (held_until[own] > times[i].start)
        held_until[own] = times[i].end
        holders[own] += 1
        rows[own] += times[i].profile.rows
    if hardware.weights == "static":
        faulty |= holders > 1
    if hardware.weights != "reload":
        faulty |= rows > hardware.rows_per_bank
    for bank in np.flatnonzero(faulty).tolist():
        _check_bank(problem, timeline, bank, [i for i, own in enumerate(banks) if bank in own])


def _check_bank(problem: Problem, timeline: Timeline, bank: int, layers: list[int]) -> None:
    hardware, times = problem.hardware, timeline.layers
    layers = sorted(layers, key=lambda i: (times[i].start, times[i].end))
    for first, second in pairwise(layers):
        names = f"'{problem.layers[first].name}' and '{problem.layers[second].name}'"
        if hardware.weights == "static":
            raise InputError(f"bank {bank} is given to {names}; with static weights it can serve one layer")
        if times[second].start < times[first].end:
            raise InputError(f"bank {bank}: {names} hold it at the same time, from {times[second].start} on")
    rows = sum(times[i].profile.rows for i in layers)
    if hardware.weights != "reload" and rows > hardware.rows_per_bank:
        last = problem.layers[layers[-1]].name
        more = rows - hardware.rows_per_bank
        raise InputError(f"bank {bank} up to layer '{last}' needs {rows} rows, {more} more than it has")
