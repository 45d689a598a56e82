"""Each family of constraints of the CP-SAT model on its own, with numbers that can be followed by hand.

A family stands alone on the variables: what it allows is feasible, what it forbids is not, and nothing else
could have forbidden it. Then comes the bound of the model with it, before any cut.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np
import pytest
from ortools.sat.python.cp_model import FEASIBLE, INFEASIBLE, OPTIMAL, CpSolver, IntVar

from hw.hardware import Hardware
from hw.library import load_hardware
from models.network import Network
from solver.cpsat import banks, model
from solver.cpsat.banks import BankVariables
from solver.cpsat.model import Model
from solver.maxplus.candidates import Candidate
from solver.maxplus.chains import ChainStep
from solver.maxplus.checkpoints import END, START
from solver.maxplus.heads import Bounds, LagGraph, Link
from solver.timing.infinity import INFINITY, MINUS_INFINITY
from solver.timing.limits import LayerLimits, Limits
from solver.timing.mapping import Loop, Mapping
from solver.timing.problem import Problem
from solver.timing.profile import Cycles

Fixed = Iterable[tuple[IntVar, int]]

LIMIT = 200
REGION = 1
"""The checkpoint of the first layer between its start and its end."""


def rows_network() -> Network:
    """Return two layers of four rows and four channels; the second reads the first row by row."""
    rows = {"n": {"terms": {"N": 1}}, "ch": {"terms": {"C": 1}}, "h": {"terms": {"P": 1}}}
    layers = [
        {"name": name, "dims": {"P": 4, "K": 4, "C": 4}, "operands": [{"from": read, "axes": rows}]}
        for name, read in (("a", "x"), ("b", "a"))
    ]
    inputs = [{"name": "x", "shape": [1, 4, 4, 1]}]
    tree = {"format": "overlapim/network/1", "name": "rows", "inputs": inputs, "layers": layers}
    return Network.model_validate(tree)


def chip(weights: str = "shared", rows: int = 2048) -> Hardware:
    """Return a chip of two channels with two banks each."""
    changes = {"channels": 2, "banks_per_channel": 2, "weights": weights, "rows_per_bank": rows}
    return load_hardware("toy").model_copy(update=changes)


def candidate(problem: Problem, layer: int, channels: int, banks_each: int) -> Candidate:
    """Return a candidate that splits channels of the output over channels and its rows over banks."""
    loops = (
        Loop("P", 4 // banks_each, "temporal"),
        Loop("K", 4 // channels, "temporal"),
        Loop("C", 4, "temporal"),
        Loop("K", channels, "channel"),
        Loop("P", banks_each, "bank"),
    )
    return Candidate(problem.profile(layer, Mapping(loops)))


SHAPES = ((1, 1), (2, 1), (1, 2), (2, 2))
"""Channels and banks in each of them, of the candidates that every layer has where banks matter."""


def shaped(hardware: Hardware) -> Model:
    """Return the variables of two layers that may have any shape on a chip, and no constraint."""
    problem = Problem(rows_network(), hardware)
    candidates = [[candidate(problem, i, *shape) for shape in SHAPES] for i in range(2)]
    times = [np.zeros((4, 2), np.int64)] * 2
    graph = LagGraph(problem, candidates, times, [Link(0, 1, np.zeros((4, 4, 2, 2), np.int64))])
    return model.unconstrained(graph, nothing(times), LIMIT)


IDEAL = [np.array([[0, 30, 40], [0, 10, 60]]), np.array([[0, 50], [0, 20]])]
"""Ideal times of the checkpoints of two candidates of each of two layers."""


def nothing(times: Sequence[Cycles]) -> Bounds:
    """Return bounds that say nothing."""
    zeros = [np.zeros_like(own) for own in times]
    layers = [np.zeros(len(own), np.int64) for own in times]
    return Bounds(zeros, zeros, layers, [np.zeros((len(times[0]), len(times[1])), np.int64)])


def no_lags() -> Cycles:
    return np.full((2, 2, 3, 2), MINUS_INFINITY)


def numbers(lags: Cycles, bounds: Bounds | None = None, weights: str = "shared") -> Model:
    """Return the variables of two layers with the ideal times above, and no constraint."""
    problem = Problem(rows_network(), chip(weights))
    candidates = [[candidate(problem, i, *shape) for shape in SHAPES[:2]] for i in range(2)]
    graph = LagGraph(problem, candidates, IDEAL, [Link(0, 1, lags)])
    return model.unconstrained(graph, bounds or nothing(IDEAL), LIMIT)


def feasible(made: Model, *fixed: Fixed) -> bool:
    """Whether the model has a solution in which these variables have these values."""
    made.cp.clear_hints()
    for variable, value in itertools.chain(*fixed):
        made.cp.add_hint(variable, value)
    solver = CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.fix_variables_to_their_hinted_value = True
    status = solver.solve(made.cp)
    assert status in (OPTIMAL, FEASIBLE, INFEASIBLE), made.cp.validate()
    return status != INFEASIBLE


def least(made: Model) -> int:
    """Return the least latency that the model allows, once every layer has one candidate and an end."""
    model.one_candidate(made)
    model.heads_and_tails(made)
    made.cp.minimize(made.latency)
    made.cp.clear_hints()
    solver = CpSolver()
    solver.parameters.num_workers = 1
    assert solver.solve(made.cp) == OPTIMAL
    return round(solver.objective_value)


def choose(made: Model, *choice: int) -> list[tuple[IntVar, int]]:
    """Take a candidate for each layer."""
    pairs = zip(made.layers, choice, strict=True)
    return [(literal, m == place) for own, place in pairs for m, literal in enumerate(own.takes)]


def at(made: Model, layer: int, *times: tuple[int, int]) -> list[tuple[IntVar, int]]:
    """Pass checkpoints of a layer at some times."""
    return [(made.layers[layer].passes[checkpoint], time) for checkpoint, time in times]


def on(literals: Sequence[IntVar], *places: int) -> list[tuple[IntVar, int]]:
    """Take just these banks, or channels."""
    return [(literal, i in places) for i, literal in enumerate(literals)]


# The model of candidates and times


def test_one_candidate() -> None:
    made = numbers(no_lags())
    model.one_candidate(made)
    taken = [
        literals
        for literals in itertools.product((0, 1), repeat=4)
        if feasible(made, zip([*made.layers[0].takes, *made.layers[1].takes], literals, strict=True))
    ]
    assert taken == [(0, 1, 0, 1), (0, 1, 1, 0), (1, 0, 0, 1), (1, 0, 1, 0)]


def test_one_candidate_bounds_the_model() -> None:
    """Without a candidate no head would hold: the larger of the least heads is what is left."""
    known = nothing(IDEAL)
    heads = [known.heads[0] + np.array([[70], [80]]), known.heads[1]]
    assert least(numbers(no_lags(), Bounds(heads, known.tails, known.layers, known.links))) == 70


@pytest.mark.parametrize(
    ("choice", "times", "allowed"),
    [
        (0, ((START, 5), (REGION, 35), (END, 45)), True),
        (0, ((START, 5), (REGION, 34)), False),
        (0, ((START, 5), (END, 44)), False),
        (1, ((START, 5), (REGION, 15), (END, 65)), True),
        (1, ((REGION, 15), (END, 64)), False),
        (1, ((REGION, 20), (END, 70)), True),
    ],
)
def test_within_layers(choice: int, times: tuple[tuple[int, int], ...], allowed: bool) -> None:
    made = numbers(no_lags())
    model.within_layers(made)
    assert feasible(made, choose(made, choice, 0), at(made, 0, *times)) == allowed


def test_within_layers_bounds_the_model() -> None:
    assert least(numbers(no_lags())) == 0
    made = numbers(no_lags())
    model.within_layers(made)
    assert least(made) == 40


def headed() -> Model:
    """Return a model in which heads, tails and layers say something of the first layer."""
    known = nothing(IDEAL)
    heads = [np.array([[0, 30, 40], [7, 17, 67]]), known.heads[1]]
    tails = [np.array([[90, 50, 10], [80, 70, 0]]), known.tails[1]]
    layers = [np.array([95, 120]), known.layers[1]]
    return numbers(no_lags(), Bounds(heads, tails, layers, known.links))


@pytest.mark.parametrize(
    ("choice", "times", "latency", "allowed"),
    [
        (0, ((START, 0), (REGION, 30), (END, 40)), 95, True),
        (1, ((START, 7), (REGION, 17), (END, 67)), 120, True),
        (1, ((START, 6),), 150, False),
        (0, ((REGION, 29),), 150, False),
        (0, ((START, 6),), 95, False),
        (0, ((START, 6),), 96, True),
        (0, ((REGION, 46),), 95, False),
        (0, ((END, 86),), 95, False),
        (1, ((START, 7), (REGION, 17), (END, 67)), 119, False),
    ],
)
def test_heads_and_tails(
    choice: int, times: tuple[tuple[int, int], ...], latency: int, allowed: bool
) -> None:
    made = headed()
    model.heads_and_tails(made)
    fixed = [(made.latency, latency)]
    assert feasible(made, choose(made, choice, 0), at(made, 0, *times), fixed) == allowed


def test_heads_and_tails_bound_the_model() -> None:
    assert least(headed()) == 95


def test_barred_pairs() -> None:
    lags = no_lags()
    lags[0, 1], lags[1, 0, START, END] = INFINITY, LIMIT + 1
    made = numbers(lags)
    model.barred_pairs(made)
    allowed = [c for c in itertools.product((0, 1), repeat=2) if feasible(made, choose(made, *c))]
    assert allowed == [(0, 0), (1, 1)]


def test_barred_pairs_bound_the_model() -> None:
    """The first candidates would end at 40 but may not be together."""
    known, lags = nothing(IDEAL), no_lags()
    layers = [np.array([40, 90]), np.array([40, 110])]
    bounds = Bounds(known.heads, known.tails, layers, known.links)
    assert least(numbers(lags, bounds)) == 40
    lags[0, 0] = INFINITY
    made = numbers(lags, bounds)
    model.barred_pairs(made)
    assert least(made) == 90


ENVELOPES = [
    (((100, 70), (60, 90)), (0, 0), ((100, 70), (60, 30))),
    (((100, 70), (60, 90)), (1, 1), ((40, 70), (60, 90))),
    (((100, 90), (60, 30)), (0, 0), ((100, 90), (60, 30))),
    (((100, 90), (60, 30)), (1, 1), ((100, 90), (60, 30))),
]
"""Lags from the region of the first layer to the start of the second; an anchor; what is asked of each pair.

The anchored candidates are exact with any others. In the last cases that takes an envelope of the producer
for the one pair and one of the consumer for the other.
"""
Square = tuple[tuple[int, int], tuple[int, int]]


def enveloped(pairs: Square, anchor: tuple[int, int]) -> Model:
    lags = no_lags()
    lags[:, :, REGION, START] = pairs
    made = numbers(lags)
    model.add_envelopes(made, made.graph.links[0], *anchor)
    return made


@pytest.mark.parametrize(("pairs", "anchor", "asked"), ENVELOPES)
def test_envelopes(pairs: Square, anchor: tuple[int, int], asked: Square) -> None:
    made = enveloped(pairs, anchor)
    for m, n in itertools.product((0, 1), repeat=2):
        assert asked[m][n] <= pairs[m][n]
        assert asked[m][n] == pairs[m][n] or (m != anchor[0] and n != anchor[1])
        for time, allowed in ((10 + asked[m][n], True), (10 + asked[m][n] - 1, False)):
            fixed = (*at(made, 0, (REGION, 10)), *at(made, 1, (START, time)))
            assert feasible(made, choose(made, m, n), fixed) == allowed


@pytest.mark.parametrize(("pairs", "anchor", "asked"), ENVELOPES)
def test_envelopes_bound_the_model(pairs: Square, anchor: tuple[int, int], asked: Square) -> None:
    assert least(enveloped(pairs, anchor)) == min(map(min, asked))


@dataclass(frozen=True, eq=False)
class Stated(ChainStep):
    """A step whose lag is stated for each candidate."""

    lags: Sequence[tuple[Candidate, int]]

    def lag(self, candidate: Candidate, transfer: int) -> int:
        return next(lag for own, lag in self.lags if own is candidate)


CHAIN = ((50, 80), (70, MINUS_INFINITY))
"""Lags along a critical path; the second candidate of the second layer breaks it."""


def chained(weights: str) -> Model:
    """Return a model with a critical path, which says of the broken one what holds anyway: 90 at least."""
    known = nothing(IDEAL)
    bounds = Bounds(known.heads, known.tails, [known.layers[0], np.array([0, 90])], known.links)
    made = numbers(no_lags(), bounds, weights)
    pairs = zip(made.graph.candidates, CHAIN, strict=True)
    steps = (Stated(i, None, None, [*zip(own, lags, strict=True)]) for i, (own, lags) in enumerate(pairs))
    model.add_chain(made, tuple(steps))
    return made


@pytest.mark.parametrize(
    ("choice", "latency"), [((0, 0), 50 + 70), ((1, 0), 80 + 70), ((0, 1), 50 + 90 - 80), ((1, 1), 90)]
)
def test_chains_with_static_weights(choice: tuple[int, int], latency: int) -> None:
    made = chained("static")
    for value, allowed in ((latency, True), (latency - 1, False)):
        assert feasible(made, choose(made, *choice), [(made.latency, value)]) == allowed


@pytest.mark.parametrize(
    ("choice", "length"), [((0, 0), 50 + 70), ((1, 0), 80 + 70), ((0, 1), None), ((1, 1), None)]
)
def test_chains_with_shared_weights(choice: tuple[int, int], length: int | None) -> None:
    """They bind the end of the last layer to the start of the first, not to time 0; broken ones do not."""
    made = chained("shared")
    for begin in (0, 20):
        for end, allowed in ((begin + (length or 0), True), (begin + (length or 1) - 1, length is None)):
            fixed = (*at(made, 0, (START, begin)), *at(made, 1, (END, end)))
            assert feasible(made, choose(made, *choice), fixed) == allowed


@pytest.mark.parametrize(("weights", "bound"), [("static", 90), ("shared", 90)])
def test_chains_bound_the_model(weights: str, bound: int) -> None:
    """The broken candidate is the better one; without it the bound is that of the shorter path."""
    assert least(chained(weights)) == bound
    made = chained(weights)
    made.cp.add(made.layers[1].takes[0] == 1)
    assert least(made) == 120


# Banks


def test_static_banks() -> None:
    """All 16 choices of 1, 2 or 4 banks for each of two layers, on 4 banks."""
    made = shaped(chip("static"))
    model.one_candidate(made)
    banks.add_static(made)
    counts = [channels * each for channels, each in SHAPES]
    for a, b in itertools.product(range(4), repeat=2):
        assert feasible(made, choose(made, a, b)) == (counts[a] + counts[b] <= 4)


def test_shapes_that_do_not_fit_are_forbidden_with_all_larger_ones() -> None:
    """Forbidden: two channels for the one and two banks of a channel for the other."""
    made = shaped(chip("static"))
    own = made.graph.candidates
    banks.forbid_shapes(made, (own[0][SHAPES.index((2, 1))], own[1][SHAPES.index((1, 2))]))
    forbidden = {
        (SHAPES[a], SHAPES[b])
        for a, b in itertools.product(range(4), repeat=2)
        if not feasible(made, choose(made, a, b))
    }
    assert forbidden == set(itertools.product([(2, 1), (2, 2)], [(1, 2), (2, 2)]))


def test_held_times() -> None:
    made = shaped(chip())
    first, second = banks.held_times(made)
    for length in (29, 30, 31):
        fixed = [(first.length, length), (second.length, 0)]
        times = (*at(made, 0, (START, 10), (END, 40)), *at(made, 1, (START, 40), (END, 40)))
        assert feasible(made, fixed, times) == (length == 30)


@pytest.mark.parametrize(
    ("shapes", "begin", "allowed"),
    [
        (((2, 2), (1, 1)), 30, True),
        (((2, 2), (1, 1)), 29, False),
        (((2, 1), (1, 2)), 10, True),
        (((2, 2), (2, 2)), 29, False),
    ],
)
def test_counted_banks(shapes: Sequence[tuple[int, int]], begin: int, allowed: bool) -> None:
    """The first layer holds its banks from 0 to 30, the second one from `begin` to 50."""
    made = shaped(chip())
    model.one_candidate(made)
    banks.count_banks(made, banks.held_times(made))
    times = (*at(made, 0, (START, 0), (END, 30)), *at(made, 1, (START, begin), (END, 50)))
    assert feasible(made, choose(made, *map(SHAPES.index, shapes)), times) == allowed


def test_counted_rows() -> None:
    """A lane has 8 rows for each of its weights, 16 for two tiles and 32 for an accumulator."""
    needed = {(1, 1): 4 * 4 * 8 + 48, (2, 1): 2 * (2 * 4 * 8 + 48), (1, 2): 2 * (4 * 4 * 8 + 48)}
    needed[2, 2] = 4 * (2 * 4 * 8 + 48)
    made = shaped(chip(rows=200))
    model.one_candidate(made)
    banks.count_banks(made, banks.held_times(made))
    apart = (*at(made, 0, (START, 0), (END, 30)), *at(made, 1, (START, 30), (END, 50)))
    found = {
        (a, b)
        for a, b in itertools.product(SHAPES, repeat=2)
        if feasible(made, choose(made, *map(SHAPES.index, (a, b))), apart)
    }
    assert found == {(a, b) for a, b in itertools.product(SHAPES, repeat=2) if needed[a] + needed[b] <= 800}
    assert 0 < len(found) < 16


def held(made: Model) -> list[BankVariables]:
    """Return literals for banks and channels that nothing binds yet."""
    return banks.held_banks(made, banks.held_times(made))


PLACES = {(1, 1): 4, (2, 1): 4, (1, 2): 2, (2, 2): 1}
"""In how many ways banks of some shape can be chosen from two channels with two banks each."""


def ways(made: Model, given: Sequence[BankVariables], shape: tuple[int, int]) -> list[tuple[int, ...]]:
    """Return every set of banks that the first layer may have with a mapping of some shape."""
    own = choose(made, SHAPES.index(shape), 0)
    sets = (x for size in range(5) for x in itertools.combinations(range(4), size))
    return [x for x in sets if feasible(made, own, on(given[0].on, *x))]


@pytest.mark.parametrize("shape", SHAPES)
def test_banks_have_the_shape_of_the_mapping(shape: tuple[int, int]) -> None:
    made = shaped(chip())
    given = held(made)
    banks.match_shapes(made, given)
    found = ways(made, given, shape)
    assert len(found) == PLACES[shape]
    for places in found:
        used = [
            {place // 2 for place in places},
            {place % 2 for place in places if place // 2 == places[0] // 2},
        ]
        assert tuple(map(len, used)) == shape
    assert not feasible(made, choose(made, SHAPES.index((2, 1)), 0), on(given[0].within, 0))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_first_layer_has_the_first_banks(shape: tuple[int, int]) -> None:
    """Of all ways to choose banks that can be renamed to each other one is left."""
    made = shaped(chip())
    given = held(made)
    banks.match_shapes(made, given)
    banks.first_banks_first(made, given)
    first = {(1, 1): (0,), (2, 1): (0, 2), (1, 2): (0, 1), (2, 2): (0, 1, 2, 3)}
    assert ways(made, given, shape) == [first[shape]]


def given_bank(made: Model) -> Model:
    """Return the model with bank 3 given to the first layer."""
    limits = Limits((LayerLimits(banks=(3,)), LayerLimits()))
    return replace(made, graph=replace(made.graph, problem=replace(made.graph.problem, limits=limits)))


def test_a_layer_has_the_banks_that_it_is_given() -> None:
    made = given_bank(shaped(chip()))
    given = held(made)
    banks.match_shapes(made, given)
    banks.take_given(made, given)
    assert ways(made, given, (1, 1)) == [(3,)]


def test_no_other_layer_renames_banks_that_are_given() -> None:
    made = given_bank(shaped(chip()))
    given = banks.add_shared(made)
    assert ways(made, given, (1, 1)) == [(3,)]


def test_other_layers_may_have_any_banks() -> None:
    made = shaped(chip())
    given = held(made)
    banks.first_banks_first(made, given)
    assert feasible(made, on(given[1].on, 3), on(given[1].within, 1))


@pytest.mark.parametrize(("rows", "together"), [(2 * 176, True), (2 * 176 - 1, False)])
def test_rows_of_one_bank(rows: int, together: bool) -> None:
    """Both layers need 176 rows on one bank; nothing says so if all mappings fit together anyway."""
    made = shaped(chip(rows=rows))
    given = banks.fit_rows(made, held(made))
    assert [len(own.rows) for own in given] == [0 if together else 4] * 2
    choice = choose(made, 0, 0)
    assert feasible(made, choice, on(given[0].on, 0), on(given[1].on, 1))
    assert feasible(made, choice, on(given[0].on, 0), on(given[1].on, 0)) == together
    smaller = choose(made, 0, SHAPES.index((2, 1)))
    assert feasible(made, smaller, on(given[0].on, 0), on(given[1].on, 0))


@pytest.mark.parametrize(
    ("bank", "begin", "allowed"), [(0, 30, True), (0, 29, False), (1, 29, True), (1, 0, True)]
)
def test_one_layer_at_a_time_on_a_bank(bank: int, begin: int, allowed: bool) -> None:
    """The first layer holds bank 0 from 0 to 30, the second one this bank or another from `begin` on."""
    made = shaped(chip())
    given = held(made)
    banks.one_at_a_time(made, given)
    times = (*at(made, 0, (START, 0), (END, 30)), *at(made, 1, (START, begin), (END, 50)))
    assert feasible(made, on(given[0].on, 0), on(given[1].on, bank), times) == allowed


def test_a_reader_ends_after_what_it_reads_has_begun() -> None:
    """By 60 at least, the least lag of a pair."""
    lags = no_lags()
    lags[:, :, START, END] = [[100, 70], [60, 90]]
    made = numbers(lags)
    banks.no_circles(made)
    for end, allowed in ((70, True), (69, False)):
        assert feasible(made, at(made, 0, (START, 10)), at(made, 1, (END, end))) == allowed
    assert least(made) == 60


def test_one_at_a_time_bounds_the_model() -> None:
    """Two layers of 40 and 20 cycles on one bank end at 60 if they do not overlap, else at 40."""
    for families, bound in (((), 40), ((banks.one_at_a_time,), 60)):
        made = numbers(no_lags())
        model.within_layers(made)
        given = held(made)
        for family in families:
            family(made, given)
        for own in given:
            made.cp.add(own.on[0] == 1)
        assert least(made) == bound


# The builders

FAMILIES: list[tuple[ModuleType, str]] = [
    (model, "one_candidate"),
    (model, "within_layers"),
    (model, "heads_and_tails"),
    (model, "barred_pairs"),
    (model, "add_envelopes"),
    (banks, "count_banks"),
    (banks, "match_shapes"),
    (banks, "fit_rows"),
    (banks, "one_at_a_time"),
    (banks, "first_banks_first"),
    (banks, "no_circles"),
]


@pytest.mark.parametrize(("module", "name"), FAMILIES)
def test_the_builders_add_every_family(
    module: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model without the family has fewer constraints."""
    whole = built()
    monkeypatch.setattr(module, name, lambda made, *given: given[0] if name == "fit_rows" else None)
    assert len(built().cp.proto.constraints) < len(whole.cp.proto.constraints)


def built() -> Model:
    """Return a whole model to which every family adds something."""
    bare = shaped(chip(rows=2 * 176 - 1))
    lags = np.full((4, 4, 2, 2), 10)
    lags[0, 0] = INFINITY
    graph = replace(bare.graph, links=[Link(0, 1, lags)])
    made = model.build_model(graph, bare.bounds, LIMIT, [0, 1])
    banks.add_shared(made)
    return made
