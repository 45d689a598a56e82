"""The CP-SAT model: a literal for each candidate, a time for each checkpoint, a function for each family.

docs/formulation.md has the mathematics: why every constraint holds for every plan, what is bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ortools.sat.python.cp_model import CpModel, IntVar, LinearExpr

from solver.maxplus import chains, envelopes
from solver.maxplus.candidates import Candidate
from solver.maxplus.chains import Chain
from solver.maxplus.checkpoints import END, START
from solver.maxplus.envelopes import Envelope
from solver.maxplus.heads import Bounds, LagGraph, Link
from solver.schedule.plan import Plan
from solver.stop import Stop
from solver.timing.infinity import MINUS_INFINITY
from solver.timing.profile import Cycles
from solver.timing.timeline import LayerTimes

RANGE = 2**44
"""Times up to which the model counts in cycles; longer ones are counted in larger units, rounded down."""


@dataclass(frozen=True, eq=False)
class LayerVariables:
    """The variables of one layer.

    Attributes
    ----------
    takes : whether it takes each of its candidates.
    passes : when it passes each of its checkpoints, in units.
    """

    takes: Sequence[IntVar]
    passes: Sequence[IntVar]

    @property
    def start(self) -> IntVar:
        """When it starts."""
        return self.passes[START]

    @property
    def end(self) -> IntVar:
        """When it ends."""
        return self.passes[END]

    def chosen(self, scaled: Sequence[int]) -> LinearExpr:
        """Return the value of the candidate that it takes, given one for each."""
        if len(set(scaled)) == 1:
            return LinearExpr.sum([scaled[0]])
        return LinearExpr.weighted_sum(self.takes, scaled)


@dataclass(frozen=True, eq=False)
class Model:
    """A model and its variables.

    Attributes
    ----------
    limit : the latency that plans may have at most, in cycles.
    unit : cycles in one unit of the model's times.
    """

    graph: LagGraph
    bounds: Bounds
    limit: int
    unit: int
    cp: CpModel
    layers: Sequence[LayerVariables]
    latency: IntVar

    @property
    def static(self) -> bool:
        """Whether every bank serves one layer."""
        return self.graph.problem.hardware.weights == "static"

    @property
    def begun_at_once(self) -> bool:
        """Whether layers start as early as their data allow, as nothing is gained by a later start."""
        return self.static and not self.graph.problem.objective.streams

    def chosen(self, layer: int, values: Cycles) -> LinearExpr:
        """Return the value, in cycles, of the candidate that a layer takes, in units rounded down."""
        return self.layers[layer].chosen((values // self.unit).tolist())


def build_model(
    graph: LagGraph, bounds: Bounds, limit: int, anchor: Sequence[int], stop: Stop | None = None
) -> Model:
    """Return the model of all plans no later than `limit`, without banks and critical paths.

    It minimises the latency (see `add_aim` for what else).

    Its envelopes are exact for the candidates at the places `anchor`, and for one of them with any other.

    Raises
    ------
    StoppedError
        if it is time to stop before all of it is there.
    """
    stop = stop or Stop()
    model = unconstrained(graph, bounds, limit)
    one_candidate(model)
    within_layers(model)
    heads_and_tails(model)
    barred_pairs(model)
    for link in graph.links:
        stop.check()
        add_envelopes(model, link, anchor[link.producer], anchor[link.consumer])
    model.cp.minimize(model.latency)
    return model


def unconstrained(graph: LagGraph, bounds: Bounds, limit: int) -> Model:
    """Return the variables of the plans no later than `limit`, each within its range, and no constraint."""
    cp = CpModel()
    unit = -(-limit // RANGE)
    takes = [
        [cp.new_bool_var(f"x{i}_{m}") for m in range(len(own))] for i, own in enumerate(graph.candidates)
    ]
    layers = []
    for i, (heads, tails) in enumerate(zip(bounds.heads, bounds.tails, strict=True)):
        first, last = heads.min(axis=0) // unit, (limit - tails.min(axis=0)) // unit
        passes = [
            cp.new_int_var(int(a), int(b), f"t{i}_{q}")
            for q, (a, b) in enumerate(zip(first, last, strict=True))
        ]
        layers.append(LayerVariables(takes[i], passes))
    latency = cp.new_int_var(bounds.latency // unit, limit // unit, "latency")
    return Model(graph, bounds, limit, unit, cp, layers, latency)


def one_candidate(model: Model) -> None:
    """Choose exactly one candidate for each layer."""
    for layer in model.layers:
        model.cp.add_exactly_one(layer.takes)


def within_layers(model: Model) -> None:
    """From the start to a checkpoint, and on to the end, it takes at least as long as without waiting."""
    for i, (layer, ideal) in enumerate(zip(model.layers, model.graph.times, strict=True)):
        for q, time in enumerate(layer.passes[1:], 1):
            model.cp.add(time >= layer.start + model.chosen(i, ideal[:, q]))
        for q, time in enumerate(layer.passes[1:END], 1):
            model.cp.add(layer.end >= time + model.chosen(i, ideal[:, END] - ideal[:, q]))


def heads_and_tails(model: Model) -> None:
    """Pass no checkpoint before its head, and leave from there on at least its tail until the latency."""
    for i, layer in enumerate(model.layers):
        for q, time in enumerate(layer.passes):
            model.cp.add(time >= model.chosen(i, model.bounds.heads[i][:, q]))
            model.cp.add(model.latency >= time + model.chosen(i, model.bounds.tails[i][:, q]))
        model.cp.add(model.latency >= model.chosen(i, model.bounds.layers[i]))


def add_envelopes(model: Model, link: Link, producer: int, consumer: int) -> None:
    """Bind the checkpoints of two layers by envelopes that are exact for a pair of candidates."""
    lags = envelopes.effective(link, model.bounds, model.limit)
    for q, r in envelopes.relevant(link, model.bounds):
        of_pair = lags[:, :, q, r]
        for envelope in (
            envelopes.at_consumer(of_pair, consumer),
            envelopes.at_producer(of_pair, producer),
        ):
            _add_envelope(model, link, q, r, envelope)


def _add_envelope(model: Model, link: Link, q: int, r: int, envelope: Envelope) -> None:
    asked = model.chosen(link.producer, envelope.producers) + model.chosen(link.consumer, envelope.consumers)
    producer, consumer = model.layers[link.producer], model.layers[link.consumer]
    model.cp.add(consumer.passes[r] >= producer.passes[q] + asked)


def barred_pairs(model: Model) -> None:
    """Do not choose pairs that no plan within the limit has."""
    for link in model.graph.links:
        barred = link.lags[:, :, START, END] > model.limit
        for i, j in zip(*np.nonzero(barred), strict=True):
            first, second = model.layers[link.producer].takes[i], model.layers[link.consumer].takes[j]
            model.cp.add_at_most_one(first, second)


def add_chain(model: Model, chain: Chain) -> None:
    """Bind the end of a critical path to its start by the lags of the candidates along it.

    A candidate that breaks the chain asks for no more than what holds anyway.
    """
    transfer = model.graph.problem.hardware.cycles.transfer
    lags = chains.chain_lags(chain, model.graph.candidates, transfer)
    if model.begun_at_once:
        lags[0] = lags[0] + model.graph.first_blocks[chain[0].layer]
    most = [int(own.max()) for own in lags]
    if min(most) == MINUS_INFINITY:
        return
    total = LinearExpr.sum([])
    for step, own, longest in zip(chain, lags, most, strict=True):
        others = sum(most) - longest
        if model.begun_at_once:
            broken = np.minimum(model.bounds.layers[step.layer] - others, longest)
        else:
            broken = np.full_like(own, -model.limit - max(0, others) - 1)
        total = total + model.chosen(step.layer, np.maximum(own, broken))
    if model.begun_at_once:
        model.cp.add(model.latency >= total)
    else:
        first, last = model.layers[chain[0].layer], model.layers[chain[-1].layer]
        model.cp.add(last.end >= first.start + total)


def places(graph: LagGraph, plan: Plan) -> list[int]:
    """Return the place of each layer's mapping and order among its candidates, 0 if it is not there."""
    return [
        next((m for m, candidate in enumerate(own) if _is(candidate, times)), 0)
        for own, times in zip(graph.candidates, plan.timeline.layers, strict=True)
    ]


def _is(candidate: Candidate, times: LayerTimes) -> bool:
    blocks = None if times.order is None else tuple(times.order.tolist())
    return candidate.profile.mapping == times.profile.mapping and candidate.blocks == blocks


def hint(model: Model, plan: Plan) -> bool:
    """Give a plan that is made of candidates of the model as the first solution; return whether it is."""
    found = places(model.graph, plan)
    model.cp.clear_hints()  # type: ignore[no-untyped-call]
    chosen = [own[place] for own, place in zip(model.graph.candidates, found, strict=True)]
    if not all(map(_is, chosen, plan.timeline.layers)) or plan.latency > model.limit:
        return False
    for i, (place, times) in enumerate(zip(found, plan.timeline.layers, strict=True)):
        for m, literal in enumerate(model.layers[i].takes):
            model.cp.add_hint(literal, m == place)
        ideal = model.graph.times[i][place]
        real = [times.first_block, *(ideal[1:] + times.delay_at(ideal[1:])).tolist()]
        for time, value in zip(model.layers[i].passes, real, strict=True):
            model.cp.add_hint(time, value // model.unit)
    model.cp.add_hint(model.latency, plan.latency // model.unit)
    return True
