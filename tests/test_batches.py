"""Batches: the network of one inference, and its plan with the loop over the batch outside all others."""

from __future__ import annotations

import json
import random
import time

import pytest
from generators import draw_hardware, draw_network
from hypothesis import given
from hypothesis import strategies as st

from cli.main import run
from hw.hardware import Weights
from hw.library import load_hardware
from models.batch import batched, single
from models.library import load_network, network_names
from models.network import Network
from overlapim_files import InputError
from solver.mapspace.pools import Pools, pool_mappings, shapes
from solver.search.batches import lift
from solver.search.sequential import sequential
from solver.solution import from_plan, verify
from solver.solve import solve
from solver.stop import Stop
from solver.timing.problem import Problem
from solver.timing.validity import problems

BATCH = 3


def test_one_inference_is_what_the_batch_was_made_of() -> None:
    for name in ("toy", "resnet18", "inception-v1", "mobilenetv2"):
        alone = load_network(name)
        found = single(batched(alone, BATCH))
        assert found is not None
        assert found.macs == alone.macs and found.shapes == alone.shapes
        assert single(alone) is None


def test_inferences_that_read_each_other_are_not_told_apart() -> None:
    record = batched(load_network("toy"), BATCH).model_dump(mode="json", by_alias=True, exclude_none=True)
    record["layers"][1]["operands"][0]["axes"]["n"] |= {"extent": BATCH, "windows": [{"all": True}]}
    assert single(Network.model_validate(record)) is None


@given(st.integers(0, 10**6))
def test_lifted_plans_are_valid_and_take_one_inference_after_the_other(seed: int) -> None:
    rng = random.Random(seed)
    network = batched(load_network("toy"), BATCH)
    chip = load_hardware("toy").with_weights(rng.choice(("static", "shared", "reload")))
    one = single(network)
    assert one is not None
    pools = Pools(Problem(one, chip))
    plan = sequential(pools, Stop())
    batch = lift(Problem(network, chip), plan)
    if batch is not None:
        verify(from_plan(Problem(network, chip), batch, "test", 0))
        assert [p.mapping.loops[0] for p in batch.profiles] == [("N", BATCH, "temporal")] * len(
            network.layers
        )
        assert batch.latency <= BATCH * plan.latency or chip.weights != "static"


@given(st.integers(0, 10**6))
def test_pools_of_batches_hold_valid_mappings(seed: int) -> None:
    rng = random.Random(seed)
    network = draw_network(rng, 2)
    hardware = draw_hardware(rng, network)
    for layer in network.layers:
        for mapping in pool_mappings(layer, hardware, rng.choice(shapes(hardware))):
            assert problems(layer, mapping, hardware) == []


@pytest.mark.parametrize("weights", ["static", "shared"])
def test_a_batch_is_no_slower_than_its_inferences_planned_alone(weights: Weights) -> None:
    chip = load_hardware("toy").with_weights(weights)
    network = batched(load_network("toy"), BATCH)
    one = single(network)
    assert one is not None
    alone = solve(one, chip, method="layerwise", stop=Stop.deterministic(4)).plan
    batch = solve(network, chip, method="descent", stop=Stop.deterministic(8), seed=1)
    outside = lift(Problem(network, chip), alone)
    assert outside is None or batch.latency <= outside.latency


def test_every_built_in_network_has_batches() -> None:
    for name in network_names():
        alone, batch = load_network(name), batched(load_network(name), BATCH)
        assert batch.macs == BATCH * alone.macs and batch.weights == alone.weights
        assert all(shape == (BATCH, *alone.shapes[x][1:]) for x, shape in batch.shapes.items())


@given(st.integers(0, 10**6))
def test_a_batch_is_that_of_one_inference(seed: int) -> None:
    rng = random.Random(seed)
    network = draw_network(rng, rng.randint(1, 5))
    try:
        batch = batched(network, BATCH)
    except InputError as error:
        assert "batch of" in str(error) or "axis n" in str(error)
        return
    one = single(batch)
    assert one is not None and one.shapes == network.shapes and one.macs == network.macs
    assert batched(one, BATCH).layers == batch.layers


def test_a_batch_of_a_batch_is_refused() -> None:
    with pytest.raises(InputError, match="--batch: input 'image' has a batch of 3 already"):
        batched(batched(load_network("toy"), BATCH), 2)
    with pytest.raises(InputError, match="--batch: 1048576 inferences of 'vgg16'"):
        batched(load_network("vgg16"), 2**20)


def test_solving_a_batch(capsys: pytest.CaptureFixture[str]) -> None:
    toy = ["solve", "toy", "--hw", "toy", "-m", "layerwise", "--json"]
    latencies = []
    for batch in (["--batch", "1"], ["--batch", "4"]):
        assert run([*toy, *batch], time.monotonic()) == 0
        latencies.append(json.loads(capsys.readouterr().out)["latency"])
    assert latencies[0] < latencies[1] < 4.5 * latencies[0]
    assert run([*toy, "--batch", "0"], time.monotonic()) == 2
