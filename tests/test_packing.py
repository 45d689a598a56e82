"""The first plan where rows are scarce: what fits is found, and what is refused is proven not to fit.

Nothing here shares the search that it checks: small packings are compared with all packings there are, the
fewest rows with those of every mapping, and whole plans with both together.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from generators import chain, check_by_simulation
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.hardware import Hardware, Weights
from hw.library import load_hardware
from models.decoder import GPT2, forward
from models.library import load_network
from models.network import Layer, Network
from models.transformer import Heads
from overlapim_files import InputError
from solver.bench.small import draw_small
from solver.mapspace.enumeration import mappings
from solver.mapspace.frugal import fewest_rows, frugal_mappings, least_area, least_banks
from solver.mapspace.pools import Pools
from solver.methods import METHODS
from solver.params import RowPrices
from solver.schedule.bins import Bins, Item, Packed, cheapest_fit, first_fit, undominated
from solver.schedule.packing import find, improve_packing, least_capacity
from solver.schedule.plan import Plan, in_turn
from solver.search.fitting import fit
from solver.search.sequential import row_prices
from solver.solve import solve
from solver.stop import Stop
from solver.timing.mapping import Loop, Mapping
from solver.timing.problem import Problem
from solver.timing.validity import problems, rows_needed

Json = dict[str, Any]
Items = list[list[Item]]
PRICES = (0.0, 0.1, 1.0, 10.0, float("inf"))


# Instances


def grid(channels: int, banks: int, rows: int, columns: int = 16, weights: Weights = "shared") -> Hardware:
    shape = {"channels": channels, "banks_per_channel": banks, "columns_per_bank": columns}
    return load_hardware("toy").model_copy(update={**shape, "rows_per_bank": rows, "weights": weights})


def draw_chain(seed: int, full: float) -> tuple[Network, Hardware]:
    """Draw a chain, and a chip of which the weights, evenly spread, fill such a share of the rows."""
    rng = random.Random(seed)
    network = chain([rng.randrange(12, 72, 4) for _ in range(rng.randint(4, 8))])
    channels, banks = rng.choice([(1, 2), (1, 3), (1, 4), (2, 1), (2, 2), (2, 3)])
    bits = 8 * sum(layer.weights for layer in network.layers)
    return network, grid(channels, banks, int(bits / (16 * channels * banks * full)) + 1)


def few_solves() -> Stop:
    """Return a stop that does not look at the clock."""
    return Stop.deterministic(30)


# Packings, against all there are


@st.composite
def packings(draw: st.DrawFn) -> tuple[Bins, Items]:
    """Draw a few bins, and for each of a few layers some items."""
    bins = Bins(draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(st.integers(4, 9)))
    item = st.builds(
        Item,
        st.integers(1, bins.groups),
        st.integers(1, bins.width),
        st.integers(1, 9),
        st.integers(0, 20),
    )
    return bins, draw(st.lists(st.lists(item, min_size=1, max_size=3), min_size=1, max_size=4))


def places(bins: Bins, item: Item) -> Iterator[tuple[int, ...]]:
    """Yield all sets of bins of an item's shape."""
    for groups in itertools.combinations(range(bins.groups), item.groups):
        inside = [itertools.combinations(range(bins.width), item.bins) for _ in groups]
        for chosen in itertools.product(*inside):
            yield tuple(g * bins.width + b for g, own in zip(groups, chosen, strict=True) for b in own)


def all_packings(bins: Bins, items: Items) -> dict[tuple[int, ...], int]:
    """Return every distribution of sizes over the bins, whatever they hold, with its least cost."""
    loads = {(0,) * (bins.groups * bins.width): 0}
    for own in items:
        further: dict[tuple[int, ...], int] = {}
        for item in own:
            for place in places(bins, item):
                for load, cost in loads.items():
                    new = tuple(x + item.size * (b in place) for b, x in enumerate(load))
                    further[new] = min(cost + item.cost, further.get(new, 10**9))
        loads = further
    return loads


def check_packed(bins: Bins, items: Items, packed: Packed) -> None:
    load = [0] * (bins.groups * bins.width)
    for own, i, place in zip(items, packed.chosen, packed.places, strict=True):
        assert tuple(place.tolist()) in set(places(bins, own[i]))
        for b in place.tolist():
            load[b] += own[i].size
    assert max(load) <= bins.capacity


@settings(max_examples=150)
@given(packings())
def test_a_packing_is_found_exactly_where_there_is_one(drawn: tuple[Bins, Items]) -> None:
    bins, items = drawn
    every = all_packings(bins, items)
    fitting = [cost for load, cost in every.items() if max(load) <= bins.capacity]
    found = find(bins, items, 60, Stop())
    assert (found.packed is not None, found.impossible) == (bool(fitting), not fitting)
    assert least_capacity(bins, items, 60, Stop()) == min(map(max, every))
    quick = cheapest_fit(bins, items, PRICES, Stop())
    if found.packed is None:
        assert quick is None
        return
    check_packed(bins, items, found.packed)
    best = improve_packing(bins, items, found.packed, 60, Stop())
    check_packed(bins, items, best)
    assert best.cost(items) == min(fitting)
    if quick is not None:
        check_packed(bins, items, quick)


@settings(max_examples=150)
@given(packings())
def test_what_is_dominated_is_never_needed(drawn: tuple[Bins, Items]) -> None:
    bins, items = drawn
    kept = [[own[i] for i in undominated(own)] for own in items]
    costs = [
        min((c for load, c in all_packings(bins, p).items() if max(load) <= bins.capacity), default=None)
        for p in (items, kept)
    ]
    assert costs[0] == costs[1]


def test_first_fit_balances_what_is_wide_and_fills_what_is_narrow() -> None:
    bins = Bins(2, 2, 10)
    assert first_fit(bins, [Item(1, 1, 10, 0)] * 4) is not None
    assert first_fit(bins, [Item(1, 1, 10, 0)] * 5) is None
    assert first_fit(bins, [Item(2, 2, 5, 0), Item(2, 2, 5, 0)]) is not None
    assert first_fit(bins, [Item(1, 1, 6, 0)] * 4 + [Item(2, 1, 4, 0)] * 2) is not None
    assert first_fit(bins, [Item(2, 2, 11, 0)]) is None


def test_many_layers_on_many_banks_are_packed_almost_full() -> None:
    rng = random.Random(5)
    shapes = [(1, 1), (1, 4), (1, 16), (4, 16), (8, 16)]
    areas = [rng.randrange(20_000, 100_000) for _ in range(50)]
    bins = Bins(8, 16, int(sum(areas) / 128 / 0.9))
    items: Items = []
    for area in areas:
        own = [Item(c, b, 60 + area // (c * b), area // (c * b)) for c, b in shapes]
        items.append([item for item in own if item.size <= bins.capacity])
    packed = cheapest_fit(bins, items, row_prices(RowPrices()), Stop())
    assert packed is not None
    check_load(bins, items, packed)


def check_load(bins: Bins, items: Items, packed: Packed) -> None:
    load = [0] * (bins.groups * bins.width)
    for own, i, place in zip(items, packed.chosen, packed.places, strict=True):
        groups = [b // bins.width for b in place.tolist()]
        assert len(set(place.tolist())) == own[i].groups * own[i].bins
        assert {groups.count(g) for g in groups} == {own[i].bins}
        for b in place.tolist():
            load[b] += own[i].size
    assert max(load) <= bins.capacity


# The fewest rows, against every mapping


def shapes_of(hardware: Hardware) -> list[tuple[int, int]]:
    return [
        (c, b)
        for c in range(1, hardware.channels + 1)
        for b in range(1, hardware.banks_per_channel + 1)
        if c * b <= hardware.most_banks
    ]


@lru_cache(maxsize=1000)
def fewest_of_all(look: str, hardware: Hardware) -> dict[tuple[int, int], int]:
    """Return the fewest rows of every mapping that uses just a shape, for a layer given as text."""
    layer = Layer.model_validate_json(look)
    fewest: dict[tuple[int, int], int] = {}
    for mapping in mappings(layer, hardware):
        shape = mapping.channels, mapping.banks_per_channel
        fewest[shape] = min(fewest.get(shape, 10**12), rows_needed(layer, mapping, hardware))
    return fewest


@pytest.mark.parametrize("seed", range(40))
def test_no_mapping_has_fewer_rows(seed: int) -> None:
    network, hardware = draw_small(random.Random(seed))
    for layer in network.layers:
        fewest = fewest_of_all(layer.model_dump_json(by_alias=True), hardware)
        for channels, banks in shapes_of(hardware):
            within = [rows for (c, b), rows in fewest.items() if c <= channels and b <= banks]
            found = list(frugal_mappings(layer, hardware, (channels, banks)))
            assert bool(found) == bool(within)
            for mapping in found:
                assert not problems(layer, mapping, hardware)
                assert mapping.channels <= channels and mapping.banks_per_channel <= banks
            if found:
                assert rows_needed(layer, found[0], hardware) == min(within)
                assert fewest_rows(layer, hardware, (channels, banks)) == min(within)


def fits(network: Network, hardware: Hardware) -> bool:
    """Return whether any mappings of the layers fit, by trying all of their shapes in all banks."""
    apart = hardware.weights == "static"
    bins = Bins(hardware.channels, hardware.banks_per_channel, 1 if apart else hardware.rows_per_bank)
    loads = {(0,) * hardware.banks}
    for layer in network.layers:
        rows = fewest_of_all(layer.model_dump_json(by_alias=True), hardware)
        items = [Item(c, b, 1 if apart else r, 0) for (c, b), r in rows.items()]
        loads = {
            new
            for item in items
            for place in places(bins, item)
            for load in loads
            if max(new := tuple(x + item.size * (b in place) for b, x in enumerate(load))) <= bins.capacity
        }
    return bool(loads)


@st.composite
def tiny_problems(draw: st.DrawFn) -> tuple[Network, Hardware]:
    """Draw a chain of two to four layers, and a chip that may or may not hold it."""
    widths = draw(st.lists(st.integers(2, 7), min_size=3, max_size=5))
    shape = draw(st.sampled_from([(1, 2), (2, 1), (1, 3), (2, 2)]))
    columns = draw(st.integers(2, 4))
    weights: Weights = draw(st.sampled_from(("shared", "static")))
    return chain(widths), grid(*shape, draw(st.integers(56, 260)), columns, weights)


@settings(max_examples=120)
@given(tiny_problems())
def test_a_plan_is_found_exactly_where_there_is_one(drawn: tuple[Network, Hardware]) -> None:
    network, hardware = drawn
    try:
        result = solve(network, hardware, method="sequential", stop=few_solves())
    except InputError as error:
        assert not fits(network, hardware)
        assert "no way was found" not in str(error)
        check_refusal(str(error))
        return
    check_by_simulation(result)
    assert fits(network, hardware)


def check_refusal(message: str) -> None:
    assert "\n" not in message
    assert re.search(r"layer '\w+'.* \d+", message)
    assert re.search(r"\d+ more than", message)


# Networks on chips


@pytest.mark.parametrize("seed", range(50))
def test_chains_that_fill_three_quarters_of_the_rows_are_solved_or_proven_not_to_fit(seed: int) -> None:
    network, hardware = draw_chain(seed, 0.75)
    try:
        result = solve(network, hardware, method="sequential", stop=few_solves())
    except InputError as error:
        check_refusal(str(error))
        return
    check_by_simulation(result)


def test_most_chains_that_fill_three_quarters_of_the_rows_are_solved() -> None:
    solved = 0
    for seed in range(0, 50, 5):
        with_room = draw_chain(seed, 0.75)
        solved += solve(*with_room, method="sequential", stop=few_solves()).latency > 0
    assert solved == 10


TIGHT = chain([20, 36, 12, 56, 28, 60, 40]), grid(1, 2, 2100)
"""Weights for 87 % of the rows of two banks: no layer can be on both without a part of its rows idle."""


@pytest.mark.parametrize("method", [name for name in METHODS if name != "exhaustive"])
def test_every_method_begins_with_a_packing(method: str) -> None:
    network, hardware = TIGHT
    result = solve(network, hardware, method=method, stop=Stop.deterministic(2))
    check_by_simulation(result)


def test_a_language_model_of_a_billion_and_a_half_parameters_fits_on_a_stack() -> None:
    gpt2_xl = replace(GPT2, blocks=48, width=1600, inner=6400, heads=Heads(25, 1, 64))
    network, chip = forward(gpt2_xl, "gpt2-xl", 16), load_hardware("hbm2-bitsimd")
    assert sum(layer.weights for layer in network.layers) > 1.5e9
    result = solve(network, chip, method="sequential", stop=Stop(iterations=1))
    assert len(set().union(*(own.tolist() for own in result.plan.banks))) == chip.banks
    whole = solve(network, chip.model_copy(update={"rows_per_bank": 2**20}), method="sequential")
    assert whole.latency < result.latency < 2 * whole.latency


def test_what_does_not_fit_is_told_in_rows_that_are_missing() -> None:
    # Each layer has 256 weights, 16 in each of 16 lanes: 128 rows, and 48 for two inputs and a sum.
    with pytest.raises(InputError) as refused:
        solve(chain([16, 16, 16, 16]), grid(1, 2, 250), method="sequential")
    assert "its layers need 528 rows together, 28 more than there are" in str(refused.value)
    assert "the largest is layer 'product0' with 176 rows" in str(refused.value)
    # With fewer rows than that each of them needs both banks, and 48 rows in each that are no weights.
    with pytest.raises(InputError, match=r"its layers need 448 rows together, 148 more than there are"):
        solve(chain([16, 16, 16]), grid(1, 2, 150), method="sequential")
    with pytest.raises(InputError, match=r"need 3 banks together, 1 more than there are"):
        solve(chain([16, 16, 16, 16]), grid(1, 2, 400, weights="static"), method="sequential")


def test_a_shortage_that_no_sum_shows_is_proven_bank_by_bank() -> None:
    # Three layers of 128 + 48 rows in one bank, or twice 64 + 48: with two banks one of them has to hold two.
    network, rows = chain([16, 16, 16, 16]), 3 * 176 // 2 + 10
    with pytest.raises(InputError) as refused:
        solve(network, grid(1, 2, rows), method="sequential")
    message = str(refused.value)
    assert f"a bank of at least 288 rows, {288 - rows} more than the {rows} there are" in message
    assert solve(network, grid(1, 2, 288), method="sequential").latency > 0


def test_bounds_on_rows_hold_for_what_is_found() -> None:
    for seed in range(30):
        network, hardware = draw_chain(seed, 0.6)
        profiles = solve(network, hardware, method="sequential", stop=few_solves()).plan.profiles
        for layer, own in zip(network.layers, profiles, strict=True):
            assert least_area(layer, hardware) <= own.rows * own.banks
            assert least_banks(layer, hardware) <= own.banks
            shape = own.mapping.channels, own.mapping.banks_per_channel
            assert fewest_rows(layer, hardware, shape) <= own.rows


def test_the_same_work_gives_the_same_packing_on_any_machine() -> None:
    network, hardware = TIGHT
    first, again = (solve(network, hardware, stop=Stop.deterministic(1.5)) for _ in range(2))
    assert first.solution == again.solution


# Warm starts


def by_hand() -> tuple[Network, Hardware, Plan]:
    """Return a plan that was made by hand: each layer in one bank, its columns over its outputs."""
    network, hardware = chain([24, 16, 32, 16]), grid(1, 2, 800)
    problem, profiles = Problem(network, hardware), []
    for i, layer in enumerate(network.layers):
        read, written = layer.bound("C"), layer.bound("K")
        loops = (Loop("K", written // 16, "temporal"), Loop("C", read, "temporal"), Loop("K", 16, "column"))
        profiles.append(problem.profile(i, Mapping(loops)))
    return network, hardware, in_turn(problem, profiles, [np.array([b], np.int64) for b in (0, 1, 0)])


@pytest.mark.parametrize("method", [name for name in METHODS if name != "exhaustive"])
def test_a_warm_start_is_taken_where_no_first_plan_is_found(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> Plan:
        raise InputError("no way was found")

    monkeypatch.setattr("solver.solve.sequential", refuses)
    network, hardware, plan = by_hand()
    with pytest.raises(InputError, match="no way was found"):
        solve(network, hardware, method=method, stop=Stop.deterministic(0.5))
    result = solve(network, hardware, method=method, stop=Stop.deterministic(0.5), warm_start=plan)
    assert result.latency <= result.sequential <= plan.latency
    check_by_simulation(result)


def test_a_packing_is_as_good_as_the_one_made_by_hand() -> None:
    network, hardware, plan = by_hand()
    assert solve(network, hardware, method="sequential").latency <= plan.latency


def test_fitting_is_as_fast_as_the_whole_chip_where_rows_are_plenty() -> None:
    network, hardware = load_network("toy"), load_hardware("toy").with_weights("shared")
    plan = fit(Pools(Problem(network, hardware)), PRICES, few_solves())
    assert plan.latency == solve(network, hardware, method="sequential").latency
