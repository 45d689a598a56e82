"""Temporal loops cut so that a load of inputs and an open row of weights serve many steps."""

from __future__ import annotations

import math
import random

import pytest
from generators import draw_hardware, draw_network

from hw.library import load_hardware
from models.library import load_network
from models.network import Layer
from solver.mapspace.pools import Pools, pool_mappings, shapes, temporal_orders
from solver.mapspace.tiling import tiled, tiles_matter
from solver.params import PoolParams, TilingParams
from solver.timing.problem import Problem
from solver.timing.profile import profile
from solver.timing.validity import problems

AXES = {"ch": {"terms": {"C": 1}}, "h": {"terms": {"P": 1}}, "w": {"terms": {"Q": 1}}}


def product(**dims: int) -> Layer:
    """Return a convolution with a kernel of one element."""
    return Layer.model_validate({"name": "a", "dims": dims, "operands": [{"from": "x", "axes": AXES}]})


def test_a_row_and_a_load_serve_as_many_steps_as_there_is_room_for() -> None:
    """A row serves 64 steps, and the buffer has room for the inputs of 64 steps of 16 lanes.

    A sum takes 256 steps and 4 channels, or each of 4 channels does another sum, which needs as many rows.
    """
    chip = load_hardware("gddr6-aim")
    layer = product(K=512, P=7, Q=7, C=16 * 256)
    found = profile(layer, next(pool_mappings(layer, chip, shapes(chip)[-1])), chip)
    steps = [loop.bound for loop in found.temporal]
    assert found.open_depth is not None and math.prod(steps[: found.open_depth]) == 4 * 7 * 7
    assert math.prod(steps[found.open_depth :]) == 64
    assert math.prod(steps[: found.load_depth]) <= 4 * 7 * 7


def test_a_load_may_serve_more_steps_than_a_row() -> None:
    """A row of HBM-PIM serves 4 steps, and its registers hold the inputs of 8."""
    chip = load_hardware("hbm-pim")
    layer = product(K=1024, P=7, C=16 * 32)
    found = profile(layer, next(pool_mappings(layer, chip, shapes(chip)[-1])), chip)
    steps = [loop.bound for loop in found.temporal]
    assert found.open_depth is not None and found.load_depth < found.open_depth
    assert math.prod(steps[found.open_depth :]) == 4 and math.prod(steps[found.load_depth :]) == 8


@pytest.mark.parametrize("chip", ["gddr6-aim", "hbm-pim"])
@pytest.mark.parametrize("network", ["resnet18", "squeezenet"])
def test_cut_loops_are_no_worse(network: str, chip: str) -> None:
    """A pool with cut loops has the mappings of one without, and better ones."""
    problem = Problem(load_network(network), load_hardware(chip))
    with_cuts, without = Pools(problem), Pools(problem, PoolParams(tiling=TilingParams(kept=0)))
    gained = 0
    for layer in range(0, 18, 3):
        for shape in shapes(problem.hardware)[::6]:
            best, plain = with_cuts.pool(layer, shape)[0], without.pool(layer, shape)[0]
            assert best.total <= plain.total
            gained += best.total < 0.98 * plain.total
    assert gained > 5


def test_the_estimate_is_that_of_the_profile_where_no_coordinate_is_idle() -> None:
    """Powers of two leave no gaps, so the cut that is estimated fastest is the fastest one."""
    rng = random.Random(3)
    chip = load_hardware("gddr6-aim")
    for _ in range(20):
        dims = {dim: 2 ** rng.randrange(4) for dim in ("K", "C", "P", "Q")}
        layer = product(**dims, R=1, S=1)
        orders = temporal_orders(layer)
        found = [profile(layer, x, chip) for x in tiled(layer, chip, [()], orders[::3])]
        times = [own.total for own in found]
        assert times == sorted(times) and all(not problems(layer, own.mapping, chip) for own in found)


def test_random_chips_get_valid_mappings() -> None:
    looked = 0
    for seed in range(60):
        rng = random.Random(seed)
        network = draw_network(rng, 2)
        chip = draw_hardware(rng, network)
        for layer in network.layers:
            if tiles_matter(layer, chip):
                found = tiled(layer, chip, [()], temporal_orders(layer))
                looked += len(found)
                assert all(not problems(layer, mapping, chip) for mapping in found)
    assert looked > 100
