"""Two solutions side by side, and that all commands say the same numbers of one."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cli.main import run
from overlapim_files import dump, load
from solver.account.plan import account
from solver.schedule.transform import remap
from solver.solution import Solution, from_plan, read_verified
from solver.timing.problem import Problem
from solver.timing.tiles import innermost_read

Call = Callable[..., Any]
ARGUMENTS = ["--hw", "toy", "-m", "layerwise", "-D", "-q"]


@pytest.fixture(scope="module")
def solutions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    found = {}
    for name, network, *options in (
        ("static", "toy", "--weights", "static"),
        ("shared", "toy", "--weights", "shared"),
    ):
        out = tmp_path_factory.mktemp(name)
        assert run(["solve", network, *options, *ARGUMENTS, "-o", str(out)], time.monotonic()) == 0
        found[name] = str(out / "solution.yaml")
    return found


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def call(*arguments: str) -> Any:
        capsys.readouterr()
        assert run([*arguments, "--json"], time.monotonic()) == 0
        return json.loads(capsys.readouterr().out)

    return call


def test_the_same_solution_twice(
    solutions: dict[str, str], call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    file = solutions["static"]
    found = call("compare", file, file)
    assert found["differing"] == []
    assert all(layer["changed"] == [] and layer["a"] == layer["b"] for layer in found["layers"])
    assert run(["compare", file, file], time.monotonic()) == 0
    printed = capsys.readouterr().out
    assert "+0.0%" in printed and "mappings" not in printed and "not the same" not in printed
    assert printed.count("→") == 6  # of the totals


def test_every_change_is_told(
    solutions: dict[str, str], tmp_path: Path, call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    given, old_plan = read_verified(solutions["static"])
    better = tmp_path / "better"
    assert run(["explain", solutions["static"], "-t", "60", "-q", "-o", str(better)], time.monotonic()) == 0
    found = call("compare", solutions["static"], str(better / "solution.yaml"))
    other, new_plan = read_verified(better / "solution.yaml")
    depths = {
        layer.name: (old.load_depth, new.load_depth)
        for layer, old, new in zip(given.network.layers, old_plan.profiles, new_plan.profiles, strict=True)
    }
    assert (found["a"]["latency"], found["b"]["latency"]) == (given.latency, other.latency)
    for layer in found["layers"]:
        one, two = given.layers[layer["name"]], other.layers[layer["name"]]
        loads = depths[layer["name"]]
        assert (layer["a"]["load"], layer["b"]["load"]) == loads
        assert ("mapping" in layer["changed"]) == (one.loops != two.loops or loads[0] != loads[1])
        assert ("banks" in layer["changed"]) == (one.banks != two.banks)
        assert ("times" in layer["changed"]) == ((one.start, one.end) != (two.start, two.end))
        assert ("waits" in layer["changed"]) == (layer["a"]["line"]["waited"] != layer["b"]["line"]["waited"])
        assert len(layer["b"]["loops"].split()) == len(two.loops)
    assert any("mapping" in layer["changed"] for layer in found["layers"])
    assert run(["compare", solutions["static"], str(better / "solution.yaml")], time.monotonic()) == 0
    printed = capsys.readouterr().out
    change = other.latency / given.latency - 1
    assert f"latency     {given.latency:,} → {other.latency:,} cycles, {change:+.1%}" in printed


def test_a_change_of_the_load_depth_alone_is_a_change_of_the_mapping(
    solutions: dict[str, str], tmp_path: Path, call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    given, plan = read_verified(solutions["static"])
    index, own = next((i, x) for i, x in enumerate(plan.profiles) if x.load_depth > 0)
    name, depth = own.layer.name, own.load_depth
    problem = Problem(given.network, given.hardware)

    def loaded_at(load: int | None) -> str:
        changed = problem.profile(index, replace(own.mapping, load=load))
        other = from_plan(problem, remap(problem, plan, {index: changed}), "by hand", 0)
        file = tmp_path / f"{load}.yaml"
        file.write_text(dump(other))
        return str(file)

    innermost = innermost_read(own.layer, own.mapping)
    before, after = loaded_at(depth), loaded_at(depth - 1)
    layers = call("compare", before, after)["layers"]
    assert ["mapping" in layer["changed"] for layer in layers] == [x["name"] == name for x in layers]
    (changed,) = [layer for layer in layers if layer["name"] == name]
    assert changed["a"]["loops"] == changed["b"]["loops"]
    assert (changed["a"]["load"], changed["b"]["load"]) == (depth, depth - 1)
    assert run(["compare", before, after], time.monotonic()) == 0
    printed = capsys.readouterr().out
    assert f"inputs are loaded inside {depth} loop" in printed
    assert f"inputs are loaded inside {depth - 1} loop" in printed
    # The depth that is meant where none is given may be given as well.
    same = call("compare", loaded_at(None), loaded_at(innermost))
    assert all(layer["changed"] == [] for layer in same["layers"])


def test_other_networks_and_chips(
    solutions: dict[str, str], tmp_path: Path, call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    found = call("compare", solutions["static"], solutions["shared"])
    assert found["differing"] == ["hardware: weights is static, not shared"]
    given = load(solutions["shared"], Solution)
    network = given.network.model_copy(update={"name": "less", "layers": given.network.layers[:-1]})
    kept = {layer.name: given.layers[layer.name] for layer in network.layers}
    latency = max(record.end for record in kept.values())
    less = given.model_copy(
        update={
            "network": network,
            "layers": kept,
            "latency": latency,
            "bound": None,
            "status": "feasible",
            "interval": None,
            "energy_pj": None,
        }
    )
    file = tmp_path / "less.yaml"
    file.write_text(dump(less))
    found = call("compare", solutions["shared"], str(file))
    assert found["differing"] == ["network: name is toy, not less"]
    last = found["layers"][-1]
    assert last["name"] == given.network.layers[-1].name and last["b"] is None
    assert run(["compare", str(file), solutions["shared"]], time.monotonic()) == 0
    printed = capsys.readouterr().out
    assert "not the same network: name is less, not toy" in printed and "only in B" in printed


def test_odd_names_are_printable(
    solutions: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = tmp_path / "odd.yaml"
    text = Path(solutions["static"]).read_text()
    odd.write_text(re.sub(r"\bleft\b", r'"[red]\\e[31m\\n"', text).replace("name: toy", 'name: "to\\ey"'))
    assert run(["compare", solutions["static"], str(odd)], time.monotonic()) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed and r"[red]\x1b[31m\n" in printed


def test_mistakes(solutions: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, told in (
        ([solutions["static"]], "'B'"),
        ([solutions["static"], "nowhere.yaml"], "nowhere.yaml"),
    ):
        assert run(["compare", *arguments], time.monotonic()) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ") and told in line


@pytest.mark.parametrize("name", ["static", "shared"])
def test_all_say_the_same(name: str, solutions: dict[str, str], tmp_path: Path, call: Call) -> None:
    """Table, result file, trace, explanation, comparison and account: one evaluation, one set of numbers."""
    file = solutions[name]
    given, plan = read_verified(file)
    told = account(Problem(given.network, given.hardware), plan)
    table, compared = call("evaluate", file), call("compare", file, file)
    explained = call("explain", file, "-t", "1")
    written = call("trace", file, "-o", str(tmp_path / "trace.json"))
    result = json.loads(Path(file).with_name("result.json").read_text())
    traced = json.loads((tmp_path / "trace.json").read_text())
    about, events = traced["otherData"], [e for e in traced["traceEvents"] if e["ph"] == "X"]
    latencies = [x["latency"] for x in (table, explained, written, result, about, compared["a"])]
    assert set(latencies) == {given.latency, told.latency, max(e["ts"] + e["dur"] for e in events)}
    assert {x["bottleneck"] for x in (table, written, result, about, compared["b"])} == {told.bottleneck}
    assert table["layers"] == result["layers"] == [layer["a"]["line"] for layer in compared["layers"]]
    for line, layer in zip(table["layers"], told.layers, strict=True):
        own = [e for e in events if e["args"]["layer"] == layer.name]
        holds = [e for e in own if e["cat"] == "layer"]
        assert {(e["ts"], e["ts"] + e["dur"]) for e in holds} == {(line["start"], line["end"])}
        assert len(holds) == line["banks"] == len(layer.banks)
        waits: dict[str, int] = {}
        for e in own:
            if e["cat"] == "wait" and e["tid"] == holds[0]["tid"]:
                waits[e["args"]["for"]] = waits.get(e["args"]["for"], 0) + e["dur"]
        assert waits == line["waited_for"] and sum(waits.values()) == line["waited"] == layer.waited
        assert sum(line["spent"].values()) == line["end"] - line["start"]
    for piece in explained["path"]:
        line = next(line for line in table["layers"] if line["name"] == piece["layer"])
        assert line["start"] <= piece["begins"] < piece["end"] <= line["end"]
