"""Bits of a layer's own: a network of such layers is what it is on a chip with these bits."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from generators import draw_hardware, draw_mapping, draw_network

from cli.main import run
from hw.hardware import BitWidths, Hardware
from hw.library import load_hardware
from models.library import load_network
from models.network import LayerBits, Network
from overlapim_files import InputError, load
from solver import core
from solver.bench.small import draw_energy, draw_small
from solver.bound.energy import least_energy
from solver.bound.quick import quick_bound
from solver.limits import bring_together, broken_limit, limit_option
from solver.mapspace.enumeration import count
from solver.mapspace.frugal import frugal_mappings, least_area
from solver.mapspace.pools import pool_mappings, shapes
from solver.memory import clear_caches
from solver.solution import Solution, read_plan
from solver.solve import Result, solve
from solver.stop import Stop
from solver.timing.energy import energy_parts
from solver.timing.problem import Problem
from solver.timing.validity import problems

OPERATIONS = ("multiply", "add", "move", "post")
BITS = "{activation: 4, weight: 2, accumulator: 16, multiply: 3, add: 2}"


def draw_bits(rng: random.Random) -> LayerBits:
    numbers = {key: rng.choice((1, 2, 4, 16)) for key in ("activation", "weight", "accumulator")}
    costs = {key: rng.randint(1, 40) for key in OPERATIONS if rng.random() < 0.7}
    return LayerBits(**numbers, **costs)


def chip_of(hardware: Hardware, bits: LayerBits) -> Hardware:
    """Return a chip whose bits are those, and cycles, too."""
    widths = BitWidths(**bits.model_dump(include={"activation", "weight", "accumulator"}))
    costs = bits.model_dump(include=set(OPERATIONS), exclude_none=True)
    return hardware.model_copy(update={"bits": widths, "cycles": hardware.cycles.model_copy(update=costs)})


def bare(network: Network) -> Network:
    layers = tuple(layer.model_copy(update={"bits": None}) for layer in network.layers)
    return network.model_copy(update={"layers": layers})


@pytest.mark.parametrize("seed", range(60))
def test_layers_are_as_on_a_chip_with_their_bits(seed: int) -> None:
    """Mapspace, rows, times, energies, pools and bounds, with the compiled core and without."""
    rng = random.Random(seed)
    network = bare(draw_network(rng, 3))
    hardware = draw_hardware(rng, network).model_copy(update={"energy": draw_energy(rng)})
    bits = draw_bits(rng)
    chip, own = chip_of(hardware, bits), network.with_bits([bits] * 3)
    one, other = Problem(own, hardware), Problem(network, chip)
    for i, layer in enumerate(network.layers):
        mapping = draw_mapping(rng, layer, chip)
        assert problems(own.layers[i], mapping, hardware) == problems(layer, mapping, chip)
        assert count(own.layers[i], hardware) == count(layer, chip)
        found, expected = one.profile(i, mapping), other.profile(i, mapping)
        with core.without():
            assert one.profile(i, mapping).total == other.profile(i, mapping).total
        assert (found.total, found.rows, found.weights) == (expected.total, expected.rows, expected.weights)
        assert energy_parts(found, hardware) == energy_parts(expected, chip)
        assert least_energy(own.layers[i], hardware) == least_energy(layer, chip)
        assert least_area(own.layers[i], hardware) == least_area(layer, chip)
        shape = shapes(hardware)[-1]
        for ways in (pool_mappings, frugal_mappings):
            clear_caches()
            assert list(ways(own.layers[i], hardware, shape)) == list(ways(layer, chip, shape))
    assert quick_bound(one) == quick_bound(other)


def solved(network: Network, hardware: Hardware, **more: object) -> Result:
    return solve(network, hardware, stop=Stop.deterministic(2.0), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(8))
def test_the_best_plan_is_that_of_a_chip_with_their_bits(seed: int) -> None:
    rng = random.Random(seed)
    network, hardware = draw_small(rng)
    hardware = hardware.model_copy(update={"rows_per_bank": 2 * hardware.rows_per_bank})
    bits = LayerBits(activation=2, weight=2, accumulator=8, multiply=5, add=1, move=2)
    one = solved(network.with_bits([bits] * len(network.layers)), hardware)
    other = solved(network, chip_of(hardware, bits))
    assert (one.latency, one.bound, one.status) == (other.latency, other.bound, other.status)


def test_limits_give_bits_and_answers_say_so(tmp_path: Path) -> None:
    command = ["solve", "toy", "--hw", "toy", "-m", "layerwise", "-q"]
    assert run([*command, "-o", str(tmp_path / "usual")], 0) == 0
    assert run([*command, "--limit", f"[lr]*:bits={BITS}", "-o", str(tmp_path / "fewer")], 0) == 0
    usual, fewer = (load(tmp_path / x / "solution.yaml", Solution) for x in ("usual", "fewer"))
    given = {layer.name: layer.bits for layer in fewer.network.layers}
    wanted = LayerBits(activation=4, weight=2, accumulator=16, multiply=3, add=2)
    assert given == {"stem": None, "left": wanted, "right": wanted, "head": None}
    assert fewer.latency < usual.latency
    assert run(["evaluate", str(tmp_path / "fewer" / "solution.yaml")], 0) == 0
    # The same network, whatever its bits: either is a warm start of the other.
    problem = Problem(usual.network, usual.hardware)
    plan = read_plan(tmp_path / "fewer" / "solution.yaml", problem.network, problem.hardware)
    assert solved(problem.network, problem.hardware, warm_start=plan).latency <= usual.latency


def test_a_warm_start_with_other_bits_is_timed_anew() -> None:
    network, hardware = load_network("toy"), load_hardware("toy")
    first = solved(network, hardware, method="layerwise")
    limits = bring_together([limit_option(f"*:bits={BITS}")], network, hardware)
    found = solved(network, hardware, method="sequential", limits=limits, warm_start=first.plan)
    assert found.latency < first.latency
    assert broken_limit(limits, found.solution) is None
    assert broken_limit(limits, first.solution) == "layer 'stem' does not keep to its limit bits"
    assert found.solution.network.layers[0].bits is not None
    assert replace(limits, layers=()).applied(network) == (network, replace(limits, layers=()))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("stem:bits=4", "bits"),
        ("stem:bits={activation: 4, weight: 4}", "accumulator"),
        ("stem:bits={activation: 0, weight: 4, accumulator: 8}", "activation"),
        ("stem:bits={activation: 4, weight: 4, accumulator: 8, multipy: 3}", "did you mean 'multiply'"),
    ],
)
def test_bits_that_cannot_be(text: str, fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        limit_option(text)


def test_bits_that_do_not_fit() -> None:
    network, hardware = load_network("toy"), load_hardware("toy")
    wide = "{activation: 1024, weight: 1024, accumulator: 1024}"
    limits = bring_together([limit_option(f"head:bits={wide}")], network, hardware)
    with pytest.raises(InputError, match="head"):
        solved(network, hardware, method="layerwise", limits=limits)


def test_bits_said_twice() -> None:
    stated = [
        limit_option(f"stem:bits={BITS}"),
        limit_option("st*:bits={activation: 1, weight: 1, accumulator: 8}"),
    ]
    with pytest.raises(InputError, match="bits of layer 'stem' is otherwise in"):
        bring_together(stated, load_network("toy"), load_hardware("toy"))
