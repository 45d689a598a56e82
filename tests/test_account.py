"""The account of a plan against the simulator, and against a walk that counts step by step."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from generators import Instance, draw_instance, instances
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.hardware import Hardware, Weights
from models.network import DIMS, OUTPUT_DIMS, Layer
from solver.account.blocks import Blocks, Stretch, stretches
from solver.account.cycles import Spent
from solver.account.edges import decimated
from solver.account.plan import Account, LayerAccount, account, runs
from solver.maxplus.latest import postpone
from solver.reference import SimulatedLayer, simulate
from solver.schedule.plan import Plan
from solver.timing.mapping import WEIGHT_DIMS, Loop, Mapping
from solver.timing.problem import Problem
from solver.timing.profile import Drain, drain_parts, load_parts
from solver.timing.tiles import Tiles, tiles
from solver.timing.timeline import evaluate

PARTS = ("weights", "multiply", "rows", "load", "reduce", "drain", "post", "wait")


def told(instance: Instance) -> Account:
    """Account for an instance, its layers on the first banks of the chip: nothing is asked of banks here."""
    problem = Problem(instance.network, instance.hardware)
    profiles = [problem.profile(i, mapping) for i, mapping in enumerate(instance.mappings)]
    orders = [None if order is None else np.array(order, np.int64) for order in instance.orders]
    timeline = evaluate(problem, profiles, instance.releases, orders)
    return account(problem, Plan(timeline, tuple(np.arange(profile.banks) for profile in profiles)))


def simulated(instance: Instance) -> list[SimulatedLayer]:
    return simulate(
        instance.network, instance.hardware, instance.mappings, instance.releases, instance.orders
    )


def steps(mapping: Mapping, blocks: int, order: tuple[int, ...] | None) -> Iterator[tuple[int, ...]]:
    """Yield the digits of all temporal loops, blocks (of the outermost loops) in the order given."""
    bounds = [loop.bound for loop in mapping.loops if loop.kind == "temporal"]
    walk = list(itertools.product(*map(range, bounds)))
    each = len(walk) // blocks
    for block in range(blocks) if order is None else order:
        yield from walk[block * each : (block + 1) * each]


def computes_outputs(layer: Layer, mapping: Mapping, digits: tuple[int, ...]) -> bool:
    """Whether the first lane of a step works for an output: no lane has smaller coordinates."""
    left, coordinates, strides = list(digits), dict.fromkeys(DIMS, 0), dict.fromkeys(DIMS, 1)
    for loop in reversed(mapping.loops):
        coordinates[loop.dim] += strides[loop.dim] * (left.pop() if loop.kind == "temporal" else 0)
        strides[loop.dim] *= loop.bound
    return all(coordinates[dim] < layer.bound(dim) for dim in OUTPUT_DIMS)


class Walk:
    """Steps, rows opened, loads and drains of a layer up to the drain of its last output."""

    def __init__(self, layer: Layer, mapping: Mapping, chip: Hardware, order: tuple[int, ...] | None) -> None:
        temporal = [loop for loop in mapping.loops if loop.kind == "temporal"]
        reading = [i for i, loop in enumerate(temporal, 1) if loop.dim in layer.read_dims]
        loading = max(reading, default=0) if mapping.load is None else mapping.load
        draining = max((i for i, loop in enumerate(temporal, 1) if loop.dim in OUTPUT_DIMS), default=0)
        numbers = [math.prod(loop.bound for loop in temporal[:depth]) for depth in range(loading + 1)]
        self.blocks = max(number for number in numbers if number <= chip.sync_blocks)
        self.steps = self.opens = self.loads = self.drains = opens = loads = drains = 0
        for done, digits in enumerate(steps(mapping, self.blocks, order), 1):
            loads += not any(digits[loading:])
            if chip.steps_per_row is not None and layer.weights:
                opening = opening_depth(temporal, chip.steps_per_row)
                opens += not any(digits[opening:])
            pairs = zip(digits[draining:], temporal[draining:], strict=True)
            if all(d == loop.bound - 1 for d, loop in pairs):
                drains += 1
                if computes_outputs(layer, mapping, digits):
                    self.steps, self.opens, self.loads, self.drains = done, opens, loads, drains


def opening_depth(temporal: list[Loop], steps_per_row: int) -> int:
    """Return the least depth inside which the weights of all steps lie in one row."""
    inside = [
        math.prod(loop.bound for loop in temporal[depth:] if loop.dim in WEIGHT_DIMS)
        for depth in range(len(temporal) + 1)
    ]
    return next(depth for depth, steps in enumerate(inside) if steps <= steps_per_row)


@given(instances())
@settings(max_examples=50)
def test_cycles_are_those_of_a_walk(instance: Instance) -> None:
    found, chip = told(instance), instance.hardware
    for line, mapping, order in zip(found.layers, instance.mappings, instance.orders, strict=True):
        walk = Walk(line.layer, mapping, chip, order)
        assert line.profile.blocks == walk.blocks
        assert line.spent.weights == line.profile.t_weights
        costs = chip.cycles.model_dump()
        if line.layer.bits is not None:
            costs |= line.layer.bits.model_dump(exclude_none=True)
        assert line.spent.multiply == walk.steps * (costs["multiply"] + costs["add"])
        assert line.spent.rows == walk.opens * (chip.cycles.open or 0)
        assert line.spent.load == walk.loads * line.profile.t_in
        assert line.spent.reduce + line.spent.drain + line.spent.post == walk.drains * line.profile.t_out
        assert line.spent.post == walk.drains * line.layer.post * costs["post"]
        assert line.spent.wait == line.waited
        assert line.spent.total == line.held == line.end - line.start
    assert found.spent.total == found.bank_times.sum()
    assert found.spent.total + found.idle == found.hardware.banks * found.latency


def chip(**changes: Any) -> Hardware:
    """A chip on which each operation has a cost of its own, so that no two are mistaken for each other."""
    data: dict[str, Any] = {
        "format": "overlapim/hardware/1",
        "name": "chip",
        "clock_ns": 1.0,
        "channels": 2,
        "banks_per_channel": 2,
        "columns_per_bank": 4,
        "rows_per_bank": 1000,
        "weights": "static",
        "bits": {"activation": 8, "weight": 8, "accumulator": 20},
        "cycles": {"multiply": 50, "add": 7, "move": 3, "row_write": 2, "post": 11, "transfer": 5},
        "bits_per_cycle": {"load": 4, "drain": 3, "bank": 6, "channel": 4},
        "sync_blocks": 16,
    }
    return Hardware.model_validate(data | changes)


def reading(**axes: Any) -> dict[str, Any]:
    return {"from": "in", "axes": {axis: {"terms": terms} for axis, terms in axes.items()}}


ADDED_UP = Layer.model_validate(
    {
        "name": "x",
        "dims": {"K": 2, "C": 64},
        "post": 3,
        "operands": [reading(ch={"C": 1}), reading(ch={"K": 1})],
    }
)
"""The second operand is a residual: the reduction does not depend on it."""

OVER_ALL = Mapping(
    (
        Loop("C", 4, "temporal"),
        Loop("K", 2, "temporal"),
        Loop("C", 4, "column"),
        Loop("C", 2, "bank"),
        Loop("C", 2, "channel"),
    )
)


def drained(hardware: Hardware, reloads: bool) -> Drain:
    return drain_parts(ADDED_UP, OVER_ALL, tiles(ADDED_UP, OVER_ALL, 1), hardware, reloads)


def test_parts_of_the_drain() -> None:
    """By hand: 4 columns, 2 banks and 2 channels add up 20 bits; C outside K in time reads them back."""
    # Two halvings over columns at 3 + 7, one over banks at 20 / 6 -> 4 + 7, one over channels at 20 / 4 + 7.
    # One output of 8 bits leaves at 3 bits a cycle, and 20 bits of partial sums come back.
    # The residual is one element of 8 bits, over 2 banks at 4 bits a cycle: 1, 8 rows at 2, an addition 7.
    assert drained(chip(), True) == Drain(20 + 11 + 12, 3 + 7, 1 + 16 + 7, 33)
    assert drained(chip(), False) == Drain(43, 3, 24, 33)


def test_parts_of_the_drain_of_chips_that_add_up_elsewhere() -> None:
    cycles = chip().cycles.model_dump(exclude={"open"}) | {"drain": 100}
    # The partial results of 4 lanes leave as they are, 80 bits at 3 a cycle, after a fixed cost.
    assert drained(chip(reduction="host", cycles=cycles), True) == Drain(0, 100 + 27, 24, 33)
    buffered = chip(inputs={"store": "buffer", "buffer_bits": 1000}, cycles=cycles)
    assert drained(buffered, False) == Drain(43, 100 + 3, 1 + 7, 33)


def test_parts_of_the_load() -> None:
    """By hand: inside the loop of 4 a lane reads one element of C, a channel 4 x 2 of them."""
    cycles = chip().cycles.model_dump(exclude={"open"}) | {"load": 100}

    def parts(depth: int, **changes: Any) -> tuple[int, ...]:
        hardware = chip(cycles=cycles, **changes)
        return load_parts(ADDED_UP, OVER_ALL, tiles(ADDED_UP, OVER_ALL, depth), hardware)

    # 8 elements of 8 bits over 2 banks at 4 bits a cycle each: 8 cycles, and 8 rows at 2.
    assert parts(1) == (100, 8, 16, 0)
    # With the load outside the loop, four times as many.
    assert parts(0) == (100, 32, 64, 0)
    assert parts(0, inputs={"store": "buffer", "buffer_bits": 1000}) == (100, 32, 0, 0)
    assert parts(0, bits_per_cycle={"load": "4/3", "drain": 3, "bank": 6, "channel": 4}) == (100, 96, 64, 0)


def test_operands_that_are_added_up_before_they_are_used() -> None:
    """Of operands of one sum every element of the largest tile is added, once for each further operand."""
    operands = [reading(ch={"C": 1}), reading(ch={"C": 1}), reading()]
    layer = Layer.model_validate(
        {"name": "x", "dims": {"C": 4}, "operands": [{**x, "sum": "s"} for x in operands]}
    )
    mapping = Mapping((Loop("C", 4, "temporal"),), load=0)
    tile: Tiles = tiles(layer, mapping, 0)
    assert [own.lane for own in tile.loaded] == [4, 4, 1]
    assert load_parts(layer, mapping, tile, chip()).add == 2 * 7 * 4


def exact_block(line: LayerAccount, truth: SimulatedLayer) -> int | None:
    """Return the first block that begins as its data comes, of those that run on without a wait."""
    waiting = np.flatnonzero(line.blocks.waits)
    if line.begins_after is not None:
        return None
    together = truth.block_starts[: waiting[0] if len(waiting) else len(line.blocks.starts)]
    exact = (k for k, start in enumerate(together) if start == truth.needs[k] > 0)
    return next(exact, None)


@given(instances(), st.booleans())
@settings(max_examples=80)
def test_blocks_and_waits_are_those_of_the_simulator(instance: Instance, late: bool) -> None:
    if late:
        early = told(instance)
        instance = replace(instance, releases=postpone(early.problem, early.plan).releases)
    found, layers = told(instance), simulated(instance)
    transfer = instance.hardware.cycles.transfer
    for line, truth in zip(found.layers, layers, strict=True):
        blocks, needs = line.blocks, truth.needs
        lead = truth.block_starts[0] - truth.start
        assert blocks.lead == lead and blocks.begins[0] == truth.start
        assert blocks.starts.tolist() == [start for start in truth.block_starts if start < truth.end]
        assert lead + blocks.lengths.sum() + blocks.waits.sum() == line.held
        assert (blocks.lengths > 0).all()
        assert {wait.block: wait.cycles for wait in line.waits} == {
            int(k): int(blocks.waits[k]) for k in np.flatnonzero(blocks.waits)
        }
        begins = needs[0] == truth.block_starts[0] and needs[0] > instance.releases[line.index] + lead
        assert (line.begins_after is not None) == begins
        assert (None if line.just_in_time is None else line.just_in_time.block) == exact_block(line, truth)
        for wait in (line.begins_after, line.just_in_time, *line.waits):
            if wait is None:
                continue
            edge = found.problem.edges[line.index][wait.operand]
            assert wait.producer == edge.producer
            producer = layers[wait.producer]
            ready = truth.block_starts[wait.block] - transfer
            assert ready == needs[wait.block] - transfer
            assert (producer.finish == ready).any()
            after = producer.block_starts[wait.producer_block + 1 :]
            assert producer.block_starts[wait.producer_block] < ready
            assert not after or ready <= after[0]
        assert sum(line.waited_for.values()) == line.waited


@given(instances())
@settings(max_examples=30)
def test_readiness_is_what_the_simulator_needs(instance: Instance) -> None:
    found, layers = told(instance), simulated(instance)
    for line, truth in zip(found.layers, layers, strict=True):
        edges = found.problem.edges[line.index]
        each = [found.readiness(line.index, operand) for operand in range(len(edges))]
        assert all(x.needed.tolist() == truth.block_starts for x in each)
        if each:
            assert np.max([x.ready for x in each], axis=0).tolist() == truth.needs
        for x, edge in zip(each, edges, strict=True):
            assert x.slack >= 0
            stamps = set(layers[edge.producer].finish.ravel().tolist()) | {-instance.hardware.cycles.transfer}
            assert set((x.ready - instance.hardware.cycles.transfer).tolist()) <= stamps


def test_the_instances_have_what_is_accounted_for() -> None:
    """Otherwise the tests above would say little."""
    seen: set[str] = set()
    for seed in range(120):
        found = told(draw_instance(random.Random(seed)))
        for line in found.layers:
            seen |= {part for part in PARTS if getattr(line.spent, part)}
            seen |= {"order"} & ({"order"} if line.times.order is not None else set())
            if line.profile.last_finish < line.profile.total - line.profile.lead:
                seen.add("ends early")
            if len(line.blocks.starts) < line.profile.blocks:
                seen.add("blocks after the end")
            if len(line.waited_for) > 1:
                seen.add("two producers")
            seen |= {"late start"} if line.begins_after else set()
            seen |= {"lead"} if line.blocks.lead else set()
            seen |= {"residuals"} if line.layer.residuals else set()
    others = {"order", "ends early", "blocks after the end", "two producers", "late start", "lead"}
    assert seen >= {*PARTS, *others, "residuals"}


PIECES = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=30)


@given(PIECES, st.integers(1, 40), st.integers(0, 9))
def test_stretches(pairs: list[tuple[int, int]], resolution: int, lead: int) -> None:
    lengths = np.array([length for length, _ in pairs])
    waits = np.array([0] + [wait for _, wait in pairs[1:]])
    starts = np.cumsum(lengths + waits) - lengths
    blocks = Blocks(np.arange(len(pairs)), starts, lengths, waits, lead)
    found = stretches(blocks, resolution)
    assert found[0].start == -lead
    assert found[-1].end == lengths.sum() + waits.sum()
    assert all(a.end == b.start for a, b in itertools.pairwise(found))
    assert sum(x.waited for x in found) == waits.sum()
    assert [x.last for x in found][-1] == len(pairs) - 1
    for x in found:
        assert x.waited == {"wait": x.end - x.start, "compute": 0}.get(x.kind, x.waited)
    if resolution == 1:
        assert all(x.kind != "both" for x in found)
        exact = [x.end - x.start for x in found if x.kind == "wait"]
        assert exact == [wait for wait in waits.tolist() if wait]
    short = [i for i, x in enumerate(found) if x.end - x.start < resolution]
    assert all(b - a > 1 for a, b in itertools.pairwise(short)) or not short


def test_stretch_of_a_layer_that_never_waits() -> None:
    blocks = Blocks(np.arange(3), np.array([5, 7, 9]), np.array([2, 2, 2]), np.zeros(3, np.int64), 0)
    assert stretches(blocks, 100) == [Stretch("compute", 5, 11, 0, 0, 2)]


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=400), st.integers(4, 40))
def test_decimated_curves_keep_their_shape(steps: list[int], most: int) -> None:
    x, y = np.arange(len(steps)) * 7, np.cumsum(steps)
    kept = decimated(x, y, most)
    assert len(kept) <= most + 2
    assert {0, len(x) - 1} <= set(kept.tolist())
    drawn = kept[np.searchsorted(kept, np.arange(len(x)), side="right") - 1]
    for values in (x, y):
        off = values - values[drawn]
        assert (off * (most // 2 - 1) <= values[-1] - values[0]).all()


@given(st.sets(st.integers(0, 60), min_size=1))
def test_runs(banks: set[int]) -> None:
    found = runs(sorted(banks, reverse=True))
    assert [bank for first, last in found for bank in range(first, last + 1)] == sorted(banks)
    assert all(a[1] + 1 < b[0] for a, b in itertools.pairwise(found))


def test_spent_adds_up() -> None:
    assert (Spent(1, 2, 3, 4, 5, 6, 7, 8) + Spent(wait=1)) * 2 == Spent(2, 4, 6, 8, 10, 12, 14, 18)
    assert Spent(1, 2, 3, 4, 5, 6, 7, 8).total == 36


@pytest.mark.parametrize("weights", ["shared", "reload"])
def test_bank_times_and_rows_by_hand(weights: Weights) -> None:
    from overlapim import Stop, load_hardware, load_network, solve

    chip, network = load_hardware("toy").with_weights(weights), load_network("toy")
    result = solve(network, chip, method="layerwise", stop=Stop(iterations=1))
    found = account(Problem(network, chip), result.plan)
    for bank in range(chip.banks):
        layers = [i for i, banks in enumerate(result.plan.banks) if bank in banks]
        assert sorted(line.index for line in found.holders(bank)) == layers
        times = result.plan.timeline.layers
        assert found.bank_times[bank] == sum(times[i].end - times[i].start for i in layers)
        own = [result.plan.profiles[i].rows for i in layers]
        assert found.bank_rows[bank] == (sum(own) if weights == "shared" else max(own, default=0))
        held = found.holders(bank)
        assert all(a.end <= b.start for a, b in itertools.pairwise(held))
    assert found.bottleneck == found.bank_times.max()
    assert found.without_overlap is not None
    assert found.without_overlap >= found.latency


def test_without_overlap_is_a_sum() -> None:
    """A chain: the layers' own latencies, and the transfers between them."""
    from overlapim import Stop, load_hardware, load_network, solve

    chip, network = load_hardware("hbm2-bitsimd"), load_network("vgg16")
    result = solve(network, chip, method="sequential", stop=Stop(seconds=1))
    found = account(Problem(network, chip), result.plan)
    own = sum(line.profile.last_finish for line in found.layers)
    assert found.without_overlap == own + (len(network.layers) - 1) * chip.cycles.transfer
