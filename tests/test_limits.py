"""Limits of layers: all searches keep to them, find the best that they allow, and refuse what cannot be."""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from generators import chain, draw_network

from cli.main import run
from hw.hardware import Hardware, LevelDims
from hw.library import load_hardware
from models.library import load_network
from models.network import DIMS, Network
from overlapim_files import InputError, load
from solver.account.remedies import remedies
from solver.bench.small import draw_small
from solver.bound.model import BoundModel
from solver.bound.quick import LayerDurations, quick_bound
from solver.bound.relaxation import linear_bound
from solver.limits import bring_together, broken_limit, limit_option, read_limits
from solver.mapspace.enumeration import mappings
from solver.mapspace.frugal import fewest_rows
from solver.mapspace.pools import Pools, shapes
from solver.maxplus.candidates import Candidate
from solver.maxplus.heads import bounds, lag_graph, no_budget
from solver.maxplus.response import Response, responses
from solver.methods import METHODS
from solver.schedule.banks import pack
from solver.schedule.plan import overlap_shared
from solver.search.contradictions import check_limits
from solver.search.exhaustive import exhaustive, search_options
from solver.solution import LayerRecord, Solution, from_plan
from solver.solve import Result, solve
from solver.stop import Stop
from solver.timing.limits import LayerLimits, Limits, has_loops
from solver.timing.mapping import SPATIAL, Kind, Loop, Mapping
from solver.timing.problem import Problem
from solver.timing.timeline import evaluate, order_allowed

LIMIT = 10**9


def toy(weights: str = "static") -> tuple[Network, Hardware]:
    return load_network("toy"), load_hardware("toy").with_weights(weights)  # type: ignore[arg-type]


def said(*texts: str, of: tuple[Network, Hardware] | None = None) -> Limits:
    """Return the limits that options state."""
    return bring_together([limit_option(text) for text in texts], *(of or toy()))


# Against exhaustive search


def draw_limit(rng: random.Random, problem: Problem, layer: int) -> LayerLimits:
    """Draw a limit that some mapping of the layer keeps to."""
    hardware = problem.hardware
    own = rng.choice(list(mappings(problem.layers[layer], hardware)))
    level = rng.choice(SPATIAL)
    channels = rng.sample(range(hardware.channels), own.channels)
    width = hardware.banks_per_channel
    banks = [c * width + b for c in channels for b in rng.sample(range(width), own.banks_per_channel)]
    return rng.choice(
        [
            LayerLimits(mapping=own),
            LayerLimits(exact_banks=own.banks),
            LayerLimits(most_banks=own.banks),
            LayerLimits(loops=tuple(loop for loop in own.loops if rng.random() < 0.5)),
            LayerLimits(earliest=rng.randint(1, 300)),
            LayerLimits(spread=LevelDims(**{level: tuple({x.dim for x in own.loops if x.kind == level})})),
            LayerLimits(banks=tuple(sorted(banks))),
            LayerLimits(),
        ]
    )


def limited(seed: int) -> Problem:
    rng = random.Random(seed)
    problem = Problem(*draw_small(rng))
    drawn = [draw_limit(rng, problem, i) for i in range(len(problem.layers))]
    return replace(problem, limits=Limits(tuple(drawn)))


def _answers(problem: Problem, layer: int, mapping: Mapping) -> list[Response]:
    """Return what a mapping comes to in all orders of its blocks."""
    profile = problem.profile(layer, mapping)
    orders = itertools.permutations(range(profile.blocks)) if order_allowed(profile) else ()
    return responses(problem, layer, profile, [None, *map(np.array, orders)])


def allowed_by_hand(own: LayerLimits, mapping: Mapping, width: int) -> bool:
    """Whether limits allow a mapping, said once more."""
    if own.mapping is not None and mapping != own.mapping:
        return False
    if own.exact_banks is not None and mapping.channels * mapping.banks_per_channel != own.exact_banks:
        return False
    if own.most_banks is not None and mapping.channels * mapping.banks_per_channel > own.most_banks:
        return False
    if own.banks:
        used = [bank // width for bank in own.banks]
        if (len(set(used)), used.count(used[0])) != (mapping.channels, mapping.banks_per_channel):
            return False
    for level in SPATIAL:
        dims = getattr(own.spread, level)
        if dims is not None and any(x.kind == level and x.dim not in dims for x in mapping.loops):
            return False
    return somewhere_in_order(mapping.loops, own.loops)


def somewhere_in_order(loops: Sequence[Loop], kept: Sequence[Loop]) -> bool:
    """Whether kept loops can be found among others: tries all places."""

    def ordered(one: Loop, other: Loop) -> bool:
        return one.dim == other.dim or (one.kind == "temporal" and other.kind == "temporal")

    for places in itertools.permutations(range(len(loops)), len(kept)):
        same = all(loops[place] == loop for place, loop in zip(places, kept, strict=True))
        pairs = itertools.combinations(range(len(kept)), 2)
        if same and all(places[a] < places[b] for a, b in pairs if ordered(kept[a], kept[b])):
            return True
    return False


def test_kept_loops_are_found_wherever_their_order_lets_them_be() -> None:
    rng, outcomes = random.Random(0), set[bool]()
    for _ in range(300):
        loops = [_any_loop(rng) for _ in range(rng.randint(1, 5))]
        kept = rng.sample(loops, rng.randint(1, min(3, len(loops))))
        found = has_loops(loops, kept)
        assert found == somewhere_in_order(loops, kept)
        outcomes.add(found)
    assert outcomes == {True, False}


def _any_loop(rng: random.Random) -> Loop:
    kinds: tuple[Kind, ...] = ("temporal", "bank")
    return Loop(rng.choice(DIMS[:2]), rng.choice((2, 3)), rng.choice(kinds))


def test_exhaustive_search_tries_all_that_limits_of_mappings_allow() -> None:
    """The best of those options of all layers that are allowed, picked by hand."""
    compared = 0
    for seed in range(24):
        problem = limited(seed)
        if problem.given_banks or any(problem.earliest):
            continue
        free = replace(problem, limits=Limits())
        width = problem.hardware.banks_per_channel
        options = []
        for i in range(len(problem.layers)):
            every = mappings(problem.layers[i], problem.hardware)
            own = (x for x in every if allowed_by_hand(problem.limits.of(i), x, width))
            options.append([x for mapping in own for x in _answers(free, i, mapping)])
        found = exhaustive(problem, LIMIT, Stop()).plan
        expected = search_options(free, options, Stop()).plan if all(options) else None
        assert (found and found.latency) == (expected and expected.latency)
        compared += expected is not None
    assert compared > 4


def test_exhaustive_search_waits_for_the_earliest_starts() -> None:
    """With a bank for every layer: the best of all pairs of mappings, released when they may start."""
    compared = 0
    for seed in range(200):
        rng = random.Random(seed)
        network, hardware = draw_small(rng)
        if len(network.layers) > 2 or hardware.weights != "static" or hardware.sync_blocks > 2:
            continue
        starts = rng.randint(0, 200), rng.randint(0, 200)
        problem = Problem(network, hardware, limits=Limits(tuple(LayerLimits(earliest=x) for x in starts)))
        found = exhaustive(problem, LIMIT, Stop()).plan
        profiles = [[problem.profile(i, x) for x in mappings(network.layers[i], hardware)] for i in range(2)]
        pairs = (pair for pair in itertools.product(*profiles) if pack(hardware, pair) is not None)
        assert found is not None
        assert all(times.start >= first for times, first in zip(found.timeline.layers, starts, strict=True))
        if any(order is not None for order in found.orders):
            continue
        assert found.latency <= min(evaluate(problem, pair, starts).latency for pair in pairs)
        compared += 1
        if compared == 6:
            return
    raise AssertionError("too few networks are small enough")


@pytest.mark.parametrize("part", range(3))
def test_cpsat_and_exhaustive_search_agree_under_limits(part: int) -> None:
    """And no bound is above, or the run would have refused it."""
    agreed = 0
    for seed in range(100 + 4 * part, 104 + 4 * part):
        problem = limited(seed)
        best = exhaustive(problem, LIMIT, Stop()).plan
        if best is None:
            with pytest.raises(InputError):
                _cpsat(problem)
            continue
        assert broken_limit(problem.limits, from_plan(problem, best, "exhaustive", 0)) is None
        assert quick_bound(problem) <= best.latency
        found = _cpsat(problem)
        assert found.bound <= best.latency <= found.latency
        if found.status == "optimal":
            assert found.latency == best.latency
            agreed += 1
    assert agreed > 1


def _cpsat(problem: Problem) -> Result:
    return solve(problem.network, problem.hardware, limits=problem.limits, stop=Stop(seconds=4.0))


def test_bounds_know_limits() -> None:
    network, hardware = toy()
    free = quick_bound(Problem(network, hardware))
    for texts in (
        ["*:most_banks=1"],
        ["left:exact_banks=1"],
        ["head:earliest=20000"],
        ["*:no_spread={column: [K, P, Q]}"],
    ):
        assert quick_bound(Problem(network, hardware, limits=said(*texts))) > free


def test_the_bound_counts_on_the_number_of_banks_that_is_given() -> None:
    network, hardware = toy()
    left = [layer.name for layer in network.layers].index("left")
    known = LayerDurations(Problem(network, hardware, limits=said("left:exact_banks=4")))
    assert known.of(left).banks.tolist() == [4]
    assert len(known.of(0).banks) > 1


def test_models_start_no_layer_before_it_may() -> None:
    network, hardware = toy()
    problem = Problem(network, hardware, limits=said("head:earliest=50000"))
    late, free = (linear_bound(BoundModel(x, 90000), Stop()) for x in (problem, Problem(network, hardware)))
    assert late > 49999 > free
    candidates = [[Candidate(Pools(problem).pool(i, (1, 1))[0])] for i in range(len(network.layers))]
    graph = lag_graph(problem, candidates, Stop())
    heads = bounds(graph, no_budget(graph), Stop()).heads
    last = next(i for i, layer in enumerate(network.layers) if layer.name == "head")
    assert [int(own.min()) >= 50000 for own in heads] == [i == last for i in range(len(heads))]


# Every limit, every method

ONE_LIMIT: list[tuple[str, Callable[[LayerRecord], bool]]] = [
    ("left:most_banks=1", lambda x: len(x.banks) == 1),
    ("left:exact_banks=3", lambda x: len(x.banks) == 3),
    ("left:banks=[1, 6]", lambda x: sorted(x.banks) == [1, 6]),
    ("left:earliest=5001", lambda x: x.start >= 5001),
    ("left:spread={column: [P, Q]}", lambda x: {y.dim for y in x.loops if y.kind == "column"} <= {"P", "Q"}),
    ("left:no_spread={column: [C]}", lambda x: not any((y.kind, y.dim) == ("column", "C") for y in x.loops)),
    (
        "left:loops=[{dim: S, bound: 3, kind: temporal}, {dim: Q, bound: 2, kind: temporal}]",
        lambda x: (
            "S3 Q2"
            in " ".join(f"{y.dim}{y.bound}" for y in x.loops if y.kind == "temporal" and y.dim in "SQ")
        ),
    ),
    (
        "left:mapping={loops: [{dim: K, bound: 2, kind: bank}, {dim: P, bound: 4, kind: temporal}, {dim: Q, "
        "bound: 4, kind: temporal}, {dim: K, bound: 4, kind: temporal}, {dim: C, bound: 8, kind: column}, "
        "{dim: R, bound: 3, kind: temporal}, {dim: S, bound: 3, kind: temporal}]}",
        lambda x: [y.bound for y in x.loops] == [2, 4, 4, 4, 8, 3, 3],
    ),
]


@pytest.fixture(scope="module")
def free_answers() -> list[Solution]:
    """Answers of some methods without limits."""
    return [solve(*toy(), method=x, stop=Stop(iterations=300)).solution for x in ("sequential", "descent")]


@pytest.mark.parametrize(("text", "kept"), ONE_LIMIT, ids=[text.split("=")[0] for text, _ in ONE_LIMIT])
def test_every_method_keeps_to_every_limit(
    text: str, kept: Callable[[LayerRecord], bool], free_answers: list[Solution]
) -> None:
    assert not all(kept(answer.layers["left"]) for answer in free_answers)
    for weights in ("static", "shared"):
        network, hardware = toy(weights)
        limits = said(text, of=(network, hardware))
        for method in [x for x in METHODS if x not in ("exhaustive", "cpsat")]:
            found = solve(network, hardware, method=method, limits=limits, stop=Stop(iterations=40))
            assert kept(found.solution.layers["left"]), (method, weights)


@pytest.mark.parametrize("weights", ["static", "shared", "reload"])
def test_cpsat_keeps_to_limits_on_a_network_that_is_not_small(weights: str) -> None:
    network, hardware = toy(weights)
    limits = said(*(text for text, _ in ONE_LIMIT[1:4]), "s*:most_banks=2", of=(network, hardware))
    with pytest.raises(InputError, match="exact_banks says 3 and banks says 2 banks"):
        solve(network, hardware, limits=limits)
    limits = said("left:banks=[1, 6]", "right:earliest=5001", "s*:most_banks=2", of=(network, hardware))
    found = solve(network, hardware, limits=limits, stop=Stop.deterministic(1.5))
    layers = found.solution.layers
    assert sorted(layers["left"].banks) == [1, 6]
    assert layers["right"].start >= 5001
    assert len(layers["stem"].banks) <= 2


def test_what_an_answer_breaks_is_found_in_its_file() -> None:
    answer = solve(*toy(), method="sequential").solution
    for text, kept in ONE_LIMIT:
        limits = said(text)
        assert (broken_limit(limits, answer) is None) == kept(answer.layers["left"])


def test_pools_have_what_limits_allow_and_nothing_else() -> None:
    rng, found = random.Random(3), 0
    hardware = load_hardware("toy")
    for _ in range(12):
        network = draw_network(rng, 2)
        problem = Problem(network, hardware)
        for number in (1, 3, 4, 6):
            own = Limits((LayerLimits(exact_banks=number), LayerLimits(most_banks=number)))
            pools = Pools(replace(problem, limits=own))
            for shape in shapes(hardware):
                exact, most = pools.pool(0, shape), pools.pool(1, shape)
                assert all(p.banks == number for p in exact)
                assert all(p.banks <= number for p in most)
                found += len(exact)
    assert found


def test_rows_are_kept_for_layers_that_are_given_banks() -> None:
    """Three layers fill half a bank each: the first two do not both take the one that the last is given."""
    network = chain([8, 8, 8, 8])
    hardware = load_hardware("toy").with_weights("shared")
    problem = Problem(network, hardware)
    profiles = [Pools(problem).pool(i, (1, 1))[0] for i in range(3)]
    rows = {"rows_per_bank": 2 * max(p.rows for p in profiles)}
    tight = replace(
        problem,
        hardware=hardware.model_copy(update=rows),
        limits=Limits((LayerLimits(), LayerLimits(), LayerLimits(banks=(0,)))),
    )
    order = network.topological
    plan = overlap_shared(tight, profiles, order, frozenset(order))
    assert plan is not None
    assert plan.banks[2].tolist() == [0]
    used = np.concatenate(plan.banks)
    assert np.bincount(used).max() <= 2


def test_packing_leaves_given_banks_alone() -> None:
    """Banks 1 and 6 are given: the other two layers find a whole channel less one bank each."""
    network, hardware = toy()
    problem = Problem(network, hardware, limits=said("left:banks=[1, 6]"))
    names = [layer.name for layer in network.layers]
    profiles = [
        next(p for p in Pools(problem).pool(i, (2, 1)) if name != "left" or p.banks == 2)
        for i, name in enumerate(names)
    ]
    given = pack(hardware, profiles, problem.given_banks)
    assert given is not None
    assert sorted(given[names.index("left")].tolist()) == [1, 6]
    every = np.concatenate(given)
    assert len(set(every.tolist())) == len(every)


def test_explain_changes_nothing_that_is_limited() -> None:
    network, hardware = toy()
    limits = said("left:exact_banks=1", "stem:earliest=10")
    plan = solve(network, hardware, method="sequential", limits=limits).plan
    problem = Problem(network, hardware, limits=limits)
    found = remedies(problem, plan, [1, 0, 2], Stop(iterations=300))
    assert found.best
    for remedy in found.best:
        assert broken_limit(limits, from_plan(problem, remedy.plan, "", 0)) is None
    free = remedies(Problem(network, hardware), plan, [1, 0, 2], Stop(iterations=300))
    assert any(broken_limit(limits, from_plan(problem, x.plan, "", 0)) for x in free.best)


# Warm starts and files


def call(*arguments: str) -> int:
    return run(arguments, time.monotonic())


def test_a_layer_that_is_fixed_keeps_what_the_warm_start_has(tmp_path: Path) -> None:
    first, then = tmp_path / "first", tmp_path / "then"
    chip = ["toy", "--hw", "toy", "--weights", "static"]
    assert call("solve", *chip, "-m", "sequential", "-o", str(first)) == 0
    base = load(first / "solution.yaml", Solution)
    more = ["-m", "descent", "-t", "2", "-W", str(first / "solution.yaml"), "--fix", "[lr]*", "-j", "1"]
    assert call("solve", *chip, *more, "--limit", "stem:most_banks=1", "-o", str(then)) == 0
    answer = load(then / "solution.yaml", Solution)
    assert all(answer.layers[name].loops == base.layers[name].loops for name in ("left", "right"))
    assert len(answer.layers["stem"].banks) == 1
    explained = ["explain", str(then / "solution.yaml"), "-t", "1", "--fix", "left", "-o", str(then)]
    assert call(*explained) == 0
    assert load(then / "solution.yaml", Solution).layers["left"].loops == base.layers["left"].loops


def test_a_file_says_all_that_options_say(tmp_path: Path) -> None:
    base = tmp_path / "base"
    assert (
        call("solve", "toy", "--hw", "toy", "--weights", "static", "-m", "sequential", "-o", str(base)) == 0
    )
    loop = {"dim": "K", "bound": 2, "kind": "bank"}
    entries = [
        {"layer": "stem", "mapping": {"solution": "base/solution.yaml"}},
        {"layer": "[lr]*", "most_banks": 3, "spread": {"bank": ["K", "P"]}, "no_spread": {"bank": ["P"]}},
        {"layer": "left", "most_banks": 5, "loops": [loop], "earliest": 7},
        {"layer": "l*", "earliest": 5},
    ]
    path = tmp_path / "limits.yaml"
    path.write_text(json.dumps({"format": "overlapim/limits/1", "layers": entries}))
    stem, left, right, head = read_limits(path, *toy()).layers
    base_stem = load(base / "solution.yaml", Solution).layers["stem"]
    assert stem.mapping is not None and [x.bound for x in stem.mapping.loops] == [
        x.bound for x in base_stem.loops
    ]
    assert left == LayerLimits(
        loops=(Loop("K", 2, "bank"),), most_banks=3, earliest=7, spread=LevelDims(bank=("K",))
    )
    assert right == LayerLimits(most_banks=3, spread=LevelDims(bank=("K",)))
    assert head == LayerLimits()


WRONG = [
    (
        "left:exact_banks=7",
        "limits: layer 'left': exact_banks 7: no mapping is known that keeps to it; 6 would do",
    ),
    ("left:exact_banks=9", "exact_banks says 9 banks, and a layer of 'toy' may have 8"),
    ("lfet:most_banks=3", "--limit lfet:most_banks=3: no layer is called 'lfet'; did you mean 'left'?"),
    ("left:most_bank=3", "there is no limit 'most_bank'; did you mean 'most_banks'?"),
    ("left:most_banks=0", "most_banks: must be at least 1, found 0"),
    ("left", "must be LAYER:KEY=VALUE, such as conv1:most_banks=4"),
    ("left:banks=[0, 1, 8]", "there is no bank 8, the last is 7"),
    ("left:banks=[0, 0]", "bank 0 is there twice; name each once"),
    (
        "left:banks=[0, 1, 4]",
        "2 of channel 0 and 1 of channel 1, and a layer has as many in each; 1 of each would do",
    ),
    ("left:spread={bank: [X]}", "must be 'N', 'G'"),
    ("left:loops=[{dim: P, bound: 3, kind: bank}]", "leaving out the bank loop of P with bound 3 would do"),
    ("left:mapping={loops: [{dim: P, bound: 4, kind: temporal}]}", "mapping: the loops of K cover 1 of 8"),
    ("left:mapping={load: 1}", "give either loops or the solution that has them"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_what_cannot_be_is_refused_in_a_line(
    text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        call("solve", "toy", "--hw", "toy", "--weights", "static", "-m", "sequential", "--limit", text) == 2
    )
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_limits_that_contradict_each_other_are_both_named() -> None:
    with pytest.raises(
        InputError, match=r"--limit l\*:exact_banks=3: exact_banks of layer 'left' is otherwise in"
    ):
        said("left:exact_banks=2", "l*:exact_banks=3")
    network, hardware = toy()
    for texts, message in (
        (
            ["left:exact_banks=4", "left:most_banks=2"],
            "exact_banks says 4 banks, and most_banks 2; 2 would do",
        ),
        (["left:banks=[0, 1]", "right:banks=[1]"], "bank 1 can serve one; bank 2 is free"),
        (["left:exact_banks=6", "right:exact_banks=2"], "10 banks together, 2 more than there are"),
        (["*:spread={column: [], bank: [], channel: []}", "left:exact_banks=2"], "keeps to"),
    ):
        with pytest.raises(InputError, match=message.replace("[", r"\[")):
            check_limits(Pools(Problem(network, hardware, limits=said(*texts))))


def test_fix_needs_a_warm_start(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("solve", "toy", "--hw", "toy", "--fix", "left") == 2
    assert "give one with --warm-start" in capsys.readouterr().err


def test_a_mapping_that_says_its_usual_load_is_the_same() -> None:
    network, hardware = toy()
    plan = solve(network, hardware, method="sequential").plan
    mapping = plan.profiles[1].mapping
    explicit = Mapping(mapping.loops, plan.profiles[1].load_depth)
    records = [{"dim": x.dim, "bound": x.bound, "kind": x.kind} for x in explicit.loops]
    limits = said(f"left:mapping={json.dumps({'loops': records, 'load': explicit.load})}")
    answer = solve(network, hardware, method="sequential", limits=limits, warm_start=plan)
    assert answer.latency <= plan.latency


def test_layers_that_do_not_fit_into_the_bank_that_they_are_given_are_refused() -> None:
    """Two layers that fill more than half a bank cannot both have bank 0, unless weights are reloaded."""
    network = chain([8, 8, 8])
    hardware = load_hardware("toy").with_weights("shared")
    rows = fewest_rows(network.layers[0], hardware, (1, 1))
    tight = hardware.model_copy(update={"rows_per_bank": rows + rows // 2})
    both = said("*:banks=[0]", of=(network, tight))
    with pytest.raises(InputError, match=r"given bank 0 need \d+ rows more of it than it has"):
        solve(network, tight, method="sequential", limits=both)
    reload = tight.with_weights("reload")
    answer = solve(network, reload, method="sequential", limits=both).solution
    assert all(record.banks == (0,) for record in answer.layers.values())
