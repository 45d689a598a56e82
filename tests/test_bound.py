"""`cpsat` over the whole mapspace is as good as trying everything, and no bound is ever above that."""

from __future__ import annotations

import itertools
import math
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from generators import chain, draw_hardware, draw_network, draw_solvable
from hypothesis import given
from hypothesis import strategies as st

from hw.hardware import Weights
from hw.library import load_hardware
from models.library import load_network
from models.network import AXES, DIMS, REDUCTION_DIMS, AxisAccess, Dim, Flatten
from solver.bench.small import draw_small
from solver.bound.composed import needed_through
from solver.bound.durations import lane_ranges, useful_cycles
from solver.bound.model import BoundModel, raised_bound
from solver.bound.quick import bank_numbers, quick_bound
from solver.bound.reading import enabled, needed, needed_by_shares, reading_products, union_gains
from solver.bound.relaxation import linear_bound
from solver.cpsat import method
from solver.mapspace.enumeration import mappings
from solver.params import BoundParams, CpsatParams, Params, WholeParams
from solver.reference import walk_windows
from solver.run import Improvement, Observer
from solver.search.exhaustive import exhaustive
from solver.solve import solve
from solver.stop import Stop
from solver.timing.problem import Edge, Problem
from solver.timing.profile import profile
from solver.timing.tiles import innermost_read

COMBINATIONS = 10**9
BATCH = 10
FEW_PAIRS = 700
WHOLE = Params(cpsat=CpsatParams(whole=WholeParams(pairs=10**9)))


class Bounds(Observer):
    """Every bound that was ever reported."""

    def __init__(self) -> None:
        self.heard: list[int] = []

    def improved(self, improvement: Improvement) -> None:
        if improvement.bound is not None:
            self.heard.append(improvement.bound)


@pytest.mark.parametrize("first", range(0, 360, BATCH))
def test_cpsat_is_exhaustive_and_bounds_are_below(first: int) -> None:
    solved = 0
    for seed in range(first, first + BATCH):
        network, hardware = draw_small(random.Random(seed))
        problem = Problem(network, hardware)
        best = exhaustive(problem, COMBINATIONS, Stop())
        assert best.plan is not None and best.complete
        latency = best.plan.latency
        model = BoundModel(problem, latency)
        least = linear_bound(model, Stop())
        assert least <= raised_bound(model, least, Stop()) <= latency
        assert 0 < quick_bound(problem) <= latency
        if method.whole_mapspace(problem, best.plan, Stop(), FEW_PAIRS) is None:
            continue  # these take CP-SAT a while
        bounds = Bounds()
        result = solve(
            network,
            hardware,
            method="cpsat",
            params=WHOLE,
            stop=Stop(seconds=60),
            seed=seed,
            observer=bounds,
        )
        assert result.latency == latency and result.bound == latency and result.status == "optimal"
        assert all(bound <= latency for bound in bounds.heard)
        solved += 1
    assert solved >= BATCH // 2


def test_the_instances_have_every_feature_of_the_model() -> None:
    """Otherwise the test above would say little."""
    seen: set[str] = set()
    for seed in range(60):
        network, hardware = draw_small(random.Random(seed))
        plan = exhaustive(Problem(network, hardware), COMBINATIONS, Stop()).plan
        assert plan is not None
        seen |= {hardware.weights, hardware.reduction, f"inputs in {hardware.inputs.store}"}
        seen |= {"fixed costs"} if hardware.cycles.load and hardware.cycles.drain else set()
        seen |= {"spread"} if hardware.spread.bank is not None else set()
        seen |= {"residual"} if any(layer.residuals for layer in network.layers) else set()
        for own in plan.profiles:
            seen |= {"load depth"} if own.load_depth < innermost_read(own.layer, own.mapping) else set()
            seen |= {"rows opened"} if own.open_depth else set()
            seen |= {"lead"} if own.lead else set()
    sorts = {"static", "shared", "reload", "chip", "host", "inputs in rows", "inputs in buffer"}
    assert seen >= sorts | {"fixed costs", "spread", "residual", "load depth", "rows opened", "lead"}


@pytest.mark.parametrize("weights", ["static", "shared", "reload"])
def test_no_plan_is_faster_than_what_is_proved(weights: Weights) -> None:
    gaps = []
    for seed in range(40):
        network, hardware = draw_solvable(random.Random(seed), 6, weights)
        found = solve(network, hardware, method="descent", stop=Stop(iterations=200), seed=seed)
        problem = Problem(network, hardware)
        assert 0 < quick_bound(problem) <= found.latency
        assert linear_bound(BoundModel(problem, found.latency), Stop()) <= found.latency
        gaps.append(found.gap)
    assert np.median(gaps) < 0.9


@pytest.mark.parametrize(("layers", "grids"), [(3, [56]), (2, [4, 56])])
def test_what_takes_long_is_bounded_roughly_first(
    layers: int, grids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def model(*given: Any) -> BoundModel:
        made.append(BoundModel(*given))
        return made[-1]

    monkeypatch.setattr(method, "BoundModel", model)
    params = replace(Params(), bound=BoundParams(rough_layers=layers))
    network, chip = next(
        (network, chip)
        for network, chip in (draw_small(random.Random(seed)) for seed in itertools.count())
        if len(network.layers) == 2 and chip.weights == "static"
    )
    solve(network, chip, method="cpsat", params=params, stop=Stop(iterations=20), workers=1)
    assert [own.grid for own in made] == grids


def test_a_relaxation_that_is_hard_to_solve_precisely_proves_a_bound() -> None:
    problem = Problem(load_network("inception-v1"), load_hardware("hbm2-bitsimd").with_weights("static"))
    assert linear_bound(BoundModel(problem, 75_900_000, BoundParams(fine=8)), Stop()) > 33_000_000


def test_a_chain_ends_after_each_of_its_layers() -> None:
    """Two products of vectors on a chip with plenty of banks: the second reads all of the first."""
    chip = load_hardware("toy").with_weights("static")
    problem = Problem(chain([16, 16, 16]), chip)
    alone = [quick_bound(Problem(chain([16, 16]), chip)), problem.hardware.cycles.transfer]
    assert quick_bound(problem) > sum(alone)


@pytest.mark.parametrize("seed", range(40))
def test_no_mapping_is_faster_than_its_banks_allow(seed: int) -> None:
    network, hardware = draw_small(random.Random(1000 + seed))
    for layer in network.layers:
        for mapping in mappings(layer, hardware):
            found = profile(layer, mapping, hardware)
            sums = math.prod(
                x.bound for x in mapping.loops if x.kind != "temporal" and x.dim in REDUCTION_DIMS
            )
            (lanes,) = (x for x in lane_ranges(layer, hardware, 1.5) if x.least <= sums <= x.most)
            cycles = useful_cycles(layer, hardware, [found.banks], spread=lanes)[0]
            assert cycles <= found.lead + found.last_finish
            assert any(low <= found.banks <= high for low, high in bank_numbers(hardware, hardware.banks))


@pytest.mark.parametrize("chip", ["hbm2-bitsimd", "gddr6-aim"])
def test_the_least_of_all_lanes_is_the_least(chip: str) -> None:
    hardware = load_hardware(chip)
    for layer in load_network("mobilenetv2").layers[:6]:
        ranges = lane_ranges(layer, hardware, 1.5)
        apart = [useful_cycles(layer, hardware, range(1, 129), spread=lanes) for lanes in ranges]
        assert np.array_equal(np.min(apart, axis=0), useful_cycles(layer, hardware, range(1, 129)))


def test_more_banks_are_never_slower() -> None:
    hardware = load_hardware("hbm2-bitsimd")
    for layer in load_network("resnet18").layers[:6]:
        cycles = useful_cycles(layer, hardware, range(1, hardware.banks + 1)).tolist()
        assert cycles == sorted(cycles, reverse=True)
        ideal = layer.macs * hardware.mac_cycles / hardware.columns_per_bank
        assert all(c * banks >= ideal * 0.999 for banks, c in enumerate(cycles, 1))


def element_reads(problem: Problem, layer: int, edge: Edge) -> tuple[list[int], list[int], list[set[int]]]:
    """Return position, output and elements read of each iteration through one edge, by definition."""
    record, operand = problem.layers[layer], edge.operand
    shape = problem.network.shapes[problem.layers[edge.producer].name]
    positions, outputs, elements = [], [], []
    for point in itertools.product(*map(range, record.bounds)):
        digits = dict(zip(DIMS, point, strict=True))
        values = {axis: _form_value(operand.axes[axis], digits) for axis in AXES}
        extents = {axis: operand.axes[axis].extent or e for axis, e in zip(AXES, shape, strict=True)}
        if operand.flatten is not None:
            flat = _form_value(operand.flatten, digits)
            extents |= dict(zip(AXES[1:], operand.flatten.shape, strict=True))
            inside = 0 <= flat < math.prod(operand.flatten.shape)
            places = np.unravel_index(flat, operand.flatten.shape) if inside else (-1, -1, -1)
            values |= dict(zip(AXES[1:], map(int, places), strict=True))
        axes = [
            walk_windows(operand, axis, values[axis], extent)
            if 0 <= values[axis] < extents[axis]
            else range(0)
            for axis, extent in zip(AXES, shape, strict=True)
        ]
        positions.append(digits["P"] * record.bound("Q") + digits["Q"])
        outputs.append(int(np.ravel_multi_index(point[:5], record.bounds[:5])))
        elements.append({int(np.ravel_multi_index(place, shape)) for place in itertools.product(*axes)})
    return positions, outputs, elements


def _form_value(form: AxisAccess | Flatten, digits: dict[Dim, int]) -> int:
    return sum(c * digits[dim] for dim, c in form.terms.items()) + form.offset


def least_unions(read: list[set[int]]) -> list[int]:
    """Return for each number of sets the least size of the union of so many."""
    least = [10**9] * (len(read) + 1)
    for chosen in subsets(len(read)):
        least[len(chosen)] = min(least[len(chosen)], len(set().union(*(read[i] for i in chosen))))
    return least


def subsets(size: int) -> Iterator[set[int]]:
    return (set(chosen) for n in range(size + 1) for chosen in itertools.combinations(range(size), n))


def edges_of(problem: Problem) -> Iterator[tuple[Problem, int, Edge]]:
    return ((problem, layer, edge) for layer, edges in enumerate(problem.edges) for edge in edges)


def small_edges(first: int) -> Iterator[tuple[Problem, int, Edge]]:
    problems = (Problem(*draw_small(random.Random(seed))) for seed in range(first, first + 20))
    return itertools.chain(*map(edges_of, problems))


def varied_edges(first: int) -> Iterator[tuple[Problem, int, Edge]]:
    """Yield edges of networks with batches, groups, heads and windows of all kinds."""
    for seed in range(first, first + 20):
        rng = random.Random(seed)
        network = draw_network(rng, rng.randint(2, 4))
        yield from edges_of(Problem(network, draw_hardware(rng, network)))


@given(st.lists(st.sets(st.integers(0, 5)), min_size=1, max_size=5))
def test_no_union_of_rows_is_smaller(sets: list[set[int]]) -> None:
    """Of any sets, and exactly of intervals that move on; the last is the union of all."""
    read = np.array([[i in own for i in range(6)] for own in sets])
    least, claimed = np.array(least_unions(sets)), union_gains(read).cumsum()
    assert (claimed <= least[1:]).all()
    assert claimed[-1] == least[-1]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=6))
def test_no_union_of_intervals_is_smaller(ends: list[tuple[int, int]]) -> None:
    sets = [set(range(min(own), max(own) + 1)) for own in ends]
    read = np.array([[i in own for i in range(7)] for own in sets])
    assert (union_gains(read).cumsum() <= least_unions(sets)[1:]).all()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=6))
def test_least_unions_of_intervals_that_move_on(steps: list[tuple[int, int]]) -> None:
    lows, highs = (list(itertools.accumulate(own)) for own in zip(*steps, strict=True))
    sets = [set(range(low, low + high + 1)) for low, high in zip(lows, highs, strict=True)]
    read = np.array([[i in own for i in range(max(map(max, sets)) + 1)] for own in sets])
    assert [0, *union_gains(read).cumsum()] == least_unions(sets)


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_positions_read_no_less_than_the_table_says(first: int) -> None:
    exact = 0
    for problem, layer, edge in small_edges(first):
        positions, _, elements = element_reads(problem, layer, edge)
        counts = needed(problem.layers[layer], edge)
        pairs = list(zip(positions, elements, strict=True))
        read = [set().union(*(e for p, e in pairs if p == i)) for i in range(len(counts) - 1)]
        least = least_unions(read)
        assert all(counts <= least)
        exact += counts.tolist() == least
    assert exact


@pytest.mark.parametrize("first", range(0, 400, 20))
def test_no_share_of_the_outputs_reads_less(first: int) -> None:
    """Outputs at one position may read unlike elements: other images, groups or keys."""
    claimed = 0
    for problem, layer, edge in itertools.chain(small_edges(first), varied_edges(first)):
        record = problem.layers[layer]
        outputs = math.prod(record.bounds[:5])
        if outputs > 8 or record.macs > 200:
            continue
        _, places, elements = element_reads(problem, layer, edge)
        pairs = list(zip(places, elements, strict=True))
        least = least_unions([set().union(*(e for o, e in pairs if o == i)) for i in range(outputs)])
        for grid in (3, 8):
            shares = needed_by_shares(record, edge, grid).tolist()
            assert all(shares[i] <= least[max(-(-i * outputs // grid), 1)] for i in range(grid + 1))
            claimed += sum(shares) > 0
    assert claimed


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_no_output_reads_in_fewer_products(first: int) -> None:
    exact = 0
    for problem, layer, edge in itertools.chain(small_edges(first), varied_edges(first)):
        record = problem.layers[layer]
        if record.macs > 200:
            continue
        _, outputs, elements = element_reads(problem, layer, edge)
        reading = Counter(o for o, e in zip(outputs, elements, strict=True) if e)
        least = min(reading[o] for o in set(outputs))
        assert reading_products(record, edge) <= least
        exact += reading_products(record, edge) == least > 1
    assert exact


@pytest.mark.parametrize("first", range(0, 400, 40))
def test_no_output_needs_less_through_another_layer(first: int) -> None:
    exact = 0
    for seed in range(first, first + 40):
        rng = random.Random(seed)
        network = draw_network(rng, rng.randint(3, 6))
        for problem, layer, edge in edges_of(Problem(network, draw_hardware(rng, network))):
            for further in problem.edges[edge.producer]:
                record, producer = problem.layers[layer], problem.layers[edge.producer]
                claimed = needed_through(record, edge, producer, further)
                if not claimed or record.macs > 1000 or producer.macs > 1000:
                    continue
                own = reads_of_outputs(problem, layer, edge)
                made = reads_of_outputs(problem, edge.producer, further)
                least = min(len(set().union(*(made[element] for element in read))) for read in own.values())
                assert claimed <= least
                exact += claimed == least > 1
    assert exact


def reads_of_outputs(problem: Problem, layer: int, edge: Edge) -> dict[int, set[int]]:
    """Return the elements that each output reads through an edge."""
    read: dict[int, set[int]] = {}
    for output, elements in zip(*element_reads(problem, layer, edge)[1:], strict=True):
        read.setdefault(output, set()).update(elements)
    return read


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_no_work_is_done_beyond_what_is_enabled(first: int) -> None:
    tight = 0
    for problem, layer, edge in itertools.chain(small_edges(first), varied_edges(first)):
        total = math.prod(problem.network.shapes[problem.layers[edge.producer].name])
        if total > 10 or problem.layers[layer].macs > 200:
            continue
        _, _, elements = element_reads(problem, layer, edge)
        shares = enabled(problem.layers[layer], edge, np.arange(total + 1.0))
        most = [0.0] * (total + 1)
        for finished in subsets(total):
            done = sum(e <= finished for e in elements) / len(elements)
            most[len(finished)] = max(most[len(finished)], done)
        assert all(shares >= np.array(most) - 1e-9)
        tight += bool(np.allclose(shares, most))
    assert tight


@given(channels=st.integers(1, 40), banks=st.integers(1, 40), share=st.floats(0, 1))
def test_ranges_hold_all_products_and_no_others_at_their_ends(
    channels: int, banks: int, share: float
) -> None:
    hardware = load_hardware("toy").model_copy(update={"channels": channels, "banks_per_channel": banks})
    most = max(1, int(share * hardware.banks))
    products = {c * b for c in range(1, channels + 1) for b in range(1, banks + 1) if c * b <= most}
    ranges = bank_numbers(hardware, most)
    assert all(first in products and last in products for first, last in ranges)
    assert [first for first, _ in ranges] == sorted(first for first, _ in ranges)
    assert products == {x for first, last in ranges for x in products if first <= x <= last}
    assert all(last < first * BoundParams().bank_step for first, last in ranges)
    assert all(b >= a * BoundParams().bank_step for (a, _), (b, _) in pairwise(ranges))


def test_a_chip_with_very_many_banks_is_no_obstacle() -> None:
    hardware = load_hardware("toy").model_copy(update={"channels": 2**20, "banks_per_channel": 64})
    began = time.process_time()
    assert quick_bound(Problem(load_network("toy"), hardware)) > 0
    assert time.process_time() - began < 10
