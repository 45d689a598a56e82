"""Banks in the CP-SAT model: enough of them with static weights, one layer at a time with shared ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from ortools.sat.python.cp_model import IntVar, LinearExpr

from solver.cpsat.model import Model
from solver.maxplus.candidates import Candidate
from solver.maxplus.checkpoints import END, START
from solver.params import ModelParams
from solver.schedule.banks import Banks
from solver.schedule.plan import Plan
from solver.timing.mapping import Mapping
from solver.timing.profile import Profile


@dataclass(frozen=True, eq=False)
class BankVariables:
    """Which banks one layer holds, and for how long, where banks are shared.

    Attributes
    ----------
    start : from when on it holds them, in units, which is before its first block where that takes preparing.
    length : for how long it holds them.
    count : how many it holds.
    on : whether it holds each bank of the chip; none if banks are only counted.
    within : whether it holds banks of each channel; likewise.
    rows : the rows that it takes of each bank; none if all layers fit into one bank.
    """

    start: IntVar
    length: IntVar
    count: IntVar
    on: Sequence[IntVar] = ()
    within: Sequence[IntVar] = ()
    rows: Sequence[IntVar] = ()


def candidate_mappings(model: Model, layer: int) -> list[Mapping]:
    """Return the mapping of each candidate of a layer."""
    return [candidate.profile.mapping for candidate in model.graph.candidates[layer]]


def _banks(model: Model, layer: int) -> LinearExpr:
    """Return the banks of the mapping that a layer takes."""
    return LinearExpr.weighted_sum(
        model.layers[layer].takes, [mapping.banks for mapping in candidate_mappings(model, layer)]
    )


def add_static(model: Model) -> None:
    """Let all layers together have no more banks than the chip."""
    total = [_banks(model, i) for i in range(len(model.layers))]
    model.cp.add(LinearExpr.sum(total) <= model.graph.problem.hardware.banks)


def forbid_shapes(model: Model, choice: Sequence[Candidate]) -> None:
    """Do not give every layer at least the shape that it has in a choice whose banks do not fit."""
    wide = [
        literal
        for i, chosen in enumerate(choice)
        for literal, candidate in zip(model.layers[i].takes, model.graph.candidates[i], strict=True)
        if _covers(candidate.profile, chosen.profile)
    ]
    model.cp.add(LinearExpr.sum(wide) <= len(choice) - 1)


def _covers(large: Profile, small: Profile) -> bool:
    a, b = large.mapping, small.mapping
    return a.channels >= b.channels and a.banks_per_channel >= b.banks_per_channel


def add_shared(model: Model, params: ModelParams = ModelParams()) -> list[BankVariables]:
    """Let no bank serve two layers at a time, nor hold more rows than it has; return the new variables."""
    held = held_times(model)
    count_banks(model, held)
    if len(held) * model.graph.problem.hardware.banks > params.single_banks:
        return held
    held = fit_rows(model, held_banks(model, held))
    match_shapes(model, held)
    one_at_a_time(model, held)
    if model.graph.problem.given_banks:
        take_given(model, held)
    else:
        first_banks_first(model, held)
    no_circles(model)
    return held


def held_times(model: Model) -> list[BankVariables]:
    """Return from when on and for how long each layer holds its banks, and a count that is free."""
    longest, banks = model.limit // model.unit, model.graph.problem.hardware.banks
    lengths = [model.cp.new_int_var(0, longest, f"held{i}") for i in range(len(model.layers))]
    starts = [_held_from(model, i) for i in range(len(model.layers))]
    for layer, start, length in zip(model.layers, starts, lengths, strict=True):
        model.cp.add(length == layer.end - start)
    counts = [model.cp.new_int_var(0, banks, f"banks{i}") for i in range(len(model.layers))]
    return [BankVariables(*own) for own in zip(starts, lengths, counts, strict=True)]


def _held_from(model: Model, layer: int) -> IntVar:
    """Return when a layer takes its banks: before its first block by what its mapping does until then."""
    leads = model.graph.leads[layer]
    first = model.layers[layer].start
    if not leads.any():
        return first
    start = model.cp.new_int_var(0, model.limit // model.unit, f"from{layer}")
    model.cp.add(start <= first - model.layers[layer].chosen((leads // model.unit).tolist()))
    model.cp.add(start >= first - model.layers[layer].chosen((-(-leads // model.unit)).tolist()))
    return start


def held_banks(model: Model, held: Sequence[BankVariables]) -> list[BankVariables]:
    """Return the variables with a literal for each bank and for each channel, which nothing binds yet."""
    hardware, layers = model.graph.problem.hardware, range(len(held))
    on = [[model.cp.new_bool_var(f"on{i}_{b}") for b in range(hardware.banks)] for i in layers]
    within = [[model.cp.new_bool_var(f"in{i}_{c}") for c in range(hardware.channels)] for i in layers]
    return [replace(own, on=on[i], within=within[i]) for i, own in enumerate(held)]


def count_banks(model: Model, held: Sequence[BankVariables]) -> None:
    """Let the layers that run at any time have no more banks than there are, and all rows fit in sum."""
    hardware = model.graph.problem.hardware
    intervals, rows = [], []
    for i, (layer, own) in enumerate(zip(model.layers, held, strict=True)):
        intervals.append(model.cp.new_interval_var(own.start, own.length, layer.end, f"hold{i}"))
        model.cp.add(own.count == _banks(model, i))
        needed = [c.profile.rows * c.profile.banks for c in model.graph.candidates[i]]
        rows.append(LinearExpr.weighted_sum(layer.takes, needed))
    model.cp.add_cumulative(intervals, [own.count for own in held], hardware.banks)
    if hardware.weights == "shared":
        model.cp.add(LinearExpr.sum(rows) <= hardware.rows_per_bank * hardware.banks)


def match_shapes(model: Model, held: Sequence[BankVariables]) -> None:
    """Give each layer as many channels as its mapping says, and in each of them as many banks."""
    width = model.graph.problem.hardware.banks_per_channel
    for i, own in enumerate(held):
        takes, mappings = model.layers[i].takes, candidate_mappings(model, i)
        channels = LinearExpr.weighted_sum(takes, [mapping.channels for mapping in mappings])
        model.cp.add(LinearExpr.sum(own.within) == channels)
        wide = LinearExpr.weighted_sum(takes, [mapping.banks_per_channel for mapping in mappings])
        for c, used in enumerate(own.within):
            here = own.on[c * width : (c + 1) * width]
            model.cp.add(LinearExpr.sum(here) == wide).only_enforce_if(used)
            model.cp.add(LinearExpr.sum(here) == 0).only_enforce_if(~used)


def fit_rows(model: Model, held: Sequence[BankVariables]) -> list[BankVariables]:
    """Let the rows of all layers of a bank fit into it, where they might not; return them too."""
    hardware = model.graph.problem.hardware
    needed = [[c.profile.rows for c in own] for own in model.graph.candidates]
    if hardware.weights == "reload" or sum(map(max, needed)) <= hardware.rows_per_bank:
        return list(held)
    rows: list[list[IntVar]] = [[] for _ in needed]
    for b in range(hardware.banks):
        here = [model.cp.new_int_var(0, max(own), f"rows{i}_{b}") for i, own in enumerate(needed)]
        for i, (own, taken) in enumerate(zip(needed, here, strict=True)):
            chosen = LinearExpr.weighted_sum(model.layers[i].takes, own)
            model.cp.add(taken >= chosen).only_enforce_if(held[i].on[b])
            rows[i].append(taken)
        model.cp.add(LinearExpr.sum(here) <= hardware.rows_per_bank)
    return [replace(own, rows=rows[i]) for i, own in enumerate(held)]


def one_at_a_time(model: Model, held: Sequence[BankVariables]) -> None:
    """Let the times in which layers hold one bank not overlap."""
    for b in range(model.graph.problem.hardware.banks):
        model.cp.add_no_overlap(
            model.cp.new_optional_interval_var(own.start, own.length, layer.end, own.on[b], f"hold{i}_{b}")
            for i, (layer, own) in enumerate(zip(model.layers, held, strict=True))
        )


def take_given(model: Model, held: Sequence[BankVariables]) -> None:
    """Let layers whose banks are given hold these."""
    for i, banks in model.graph.problem.given_banks.items():
        for bank in banks:
            model.cp.add_bool_and([held[i].on[bank]])


def first_banks_first(model: Model, held: Sequence[BankVariables]) -> None:
    """Banks of a channel are alike, and so are channels: the first layer takes the first of each."""
    width = model.graph.problem.hardware.banks_per_channel
    first = held[model.graph.problem.network.topological[0]]
    for c in range(len(first.within) - 1):
        model.cp.add_implication(first.within[c + 1], first.within[c])
    for b in range(len(first.on) - 1):
        if (b + 1) % width:
            model.cp.add_implication(first.on[b + 1], first.on[b])


def no_circles(model: Model) -> None:
    """A layer ends after what it reads has begun, so that banks cannot go from it to its producer."""
    for link in model.graph.links:
        least = int(link.lags[:, :, START, END].min()) // model.unit
        if least > 0:
            producer, consumer = model.layers[link.producer], model.layers[link.consumer]
            model.cp.add(consumer.end >= producer.start + least)


def hint_banks(model: Model, held: Sequence[BankVariables], plan: Plan) -> None:
    """Complete the hint of a plan by its banks, renamed so that the first layer has the first ones."""
    hardware = model.graph.problem.hardware
    first = model.graph.problem.network.topological[0]
    renamed = _renaming(plan.banks[first], hardware.channels, hardware.banks_per_channel)
    if model.graph.problem.given_banks:
        renamed = np.arange(hardware.banks)
    for layer, own, times, banks in zip(model.layers, held, plan.timeline.layers, plan.banks, strict=True):
        if own.start is not layer.start:
            model.cp.add_hint(own.start, times.start // model.unit)
        model.cp.add_hint(own.length, times.end // model.unit - times.start // model.unit)
        model.cp.add_hint(own.count, len(banks))
        taken = set(renamed[banks].tolist())
        used = {b // hardware.banks_per_channel for b in taken}
        for b, literal in enumerate(own.on):
            model.cp.add_hint(literal, b in taken)
        for c, literal in enumerate(own.within):
            model.cp.add_hint(literal, c in used)
        for b, rows in enumerate(own.rows):
            model.cp.add_hint(rows, times.profile.rows if b in taken else 0)


def _renaming(first: Banks, channels: int, width: int) -> Banks:
    """Return a new number for each bank that moves some banks to the front of the first channels."""
    grid = np.arange(channels * width).reshape(channels, width)
    taken = np.isin(grid, first)
    order = np.argsort(~taken.any(axis=1), kind="stable")
    within = np.argsort(~taken[order], axis=1, kind="stable")
    old = np.take_along_axis(grid[order], within, axis=1).ravel()
    renamed = np.empty(channels * width, np.int64)
    renamed[old] = np.arange(channels * width)
    return renamed
