"""Banks in the CP-SAT model: enough of them with static weights, one layer at a time with shared ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ortools.sat.python.cp_model import IntVar, LinearExpr

from solver.cpsat.model import Model
from solver.maxplus.candidates import Candidate
from solver.maxplus.checkpoints import END, START
from solver.schedule.banks import Banks
from solver.schedule.plan import Plan
from solver.timing.profile import Profile

SINGLE = 3000
"""Layers times banks up to which every bank is modelled; beyond that they are counted only."""


@dataclass(frozen=True, eq=False)
class Held:
    """Which banks each layer holds in the model.

    Attributes
    ----------
    banks : for each layer one literal for each bank; none if banks are only counted.
    channels : for each layer one literal for each channel.
    rows : for each bank the rows that each layer takes of it; none if all layers fit into one bank.
    counts, lengths : for each layer how many banks it holds, and for how long.
    """

    banks: Sequence[Sequence[IntVar]]
    channels: Sequence[Sequence[IntVar]]
    rows: Sequence[Sequence[IntVar]]
    counts: Sequence[IntVar]
    lengths: Sequence[IntVar]


def per_candidate(model: Model, layer: int, what: str) -> list[int]:
    """Return a figure of the mapping of each candidate of a layer."""
    return [int(getattr(c.profile.mapping, what)) for c in model.graph.candidates[layer]]


def add_static(model: Model) -> None:
    """Let all layers together have no more banks than the chip."""
    total = [
        LinearExpr.weighted_sum(model.literals[i], per_candidate(model, i, "banks"))
        for i in range(len(model.literals))
    ]
    model.cp.add(LinearExpr.sum(total) <= model.graph.problem.hardware.banks)


def forbid_shapes(model: Model, choice: Sequence[Candidate]) -> None:
    """Do not give every layer at least the shape that it has in a choice whose banks do not fit."""
    wide = [
        literal
        for i, chosen in enumerate(choice)
        for literal, candidate in zip(model.literals[i], model.graph.candidates[i], strict=True)
        if _covers(candidate.profile, chosen.profile)
    ]
    model.cp.add(LinearExpr.sum(wide) <= len(choice) - 1)


def _covers(large: Profile, small: Profile) -> bool:
    a, b = large.mapping, small.mapping
    return a.channels >= b.channels and a.banks_per_channel >= b.banks_per_channel


def add_shared(model: Model) -> Held:
    """Let no bank serve two layers at a time, nor hold more rows than it has."""
    hardware = model.graph.problem.hardware
    lengths = [
        model.cp.new_int_var(0, model.limit // model.unit, f"held{i}") for i in range(len(model.times))
    ]
    for times, length in zip(model.times, lengths, strict=True):
        model.cp.add(length == times[END] - times[START])
    counts = _count(model, lengths)
    if len(lengths) * hardware.banks > SINGLE:
        return Held([], [], [], counts, lengths)
    banks = [
        [model.cp.new_bool_var(f"on{i}_{b}") for b in range(hardware.banks)] for i in range(len(lengths))
    ]
    channels = [
        [model.cp.new_bool_var(f"in{i}_{c}") for c in range(hardware.channels)] for i in range(len(lengths))
    ]
    held = Held(banks, channels, _rows(model, banks), counts, lengths)
    _shapes(model, held)
    _one_at_a_time(model, held)
    _first_banks_first(model, held)
    _no_circles(model)
    return held


def _count(model: Model, lengths: Sequence[IntVar]) -> list[IntVar]:
    """Let the layers that run at any time have no more banks than there are, and all rows fit in sum."""
    hardware = model.graph.problem.hardware
    intervals, demands, rows = [], [], []
    for i, (times, length) in enumerate(zip(model.times, lengths, strict=True)):
        intervals.append(model.cp.new_interval_var(times[START], length, times[END], f"hold{i}"))
        demands.append(model.cp.new_int_var(0, hardware.banks, f"banks{i}"))
        banks = LinearExpr.weighted_sum(model.literals[i], per_candidate(model, i, "banks"))
        model.cp.add(demands[i] == banks)
        needed = [c.profile.rows * c.profile.banks for c in model.graph.candidates[i]]
        rows.append(LinearExpr.weighted_sum(model.literals[i], needed))
    model.cp.add_cumulative(intervals, demands, hardware.banks)
    model.cp.add(LinearExpr.sum(rows) <= hardware.rows_per_bank * hardware.banks)
    return demands


def _shapes(model: Model, held: Held) -> None:
    """Give each layer as many channels as its mapping says, and in each of them as many banks."""
    width = model.graph.problem.hardware.banks_per_channel
    for i, (banks, channels) in enumerate(zip(held.banks, held.channels, strict=True)):
        literals = model.literals[i]
        model.cp.add(
            LinearExpr.sum(channels) == LinearExpr.weighted_sum(literals, per_candidate(model, i, "channels"))
        )
        wide = LinearExpr.weighted_sum(literals, per_candidate(model, i, "banks_per_channel"))
        for c, used in enumerate(channels):
            here = banks[c * width : (c + 1) * width]
            model.cp.add(LinearExpr.sum(here) == wide).only_enforce_if(used)
            model.cp.add(LinearExpr.sum(here) == 0).only_enforce_if(~used)


def _rows(model: Model, banks: Sequence[Sequence[IntVar]]) -> list[list[IntVar]]:
    """Let the rows of all layers of a bank fit into it, where they might not."""
    hardware = model.graph.problem.hardware
    needed = [[c.profile.rows for c in own] for own in model.graph.candidates]
    if sum(map(max, needed)) <= hardware.rows_per_bank:
        return []
    rows = []
    for b in range(hardware.banks):
        here = [model.cp.new_int_var(0, max(own), f"rows{i}_{b}") for i, own in enumerate(needed)]
        for i, (own, taken) in enumerate(zip(needed, here, strict=True)):
            chosen = LinearExpr.weighted_sum(model.literals[i], own)
            model.cp.add(taken >= chosen).only_enforce_if(banks[i][b])
        model.cp.add(LinearExpr.sum(here) <= hardware.rows_per_bank)
        rows.append(here)
    return rows


def _one_at_a_time(model: Model, held: Held) -> None:
    for b in range(model.graph.problem.hardware.banks):
        model.cp.add_no_overlap(
            model.cp.new_optional_interval_var(times[START], length, times[END], banks[b], f"hold{i}_{b}")
            for i, (times, length, banks) in enumerate(
                zip(model.times, held.lengths, held.banks, strict=True)
            )
        )


def _first_banks_first(model: Model, held: Held) -> None:
    """Banks of a channel are alike, and so are channels: the first layer takes the first of each."""
    width = model.graph.problem.hardware.banks_per_channel
    first = model.graph.problem.network.topological[0]
    channels, banks = held.channels[first], held.banks[first]
    for c in range(len(channels) - 1):
        model.cp.add_implication(channels[c + 1], channels[c])
    for b in range(len(banks) - 1):
        if (b + 1) % width:
            model.cp.add_implication(banks[b + 1], banks[b])


def _no_circles(model: Model) -> None:
    """A layer ends after what it reads has begun, so that banks cannot go from it to its producer."""
    for link in model.graph.links:
        least = int(link.lags[:, :, START, END].min()) // model.unit
        if least > 0:
            begun = model.times[link.producer][START]
            model.cp.add(model.times[link.consumer][END] >= begun + least)


def hint_banks(model: Model, held: Held, plan: Plan) -> None:
    """Complete the hint of a plan by its banks, renamed so that the first layer has the first ones."""
    hardware = model.graph.problem.hardware
    first = model.graph.problem.network.topological[0]
    renamed = _renaming(plan.banks[first], hardware.channels, hardware.banks_per_channel)
    for i, times in enumerate(plan.timeline.layers):
        length = times.end // model.unit - times.start // model.unit
        model.cp.add_hint(held.lengths[i], length)
        model.cp.add_hint(held.counts[i], len(plan.banks[i]))
        if held.banks:
            taken = set(renamed[plan.banks[i]].tolist())
            used = {b // hardware.banks_per_channel for b in taken}
            for b, literal in enumerate(held.banks[i]):
                model.cp.add_hint(literal, b in taken)
            for c, literal in enumerate(held.channels[i]):
                model.cp.add_hint(literal, c in used)
            for b, rows in enumerate(held.rows):
                model.cp.add_hint(rows[i], times.profile.rows if b in taken else 0)


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
