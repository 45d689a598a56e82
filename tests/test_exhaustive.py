"""The whole mapspace, operators of mapped layers, and the search of all plans of tiny instances."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from generators import draw_instance, draw_network

from hw.hardware import Hardware
from hw.library import load_hardware
from models.library import load_network
from models.network import DIMS, Layer, Network
from overlapim_files import InputError
from solver.bench.small import draw_small
from solver.mapspace.enumeration import count, mappings
from solver.maxplus.options import layer_options
from solver.maxplus.response import distinct, efficient, response
from solver.reference import simulate
from solver.schedule.banks import pack
from solver.schedule.plan import Plan
from solver.search.exhaustive import Exhausted, exhaustive, search_options
from solver.solution import from_plan, verify
from solver.solve import solve
from solver.stop import Stop
from solver.timing.mapping import SPATIAL, Loop, Mapping
from solver.timing.problem import Problem
from solver.timing.profile import profile
from solver.timing.tiles import load_depth
from solver.timing.timeline import Order, evaluate, order_allowed
from solver.timing.validity import problems

Json = dict[str, Any]
LIMIT = 10**9


def small_problem(seed: int) -> Problem:
    return Problem(*draw_small(random.Random(seed)))


def check_plan(problem: Problem, plan: Plan | None) -> None:
    assert plan is not None
    verify(from_plan(problem, plan, "exhaustive", 0, plan.latency))


# Mapspace


def all_loop_lists(layer: Layer, hardware: Hardware) -> Iterator[Mapping]:
    """Yield every valid list of loops in every order, with every load depth."""
    bounds = {dim: layer.bound(dim) for dim in DIMS}

    def extend(loops: tuple[Loop, ...]) -> Iterator[Mapping]:
        open_dims = [
            dim for dim in DIMS if math.prod(loop.bound for loop in loops if loop.dim == dim) < bounds[dim]
        ]
        if not open_dims:
            loaded = [Mapping(loops, depth) for depth in range(len(loops) + 1)]
            yield from (mapping for mapping in loaded if not problems(layer, mapping, hardware))
        for dim in open_dims:
            for bound in range(2, bounds[dim] + 1):
                for kind in (*SPATIAL, "temporal"):
                    yield from extend((*loops, Loop(dim, bound, kind)))

    return extend(())


def meaning(layer: Layer, mapping: Mapping) -> tuple[object, ...]:
    by_dim = tuple(tuple(loop for loop in mapping.loops if loop.dim == dim) for dim in DIMS)
    temporal = tuple(loop for loop in mapping.loops if loop.kind == "temporal")
    return by_dim, temporal, load_depth(layer, mapping)


TINY = [{"P": 5}, {"P": 3, "K": 2}, {"K": 2, "C": 2, "Q": 2}, {"P": 4, "R": 2}]
CHIPS: list[Json] = [
    {"rows_per_bank": 20},
    {"rows_per_bank": 30},
    {},
    {"inputs": {"store": "buffer", "buffer_bits": 8}, "reduction": "host"},
    {"spread": {"column": ["C", "R"], "bank": ["P", "K"], "channel": []}},
    {"weights": "reload", "steps_per_row": 2},
]


@pytest.mark.parametrize("changes", CHIPS)
@pytest.mark.parametrize("dims", TINY)
def test_the_mapspace_has_every_meaning_once(dims: dict[str, int], changes: Json) -> None:
    axes = {
        "ch": {"terms": {"C": 1} if "C" in dims else {}},
        "h": {"terms": {"P": 1, "R": 1} if "R" in dims else {"P": 1}},
        "w": {"terms": {"Q": 1}},
    }
    shape = [1, dims.get("C", 1), dims.get("P", 1) + dims.get("R", 1) - 1, dims.get("Q", 1)]
    one: Json = {"name": "a", "dims": {"P": shape[2], "K": shape[1], "Q": shape[3]}}
    one["operands"] = [{"from": "x", "axes": {"h": {"terms": {"P": 1}}, "w": {"terms": {"Q": 1}}}}]
    open_rows = {"cycles": {**CYCLES, "open": 3}} if "steps_per_row" in changes else {}
    problem = Problem(
        network([one, {"name": "b", "dims": dims, "operands": [{"from": "a", "axes": axes}]}], shape),
        chip(columns_per_bank=3, channels=2, banks_per_channel=2, **changes, **open_rows),
    )
    layer, hardware = problem.layers[1], problem.hardware
    every = list(all_loop_lists(layer, hardware))
    listed = list(mappings(layer, hardware))
    assert all(not problems(layer, mapping, hardware) for mapping in listed)
    meanings = [meaning(layer, mapping) for mapping in listed]
    assert {meaning(layer, mapping) for mapping in every} == set(meanings)
    assert len(meanings) == len(set(meanings)) > 0
    number = count(layer, hardware)
    assert number.complete and number.most >= len(listed)

    def behaviours(those: list[Mapping]) -> set[tuple[object, ...]]:
        found = [response(problem, 1, profile(layer, mapping, hardware)) for mapping in those]
        return {(x.shape, x.profile.rows, x.finish.tobytes(), x.lags[0].tobytes()) for x in found}

    assert behaviours(every) == behaviours(listed)


def test_a_count_of_mappings_that_all_fit_is_exact_but_for_load_depths() -> None:
    """By hand: two loops of 2 in time, in two orders, or one or both of them over columns."""
    layer = network([rows("a", "x", 2) | {"dims": {"P": 2, "K": 2}}], [1, 1, 2, 1]).layers[0]
    hardware = chip(banks_per_channel=1, columns_per_bank=4)
    # P outside K loads at 0 or 1, K outside P at 0, 1 or 2, P alone at 0 or 1; K alone and none at 0.
    assert sum(1 for _ in mappings(layer, hardware)) == 9
    # No loop or one counts as if it read: 1 + 2 * 2 + 2 * 3.
    assert count(layer, hardware).most == 11


def test_counting_large_layers_ends() -> None:
    dims = dict.fromkeys(("N", "P", "Q", "K"), 2**39 - 1) | {"K": 2, "C": 3}
    huge = load_network("toy").layers[0].model_copy(update={"dims": dims})
    number = count(huge, load_hardware("toy"))
    assert not number.complete and number.most > 10**6
    wide = huge.model_copy(update={"dims": {"K": 2**40, "C": 2**40}})
    assert count(wide, load_hardware("toy")).most == 0


# Operators and dominance


@pytest.mark.parametrize("first", range(0, 600, 50))
def test_operators_finish_every_element_when_the_simulator_does(first: int) -> None:
    for seed in range(first, first + 50):
        instance = draw_instance(random.Random(f"operator {seed}"))
        problem = Problem(instance.network, instance.hardware)
        simulated = simulate(
            instance.network, instance.hardware, instance.mappings, instance.releases, instance.orders
        )
        done: dict[int, Any] = {}
        for i in instance.network.topological:
            order = instance.orders[i]
            mapped = problem.profile(i, instance.mappings[i])
            operator = response(problem, i, mapped, None if order is None else np.array(order))
            produced = [done[edge.producer] for edge in problem.edges[i]]
            done[i] = operator.outputs(instance.releases[i], produced)
            assert done[i].tolist() == simulated[i].finish.ravel().tolist(), (seed, i)


def options_of(problem: Problem) -> list[Any]:
    return [layer_options(problem, i, Stop()) for i in range(len(problem.layers))]


@pytest.mark.parametrize("seed", range(60))
def test_dominated_options_are_not_needed(seed: int) -> None:
    problem = small_problem(seed)
    options = options_of(problem)
    fewer = [efficient(own) for own in options]
    best, same = search_options(problem, options, Stop()), search_options(problem, fewer, Stop())
    check_plan(problem, same.plan)
    assert best.plan is not None and same.plan is not None
    assert same.plan.latency == best.plan.latency


def test_efficient_keeps_what_nothing_dominates() -> None:
    options = options_of(small_problem(4))[1]
    kept = efficient(options)
    assert 0 < len(kept) < len(options)

    def costs(x: Any) -> list[int]:
        return [*x.shape, x.profile.rows, *x.finish.tolist(), *itertools.chain(*(y.ravel() for y in x.lags))]

    table = np.array([costs(x) for x in kept])
    for x in options:
        assert (table <= np.array(costs(x))).all(axis=1).sum() == 1 or x not in kept
        assert (table <= np.array(costs(x))).all(axis=1).any()
    assert efficient([*options, *options]) == kept
    assert distinct([*options, *options]) == options


# Exhaustive search


def network(layers: list[Json], shape: list[int]) -> Network:
    return Network.model_validate(
        {
            "format": "overlapim/network/1",
            "name": "by hand",
            "inputs": [{"name": "x", "shape": shape}],
            "layers": layers,
        }
    )


CYCLES = {"multiply": 5, "add": 2, "move": 3, "row_write": 4, "post": 10, "transfer": 7}


def chip(**changes: object) -> Hardware:
    """A step takes 7 cycles; loading one or two elements takes 9, draining one or two of them 1."""
    return Hardware.model_validate(
        {
            "format": "overlapim/hardware/1",
            "name": "chip",
            "clock_ns": 1.0,
            "channels": 1,
            "banks_per_channel": 2,
            "columns_per_bank": 1,
            "rows_per_bank": 1000,
            "weights": "static",
            "bits": {"activation": 2, "weight": 1, "accumulator": 8},
            "cycles": CYCLES,
            "bits_per_cycle": {"load": 4, "drain": 8, "bank": 4, "channel": 2},
            "sync_blocks": 100,
            **changes,
        }
    )


def rows(name: str, producer: str, bound: int = 2, offset: int = 0) -> Json:
    axes = {"h": {"terms": {"P": 1}, "offset": offset}}
    return {"name": name, "dims": {"P": bound}, "operands": [{"from": producer, "axes": axes}]}


@pytest.mark.parametrize(
    ("changes", "latency"),
    [
        # A row takes 9 + 7 + 1 = 17; each layer has one bank, so rows of `a` are finished at 17 and 34. `b`
        # waits for the first until 17 + 7 = 24, is at 41 = 34 + 7 when the second may be used: 41 + 17 = 58.
        ({}, 58),
        # One bank for both: `b` begins when `a` ends. `a` loads both rows at once, 1 + 2 * 8 cycles, and
        # takes 17 + 2 * (7 + 1) = 33. `b` would wait for both until 40; row by row it waits for none: 67.
        ({"banks_per_channel": 1, "weights": "shared"}, 67),
        # Both rows at once, on two banks in turn or in two columns: 17, then 17 + 7 = 24 until 41.
        ({"weights": "shared"}, 41),
        ({"columns_per_bank": 2}, 41),
    ],
)
def test_two_layers_by_hand(changes: Json, latency: int) -> None:
    problem = Problem(network([rows("a", "x"), rows("b", "a")], [1, 1, 2, 1]), chip(**changes))
    found = exhaustive(problem, LIMIT, Stop())
    check_plan(problem, found.plan)
    assert found.complete and found.plan is not None and found.plan.latency == latency


def test_an_order_of_blocks_is_found() -> None:
    # Row p of `b` reads row p + 1 of `a`; its last row reads nothing. In their loops' own order `a` finishes
    # rows 1 and 2 at 34 and 51, and `b` runs 41 - 58, 58 - 75, 75 - 92. If `a` takes row 0 last, they are
    # finished at 17 and 34; if `b` takes its last row first, it runs 0 - 17, 24 - 41, 41 - 58. It cannot end
    # sooner, having two rows to do from 17 + 7 = 24 on.
    problem = Problem(network([rows("a", "x", 3), rows("b", "a", 3, 1)], [1, 1, 3, 1]), chip())
    found = exhaustive(problem, LIMIT, Stop())
    check_plan(problem, found.plan)
    assert found.plan is not None and found.plan.latency == 58
    assert all(order is not None for order in found.plan.orders)


@pytest.mark.parametrize("seed", range(60))
def test_no_method_is_better(seed: int) -> None:
    problem = small_problem(seed)
    found = exhaustive(problem, LIMIT, Stop())
    check_plan(problem, found.plan)
    assert found.complete and found.plan is not None
    for method in ("sequential", "layerwise", "descent"):
        try:
            result = solve(
                problem.network, problem.hardware, method=method, stop=Stop(iterations=60), seed=seed
            )
        except InputError as refusal:
            # They know good mappings only, and those may need too many rows to share a bank.
            assert problem.hardware.weights == "shared" and "does not fit" in str(refusal)
            continue
        assert result.latency >= found.plan.latency


def every_option(problem: Problem, layer: int) -> list[tuple[Any, Order | None]]:
    found: list[tuple[Any, Order | None]] = []
    for mapping in mappings(problem.layers[layer], problem.hardware):
        mapped = problem.profile(layer, mapping)
        found.append((mapped, None))
        if order_allowed(mapped):
            found += [(mapped, np.array(order)) for order in itertools.permutations(range(mapped.blocks))]
    return found


def every_site(problem: Problem, mapped: Any) -> list[frozenset[int]]:
    hardware, shape = problem.hardware, mapped.mapping
    return [
        frozenset(
            c * hardware.banks_per_channel + b for c, own in zip(channels, banks, strict=True) for b in own
        )
        for channels in itertools.combinations(range(hardware.channels), shape.channels)
        for banks in itertools.product(
            itertools.combinations(range(hardware.banks_per_channel), shape.banks_per_channel),
            repeat=shape.channels,
        )
    ]


def least_latency(problem: Problem) -> int | None:
    """Return the least latency of all options, banks and queues, trying each in full."""
    layers, hardware = range(len(problem.layers)), problem.hardware
    best: int | None = None
    for options in itertools.product(*(every_option(problem, i) for i in layers)):
        mapped, orders = [x for x, _ in options], [order for _, order in options]
        for sites in itertools.product(*(every_site(problem, x) for x in mapped)):
            alike = [[i for i in layers if bank in sites[i]] for bank in range(hardware.banks)]
            shared = hardware.weights == "shared"
            if shared and any(sum(mapped[i].rows for i in own) > hardware.rows_per_bank for own in alike):
                continue
            together = any(len(own) > 1 for own in alike)
            if together and hardware.weights == "static":
                continue
            for queue in itertools.permutations(layers) if together else [tuple(layers)]:
                latency = in_queue(problem, mapped, orders, sites, queue)
                best = latency if best is None else min(best, latency or best)
    return best


def in_queue(problem: Problem, mapped: Any, orders: Any, sites: Any, queue: tuple[int, ...]) -> int | None:
    """Return the latency if each bank serves its layers in the order of the queue; None if it cannot be."""
    releases = [0] * len(queue)
    for _ in range(len(queue) + 1):
        timeline = evaluate(problem, mapped, releases, orders)
        ends = [times.end for times in timeline.layers]
        later = [
            max([ends[j] for j in queue[: queue.index(i)] if sites[i] & sites[j]], default=0)
            for i in range(len(queue))
        ]
        if later == releases:
            return timeline.latency
        releases = later
    return None


def test_exhaustive_is_what_trying_everything_finds() -> None:
    tried: set[str] = set()
    number = 0
    for seed in range(300):
        problem = small_problem(seed)
        layers = range(len(problem.layers))
        if math.prod(count(layer, problem.hardware).most for layer in problem.layers) > 100:
            continue
        choices = [sum(len(every_site(problem, x)) for x, _ in every_option(problem, i)) for i in layers]
        if math.prod(choices) * math.factorial(len(layers)) > 900:
            continue
        found = exhaustive(problem, LIMIT, Stop())
        assert found.plan is not None and found.plan.latency == least_latency(problem), seed
        tried.add(problem.hardware.weights)
        number += 1
    assert number >= 20 and tried == {"static", "shared", "reload"}


def test_too_many_combinations_are_refused_with_the_largest_layer() -> None:
    problem = Problem(network([rows("a", "x"), rows("b", "a", 2)], [1, 1, 2, 1]), chip(columns_per_bank=2))
    with pytest.raises(
        InputError, match=r"\d+ combinations .* more than the 3 .*layer '[ab]' alone has \d+$"
    ):
        exhaustive(problem, 3, Stop())
    toy = Problem(load_network("toy"), load_hardware("toy"))
    with pytest.raises(InputError, match=r"layer 'stem' has up to \d+ mappings"):
        exhaustive(toy, LIMIT, Stop())
    blocks = Problem(network([rows("a", "x", 30)], [1, 1, 30, 1]), chip())
    with pytest.raises(InputError, match=r"layer 'a' has more than .* orders"):
        exhaustive(blocks, LIMIT, Stop())


def test_what_needs_nothing_of_its_producer_is_refused_with_shared_weights() -> None:
    # Row 0 of `b` is padding, so `c` might run, on the bank of `a`, before `a`.
    layers = [rows("a", "x"), rows("b", "a", 3, -1), rows("c", "b", 1)]
    with pytest.raises(InputError, match="'c' may need nothing of 'a'"):
        exhaustive(Problem(network(layers, [1, 1, 2, 1]), chip(weights="shared")), LIMIT, Stop())
    problem = Problem(network(layers, [1, 1, 2, 1]), chip(banks_per_channel=3))
    check_plan(problem, exhaustive(problem, LIMIT, Stop()).plan)


def test_what_does_not_fit_has_no_plan() -> None:
    problem = Problem(network([rows("a", "x"), rows("b", "a")], [1, 1, 2, 1]), chip(banks_per_channel=1))
    found = exhaustive(problem, LIMIT, Stop())
    assert found.plan is None and found.complete
    narrow = Problem(network([rows("a", "x")], [1, 1, 2, 1]), chip(rows_per_bank=8))
    assert exhaustive(narrow, LIMIT, Stop()).combinations == 0


class AfterSome:
    """An interrupt that comes when it has been looked for some times."""

    def __init__(self, times: int) -> None:
        self.times = times

    def is_set(self) -> bool:
        self.times -= 1
        return self.times < 0


def test_a_search_that_is_stopped_keeps_its_best() -> None:
    problem = small_problem(0)
    whole = exhaustive(problem, LIMIT, Stop())
    # It listens once for each mapping, and then before each layer that it places.
    listed = sum(1 for layer in problem.layers for _ in mappings(layer, problem.hardware))
    ended: list[Exhausted] = [
        exhaustive(problem, LIMIT, Stop(interrupt=AfterSome(times)))
        for times in (0, listed // 2, *range(listed, listed + 50, 5))
    ]
    assert ended[0].plan is None and ended[1].plan is None
    assert not any(found.complete for found in ended[:3])
    some = [found.plan for found in ended if found.plan is not None and not found.complete]
    assert some and whole.plan is not None
    for plan in some:
        check_plan(problem, plan)
        assert plan.latency >= whole.plan.latency


# Banks


def fits(free: list[int], shapes: list[tuple[int, int]]) -> bool:
    if not shapes:
        return True
    channels, banks = shapes[0]
    return any(
        all(free[c] >= banks for c in chosen)
        and fits([left - banks * (c in chosen) for c, left in enumerate(free)], shapes[1:])
        for chosen in itertools.combinations(range(len(free)), channels)
    )


def test_packing_finds_a_way_if_there_is_one() -> None:
    rng = random.Random(0)
    layer = draw_network(rng, 1).layers[0]
    outcomes = set()
    for _ in range(300):
        hardware = chip(channels=rng.randint(1, 4), banks_per_channel=rng.randint(1, 5))
        shapes = [
            (rng.randint(1, hardware.channels), rng.randint(1, hardware.banks_per_channel))
            for _ in range(rng.randint(1, 6))
        ]
        profiles = [
            profile(layer, Mapping((Loop("N", c, "channel"), Loop("N", b, "bank"))), hardware)
            for c, b in shapes
        ]
        banks = pack(hardware, profiles)
        possible = fits([hardware.banks_per_channel] * hardware.channels, shapes)
        outcomes.add(possible)
        assert (banks is not None) == possible
        if banks is not None:
            taken = np.concatenate(banks)
            assert len(set(taken.tolist())) == len(taken) and taken.max() < hardware.banks
            for (c, b), own in zip(shapes, banks, strict=True):
                used = np.bincount(own // hardware.banks_per_channel)
                assert used[used > 0].tolist() == [b] * c
    assert outcomes == {True, False}
