"""Numbers run through schedules: they agree with the network, and one cycle too early is noticed."""

from __future__ import annotations

import importlib
import random
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cli.main import run
from hw.hardware import Hardware
from hw.library import load_hardware
from models import build
from models.decoder import GPT2, forward
from models.library import NETWORKS
from models.network import Network, NetworkInput
from models.transformer import Encoder, Heads, encode
from overlapim_files import InputError, dump
from solver.execute import size
from solver.execute.check import check_execution
from solver.execute.numbers import PRIME, contract, draw_numbers
from solver.execute.run import Executed, execute
from solver.execute.schedule import LayerSchedule
from solver.execute.whole import compute
from solver.reference import simulate
from solver.schedule.plan import Plan
from solver.solution import LayerRecord, Solution, from_plan, recompute
from solver.solve import solve
from solver.stop import Stop
from solver.timing.infinity import INFINITY
from solver.timing.mapping import Loop, Mapping
from solver.timing.problem import Problem
from solver.timing.timeline import evaluate
from tests.generators import Instance, instances

Json = dict[str, Any]


def schedules(instance: Instance) -> list[LayerSchedule]:
    """Return when the closed form says that each block starts."""
    problem = Problem(instance.network, instance.hardware)
    profiles = [problem.profile(i, mapping) for i, mapping in enumerate(instance.mappings)]
    orders = [None if order is None else np.array(order) for order in instance.orders]
    timeline = evaluate(problem, profiles, instance.releases, orders)
    return [LayerSchedule(x.profile.mapping, x.order, x.block_starts()) for x in timeline.layers]


def executed(instance: Instance, given: list[LayerSchedule]) -> list[Executed]:
    return execute(instance.network, instance.hardware, given, draw_numbers(instance.network, 1))


@settings(max_examples=50)
@given(instances())
def test_any_schedule_computes_the_network(instance: Instance) -> None:
    layers = executed(instance, schedules(instance))
    whole = compute(instance.network, draw_numbers(instance.network, 1))
    simulated = simulate(
        instance.network, instance.hardware, instance.mappings, instance.releases, instance.orders
    )
    for layer, values, times in zip(layers, whole, simulated, strict=True):
        assert np.array_equal(layer.values, values)
        assert np.array_equal(layer.finish, times.finish)
        assert layer.needs.tolist() == times.needs


@settings(max_examples=50)
@given(instances(), st.randoms(use_true_random=False))
def test_one_cycle_too_early_is_noticed(instance: Instance, rng: random.Random) -> None:
    right = schedules(instance)
    found = executed(instance, right)
    waiting = [
        (i, position)
        for i, layer in enumerate(found)
        for position in np.flatnonzero((layer.starts == layer.needs) & (layer.needs > 0)).tolist()
        if position == 0 or layer.starts[position] > layer.starts[position - 1] + 1
    ]
    assume(waiting)
    i, position = rng.choice(waiting)
    starts = right[i].starts.copy()
    starts[position] -= 1
    right[i] = replace(right[i], starts=starts)
    name, blocks = re.escape(instance.network.layers[i].name), len(starts)
    start = int(starts[position])
    early = rf"reads element \(.*\) of '.*' at {start}, but it can be read from {start + 1} on"
    crowded = "begins at .* before the one before it ends"
    with pytest.raises(
        InputError, match=f"^layer '{name}': block {position + 1} of {blocks} ({early}|{crowded})"
    ):
        executed(instance, right)


@settings(max_examples=40)
@given(instances(), st.randoms(use_true_random=False))
def test_what_counts_as_read_is_what_matters(instance: Instance, rng: random.Random) -> None:
    """Inputs may lack all that no block reads, and nothing else."""
    given, drawn = schedules(instance), draw_numbers(instance.network, 1)
    found = execute(instance.network, instance.hardware, given, drawn)
    inputs = {name: values.astype(float) for name, values in drawn.inputs.items()}
    read = {name: np.zeros(values.shape, bool) for name, values in inputs.items()}
    for layer in found:
        for name in read.keys() & layer.loaded.keys():
            read[name] |= layer.loaded[name] < INFINITY
    for name, values in inputs.items():
        values[~read[name]] = np.nan
    again = execute(instance.network, instance.hardware, given, replace(drawn, inputs=inputs))
    assert all(np.array_equal(a.values, b.values) for a, b in zip(found, again, strict=True))

    name = rng.choice(sorted(name for name in read if read[name].any()))
    element = tuple(rng.choice(np.argwhere(read[name]).tolist()))
    inputs[name][element] = np.nan
    with pytest.raises(InputError, match=rf"reads element {re.escape(str(element))} of '{name}' at \d+"):
        execute(instance.network, instance.hardware, given, replace(drawn, inputs=inputs))


# Built-in networks, made small


def narrow(network: Network, factor: int) -> Network:
    """Divide all channels but those of the image by a factor."""
    tree = network.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    images = {x["name"] for x in tree["inputs"]}
    for layer in tree["layers"]:
        dims, operands = layer["dims"], layer["operands"]
        deep = operands[0]["from"] not in images
        depthwise = dims.get("G", 1) > 1 and dims["C"] == 1
        for dim in ("G",) if depthwise else ("K", "C") if deep else ("K",):
            dims[dim] //= factor
        for operand in operands if deep else ():
            ch = operand["axes"].get("ch", {})
            ch |= {key: ch[key] // factor for key in ("offset", "extent") if key in ch}
            if ch.get("terms", {}).get("G", 1) > 1:
                ch["terms"]["G"] //= factor
            if "flatten" in operand:
                operand["flatten"]["shape"][0] //= factor
    return Network.model_validate(tree)


def small(name: str, monkeypatch: pytest.MonkeyPatch) -> Network:
    """Return a built-in network with its own layers and connections, but a small image and few channels."""
    if name == "toy":
        return NETWORKS[name]()
    if name == "bert-base":
        return encode(Encoder(2, 24, 32, Heads(3, 1, 8)), name, 8)
    if name == "gpt2":
        model = replace(GPT2, blocks=2, width=24, inner=32, heads=Heads(3, 1, 8), vocabulary=20)
        return forward(model, name, 8)
    pixels = 80 if name == "alexnet" else 32
    module = importlib.import_module(NETWORKS[name].__module__)
    monkeypatch.setattr(module, "image", lambda channels, _: build.image(channels, pixels))
    return narrow(NETWORKS[name](), 8)


@pytest.mark.parametrize("name", [*NETWORKS, "bert-base", "gpt2"])
def test_built_in(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mappings of a solution, first as it is, then with every layer as early as its data allows."""
    network = small(name, monkeypatch)
    chip = load_hardware("hbm2-bitsimd").model_copy(update={"columns_per_bank": 16, "sync_blocks": 32})
    result = solve(network, chip, method="sequential", stop=Stop.deterministic(0.1), workers=1)
    checked = check_execution(result.solution, 0, lambda text: None)
    assert checked.differences == ()
    assert [layer.elements for layer in checked.layers] == [np.prod(layer.shape) for layer in network.layers]

    timeline = evaluate(Problem(network, chip), result.plan.profiles, [0] * len(network.layers))
    assert timeline.latency <= result.latency
    overlapped = [LayerSchedule(x.profile.mapping, None, x.block_starts()) for x in timeline.layers]
    drawn = draw_numbers(network, 0)
    found = execute(network, chip, overlapped, drawn)
    for layer, times, values in zip(found, timeline.layers, compute(network, drawn), strict=True):
        assert np.array_equal(layer.values, values)
        assert (layer.end, layer.starts[0]) == (times.end, layer.needs[0])


# Numbers


def test_products_are_sums_over_all_dims() -> None:
    rng, sizes = np.random.default_rng(0), [2, 3, 2, 3, 2, 3, 2, 3]
    for _ in range(40):
        a, b = (rng.integers(0, PRIME, [x if rng.random() < 0.5 else 1 for x in sizes]) for _ in "ab")
        full = (np.broadcast_to(a, sizes) * np.broadcast_to(b, sizes)).sum((5, 6, 7)) % PRIME
        found = contract(a.astype(float), b.astype(float), sizes) % PRIME
        assert np.array_equal(np.broadcast_to(found, full.shape), full)


BATCH = {"terms": {"N": 1}}


def window(extent: int, *windows: Json) -> Json:
    return {"terms": {"Q": 1}, "extent": extent, "windows": list(windows)}


BY_HAND = {
    "pooling": (window(3, {"scale": 2, "shift": -1, "width": 3}), [0 + 1, 1 + 2 + 3, 3 + 4]),
    "all": (window(3, {"all": True}), [10, 10, 10]),
    "blocks": (window(5, {"block": 2}), [1, 1, 5, 5, 4]),
    "padding": ({"terms": {"Q": 2}, "offset": -1}, [0, 1, 3]),
    "none of it": (window(3, {"scale": 4, "shift": 0, "width": 1}), [0, 4, 0]),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_what_is_read_is_added_up(case: str) -> None:
    access, expected = BY_HAND[case]
    operand = {"from": "x", "axes": {"n": BATCH, "w": access}}
    network = Network.model_validate(
        {
            "format": "overlapim/network/1",
            "name": "by hand",
            "inputs": [{"name": "x", "shape": [1, 1, 1, 5]}],
            "layers": [{"name": "a", "dims": {"Q": len(expected)}, "operands": [operand]}],
        }
    )
    drawn = draw_numbers(network, 0)
    drawn = replace(
        drawn,
        inputs={"x": np.arange(5, dtype=np.int16).reshape(1, 1, 1, 5)},
        weights=(np.full((1,) * 5, 7, np.int16),),
    )
    assert compute(network, drawn)[0].ravel().tolist() == [7 * x for x in expected]


PLAIN = {"w": {"terms": {"Q": 1}}}
RESIDUALS: dict[str, tuple[list[Json], list[list[int]]]] = {
    "one": ([{"from": "r", "axes": {"n": BATCH, "ch": {"terms": {"K": 1}}, **PLAIN}}], [[10, 20], [30, 40]]),
    "a sum": (
        [
            {"from": "r", "axes": {"n": BATCH, "ch": {"terms": {"K": 1}}, **PLAIN}, "sum": "s"},
            {"from": "r", "axes": {"n": BATCH, "ch": {"terms": {"K": 1}}}, "sum": "s"},
        ],
        [[10 + 10, 20 + 10], [30 + 30, 40 + 30]],
    ),
    "a concatenation": (
        [
            {"from": "x", "axes": {"n": BATCH, "ch": {"terms": {"K": 1}, "offset": -1}}, "concat": "c"},
            {"from": "r", "axes": {"n": BATCH, "ch": {"terms": {"K": 1}, "offset": 1}}, "concat": "c"},
        ],
        [[30, 30], [0 + 1, 0 + 1]],
    ),
    "two": (
        [
            {"from": "r", "axes": {"n": BATCH, "ch": {"terms": {"K": 1}}, **PLAIN}},
            {"from": "x", "axes": {"n": BATCH, **PLAIN}},
        ],
        [[10 + 1, 20 + 2], [30 + 1, 40 + 2]],
    ),
}


@pytest.mark.parametrize("post", [0, 1])
@pytest.mark.parametrize("case", RESIDUALS)
def test_residuals_are_added_to_complete_sums(case: str, post: int) -> None:
    """Worked out by hand, for the network as a whole and for blocks that each do one channel of the sum."""
    operands, added = RESIDUALS[case]
    convolution = {"from": "x", "axes": {"n": BATCH, "ch": {"terms": {"C": 1}}, **PLAIN}}
    layer = {
        "name": "a",
        "dims": {"K": 2, "Q": 2, "C": 3},
        "operands": [convolution, *operands],
        "post": post,
    }
    inputs = [{"name": "x", "shape": [1, 3, 1, 2]}, {"name": "r", "shape": [1, 2, 1, 2]}]
    network = Network.model_validate(
        {"format": "overlapim/network/1", "name": "by hand", "inputs": inputs, "layers": [layer]}
    )
    x, r = [[1, 2], [3, 4], [5, 6]], [[10, 20], [30, 40]]
    weights = [[7, 8, 9], [100, 0, 200]]
    sums = [[7 * 1 + 8 * 3 + 9 * 5, 7 * 2 + 8 * 4 + 9 * 6], [100 * 1 + 200 * 5, 100 * 2 + 200 * 6]]
    complete = [
        sum_ + more
        for own, others in zip(sums, added, strict=True)
        for sum_, more in zip(own, others, strict=True)
    ]
    expected = [3 * y + 1 for y in complete] if post else complete

    drawn = draw_numbers(network, 0)
    assert [None if own is None else own.shape for own in drawn.weights] == [(1, 2, 3, 1, 1)]
    drawn = replace(
        drawn,
        inputs={"x": np.array(x, np.int16)[None, :, None], "r": np.array(r, np.int16)[None, :, None]},
        weights=(np.array(weights, np.int16)[None, :, :, None, None],),
    )
    assert compute(network, drawn)[0].ravel().tolist() == expected
    loops = (Loop("C", 3, "temporal"), Loop("Q", 2, "temporal"), Loop("K", 2, "column"))
    instance = Instance(network, load_hardware("toy"), (Mapping(loops),), (0,), (None,))
    (found,) = execute(network, instance.hardware, schedules(instance), drawn)
    assert len(found.starts) == 6
    assert found.values.ravel().tolist() == expected


def test_a_residual_is_read_only_by_the_blocks_that_complete_sums() -> None:
    """Its producer begins late, when most blocks are done; each of them multiplies one channel."""
    _, x = build.image(4, 2, "x")
    slow, a = build.conv("slow", x, 2, kernel=1), build.conv("a", x, 2, kernel=1)
    source = NetworkInput(name="x", shape=(1, 4, 2, 2))
    network = build.network("late", [source], [slow, build.add(a, build.output(slow))])
    loops = (Loop("C", 4, "temporal"), Loop("P", 2, "temporal"), Loop("Q", 2, "temporal"))
    mapping = Mapping((*loops, Loop("K", 2, "column")))
    instance = Instance(network, load_hardware("toy"), (mapping, mapping), (500, 0), (None, None))
    _, second = executed(instance, given := schedules(instance))
    assert np.array_equal(second.values, compute(network, draw_numbers(network, 1))[1])
    assert [need > 0 for need in second.needs] == [False] * 12 + [True] * 4
    assert second.starts[11] < 500 < second.starts[12] == second.needs[12]

    early = given[1].starts.copy()
    early[12] -= 1
    with pytest.raises(InputError, match=r"^layer 'a': block 13 of 16 reads element \(0, 0, 0, 0\) of"):
        executed(instance, [given[0], replace(given[1], starts=early)])


def test_a_residual_is_read_by_the_block_that_finishes() -> None:
    """Two blocks of one channel each; `r` is made while the first one runs, and is late for the second."""
    plain = {"from": "x", "axes": {"n": BATCH, "ch": {"terms": {"C": 1}}}}
    made = {"name": "r", "dims": {"K": 2}, "operands": [{"from": "x", "axes": {"n": BATCH}}]}
    added = {"from": "r", "axes": {"n": BATCH, "ch": {"terms": {"K": 1}}}}
    layer = {"name": "a", "dims": {"K": 2, "C": 2}, "operands": [plain, added]}
    tree = {"format": "overlapim/network/1", "name": "rows", "inputs": [{"name": "x", "shape": [1, 2, 1, 1]}]}
    network = Network.model_validate(tree | {"layers": [made, layer]})
    mappings = (
        Mapping((Loop("K", 2, "column"),)),
        Mapping((Loop("C", 2, "temporal"), Loop("K", 2, "column"))),
    )
    instance = Instance(network, load_hardware("toy"), mappings, (0, 0), (None, None))
    right = schedules(instance)
    first, second = executed(instance, right)
    assert second.needs.tolist() == [0, first.end + instance.hardware.cycles.transfer]
    assert second.starts[0] == 0 and second.starts[1] > second.needs[1] - 1
    assert second.values.ravel().tolist() == compute(network, draw_numbers(network, 1))[1].ravel().tolist()
    late = 1 + int(second.starts[1] - second.needs[1])
    moved = [LayerSchedule(mappings[0], None, right[0].starts + late), right[1]]
    message = r"layer 'a': block 2 of 2 reads element \(0, [01], 0, 0\) of 'r'"
    with pytest.raises(InputError, match=message):
        executed(instance, moved)


@pytest.mark.parametrize("load", [0, 1, 2])
def test_a_block_reads_all_that_its_load_holds(load: int) -> None:
    """4 rows that another layer makes one by one; loaded one by one, two by two, or all at once."""
    rows = {"axes": {"n": BATCH, "h": {"terms": {"P": 1}}}}
    layers = [{"name": x, "dims": {"P": 4}, "operands": [{"from": y, **rows}]} for x, y in ("ax", "ba")]
    tree = {"format": "overlapim/network/1", "name": "rows", "inputs": [{"name": "x", "shape": [1, 1, 4, 1]}]}
    network = Network.model_validate(tree | {"layers": layers})
    loops = (Loop("P", 2, "temporal"), Loop("P", 2, "temporal"))
    instance = Instance(
        network, load_hardware("toy"), (Mapping(loops), Mapping(loops, load)), (0, 0), (None, None)
    )
    first, second = executed(instance, schedules(instance))
    done, transfer = first.finish.ravel(), instance.hardware.cycles.transfer
    last = {0: [3], 1: [1, 3], 2: [0, 1, 2, 3]}[load]
    assert second.needs.tolist() == [int(done[i]) + transfer for i in last]


@pytest.mark.parametrize("steps_per_row", [None, 2])
def test_what_comes_before_the_first_block_is_done_in_time(
    steps_per_row: int | None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A file with weights that are loaded anew agrees, and begins its layers before their data is there."""
    chip = load_hardware("toy").with_weights("reload").model_dump()
    chip["steps_per_row"] = steps_per_row
    chip["cycles"]["open"] = None if steps_per_row is None else 30
    hardware = Hardware.model_validate(chip)
    solution = solve(
        NETWORKS["toy"](), hardware, method="layerwise", stop=Stop.deterministic(0.1), workers=1
    ).solution
    profiles = recompute(solution).plan.profiles
    assert all(profile.lead >= profile.t_weights > 0 for profile in profiles)
    assert command(solution, tmp_path) == 0
    assert capfd.readouterr().out.split("\n")[-2] == "agrees"
    head = solution.layers["head"]
    capfd.readouterr()
    assert command(tampered(solution, "head", start=head.start + 1), tmp_path) == 2
    assert "layer 'head': start is" in capfd.readouterr().err


def test_two_seeds_draw_other_numbers() -> None:
    network = NETWORKS["toy"]()
    first, second = (compute(network, draw_numbers(network, seed))[-1] for seed in (0, 1))
    assert (first != second).any()


# Files


@pytest.fixture(scope="module")
def solved() -> Solution:
    network, hardware = NETWORKS["toy"](), load_hardware("toy").with_weights("static")
    return solve(network, hardware, method="layerwise", stop=Stop.deterministic(0.1), workers=1).solution


def command(solution: Solution, directory: Path, *options: str) -> int:
    path = directory / "solution.yaml"
    path.write_text(dump(solution))
    return run(["execute", str(path), *options], time.monotonic())


def tampered(solution: Solution, layer: str, **keys: object) -> Solution:
    record = LayerRecord(**(solution.layers[layer].model_dump() | keys))
    return solution.model_copy(update={"layers": solution.layers | {layer: record}})


def test_the_command(solved: Solution, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert command(solved, tmp_path, "--seed", "3") == 0
    lines = capfd.readouterr().out.split("\n")
    assert lines[0].split("  ")[0] == "layer" and lines[-2] == "agrees"
    assert [line.split()[0] for line in lines[2:6]] == ["stem", "left", "right", "head"]
    assert [line.split()[-1] for line in lines[2:6]] == ["0"] * 4
    assert [line.split()[-2] for line in lines[2:6]] == ["512", "128", "128", "10"]


def refused(solution: Solution, directory: Path, capfd: pytest.CaptureFixture[str]) -> str:
    assert command(solution, directory) == 2
    error = capfd.readouterr().err
    assert len(error.strip().splitlines()) == 1
    return error


@pytest.mark.parametrize("key", ["release", "start"])
def test_a_producer_that_is_late(
    key: str, solved: Solution, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    late = solved.layers["stem"].start + 1
    error = refused(tampered(solved, "stem", **{key: late}), tmp_path, capfd)
    told = re.search(
        r"block \d+ of \d+ reads element \(0, \d, \d, \d\) of 'stem' at (\d+), but .* from (\d+)",
        error,
    )
    assert told and int(told[2]) == int(told[1]) + 1


def test_a_consumer_that_is_early(
    solved: Solution, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    start = solved.layers["head"].start - 1
    error = refused(tampered(solved, "head", start=start, release=start), tmp_path, capfd)
    assert re.search(
        rf"'head': block 1 of 1 reads element \(0, \d, \d, \d\) of '(left|right)' at {start}, but", error
    )


@pytest.mark.parametrize("key", ["release", "start", "end"])
def test_a_last_layer_that_is_late(
    key: str, solved: Solution, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "solution.yaml"
    late = max(getattr(solved.layers["head"], key), solved.layers["head"].start) + 1
    path.write_text(dump(tampered(solved, "head", **{key: late})))
    assert run(["execute", str(path)], time.monotonic()) == 2
    assert "layer 'head': " in capfd.readouterr().err


@pytest.mark.parametrize("layer", ["a", "b"])
def test_another_order(layer: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Row by row the second layer follows the first one; backwards neither may go."""
    rows = {"axes": {"n": BATCH, "h": {"terms": {"P": 1}}}}
    layers = [{"name": x, "dims": {"P": 6}, "operands": [{"from": y, **rows}]} for x, y in ("ax", "ba")]
    tree = {"format": "overlapim/network/1", "name": "rows", "inputs": [{"name": "x", "shape": [1, 1, 6, 1]}]}
    network = Network.model_validate(tree | {"layers": layers})
    problem = Problem(network, load_hardware("toy").with_weights("static"))
    profiles = [problem.profile(i, Mapping((Loop("P", 6, "temporal"),))) for i in range(2)]
    plan = Plan(evaluate(problem, profiles, [0, 0]), (np.array([0]), np.array([1])))
    solution = from_plan(problem, plan, "by hand", 0)
    assert command(solution, tmp_path) == 0
    capfd.readouterr()
    error = refused(tampered(solution, layer, order=tuple(range(5, -1, -1))), tmp_path, capfd)
    row, start = 0 if layer == "a" else 5, solution.layers["b"].start
    assert f"layer 'b': block 1 of 6 reads element (0, 0, {row}, 0) of 'a' at {start}, but it is not" in error


def test_too_much_is_refused_before_it_begins(
    solved: Solution, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit, what in (("MAX_STEPS", "steps"), ("MAX_PRODUCTS", "accumulates"), ("MAX_BYTES", "memory")):
        with monkeypatch.context() as patch:
            patch.setattr(size, limit, 1)
            assert what in refused(solved, tmp_path, capfd)
    assert command(solved, tmp_path) == 0


def test_an_invalid_mapping_is_refused(
    solved: Solution, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    error = refused(tampered(solved, "left", loops=()), tmp_path, capfd)
    assert "solution.yaml: layer 'left': the loops of" in error
