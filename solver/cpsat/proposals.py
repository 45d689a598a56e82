"""From a proposal of the model to a valid plan, evaluated exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from solver.cpsat.packing import packed
from solver.maxplus.candidates import Candidate
from solver.params import ModelParams
from solver.schedule.plan import Plan, in_order, overlap_shared
from solver.stop import Stop
from solver.timing.problem import Problem
from solver.timing.profile import Profile
from solver.timing.timeline import Orders, Timeline, evaluate

Choice = tuple[Candidate, ...]
"""One candidate for each layer."""


@dataclass(frozen=True)
class Proposal:
    """A solution of the model, in cycles.

    Attributes
    ----------
    banks : for each layer those that it holds; empty if the model has not chosen any.
    """

    choice: Choice
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    latency: int
    banks: tuple[tuple[int, ...], ...]

    @property
    def profiles(self) -> list[Profile]:
        """The profile of each layer."""
        return [candidate.profile for candidate in self.choice]

    @property
    def orders(self) -> Orders:
        """The order of the blocks of each layer."""
        return [candidate.order for candidate in self.choice]


@dataclass(frozen=True, eq=False)
class Assessment:
    """What a proposal comes to.

    Attributes
    ----------
    plan : the plan; None if no banks were found for it.
    timeline : when its layers run, whether or not there are banks; None if that is not known.
    misfit : whether it is proven that no banks suffice.
    """

    plan: Plan | None
    timeline: Timeline | None
    misfit: bool


def assess(problem: Problem, proposal: Proposal, params: ModelParams, stop: Stop) -> Assessment:
    """Evaluate a proposal exactly; when it is time to stop, whether there are banks for it stays open."""
    if problem.objective.streams:
        return _as_begun(problem, proposal, params, stop)
    if problem.hardware.weights == "static":
        timeline = evaluate(problem, proposal.profiles, problem.earliest, proposal.orders)
        banks, misfit = packed(problem.hardware, proposal.profiles, params, problem.given_banks, stop)
        return Assessment(None if banks is None else Plan(timeline, tuple(banks)), timeline, misfit)
    plan = _on_banks(problem, proposal) if proposal.banks else _placed(problem, proposal)
    return Assessment(plan, None if plan is None else plan.timeline, False)


def _as_begun(problem: Problem, proposal: Proposal, params: ModelParams, stop: Stop) -> Assessment:
    """Run layers from when the proposal begins them; if that keeps to its ends, their banks are free then."""
    pairs = zip(problem.earliest, proposal.starts, proposal.profiles, strict=True)
    releases = [max(first, start - p.lead) for first, start, p in pairs]
    timeline = evaluate(problem, proposal.profiles, releases, proposal.orders)
    if problem.hardware.weights == "static":
        banks, misfit = packed(problem.hardware, proposal.profiles, params, problem.given_banks, stop)
        return Assessment(None if banks is None else Plan(timeline, tuple(banks)), timeline, misfit)
    if not proposal.banks:
        return Assessment(_placed(problem, proposal), timeline, False)
    if all(x.end <= end for x, end in zip(timeline.layers, proposal.ends, strict=True)):
        given = tuple(np.array(own, np.int64) for own in proposal.banks)
        return Assessment(Plan(timeline, given), timeline, False)
    return Assessment(_on_banks(problem, proposal), timeline, False)


def _on_banks(problem: Problem, proposal: Proposal) -> Plan:
    """Run every layer on the banks it was given as soon as those before it on one of them are done."""
    count = len(proposal.choice)
    sequence = sorted(range(count), key=lambda i: (proposal.starts[i], proposal.ends[i]))
    before: list[list[int]] = [[] for _ in range(count)]
    for place, i in enumerate(sequence):
        before[i] = [j for j in sequence[:place] if not set(proposal.banks[i]).isdisjoint(proposal.banks[j])]
    releases = list(problem.earliest)
    while True:
        timeline = evaluate(problem, proposal.profiles, releases, proposal.orders)
        ends = [[timeline.layers[j].end for j in own] for own in before]
        later = [max([first, *own]) for first, own in zip(problem.earliest, ends, strict=True)]
        if later == releases:
            return Plan(timeline, tuple(np.array(own, np.int64) for own in proposal.banks))
        releases = later


def _placed(problem: Problem, proposal: Proposal) -> Plan | None:
    """Place the layers one after the other, those that the model starts first before the others."""
    if any(candidate.blocks for candidate in proposal.choice):
        return None
    by_start = sorted(range(len(proposal.choice)), key=proposal.starts.__getitem__)
    order = in_order(problem, {layer: place for place, layer in enumerate(by_start)})
    return overlap_shared(problem, proposal.profiles, order, frozenset(order))
