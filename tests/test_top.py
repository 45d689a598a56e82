"""The K best solutions: which of those that a search comes upon, and what is written and said of them."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest

from cli.main import run
from hw.library import load_hardware
from models.library import load_network
from overlapim_files import load
from solver.mapspace.pools import Pools
from solver.schedule.goal import Goal
from solver.schedule.plan import Plan, overlap_static
from solver.schedule.shortlist import Shortlist
from solver.solution import LayerRecord, Solution, read_verified
from solver.timing.problem import Problem

PROBLEM = Problem(load_network("toy"), load_hardware("toy").with_weights("static"))


def some_plans(count: int) -> list[Plan]:
    """Return plans with the mappings of small pools, so that the same come up again."""
    pools, rng = Pools(PROBLEM), random.Random(1)
    own = [pools.pool(i, (1, 1))[:2] for i in range(len(PROBLEM.layers))]
    plans = [overlap_static(PROBLEM, [rng.choice(pool) for pool in own]) for _ in range(count)]
    return [plan for plan in plans if plan is not None]


def mappings_of(plan: Plan) -> tuple[object, ...]:
    return tuple(profile.mapping for profile in plan.profiles)


@pytest.mark.parametrize("most", [1, 2, 5, 100])
def test_the_best_that_differ_are_kept_in_order(most: int) -> None:
    plans, shortlist = some_plans(40), Shortlist(most, Goal(PROBLEM))
    for plan in plans:
        shortlist.add(plan)
    best = min(plans, key=lambda plan: plan.latency)
    latencies = sorted({mappings_of(plan): plan.latency for plan in plans}.values())
    kept = shortlist.beside(best)
    assert [best.latency, *(plan.latency for plan in kept)] == latencies[:most]
    assert len({mappings_of(plan) for plan in (best, *kept)}) == len(kept) + 1
    assert len(latencies) < len(plans)


def test_the_next_best_are_written_beside_the_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    chip = ["toy", "--hw", "toy", "--weights", "shared"]
    more = ["-m", "descent", "-D", "-t", "1", "--top", "3", "-o", str(out)]
    assert run(["solve", *chip, *more], time.monotonic()) == 0
    said = capsys.readouterr()
    names = ["solution.yaml", "solution.2.yaml", "solution.3.yaml"]
    assert all(str(out / name) in said.err for name in names)
    found = [read_verified(out / name)[0] for name in names]
    assert [x.latency for x in found] == sorted(x.latency for x in found)
    record = json.loads((out / "result.json").read_text())["runners_up"]
    for own, line in zip(found[1:], record, strict=True):
        assert own.latency == line["latency"]
        assert line["differs"] and line["differs"] == differing(own, found[0])
        assert f"{own.latency:,}" in said.out


def differing(own: Solution, best: Solution) -> list[str]:
    def said(record: LayerRecord) -> object:
        return record.loops, record.load

    return [name for name in own.layers if said(own.layers[name]) != said(best.layers[name])]


def test_one_is_enough_unless_more_are_wanted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["solve", "toy", "--hw", "toy", "-m", "sequential", "-o", str(tmp_path)]
    assert run(few, time.monotonic()) == 0
    assert sorted(x.name for x in tmp_path.iterdir()) == ["result.json", "solution.yaml"]
    assert json.loads((tmp_path / "result.json").read_text())["runners_up"] == []
    assert "other mappings" not in capsys.readouterr().out
    assert load(tmp_path / "solution.yaml", Solution).latency
    assert run([*few, "--top", "2"], time.monotonic()) == 0
    assert "the search came upon 1 solution, not 2" in capsys.readouterr().err
    assert run([*few, "--top", "0"], time.monotonic()) == 2
