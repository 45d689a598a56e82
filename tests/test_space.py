"""What the pools and moves hand out: valid mappings, good ones among them, and never a shape too large."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
from generators import draw_hardware, draw_mapping, draw_network

from hw.library import load_hardware, preset_names
from models.library import load_network
from solver.bench.small import draw_small
from solver.mapspace.enumeration import allowed_mappings, listed
from solver.mapspace.estimate import Batch
from solver.mapspace.neighbours import allowed_neighbour, neighbour
from solver.mapspace.pools import Pools, pool_mappings, reshaped, shapes, sizes, temporal_orders
from solver.mapspace.widths import some_widths
from solver.timing.mapping import Loop, Mapping
from solver.timing.problem import Problem
from solver.timing.profile import Profile
from solver.timing.validity import problems


@pytest.mark.parametrize("seed", range(60))
def test_candidates_are_valid_and_within_their_shape(seed: int) -> None:
    rng = random.Random(seed)
    network = draw_network(rng, rng.randint(1, 5))
    hardware = draw_hardware(rng, network)
    problem = Problem(network, hardware)
    for i, layer in enumerate(network.layers):
        for shape in {*shapes(hardware), *sizes(hardware)}:
            for profile in Pools(problem).pool(i, shape):
                assert problems(layer, profile.mapping, hardware) == []
                assert profile.mapping.channels <= reshaped(layer, hardware, shape)[0]
                assert profile.mapping.banks_per_channel <= shape[1]
                assert profile.banks <= math.prod(shape)


def test_depthwise_layers_get_banks_in_more_channels_and_hand_on_rows() -> None:
    """A bank of AiM may be spread over K only, of which a depthwise layer has one for each of its groups."""
    chip, network = load_hardware("gddr6-aim"), load_network("mobilenetv2")
    layer = next(i for i, own in enumerate(network.layers) if own.bound("G") > 1)
    assert reshaped(network.layers[layer], chip, (2, 16)) == (32, 1)
    assert reshaped(network.layers[0], chip, (2, 16)) == (2, 16)
    pool = Pools(Problem(network, chip)).pool(layer, (2, 16))
    assert max(own.banks for own in pool) == 32
    outermost = {own.temporal[0].dim for own in pool if "G" in {loop.dim for loop in own.temporal}}
    assert outermost >= {"G", "P"}


@pytest.mark.parametrize("preset", preset_names())
def test_there_is_a_shape_for_every_small_number_of_banks_and_they_all_fit(preset: str) -> None:
    hardware = load_hardware(preset)
    counts = [channels * banks for channels, banks in sizes(hardware)]
    assert counts == sorted(set(counts)) and counts[-1] == hardware.banks
    assert set(range(1, min(16, hardware.banks_per_channel) + 1)) <= set(counts)
    assert all(c <= hardware.channels and b <= hardware.banks_per_channel for c, b in sizes(hardware))


def test_pools_hold_mappings_that_stream_at_little_cost() -> None:
    """A 3x3 convolution on six banks: row by row or position by position about as fast as in any order."""
    problem = Problem(load_network("resnet18"), load_hardware("hbm2-bitsimd"))
    layer = problem.network.index["layer3.1.conv1"]
    pool = Pools(problem).pool(layer, (1, 6))

    def steps(profile: Profile) -> int:
        positions = itertools.takewhile(lambda loop: loop.dim in "PQ", profile.temporal)
        return math.prod(loop.bound for loop in positions)

    close = [steps(profile) for profile in pool if profile.total < 1.1 * pool[0].total]
    assert max(close) >= 49


@pytest.mark.parametrize("name", ["toy", "resnet18", "vgg16"])
def test_pools_hold_the_fastest_first(name: str) -> None:
    problem = Problem(load_network(name), load_hardware("hbm2-bitsimd"))
    pools = Pools(problem)
    for i in range(len(problem.layers)):
        totals = [profile.total for profile in pools.pool(i, (1, 4))]
        assert totals == sorted(totals) and totals


def test_more_banks_are_never_slower() -> None:
    problem = Problem(load_network("resnet18"), load_hardware("hbm2-bitsimd"))
    pools = Pools(problem)
    one, all_of_them = pools.pool(1, (1, 1))[0], pools.pool(1, (8, 16))[0]
    assert all_of_them.total * 100 < one.total


def test_the_estimate_is_the_profile_where_nothing_is_idle() -> None:
    """Convolutions whose bounds divide evenly: the estimate that ranks candidates is then exact."""
    assert sum(_estimated(random.Random(seed)) for seed in range(40)) >= 10


def _estimated(rng: random.Random) -> bool:
    """Compare the estimate of a mapping with its profile if nothing is idle; return whether that is so."""
    problem = Problem(load_network("resnet18"), load_hardware("hbm2-bitsimd"))
    i = rng.randrange(1, 20)
    layer = problem.layers[i]
    mapping = rng.choice([*pool_mappings(layer, problem.hardware, rng.choice(sizes(problem.hardware)))])
    order = temporal_orders(layer)[0]
    dims = "NGKPQCRS"

    def bounds(kind: str) -> np.ndarray:
        return np.array([[mapping.product(kind, (dim,))] for dim in dims])  # type: ignore[arg-type]

    covered = [mapping.product(k, (d,)) for d in dims for k in ("temporal", "channel", "bank", "column")]
    assert all(covered)
    batch = Batch(layer, problem.hardware, *map(bounds, ("channel", "bank", "column", "temporal")))
    loops = [Loop(dim, mapping.product("temporal", (dim,)), "temporal") for dim in order]
    loops += [loop for loop in mapping.loops if loop.kind != "temporal"]
    canonical = Mapping(tuple(loops))
    exact = all(
        np.prod([loop.bound for loop in canonical.loops if loop.dim == dim]) == layer.bound(dim)
        for dim in dims
    )
    if exact:
        estimate = int(batch.total(order)[0])  # type: ignore[arg-type]
        assert estimate == pytest.approx(problem.profile(i, canonical).total, rel=0.02)
    return bool(exact)


def test_options_are_the_widths_that_save_a_step() -> None:
    for bound in range(1, 200):
        steps = {-(-bound // width) for width in range(1, bound + 1)}
        assert some_widths(bound, bound + 1) == sorted({-(-bound // n) for n in steps})


@pytest.mark.parametrize("seed", range(60))
def test_neighbours_are_valid_and_different(seed: int) -> None:
    rng = random.Random(seed)
    network = draw_network(rng, rng.randint(1, 5))
    hardware = draw_hardware(rng, network)
    made = 0
    for layer in network.layers:
        mapping = draw_mapping(rng, layer, hardware)
        for _ in range(20):
            moved = neighbour(layer, mapping, hardware, rng)
            if moved is not None:
                assert problems(layer, moved, hardware) == []
                assert moved != mapping
                mapping = moved
                made += 1
    assert made


def test_changes_of_a_tiny_layer_reach_all_of_its_mappings() -> None:
    """Also those that lie on no way from another one; of a larger layer mappings are not even counted."""
    network, hardware = draw_small(random.Random(6))
    problem, rng = Problem(network, hardware), random.Random(0)
    every = set(allowed_mappings(problem, 0))
    assert len(every) == len(listed(problem, 0)) == 225
    mapping, reached = next(iter(every)), set[Mapping]()
    for _ in range(200 * len(every)):
        mapping = allowed_neighbour(problem, 0, mapping, rng) or mapping
        reached.add(mapping)
    assert reached >= every
    large = Problem(load_network("toy"), load_hardware("toy"))
    assert listed(large, 0) == ()


def test_where_even_banks_hold_too_many_weights_others_are_tried() -> None:
    """A last layer of many words, spread over the tokens, too, as is most even: too many rows of weights."""
    problem = Problem(load_network("gpt2:1024"), load_hardware("reram-aritpim"))
    words = problem.network.index["head"]
    pool = Pools(problem).favourites(words, (32, 256))
    assert pool and all(profile.rows <= 1024 for profile in pool)
