"""Benchmarks as commands: what they write is complete, and both ways of finding overlap agree."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
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


def test_data_spaces_grow_as_columns_shrink() -> None:
    growth = bench_overlap(load_network("toy"), load_hardware("toy")).growth
    assert [row.pairs for row in growth] == sorted(row.pairs for row in growth)


def test_speed_measures_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "CANDIDATES", 20)
    report = speed.bench_speed(load_network("toy"), load_hardware("toy"))
    assert report.candidates_per_s > 0 and report.edges_per_candidate >= 1
