"""Results for scripts: --json prints one document on standard output, and nothing else there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from cli.main import app, run
from hw.hardware import Hardware
from hw.library import load_hardware
from models.library import load_network, network_names
from models.network import Network
from overlapim_files import load
from solver.solution import Solution

WITHOUT = (("bench", "page"), ("export",), ("hw", "derive"))
"""Commands, and groups of them, that make files in formats of their own."""

LAYERWISE = ["solve", "toy", "--hw", "toy", "--weights", "static", "-m", "layerwise"]


def call(*arguments: str) -> int:
    return run(arguments, time.monotonic())


@pytest.fixture(scope="module")
def solution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("solved")
    assert call(*LAYERWISE, "--quiet", "-o", str(out)) == 0
    return out / "solution.yaml"


@pytest.fixture
def data(capsys: pytest.CaptureFixture[str]) -> Any:
    def data(*arguments: str, code: int = 0) -> Any:
        capsys.readouterr()
        assert call(*arguments, "--json") == code
        return json.loads(capsys.readouterr().out)

    return data


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, (*path, name))
    if not hasattr(command, "commands"):
        yield path, command


def test_every_command_has_both_options() -> None:
    commands = dict(_commands(typer.main.get_command(app)))
    assert ("solve",) in commands and ("bench", "overlap") in commands
    for path, command in commands.items():
        if any(path[: len(own)] == own for own in WITHOUT):
            continue
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--json", "--quiet"} <= options, path


def test_solve_prints_what_it_writes(data: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = data(*LAYERWISE, "-o", str(tmp_path))
    assert printed == json.loads((tmp_path / "result.json").read_text())
    written = load(tmp_path / "solution.yaml", Solution)
    assert printed["latency"] == written.latency == max(layer["end"] for layer in printed["layers"])
    assert [layer["name"] for layer in printed["layers"]] == list(written.network.index)
    assert call(*LAYERWISE, "--json", "-o", str(tmp_path)) == 0
    assert "written: " in capsys.readouterr().err


def test_a_solution_file_as_recomputed_and_as_executed(data: Any, solution: Path) -> None:
    written = load(solution, Solution)
    found, executed = data("evaluate", str(solution)), data("simulate", str(solution))
    assert found["differences"] == executed["differences"] == []
    assert found["latency"] == executed["latency"] == written.latency
    for layer, other in zip(found["layers"], executed["layers"], strict=True):
        record = written.layers[layer["name"]]
        assert (layer["start"], layer["end"]) == (record.start, record.end)
        assert (other["name"], other["start"], other["end"]) == (layer["name"], record.start, record.end)


@pytest.mark.parametrize("command", ["evaluate", "simulate"])
def test_differences_are_data_and_errors(
    command: str, data: Any, solution: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    latency = load(solution, Solution).latency
    forged = tmp_path / "forged.yaml"
    forged.write_text(solution.read_text().replace(f"latency: {latency}", f"latency: {latency + 1}"))
    assert data(command, str(forged), code=2)["differences"] == [
        f"latency is {latency}, the file says {latency + 1}"
    ]
    assert call(command, str(forged), "--json") == 2
    assert capsys.readouterr().err == f"error: {forged}: latency is {latency}, the file says {latency + 1}\n"


def test_transform(data: Any, solution: Path) -> None:
    found = data("transform", str(solution))
    assert found["before"] == load(solution, Solution).latency >= found["solution"]["latency"]


def test_networks_and_chips(data: Any, tmp_path: Path) -> None:
    assert [network["name"] for network in data("models", "list")] == network_names()
    network = load_network("toy")
    shown = data("models", "show", "toy")
    assert shown["summary"]["macs"] == network.macs == sum(layer["macs"] for layer in shown["layers"])
    chip = load_hardware("toy")
    assert data("hw", "show", "toy")["summary"]["lanes"] == chip.lanes
    assert chip.name in [line["name"] for line in data("hw", "list")]
    for command, kind, known in (("models", Network, network), ("hw", Hardware, chip)):
        file = tmp_path / f"{command}.json"
        file.write_text(json.dumps(data(command, "show", "toy", "--file")))
        assert load(file, kind).model_dump() == known.model_dump()
        assert data(command, "check", str(file))["name"] == "toy"


def test_a_mistake_prints_no_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("models", "check", "nowhere.yaml", "--json") == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1


def test_a_benchmark(data: Any) -> None:
    found = data("bench", "exhaustive", "-n", "1", "--methods", "sequential", "-t", "0.1")
    assert len(found["cases"]) == 1
    assert "--json" not in found["runs"][0]["command"]


def test_layers_are_a_table_for_data_frames(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    import csv

    from pyarrow import parquet

    solution, plain, columns = tmp_path / "solution.yaml", tmp_path / "a.csv", tmp_path / "a.parquet"
    made = ["solve", "toy", "--hw", "toy", "-m", "sequential", "-o", str(tmp_path)]
    assert run(made, time.monotonic()) == 0
    for table in (plain, columns):
        assert run(["evaluate", str(solution), "--table", str(table)], time.monotonic()) == 0
    rows = list(csv.DictReader(plain.open()))
    table = parquet.read_table(columns).to_pylist()
    chip = load_hardware("toy")
    assert [row["layer"] for row in rows] == [row["layer"] for row in table]
    for text, row in zip(rows, table, strict=True):
        assert (row["network"], row["hardware"]) == ("toy", "toy")
        assert row["end_s"] == pytest.approx(chip.nanoseconds(row["end"]) * 1e-9)
        parts = [value for name, value in row.items() if name.startswith("energy_pj.")]
        assert row["energy_pj"] == pytest.approx(sum(parts))
        assert sum(v for name, v in row.items() if name.startswith("spent.")) == row["end"] - row["start"]
        assert int(text["end"]) == row["end"]
