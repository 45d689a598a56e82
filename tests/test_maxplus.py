"""What candidates imply for each other: by hand, never more than plans do, and no less where it is exact."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from generators import CandidateLists, draw_candidates, draw_hardware, draw_network
from hypothesis import given
from hypothesis import strategies as st

from hw.library import load_hardware
from models.library import load_network
from models.network import DIMS, Network
from solver.execute.numbers import draw_numbers
from solver.execute.run import execute
from solver.execute.schedule import LayerSchedule
from solver.maxplus.candidates import Candidate, Region, finish_table, first_table
from solver.maxplus.chains import chain_lags, decisive_chain
from solver.maxplus.checkpoints import END, START, distinct_rows
from solver.maxplus.envelopes import at_consumer, at_producer, effective, relevant
from solver.maxplus.heads import (
    Bounds,
    Budget,
    LagGraph,
    Link,
    bounds,
    budget,
    heads,
    lag_graph,
    no_budget,
    reduce,
    tails,
)
from solver.maxplus.lags import pair_lags
from solver.stop import Stop
from solver.timing.infinity import INFINITY, MINUS_INFINITY
from solver.timing.mapping import Loop, Mapping
from solver.timing.problem import Edge, Problem
from solver.timing.profile import Cycles
from solver.timing.timeline import Timeline, evaluate

# By hand

NONE = MINUS_INFINITY


def test_lags_of_a_pair() -> None:
    """Two blocks, begun at 0 and 10, need what is finished at 5 and 30.

    The first one delays all that comes after 0, and the start itself; the second what comes after 10.
    """
    passed, reached = np.array([0, 5, 6, 30, 31]), np.array([0, 10, 11, 25])
    lags = pair_lags(np.array([0, 10]), np.array([5, 30]), passed, reached)
    assert lags.tolist() == [
        [5, 15, 31, 45],
        [0, 10, 26, 40],
        [NONE, NONE, 25, 39],
        [NONE, NONE, 1, 15],
        [NONE, NONE, NONE, NONE],
    ]


def by_hand() -> LagGraph:
    """Return two layers of two candidates; the first ones end after 10 and 20 cycles, the others after 30."""
    problem = Problem(load_network("toy"), load_hardware("toy"))
    own = problem.layers[0]
    without_lead = problem.profile(0, Mapping(tuple(Loop(d, own.bound(d), "temporal") for d in DIMS)))
    unknown = [[Candidate(without_lead)] * 2] * 2
    times = [np.array([[0, 10], [0, 30]]), np.array([[0, 20], [0, 30]])]
    lags = np.full((2, 2, 2, 2), MINUS_INFINITY)
    lags[:, :, START, START] = [[4, 5], [6, 7]]
    lags[:, :, END, END] = [[8, 9], [1, 2]]
    return LagGraph(problem, unknown, times, [Link(0, 1, lags)])


def test_heads() -> None:
    """The second layer starts by the least lag from the first, ends by its own time or after the first."""
    first, second = heads(by_hand(), no_budget(by_hand()), Stop())
    assert first[:, 0].tolist() == [[0, 10], [0, 30]]
    assert second[:, 0].tolist() == [[4, max(20, min(10 + 8, 30 + 1))], [5, max(30, 10 + 9)]]


def test_tails() -> None:
    """From the start of the first layer: its own time, or the least lag and what is left of the second."""
    first, second = tails(by_hand(), no_budget(by_hand()), Stop())
    assert second[:, 0].tolist() == [[20, 0], [30, 0]]
    assert first[:, 0].tolist() == [[4 + 20, 8], [max(30, 6 + 20), 1]]


def test_heads_and_tails_within_a_budget() -> None:
    """The fast candidates take one unit each, of which there are none, one or two."""
    graph, own = by_hand(), Budget([np.array([1, 0]), np.array([1, 0])], 2)
    first, second = heads(graph, own, Stop())
    assert first[:, :, END].tolist() == [[INFINITY, 10, 10], [30, 30, 30]]
    slow, fast = 30 + 1, 10 + 8
    assert second[0, :, END].tolist() == [INFINITY, max(20, slow), max(20, fast)]
    assert second[1, :, END].tolist() == [max(30, 30 + 2), max(30, 10 + 9), max(30, 10 + 9)]
    left, _ = tails(graph, own, Stop())
    assert left[:, :, START].tolist() == [[5 + 30, 4 + 20, 4 + 20], [7 + 30, 30, 30]]


def test_bounds_of_layers_and_pairs() -> None:
    found = bounds(by_hand(), no_budget(by_hand()), Stop())
    assert [own.tolist() for own in found.layers] == [[4 + 20, 31], [4 + 20, 5 + 30]]
    assert [own.tolist() for own in found.links] == [[[4 + 20, 5 + 30], [31, 7 + 30]]]
    assert found.latency == 24
    own = Budget([np.array([1, 0]), np.array([1, 0])], 1)
    limited = bounds(by_hand(), own, Stop())
    assert np.minimum(limited.links[0], INFINITY).tolist() == [[INFINITY, 35], [31, 37]]
    assert limited.latency == 31


@pytest.mark.parametrize(("limit", "left"), [(37, [2, 2]), (30, [1, 1]), (31, [2, 1])])
def test_what_is_later_than_the_limit_is_left_out(limit: int, left: list[int]) -> None:
    graph, _ = reduce(by_hand(), limit, Stop())
    assert [len(own) for own in graph.times] == left


def test_pairs_later_than_the_limit_are_barred() -> None:
    graph, found = reduce(by_hand(), 36, Stop())
    assert (graph.links[0].lags[:, :, START, END] == INFINITY).tolist() == [[False, False], [False, True]]
    assert found.latency == 24


def test_an_idle_block_that_comes_first_reads_nothing() -> None:
    """Three channels in two by two blocks: the last block is idle, and here it takes its time first."""
    layers = [
        {"name": "a", "dims": {"K": 2}, "operands": [{"from": "x"}]},
        {
            "name": "b",
            "dims": {"K": 3, "C": 2},
            "operands": [{"from": "a", "axes": {"ch": {"terms": {"C": 1}}}}],
        },
    ]
    inputs = [{"name": "x", "shape": [1, 1, 1, 1]}]
    tree = {"format": "overlapim/network/1", "name": "channels", "inputs": inputs, "layers": layers}
    chip = load_hardware("toy").model_copy(update={"sync_blocks": 4})
    problem = Problem(Network.model_validate(tree), chip)
    producer = problem.profile(0, Mapping((Loop("K", 2, "column"),)))
    loops = Loop("K", 2, "temporal"), Loop("K", 2, "temporal"), Loop("C", 2, "temporal")
    consumer = problem.profile(1, Mapping(loops))
    second = consumer.block_starts[1]
    for order, first in (((3, 0, 1, 2), second), ((0, 3, 1, 2), 0)):
        table = first_table(Candidate(consumer, order), problem.edges[1][0], producer)
        assert [part.ravel().tolist() for part in table.parts] == [[first, first]]


def envelope_lags() -> Cycles:
    return np.array([[100, 70], [60, INFINITY]])


def test_envelopes_are_exact_at_their_anchor_and_nowhere_above_the_lags() -> None:
    lags = envelope_lags()
    for anchor in (0, 1):
        for found, exact in (
            (at_consumer(lags, anchor), (slice(None), anchor)),
            (at_producer(lags, anchor), (anchor, slice(None))),
        ):
            sums = found.producers[:, None] + found.consumers
            assert (sums <= lags).all()
            allowed = lags[exact] < INFINITY
            assert (sums[exact] == lags[exact])[allowed].all()


def test_a_barred_pair_takes_nothing_from_the_envelope_of_others() -> None:
    found = at_consumer(envelope_lags(), 1)
    assert (found.producers[:, None] + found.consumers).tolist() == [[70, 70], [60, 60]]


def test_effective_lags_stand_in_for_none() -> None:
    """A reader starts by its head, a producer has left its tail within the limit: 45 - (100 - 30)."""
    lags = np.full((1, 1, 2, 2), MINUS_INFINITY)
    lags[0, 0, START, START] = 7
    head, tail = [np.zeros((1, 2)), np.array([[45, 50]])], [np.array([[30, 0]]), np.zeros((1, 2))]
    raised = effective(Link(0, 1, lags), Bounds(head, tail, [], []), 100)
    assert raised[0, 0].tolist() == [[7, 50 - 70], [45 - 100, 50 - 100]]


def test_relevant_lags_decide_for_some_pair() -> None:
    graph = by_hand()
    found = bounds(graph, no_budget(graph), Stop())
    assert relevant(graph.links[0], found) == [(0, 0), (1, 1)]


def test_budgets_are_banks_beyond_the_most_frugal_choice() -> None:
    drawn = draw(3)
    banks = [[candidate.profile.banks for candidate in own] for own in drawn.candidates]
    found = budget(lag_graph(drawn.problem, drawn.candidates, Stop()))
    assert [own.tolist() for own in found.units] == [[b - min(own) for b in own] for own in banks]
    assert found.total == drawn.problem.hardware.banks - sum(map(min, banks))


# Against real plans


@dataclass(frozen=True)
class Drawn:
    """A problem with static weights, and candidates for each layer."""

    problem: Problem
    candidates: CandidateLists

    def timeline(self, choice: Sequence[int]) -> Timeline:
        """Return when everything runs, whether or not there are banks for all."""
        own = [c[m] for c, m in zip(self.candidates, choice, strict=True)]
        free = [0] * len(own)
        return evaluate(self.problem, [c.profile for c in own], free, [c.order for c in own])

    def choices(self) -> itertools.product[tuple[int, ...]]:
        """Return every choice of candidates."""
        return itertools.product(*(range(len(own)) for own in self.candidates))


def draw(seed: int, most: int = 3) -> Drawn:
    rng = random.Random(seed)
    network = draw_network(rng, rng.randint(2, 4))
    problem = Problem(network, draw_hardware(rng, network).with_weights("static"))
    return Drawn(problem, draw_candidates(rng, problem, most))


@pytest.mark.parametrize("seed", range(60))
def test_no_plan_is_ahead_of_lags_heads_tails_and_bounds(seed: int) -> None:
    drawn = draw(seed)
    graph = lag_graph(drawn.problem, drawn.candidates, Stop())
    found = bounds(graph, no_budget(graph), Stop())
    for choice in drawn.choices():
        timeline = drawn.timeline(choice)
        real = []
        for times, ideal, m in zip(timeline.layers, graph.times, choice, strict=True):
            real.append(ideal[m] + times.delay_at(ideal[m]))
            real[-1][START] = times.first_block
        for i, m in enumerate(choice):
            assert (real[i] >= found.heads[i][m]).all()
            assert (timeline.latency >= real[i] + found.tails[i][m]).all()
            assert timeline.latency >= found.layers[i][m]
        for link, pairs in zip(graph.links, found.links, strict=True):
            m, n = choice[link.producer], choice[link.consumer]
            assert (real[link.consumer] >= real[link.producer][:, None] + link.lags[m, n]).all()
            assert timeline.latency >= pairs[m, n]


@pytest.mark.parametrize("seed", range(60))
def test_elements_are_first_read_and_finished_when_an_execution_does(seed: int) -> None:
    drawn = draw(seed, 1)
    problem, (own, *_) = drawn.problem, zip(*drawn.candidates, strict=True)
    timeline = drawn.timeline([0] * len(own))
    given = [LayerSchedule(x.profile.mapping, x.order, x.block_starts()) for x in timeline.layers]
    executed = execute(problem.network, problem.hardware, given, draw_numbers(problem.network, 0))
    for layer, edges in enumerate(problem.edges):
        starts = own[layer].profile.block_starts
        for producer in {edge.producer for edge in edges}:
            profile, times = own[producer].profile, timeline.layers[producer]
            reading = [edge for edge in edges if edge.producer == producer]
            loaded = executed[layer].loaded[problem.layers[producer].name]
            for element in np.ndindex(loaded.shape):
                places = [place(edge, loaded.shape, element) for edge in reading]
                first = min(
                    first_table(own[layer], edge, profile).largest(x)
                    for edge, x in zip(reading, places, strict=True)
                )
                block = np.searchsorted(executed[layer].starts, loaded[element])
                assert min(first, INFINITY) == (starts[block] if block < len(starts) else INFINITY)
                finish = finish_table(own[producer], reading[0]).largest(places[0])
                real = finish + times.delay_at(np.array([finish]))[0]
                assert real == executed[producer].finish[element]


def place(edge: Edge, shape: tuple[int, ...], element: tuple[int, ...]) -> Region:
    """Return an element as a region: its place in each group of an operand."""
    found = []
    for group in edge.groups:
        axes = [element[axis] for axis in group.axes]
        found.append(np.array([np.ravel_multi_index(axes, [shape[axis] for axis in group.axes])]))
    return tuple(found)


@pytest.mark.parametrize("first", range(0, 100, 20))
def test_bounds_of_a_single_choice_are_its_latency(first: int) -> None:
    """Nothing is lost where every class of elements is a region of its own."""
    drawn = [draw(seed, 1) for seed in range(first, first + 20)]
    exact = 0
    for one in drawn:
        graph = lag_graph(one.problem, one.candidates, Stop())
        latency = one.timeline([0] * len(one.candidates)).latency
        found = bounds(graph, no_budget(graph), Stop()).latency
        assert found <= latency
        exact += found == latency
    assert exact >= 18


@pytest.mark.parametrize("seed", range(60))
def test_critical_paths_are_as_long_as_the_plan_and_no_longer_than_others(seed: int) -> None:
    drawn = draw(seed)
    transfer = drawn.problem.hardware.cycles.transfer
    timelines = {choice: drawn.timeline(choice) for choice in drawn.choices()}
    for choice, timeline in timelines.items():
        own = [c[m] for c, m in zip(drawn.candidates, choice, strict=True)]
        ends = [times.end for times in timeline.layers]
        chain = decisive_chain(drawn.problem, own, timeline, ends.index(max(ends)))
        lags = chain_lags(chain, drawn.candidates, transfer)
        layers = [step.layer for step in chain]
        for other, later in timelines.items():
            length = sum(int(x[other[i]]) for x, i in zip(lags, layers, strict=True))
            # What comes before the first block of its first layer is no part of a chain.
            length += drawn.candidates[layers[0]][other[layers[0]]].profile.lead
            assert length <= later.layers[layers[-1]].end
            assert other != choice or length == timeline.latency


@given(st.data())
def test_rows_are_told_apart_as_a_whole(data: st.DataObject) -> None:
    rows, width = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 4))
    entries = st.sampled_from([MINUS_INFINITY, -1, 0, 1, 2**40])
    drawn = data.draw(st.lists(entries, min_size=rows * width, max_size=rows * width))
    table = np.array(drawn, np.int64).reshape(rows, width)
    first, which = distinct_rows(table)
    assert sorted(first.tolist()) == sorted(np.unique(table, axis=0, return_index=True)[1].tolist())
    assert (table[first][which] == table).all()
