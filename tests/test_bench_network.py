"""The experiment of overlap-driven mapping: its columns are what they are said to be, and resume."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from hw.hardware import Weights
from hw.library import load_hardware
from models.library import load_network
from solver.bench.network import COLUMNS, COMPARED, ORIGINAL, WHOLE_CHIP, Setting, budgeted, walked
from solver.bench.runtime import measure_walk
from solver.params import STRATEGIES, WALKS, LayerwiseParams, Params
from solver.solve import solve
from solver.stop import Stop
from solver.timing.problem import Problem


@pytest.mark.parametrize("weights", ["static", "shared"])
@pytest.mark.parametrize("setting", ["equal", "free"])
def test_columns_are_as_defined(setting: Setting, weights: Weights) -> None:
    network = load_network("toy")
    chip = budgeted(network, load_hardware("toy").with_weights(weights), setting)
    found = walked(network, chip, threading.Event())
    assert set(found) == set(COLUMNS) - set(COMPARED) | set(WALKS)
    assert found[ORIGINAL] == solve(network, chip, method="sequential").latency
    assert found["best original overlap"] <= found[ORIGINAL]
    assert found["best overlap"] == min(found[walk] for walk in WALKS)
    for walk in STRATEGIES:
        params = Params(layerwise=LayerwiseParams(walk))
        own = solve(network, chip, method="layerwise", params=params, stop=Stop()).latency
        assert own == found["best overlap" if walk == "best" else walk]
    whole = load_hardware("toy").with_weights("shared")
    assert found[WHOLE_CHIP] == solve(network, whole, method="sequential").latency


@pytest.mark.parametrize("method", ["sequential", "random", "layerwise", "descent", "cpsat"])
@pytest.mark.parametrize("weights", ["static", "shared"])
def test_every_method_keeps_to_equal_banks(method: str, weights: Weights) -> None:
    network = load_network("toy")
    chip = budgeted(network, load_hardware("toy").with_weights(weights), "equal")
    assert chip.most_banks == 2
    result = solve(network, chip, method=method, stop=Stop.deterministic(1))
    assert max(profile.banks for profile in result.plan.profiles) <= 2


def test_a_run_goes_on_where_it_was(tmp_path: Path) -> None:
    common = ["bench", "network", "toy", "--hw", "toy", "-t", "0.2", "-j", "1", "-o", str(tmp_path)]
    first = CliRunner().invoke(app, [*common, "--seeds", "0", "--weights", "static", "--banks", "equal"])
    assert first.exit_code == 0
    kept = json.loads((tmp_path / "network.json").read_text())["cases"]
    assert [case["what"]["method"] for case in kept] == ["columns", *COMPARED]
    again = CliRunner().invoke(app, [*common, "--seeds", "0,1", "--weights", "static", "--banks", "equal"])
    assert again.exit_code == 0 and "4 of 7 cases are there already" in again.stderr
    assert json.loads((tmp_path / "network.json").read_text())["cases"][:4] == kept
    assert "| toy | toy | static | equal |" in (tmp_path / "network.md").read_text()


def test_both_analyses_choose_the_same_mappings(tmp_path: Path) -> None:
    arguments = ["bench", "runtime", "-n", "toy", "--hw", "toy", "--candidates", "4", "-o", str(tmp_path)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0
    (case,) = json.loads((tmp_path / "runtime.json").read_text())["cases"]
    assert case["result"]["equal"] is True
    assert case["result"]["timed"] == case["result"]["layers"] == 3
    assert case["result"]["analyses"] > 4


def test_layers_with_too_many_pairs_are_left_out() -> None:
    problem = Problem(load_network("toy"), load_hardware("toy").with_weights("static"))
    times = measure_walk(problem, 2, 1, threading.Event())
    assert times is not None and times.timed == 0 and times.equal


def test_methods_are_compared_with_the_best_of_all_plans(tmp_path: Path) -> None:
    arguments = ["bench", "exhaustive", "-n", "3", "--methods", "sequential,cpsat", "-o", str(tmp_path)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0
    cases = json.loads((tmp_path / "exhaustive.json").read_text())["cases"]
    assert len(cases) == 6
    for case in cases:
        result = case["result"]
        assert result["value"] is None or result["value"] >= result["optimum"]
        if case["what"]["method"] == "cpsat":
            assert result["value"] == result["bound"] == result["optimum"]
    assert "| cpsat | makespan | shared | 3 | 100.0% |" in (tmp_path / "exhaustive.md").read_text()
