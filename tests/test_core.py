"""The compiled core answers as Python does: on random mappings, valid and invalid ones, and networks."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from generators import draw_hardware, draw_instance, draw_mapping, draw_network

from cli.main import run
from hw.library import load_hardware
from models.library import load_network
from models.network import DIMS, Layer
from solver import core
from solver.core.compiled import compiled_layer
from solver.mapspace.loads import coarser_loads
from solver.mapspace.neighbours import settled
from solver.mapspace.pools import Pools, _filled, pool_mappings, sizes
from solver.maxplus.through import Remaining
from solver.memory import clear_caches
from solver.params import PoolParams
from solver.schedule.bins import Bins, Item, first_fit
from solver.schedule.channels import chosen_channels, filled_channels
from solver.schedule.plan import overlap_shared
from solver.schedule.transform import movable, ready_order, transform
from solver.search.impact import impact
from solver.search.placement import Placement
from solver.timing.mapping import Kind, Loop, Mapping
from solver.timing.need import need_records
from solver.timing.problem import Problem
from solver.timing.profile import Profile, profile
from solver.timing.timeline import LayerTimes, Order, compiled, evaluate, next_layer
from solver.timing.validity import problems, valid

if core.native is None:
    pytest.skip("there is no compiled core here", allow_module_level=True)

KINDS: tuple[Kind, ...] = ("temporal", "channel", "bank", "column")


def spoiled(rng: random.Random, mapping: Mapping) -> Mapping:
    """Change loops at random; hardly any such mapping is valid."""
    loops = list(mapping.loops)
    for _ in range(rng.randint(1, 3)):
        loop = Loop(rng.choice(DIMS), rng.randint(1, 9), rng.choice(KINDS))
        place = rng.randrange(len(loops) + 1)
        loops[place : place + rng.randint(0, 1)] = [loop]
    load = rng.choice((None, mapping.load, rng.randint(0, len(loops))))
    return Mapping(tuple(loops), load)


def same_profile(one: Profile, other: Profile) -> bool:
    names = [field.name for field in fields(Profile) if field.name != "compiled"]
    return all(getattr(one, name) == getattr(other, name) for name in names)


def same_times(one: LayerTimes, other: LayerTimes) -> bool:
    numbers = (
        "release",
        "start",
        "end",
        "earliest",
        "first_block",
        "last_delay",
        "waited",
        "binding_producer",
    )
    arrays = [
        (one.steps, other.steps),
        (one.delays, other.delays),
        (one.block_starts(), other.block_starts()),
        (one.order, other.order),
    ]
    for own, twin in zip(one.waits, other.waits, strict=True):
        assert own.producer == twin.producer
        arrays += [(own.steps, twin.steps), (own.delays, twin.delays)]
    equal = all(getattr(one, name) == getattr(other, name) for name in (*numbers, "binding_producer"))
    return equal and all(np.array_equal(a, b) for a, b in arrays if a is not None or b is not None)


@pytest.mark.parametrize("seed", range(150))
def test_mappings_and_profiles(seed: int) -> None:
    rng = random.Random(seed)
    network = draw_network(rng, rng.randint(1, 4))
    hardware = draw_hardware(rng, network)
    for layer in network.layers:
        mapping = draw_mapping(rng, layer, hardware)
        found = profile(layer, mapping, hardware)
        assert found.compiled is not None
        with core.without():
            twin = profile(layer, mapping, hardware)
            loads = list(coarser_loads(twin, hardware))
        assert twin.compiled is None and same_profile(found, twin)
        assert list(coarser_loads(found, hardware)) == loads
        for _ in range(10):
            changed = spoiled(rng, mapping)
            assert valid(layer, changed, hardware) == (not problems(layer, changed, hardware))
            whole = settled(layer, changed, hardware)
            with core.without():
                assert settled(layer, changed, hardware) == whole


@pytest.mark.parametrize("seed", range(150))
def test_timelines(seed: int) -> None:
    rng = random.Random(seed)
    drawn = draw_instance(rng)
    problem = Problem(drawn.network, drawn.hardware)
    profiles = [problem.profile(i, mapping) for i, mapping in enumerate(drawn.mappings)]
    with core.without():
        twins = [problem.profile(i, mapping) for i, mapping in enumerate(drawn.mappings)]
    for i, edges in enumerate(problem.edges):
        for edge in edges:
            found = need_records(profiles[edge.producer], profiles[i], edge)
            with core.without():
                records = need_records(twins[edge.producer], twins[i], edge)
            assert all(np.array_equal(a, b) for a, b in zip(found, records, strict=True))

    timeline = evaluate(problem, profiles, drawn.releases)
    with core.without():
        other = evaluate(problem, twins, drawn.releases)
    assert all(map(same_times, timeline.layers, other.layers))
    done = dict(enumerate(timeline.layers))
    for i, times in enumerate(timeline.layers):
        # Nothing has changed: the times are the same object.
        assert next_layer(problem, i, profiles[i], drawn.releases[i], done, None, timeline) is times
        assert same_times(times.postponed(times.release + 7), other.layers[i].postponed(times.release + 7))


@pytest.mark.parametrize("seed", range(100))
def test_timelines_step_by_step(seed: int) -> None:
    """One change after the other, of profiles, releases and orders, timed from what was known before."""
    rng = random.Random(seed)
    drawn = draw_instance(rng, rng.randint(2, 6))
    problem = Problem(drawn.network, drawn.hardware)
    mappings, releases = list(drawn.mappings), list(drawn.releases)
    orders: list[Order | None] = [None] * len(mappings)

    def profiles(own: Sequence[Mapping]) -> list[Profile]:
        return [problem.profile(i, mapping) for i, mapping in enumerate(own)]

    current = profiles(mappings)
    timeline = evaluate(problem, current, releases)
    remaining = Remaining(problem, timeline)
    for _ in range(8):
        i = rng.randrange(len(mappings))
        mappings[i] = draw_mapping(rng, problem.layers[i], problem.hardware)
        current[i] = problem.profile(i, mappings[i])
        releases[i] = rng.choice((0, releases[i], rng.randint(0, 500)))
        orders[i] = None
        j = rng.randrange(len(mappings))
        if movable(current[j]) and rng.random() < 0.7:
            orders[j] = np.array(rng.sample(range(current[j].blocks), current[j].blocks))
        with core.without():
            twins = profiles(mappings)
            other = evaluate(problem, twins, releases, orders)
            tails = Remaining(problem, other)
        timeline = evaluate(problem, current, releases, orders, timeline)
        assert compiled(timeline)
        assert all(map(same_times, timeline.layers, other.layers))
        assert (timeline.latency, timeline.ends) == (other.latency, other.ends)
        assert (timeline.ordered, timeline.critical) == (other.ordered, other.critical)
        assert all(one is own for one, own in zip(timeline.profiles, current, strict=True))
        done, twin = dict(enumerate(timeline.layers)), dict(enumerate(other.layers))
        for j, own in enumerate(current):
            again = next_layer(problem, j, own, releases[j], done, orders[j], timeline)
            assert again is timeline.layers[j]
            found = ready_order(problem, j, own, releases[j], done)
            with core.without():
                expected = ready_order(problem, j, twins[j], releases[j], twin)
            assert np.array_equal(found, expected) if expected is not None else found is None
        remaining = Remaining(problem, timeline, remaining)
        for j, layer in enumerate(problem.layers):
            mapping = draw_mapping(rng, layer, problem.hardware)
            profile = problem.profile(j, mapping)
            through, later = remaining.through(j, profile), impact(problem, j, profile, timeline)
            with core.without():
                twin_profile = problem.profile(j, mapping)
                assert tails.through(j, twin_profile) == through
                assert impact(problem, j, twin_profile, other) == later


def test_pools() -> None:
    for name in ("toy", "gddr6-aim"):
        problem = Problem(load_network("toy"), load_hardware(name))
        for i in range(len(problem.layers)):
            for shape in Pools(problem).sizes[::5]:
                found = Pools(problem).pool(i, shape)
                with core.without():
                    twins = Pools(problem).pool(i, shape)
                assert all(map(same_profile, found, twins)) and len(found) == len(twins)


@pytest.mark.parametrize("seed", range(100))
def test_the_mappings_of_pools(seed: int) -> None:
    """The loops of ways to fill columns, and their ranks: with buffers, rows that open and a host, too."""
    rng = random.Random(seed)
    network = draw_network(rng, rng.randint(1, 3))
    hardware = draw_hardware(rng, network)
    params = PoolParams(
        most_steps=rng.choice((1.0, 1.5, 4.0)),
        splits=rng.randint(1, 9),
        slowest=rng.choice((1.0, 1.5, 3.0)),
        finer=rng.choice((0.9, 1.0, 1.4)),
    )
    for layer in network.layers:
        for shape in rng.sample(sizes(hardware), min(3, len(sizes(hardware)))):
            clear_caches()
            found = list(pool_mappings(layer, hardware, shape, params))
            with core.without():
                clear_caches()
                assert list(pool_mappings(layer, hardware, shape, params)) == found


@pytest.mark.parametrize("seed", range(100))
def test_ways_to_fill_columns(seed: int) -> None:
    rng = random.Random(seed)
    options = [sorted(rng.sample(range(1, 40), rng.randint(1, 6))) for _ in range(rng.randint(0, 4))]
    columns, target = rng.randint(1, 300), rng.uniform(0, 200)
    reachable = [rng.uniform(1, 100) for _ in range(len(options) + 1)]
    found = _filled(options, columns, reachable, target)
    with core.without():
        assert np.array_equal(found, _filled(options, columns, reachable, target))


@pytest.mark.parametrize("seed", range(100))
def test_layers_placed_one_after_the_other(seed: int) -> None:
    """On a shared chip, anew and from a plan of which some layers stay and the others have other mappings."""
    rng = random.Random(seed)
    network = draw_network(rng, rng.randint(2, 6))
    hardware = draw_hardware(rng, network).with_weights(rng.choice(("shared", "reload")))
    problem = Problem(network, hardware)
    line, found, twin = network.topological, None, None
    mappings = [draw_mapping(rng, layer, hardware) for layer in network.layers]
    profiles = [problem.profile(i, mapping) for i, mapping in enumerate(mappings)]
    rows = max(profile.rows for profile in profiles) * rng.choice((1, 1, 2, 9))
    # Few rows: layers cannot all have the same banks, or there is no room at all.
    problem = Problem(network, hardware.model_copy(update={"rows_per_bank": rows}))
    for _ in range(6):
        kept = rng.randrange(len(line)) if found else 0
        drawn = list(profiles)
        for i in line[kept:]:
            if rng.random() < 0.5:
                drawn[i] = problem.profile(i, draw_mapping(rng, problem.layers[i], hardware))
        punctual = {i for i in line if rng.random() < 0.5}
        changed = overlap_shared(problem, drawn, line, punctual, found, kept)
        with core.without():
            twins = [replace(profile, compiled=None) for profile in drawn]
            other = overlap_shared(problem, twins, line, punctual, twin, kept)
        assert (changed is None) == (other is None)
        if changed and other:
            assert all(map(same_times, changed.timeline.layers, other.timeline.layers))
            assert [banks.tolist() for banks in changed.banks] == [banks.tolist() for banks in other.banks]
            retimed = transform(problem, changed)
            with core.without():
                again = transform(problem, other)
            assert all(map(same_times, retimed.timeline.layers, again.timeline.layers))
            found, twin, profiles = changed, other, drawn


@pytest.mark.parametrize("seed", range(100))
def test_first_fit(seed: int) -> None:
    rng = random.Random(seed)
    bins = Bins(rng.randint(1, 4), rng.randint(1, 9), rng.randint(5, 30))
    items = [
        Item(rng.randint(1, bins.groups), rng.randint(1, bins.width), rng.randint(0, bins.capacity // 2), 0)
        for _ in range(rng.randint(1, 12))
    ]
    found = first_fit(bins, items)
    with core.without():
        other = first_fit(bins, items)
    assert (found is None) == (other is None)
    assert found is None or other is None or all(map(np.array_equal, found, other))


@pytest.mark.parametrize("seed", range(300))
def test_channels(seed: int) -> None:
    rng = random.Random(seed)
    width = rng.randint(1, 8)
    free = [rng.randint(0, width) for _ in range(rng.randint(1, 8))]
    shapes = [
        (rng.randint(1, max(len(free) // 2, 1)), rng.randint(1, max(width // 2, 1)))
        for _ in range(rng.randint(0, 6))
    ]
    layers = []
    for banks in rng.choices(range(1, 13), k=rng.randint(0, 6)):
        cuts = [c for c in range(1, len(free) + 1) if banks % c == 0 and banks // c <= width]
        layers.append((banks, cuts, rng.randint(1, 6)))
    chosen = chosen_channels(free, shapes)
    filled = filled_channels(free, layers)
    with core.without():
        assert chosen_channels(free, shapes) == chosen
        assert filled_channels(free, layers) == filled


def test_placement() -> None:
    """Layers on banks of their own, as they are and with their arrays cut otherwise."""
    placed, cut = 0, 0
    for seed in range(300):
        rng = random.Random(seed)
        network = draw_network(rng, rng.randint(3, 8))
        chip = draw_hardware(rng, network)
        # More banks than most layers need, in channels that they do not fill evenly.
        wide = chip.model_copy(
            update={
                "weights": "static",
                "channels": rng.randint(3, 6),
                "banks_per_channel": rng.choice((3, 4, 6)),
            }
        )
        problem = Problem(network, wide)
        left, profiles = wide.banks, []
        for i, layer in enumerate(network.layers):
            drawn = [problem.profile(i, draw_mapping(rng, layer, wide)) for _ in range(5)]
            fitting = [p for p in drawn if p.banks <= left - (len(network.layers) - i - 1)]
            profiles.append(max(fitting or drawn, key=lambda p: p.banks))
            left -= profiles[-1].banks
        found = Placement(problem, random.Random(seed)).place(profiles)
        with core.without():
            other = Placement(problem, random.Random(seed)).place(profiles)
        assert (found is None) == (other is None)
        if found is None or other is None:
            continue
        placed += 1
        cut += found[0] != profiles
        assert [p.mapping for p in found[0]] == [p.mapping for p in other[0]]
        assert len(found[1]) == len(other[1])
        assert all(map(np.array_equal, found[1], other[1]))
    assert placed > 50 and cut > 5


def test_numbers_beyond_64_bits_are_left_to_python() -> None:
    layer = Layer.model_validate(
        {
            "name": "wide",
            "dims": {"K": 2**16, "C": 2**16, "P": 2**9, "Q": 2**9},
            "operands": [{"from": "x", "axes": {"ch": {"terms": {"C": 1}}, "h": {"terms": {"P": 1}}}}],
        }
    )
    hardware = load_hardware("toy")
    slow = hardware.model_copy(update={"cycles": hardware.cycles.model_copy(update={"multiply": 2**8})})
    loops = [Loop(dim, layer.bound(dim), "temporal") for dim in ("P", "Q", "K", "C")]
    mapping = Mapping(tuple(loops))
    assert profile(layer, mapping, slow).compiled is None
    with core.without():
        twin = profile(layer, mapping, slow)
    assert same_profile(profile(layer, mapping, slow), twin)
    assert valid(layer, replace(mapping, loops=mapping.loops * 5), slow) is False


@pytest.mark.parametrize("method", ["cpsat", "descent", "layerwise"])
def test_solutions(method: str, tmp_path: Path) -> None:
    command = ["solve", "toy", "--hw", "toy", "-m", method, "-D", "-t", "3", "-q", "-o"]
    assert run([*command, str(tmp_path / "compiled")], 0) == 0
    with core.without():
        assert run([*command, str(tmp_path / "python")], 0) == 0
    one, other = (tmp_path / name / "solution.yaml" for name in ("compiled", "python"))
    assert one.read_text() == other.read_text()


def test_loops_that_are_no_loops_are_left_to_python() -> None:
    problem = Problem(load_network("toy"), load_hardware("toy"))
    compiled = compiled_layer(core.native, problem.layers[0], problem.hardware)
    for loop in (
        ["K", 2, "temporal"],
        ("K", 2),
        (1, 2, "temporal"),
        ("K", 2.5, "temporal"),
        ("X", 2, "bank"),
    ):
        assert core.native.valid(compiled, (loop,), None) is None


def test_another_core_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    environment = {**os.environ, "OVERLAPIM_CORE": "rust"}
    assert subprocess.run([sys.executable, "-m", "cli.main", "--version"], env=environment).returncode == 2
    assert (
        capfd.readouterr().err == "error: OVERLAPIM_CORE is 'rust', and can only be 'python', or not be set\n"
    )


def test_the_version_says_which_core_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"], 0) == 0
    assert capsys.readouterr().out.endswith(", compiled core\n")
    with core.without():
        assert run(["--version"], 0) == 0
    assert capsys.readouterr().out.endswith(", python core\n")


def test_a_core_of_other_sources_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("solver.core.native")
    monkeypatch.setitem(sys.modules, "solver.core.native", module)
    for revision, expected in ((core.REVISION, module), (core.REVISION - 1, None)):
        module.REVISION = revision  # type: ignore[attr-defined]
        assert core.found_core() is expected
