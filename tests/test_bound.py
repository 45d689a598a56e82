"""`cpsat` over the whole mapspace is as good as trying everything, and no bound is ever above that."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import numpy as np
import pytest

from hw.library import load_hardware
from models.library import load_network
from models.network import AXES, DIMS
from overlapim_files import InputError
from solver.bench.small import draw_small
from solver.bound.durations import useful_cycles
from solver.bound.model import BoundModel, bank_numbers, raised_bound
from solver.bound.reading import enabled, needed
from solver.bound.relaxation import linear_bound
from solver.cpsat import method
from solver.exhaustive import exhaustive
from solver.mapspace import mappings
from solver.problem import Edge, Problem
from solver.profile import profile
from solver.reference import _walk_windows
from solver.solve import Improvement, Observer, solve
from solver.stop import Stop

COMBINATIONS = 10**9
BATCH = 10
FEW_PAIRS = 700


class Bounds(Observer):
    """Every bound that was ever reported."""

    def __init__(self) -> None:
        self.heard: list[int] = []

    def improved(self, improvement: Improvement) -> None:
        if improvement.bound is not None:
            self.heard.append(improvement.bound)


@pytest.mark.parametrize("first", range(0, 360, BATCH))
def test_cpsat_is_exhaustive_and_bounds_are_below(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    solved = 0
    for seed in range(first, first + BATCH):
        network, hardware = draw_small(random.Random(seed))
        problem = Problem(network, hardware)
        best = exhaustive(problem, COMBINATIONS, Stop())
        assert best.plan is not None and best.complete
        latency = best.plan.latency
        model = BoundModel(problem, latency)
        least = linear_bound(model, None)
        assert least <= raised_bound(model, least) <= latency
        monkeypatch.setattr(method, "WHOLE_PAIRS", FEW_PAIRS)
        if method.whole_mapspace(problem, latency + 1, Stop()) is None:
            continue  # these take CP-SAT a while
        monkeypatch.setattr(method, "WHOLE_PAIRS", 10**9)
        bounds = Bounds()
        try:
            result = solve(network, hardware, "cpsat", Stop(seconds=60), seed, 1, None, bounds)
        except InputError:
            continue  # the heuristic that every method begins with found no room
        assert result.latency == latency and result.bound == latency and result.status == "optimal"
        assert all(bound <= latency for bound in bounds.heard)
        solved += 1
    assert solved >= BATCH // 2


@pytest.mark.parametrize("seed", range(40))
def test_no_mapping_is_faster_than_its_banks_allow(seed: int) -> None:
    network, hardware = draw_small(random.Random(1000 + seed))
    for layer in network.layers:
        for mapping in mappings(layer, hardware):
            found = profile(layer, mapping, hardware)
            assert useful_cycles(layer, hardware, found.banks) <= found.last_finish
            assert any(low <= found.banks <= high for low, high in bank_numbers(hardware, hardware.banks))


def test_more_banks_are_never_slower() -> None:
    hardware = load_hardware("hbm2-bitsimd")
    for layer in load_network("resnet18").layers[:6]:
        cycles = [useful_cycles(layer, hardware, banks) for banks in range(1, hardware.banks + 1)]
        assert cycles == sorted(cycles, reverse=True)
        ideal = layer.macs * hardware.mac_cycles / hardware.columns_per_bank
        assert all(c * banks >= ideal * 0.999 for banks, c in enumerate(cycles, 1))


def reads(problem: Problem, layer: int, edge: Edge) -> tuple[list[int], list[set[int]], int]:
    """Return position and elements read of each iteration of a layer through one edge, by definition."""
    record = problem.layers[layer]
    shape = problem.network.shapes[problem.layers[edge.producer].name]
    positions, elements = [], []
    for point in itertools.product(*map(range, record.bounds)):
        digits = dict(zip(DIMS, point, strict=True))
        axes = []
        for axis, extent in zip(AXES, shape, strict=True):
            access = edge.operand.axes[axis]
            value = sum(c * digits[dim] for dim, c in access.terms.items()) + access.offset
            inside = 0 <= value < (access.extent or extent)
            axes.append(_walk_windows(edge.operand, axis, value, extent) if inside else range(0))
        positions.append(digits["P"] * record.bound("Q") + digits["Q"])
        elements.append({int(np.ravel_multi_index(place, shape)) for place in itertools.product(*axes)})
    return positions, elements, int(np.prod(shape))


def subsets(size: int) -> Iterator[set[int]]:
    return (set(chosen) for n in range(size + 1) for chosen in itertools.combinations(range(size), n))


def separable_edges(seed: int) -> Iterator[tuple[Problem, int, Edge]]:
    problem = Problem(*draw_small(random.Random(seed)))
    for layer, edges in enumerate(problem.edges):
        for edge in edges:
            if edge.operand.flatten is None:
                yield problem, layer, edge


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_positions_read_no_less_than_the_table_says(first: int) -> None:
    exact = 0
    for problem, layer, edge in itertools.chain(*map(separable_edges, range(first, first + 20))):
        positions, elements, _ = reads(problem, layer, edge)
        counts = needed(problem.layers[layer], edge)
        size = len(counts) - 1
        read = [
            set().union(*(e for p, e in zip(positions, elements, strict=True) if p == i)) for i in range(size)
        ]
        least = [10**9] * (size + 1)
        for chosen in subsets(size):
            union = set().union(*(read[i] for i in chosen))
            least[len(chosen)] = min(least[len(chosen)], len(union))
        assert all(counts <= least)
        exact += counts.tolist() == least
    assert exact


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_no_work_is_done_beyond_what_is_enabled(first: int) -> None:
    tight = 0
    for problem, layer, edge in itertools.chain(*map(separable_edges, range(first, first + 20))):
        _, elements, total = reads(problem, layer, edge)
        if total > 10:
            continue
        shares = enabled(problem.layers[layer], edge, np.arange(total + 1.0))
        most = [0.0] * (total + 1)
        for finished in subsets(total):
            done = sum(e <= finished for e in elements) / len(elements)
            most[len(finished)] = max(most[len(finished)], done)
        assert all(shares >= np.array(most) - 1e-9)
        tight += bool(np.allclose(shares, most))
    assert tight
