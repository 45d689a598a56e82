"""Benchmarks as commands: what they write is complete, and both ways of finding overlap agree."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app, run
from hw.library import load_hardware
from models.library import load_network
from solver.bench import speed
from solver.bench.overlap import bench_overlap


def test_overlap_writes_raw_results_and_a_table(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["bench", "overlap", "-n", "toy", "--hw", "toy", "-o", str(tmp_path)])
    assert done.exit_code == 0
    report = json.loads((tmp_path / "overlap.json").read_text())
    assert report["all_equal"] is True
    assert len(report["rows"]) == 4
    assert report["median_ratio"] > 0
    assert "| stem" in (tmp_path / "overlap.md").read_text()


def test_anytime_reads_each_run_at_all_limits(tmp_path: Path) -> None:
    arguments = ["bench", "anytime", "-n", "toy", "-w", "toy", "-t", "0.5,1", "-j", "1", "-o", str(tmp_path)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0
    rows = json.loads((tmp_path / "anytime.json").read_text())["rows"]
    assert [(row["weights"], row["method"]) for row in rows] == [
        (weights, method) for weights in ("static", "shared") for method in ("cpsat", "descent")
    ]
    for row in rows:
        early, late = row["readings"]
        assert early["latency"] is None or late["latency"] <= early["latency"]
        assert late["bound"] is None or late["bound"] <= late["latency"]
    assert "| toy" in (tmp_path / "anytime.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["-n", "resnet81"], "resnet18"),
        (["-n", "toy", "--hw", "tpy"], "toy"),
        (["-n", "toy", "--hw", "toy", "-o", "taken/inside"], "--out"),
        (["-n", "toy", "--hw", "toy", "-o", ""], "--out"),
    ],
)
@pytest.mark.parametrize("command", ["overlap", "speed"])
def test_mistakes_cost_one_line(
    command: str,
    arguments: list[str],
    word: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken").write_text("a file")
    assert run(["bench", command, *arguments], time.monotonic()) == 2
    error = capfd.readouterr().err
    assert len(error.strip().splitlines()) == 1 and word in error
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_data_spaces_grow_as_columns_shrink() -> None:
    growth = bench_overlap(load_network("toy"), load_hardware("toy")).growth
    assert [row.pairs for row in growth] == sorted(row.pairs for row in growth)


def test_speed_measures_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "CANDIDATES", 20)
    report = speed.bench_speed(load_network("toy"), load_hardware("toy"))
    assert report.candidates_per_s > 0 and report.edges_per_candidate >= 1
