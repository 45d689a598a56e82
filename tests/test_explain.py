"""The critical path against the simulator, and what changes of a plan are said to bring."""

from __future__ import annotations

import json
import random
import re
import time
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import pytest
from generators import Instance, draw_hardware, draw_instance, draw_network, instances
from hypothesis import given, settings
from test_trace import planned

from cli.main import run
from cli.solutions import read_account
from hw.library import load_hardware
from models.library import load_network
from overlapim_files import InputError, load
from solver.account.critical import Computes, Queues, Transfers, critical_path, shares
from solver.account.plan import Account, account
from solver.account.remedies import Remedy, remedies
from solver.maxplus.latest import postpone
from solver.reference import simulate
from solver.schedule.plan import Plan
from solver.solution import Solution, from_plan, read_verified, recompute
from solver.solve import solve
from solver.stop import Stop
from solver.timing.problem import Problem


@given(instances())
@settings(max_examples=60)
def test_the_pieces_of_the_path_add_up(instance: Instance) -> None:
    told = planned(instance)
    path = critical_path(told)
    assert path[0].end == told.latency
    assert path[-1].start == 0
    assert all(later.start == earlier.end for later, earlier in pairwise(path))
    assert sum(piece.end - piece.start for piece in path) == told.latency


@given(instances())
@settings(max_examples=60)
def test_each_piece_is_what_the_simulator_does(instance: Instance) -> None:
    told = planned(instance)
    _check_pieces(instance, told)
    late = postpone(told.problem, told.plan)
    _check_pieces(replace(instance, releases=late.releases), account(told.problem, late))


def _check_pieces(instance: Instance, told: Account) -> None:
    executed = simulate(
        instance.network, told.hardware, instance.mappings, instance.releases, instance.orders
    )
    producers = told.problem.network.producers
    for piece in critical_path(told):
        times = executed[piece.layer]
        if isinstance(piece, Computes):
            # The path leaves a layer through its data, or goes back to where the layer takes its banks.
            lead = times.block_starts[0] - times.start
            data = piece.start == times.block_starts[piece.first]
            assert data or (piece.first == 0 and piece.start == times.start)
            if lead and piece.start == times.start:
                assert piece.start == instance.releases[piece.layer]
            assert times.block_starts[piece.last] < piece.end <= times.end
            ideal = told.layers[piece.layer].profile.block_starts
            starts = times.block_starts
            # Nothing waits between the first and the last block.
            lags = {starts[k] - int(ideal[k]) for k in range(piece.first, piece.last + 1)}
            assert len(lags) == 1
            before = starts[piece.first] - starts[piece.first - 1] if piece.first else 0
            length = int(ideal[piece.first] - ideal[piece.first - 1]) if piece.first else 0
            assert piece.waited == before - length
        elif isinstance(piece, Transfers):
            assert piece.producer in producers[piece.layer]
            assert piece.end == times.block_starts[piece.block]
            assert piece.end - piece.start == told.hardware.cycles.transfer
            written = executed[piece.producer]
            assert written.block_starts[piece.producer_block] < piece.start <= written.end
        else:
            assert isinstance(piece, Queues)
            assert piece.end == times.start == instance.releases[piece.layer]
            assert piece.after is None or executed[piece.after].end == piece.start


def test_paths_take_every_turn() -> None:
    """Instances on a bank that layers leave to each other, released just then or later."""
    rng, kinds = random.Random(5), set()
    for _ in range(60):
        told = planned(draw_instance(rng))
        for piece, before in pairwise(critical_path(told)):
            kinds.add((type(piece).__name__, type(before).__name__))
            if isinstance(before, Queues):
                kinds.add(f"after {'nobody' if before.after is None else 'a layer'}")
            if isinstance(piece, Computes) and piece.waited:
                kinds.add("waited")
    assert {
        ("Computes", "Transfers"),
        ("Transfers", "Computes"),
        ("Computes", "Queues"),
        ("Computes", "Computes"),
        "after nobody",
        "waited",
    } <= kinds


def test_layers_that_share_banks() -> None:
    network, chip = load_network("toy"), load_hardware("toy")
    result = solve(network, chip, method="sequential", stop=Stop.deterministic(2))
    told = account(Problem(network, chip), result.plan)
    path = critical_path(told)
    queues = [piece for piece in path if isinstance(piece, Queues)]
    assert queues and all(piece.banks and piece.after is not None for piece in queues)
    assert sum(piece.end - piece.start for piece in path) == told.latency
    found = shares(path)
    between = sum(piece.end - piece.start for piece in path if not isinstance(piece, Computes))
    assert sum(share.computes for share in found) + between == told.latency
    assert [share.computes for share in found] == sorted((share.computes for share in found), reverse=True)


# Changes


def _random_plan(seed: int) -> tuple[Problem, Plan] | None:
    rng = random.Random(seed)
    network = draw_network(rng, 4)
    chip = draw_hardware(rng, network).model_copy(update={"channels": 2, "banks_per_channel": 6})
    try:
        plan = solve(network, chip, method="layerwise", stop=Stop.deterministic(0.2)).plan
    except InputError:
        return None
    return Problem(network, chip), plan


def test_changes_are_valid_and_of_one_layer() -> None:
    tokens = load_network(str(Path(__file__).parent.parent / "docs/examples/tokens.yaml"))
    static = load_hardware("toy").with_weights("static")
    plan = solve(tokens, static, method="layerwise", stop=Stop.deterministic(1)).plan
    kinds = _check_changes(Problem(tokens, static), plan)
    for seed in range(8):
        drawn = _random_plan(seed)
        kinds |= set() if drawn is None else _check_changes(*drawn)
    for seed in range(24):
        told = planned(draw_instance(random.Random(seed)))
        kinds |= _check_changes(told.problem, told.plan)
    assert kinds == {"loops", "banks", "mapping", "order"}


def _check_changes(problem: Problem, plan: Plan) -> set[str]:
    """Check what is said to help and return of which kinds it is."""
    path = [share.layer for share in shares(critical_path(account(problem, plan)))]
    found = remedies(problem, plan, path, Stop(iterations=80))
    assert found.base.latency <= plan.latency
    latencies = [remedy.plan.latency for remedy in found.best]
    assert latencies == sorted(latencies)
    for remedy in found.best:
        assert remedy.plan.latency < found.base.latency
        assert remedy.layer in path
        again = recompute(from_plan(problem, remedy.plan, "explain", 0))
        assert again.differences == []
        assert again.plan.latency == remedy.plan.latency
        _check_one_change(found.base, remedy)
    return {remedy.kind for remedy in found.best}


def _check_one_change(base: Plan, remedy: Remedy) -> None:
    pairs = list(zip(base.profiles, remedy.plan.profiles, strict=True))
    changed = {i for i, (old, new) in enumerate(pairs) if old.mapping != new.mapping}
    old, new = pairs[remedy.layer]
    if remedy.kind == "order":
        orders = zip(base.orders, remedy.plan.orders, strict=True)
        assert not changed and any(before is not after for before, after in orders)
    elif remedy.kind == "banks":
        # Arrays of others may be cut otherwise to make room, into as many banks as before.
        assert new.banks > old.banks
        others = {i for i in changed if pairs[i][0].banks != pairs[i][1].banks}
        assert others == {remedy.layer, remedy.donor} - {None}
    else:
        assert changed == {remedy.layer} and new.banks == old.banks
        same = sorted(old.mapping.loops) == sorted(new.mapping.loops)
        same &= old.mapping.load == new.mapping.load
        assert same or remedy.kind == "mapping"


def test_a_late_plan_is_first_begun_earlier() -> None:
    network, chip = load_network("resnet18"), load_hardware("reram-aritpim")
    problem = Problem(network, chip)
    plan = solve(network, chip, method="sequential", stop=Stop.deterministic(2)).plan
    base = remedies(problem, plan, [], Stop(iterations=1)).base
    assert base.latency < plan.latency and set(base.releases) == {0}


# The command


@pytest.fixture(scope="module")
def solution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("solved")
    toy = [
        "solve",
        "toy",
        "--hw",
        "toy",
        "--weights",
        "static",
        "-m",
        "layerwise",
        "-D",
        "-q",
        "-o",
        str(out),
    ]
    assert run(toy, time.monotonic()) == 0
    return out / "solution.yaml"


def test_command(solution: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", str(solution), "-t", "60", "-o", str(tmp_path)], time.monotonic()) == 0
    printed = capsys.readouterr().out
    assert run(["explain", str(solution), "-t", "60", "--json"], time.monotonic()) == 0
    record = json.loads(capsys.readouterr().out)
    latency = load(solution, Solution).latency
    assert record["latency"] == latency == sum(piece["end"] - piece["start"] for piece in record["path"])
    for piece in record["path"]:
        assert f"{piece['end'] - piece['start']:,}" in printed and piece["about"] in printed
    told = {layer.name: layer for layer in read_account(solution)[1].layers}
    for share in record["layers"]:
        spent = asdict(told[share["layer"]].spent)
        assert share["spent"] == spent
        most = max(cycles for part, cycles in spent.items() if part != "wait")
        work = sum(spent.values()) - spent["wait"]
        assert f"{share['layer']} computes {share['computes']:,} cycles" in printed
        assert f"{most / work:.1%} of its work is" in printed
    best = record["changes"][0]
    assert best["latency"] == latency - best["less"] == read_verified(tmp_path / "solution.yaml")[0].latency
    assert f"{best['latency']:,} cycles" in printed and best["about"] in printed
    assert record["tried"] == int(re.findall(r"tried (\d+) changes", printed)[0])


def test_odd_names_are_printable(solution: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = tmp_path / "odd.yaml"
    odd.write_text(re.sub(r"\bleft\b", '"' + r"[bold]\\e[31m\\n" + "x" * 150 + '"', solution.read_text()))
    assert run(["explain", str(odd), "-t", "1"], time.monotonic()) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and "x" * 60 not in out and r"[bold]\x1b[31m\n" in out


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, told in ((["nowhere.yaml"], "nowhere.yaml"), (["x.yaml", "-t", "0"], "time-limit")):
        assert run(["explain", *arguments], time.monotonic()) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ") and told in line
