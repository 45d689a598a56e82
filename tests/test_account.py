"""The account of a plan against the simulator, and against a walk that counts step by step."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import numpy as np
from generators import Instance, draw_instance, instances
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.hardware import Hardware
from models.network import DIMS, OUTPUT_DIMS, Layer
from solver.account.blocks import Blocks, Stretch, stretches
from solver.account.cycles import Spent
from solver.account.edges import decimated
from solver.account.plan import Account, account, runs
from solver.reference import SimulatedLayer, simulate
from solver.schedule.plan import Plan
from solver.timing.mapping import Mapping
from solver.timing.problem import Problem
from solver.timing.profile import drain_cycles
from solver.timing.timeline import evaluate

PARTS = ("multiply", "load", "reduce", "drain", "post", "wait")


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


def counted(
    layer: Layer, mapping: Mapping, blocks: int, order: tuple[int, ...] | None
) -> tuple[int, int, int]:
    """Return the steps, loads and drains up to the drain of the last output, one step after the other."""
    temporal = [loop for loop in mapping.loops if loop.kind == "temporal"]
    loading = max((i for i, loop in enumerate(temporal, 1) if loop.dim in layer.read_dims), default=0)
    draining = max((i for i, loop in enumerate(temporal, 1) if loop.dim in OUTPUT_DIMS), default=0)
    loads = drains = 0
    ended = (0, 0, 0)
    for done, digits in enumerate(steps(mapping, blocks, order), 1):
        loads += not any(digits[loading:])
        if all(d == loop.bound - 1 for d, loop in zip(digits[draining:], temporal[draining:], strict=True)):
            drains += 1
            if computes_outputs(layer, mapping, digits):
                ended = done, loads, drains
    return ended


@given(instances())
@settings(max_examples=50)
def test_cycles_are_those_of_a_walk(instance: Instance) -> None:
    found = told(instance)
    for line, mapping, order in zip(found.layers, instance.mappings, instance.orders, strict=True):
        done, loads, drains = counted(line.layer, mapping, line.profile.blocks, order)
        assert line.spent.multiply == done * instance.hardware.mac_cycles
        assert line.spent.load == loads * line.profile.t_in
        assert line.spent.reduce + line.spent.drain + line.spent.post == drains * line.profile.t_out
        assert line.spent.post == drains * line.layer.post * instance.hardware.cycles.post
        assert line.spent.wait == line.waited
        assert line.spent.total == line.held == line.end - line.start
    assert found.spent.total == found.bank_times.sum()
    assert found.spent.total + found.idle == found.hardware.banks * found.latency


def hardware(**changes: object) -> Hardware:
    from hw.library import load_hardware

    data = load_hardware("toy").model_dump() | changes
    return Hardware.model_validate(data)


def test_parts_of_the_drain() -> None:
    """One layer by hand: 4 columns, 2 banks and 2 channels add up; C outside K in time reads sums back."""
    from solver.timing.mapping import Loop

    layer = Layer.model_validate(
        {"name": "x", "dims": {"K": 2, "C": 64}, "post": 3, "operands": [{"from": "in"}]}
    )
    spatial = (Loop("C", 4, "column"), Loop("C", 2, "bank"), Loop("C", 2, "channel"))
    mapping = Mapping((Loop("C", 4, "temporal"), Loop("K", 2, "temporal"), *spatial))
    chip = hardware()
    parts = drain_cycles(layer, mapping, chip, True)
    t, bits, bandwidth = chip.cycles, chip.bits, chip.bits_per_cycle
    assert parts.reduce == (
        2 * (t.move + t.add)
        + -(-bits.accumulator // bandwidth.bank)
        + t.add
        + -(-bits.accumulator // bandwidth.channel)
        + t.add
    )
    assert parts.drain == -(-bits.activation // bandwidth.drain) + -(-bits.accumulator // bandwidth.drain)
    assert parts.post == 3 * t.post
    assert drain_cycles(layer, mapping, chip, False).drain == -(-bits.activation // bandwidth.drain)


@given(instances())
@settings(max_examples=50)
def test_blocks_and_waits_are_those_of_the_simulator(instance: Instance) -> None:
    found, layers = told(instance), simulated(instance)
    transfer = instance.hardware.cycles.transfer
    for line, truth in zip(found.layers, layers, strict=True):
        blocks, needs = line.blocks, truth.needs
        assert blocks.starts.tolist() == [start for start in truth.block_starts if start < truth.end]
        assert blocks.lengths.sum() + blocks.waits.sum() == line.held
        assert (blocks.lengths > 0).all()
        assert {wait.block: wait.cycles for wait in line.waits} == {
            int(k): int(blocks.waits[k]) for k in np.flatnonzero(blocks.waits)
        }
        begins = needs[0] == truth.start and needs[0] > instance.releases[line.index]
        assert (line.begins_after is not None) == begins
        for wait in (line.begins_after, *line.waits):
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
            if line.profile.last_finish < line.profile.total:
                seen.add("ends early")
            if len(line.blocks.starts) < line.profile.blocks:
                seen.add("blocks after the end")
            if len(line.waited_for) > 1:
                seen.add("two producers")
            seen |= {"late start"} if line.begins_after else set()
    assert seen >= {*PARTS, "order", "ends early", "blocks after the end", "two producers", "late start"}


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=30), st.integers(1, 40))
def test_stretches(pairs: list[tuple[int, int]], resolution: int) -> None:
    lengths = np.array([length for length, _ in pairs])
    waits = np.array([0] + [wait for _, wait in pairs[1:]])
    starts = np.cumsum(lengths + waits) - lengths
    blocks = Blocks(np.arange(len(pairs)), starts, lengths, waits)
    found = stretches(blocks, resolution)
    assert found[0].start == 0
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
    blocks = Blocks(np.arange(3), np.array([5, 7, 9]), np.array([2, 2, 2]), np.zeros(3, np.int64))
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
    assert (Spent(1, 2, 3, 4, 5, 6) + Spent(wait=1)) * 2 == Spent(2, 4, 6, 8, 10, 14)
    assert Spent(1, 2, 3, 4, 5, 6).total == 21


def test_bank_times_and_rows_by_hand() -> None:
    from overlapim import Stop, load_hardware, load_network, solve

    chip, network = load_hardware("toy"), load_network("toy")
    result = solve(network, chip, method="layerwise", stop=Stop(iterations=1))
    found = account(Problem(network, chip), result.plan)
    for bank in range(chip.banks):
        layers = [i for i, banks in enumerate(result.plan.banks) if bank in banks]
        assert sorted(line.index for line in found.holders(bank)) == layers
        times = result.plan.timeline.layers
        assert found.bank_times[bank] == sum(times[i].end - times[i].start for i in layers)
        assert found.bank_rows[bank] == sum(result.plan.profiles[i].rows for i in layers)
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
