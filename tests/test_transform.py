"""Blocks in the order in which they become ready: optimal for one layer, never worse for a network."""

from __future__ import annotations

import itertools
import math
import random
import re
import time
from pathlib import Path

import numpy as np
import pytest
from generators import Instance, draw_instance

from cli.main import run
from hw.library import load_hardware
from models.library import load_network
from models.network import OUTPUT_DIMS, Network
from overlapim_files import dump
from solver.mapspace.pools import Pools
from solver.reference import simulate
from solver.schedule.plan import Plan, overlap_shared, overlap_static
from solver.schedule.transform import downstream, improve, movable, ready_order, restore, transform
from solver.search.shared import SharedMoves
from solver.search.static import StaticMoves
from solver.solution import from_plan, read_verified, verify
from solver.solve import solve
from solver.stop import Stop
from solver.timing.mapping import Loop, Mapping
from solver.timing.problem import Problem
from solver.timing.profile import Profile
from solver.timing.timeline import LayerTimes, evaluate, next_layer

EXAMPLE = Path(__file__).parent.parent / "docs" / "examples" / "tokens.yaml"

FEW = 5
"""Blocks up to which all permutations are tried."""


def drawn(seed: int, weights: str = "static") -> tuple[Problem, list[Profile], Instance]:
    instance = draw_instance(random.Random(seed))
    problem = Problem(instance.network, instance.hardware.with_weights(weights))  # type: ignore[arg-type]
    return problem, [problem.profile(i, m) for i, m in enumerate(instance.mappings)], instance


def whole(profile: Profile) -> bool:
    """Whether no output coordinate is idle, so that all blocks have the same to finish."""
    mapping, layer = profile.mapping, profile.layer
    return all(
        math.prod(loop.bound for loop in mapping.loops if loop.dim == dim) == layer.bound(dim)
        for dim in OUTPUT_DIMS
    )


def last_start(times: LayerTimes) -> int:
    """Return when the last block starts that is not idle."""
    idle, starts = times.profile.idle_blocks(), times.block_starts()
    order = np.arange(len(starts)) if times.order is None else times.order
    return int(starts.max() if idle is None else starts[~idle[order]].max())


def test_no_order_of_one_layer_is_better_than_the_ready_one() -> None:
    assert sum(map(_tried_in_every_order, range(100))) >= 30


def _tried_in_every_order(seed: int) -> int:
    """Compare the ready order with every other; return for how many layers of an instance."""
    tried = 0
    problem, profiles, instance = drawn(seed)
    orders = [None if order is None else np.array(order) for order in instance.orders]
    timeline = evaluate(problem, profiles, instance.releases, orders)
    done = dict(enumerate(timeline.layers))
    for i, profile in enumerate(profiles):
        if not movable(profile) or profile.blocks > FEW:
            continue
        release = instance.releases[i]
        order = ready_order(problem, i, profile, release, done)
        ready = next_layer(problem, i, profile, release, done, order)
        for other in itertools.permutations(range(profile.blocks)):
            times = next_layer(problem, i, profile, release, done, np.array(other))
            assert last_start(ready) <= last_start(times)
            if whole(profile):
                assert ready.end <= times.end
        tried += 1
    return tried


def plans(weights: str) -> list[tuple[Problem, Plan]]:
    found = []
    for seed in range(300):
        problem, profiles, _ = drawn(seed, weights)
        rng = random.Random(seed)
        if weights == "static":
            plan = overlap_static(problem, profiles)
        else:
            layers = problem.network.topological
            punctual = {i for i in layers if rng.random() < 0.5}
            plan = overlap_shared(problem, profiles, layers, punctual)
        if plan is not None and any(map(movable, profiles)):
            found.append((problem, plan))
    return found


@pytest.mark.parametrize("weights", ["static", "shared"])
def test_improved_plans_are_valid_and_no_later(weights: str) -> None:
    earlier = 0
    for problem, plan in plans(weights):
        better = improve(problem, plan, Stop())
        transformed = transform(problem, plan)
        assert better.latency <= min(plan.latency, transformed.latency)
        assert better is plan or better.latency < plan.latency
        earlier += better is not plan
        for result in (better, transformed):
            solution = from_plan(problem, result, "transform", 0)
            verify(solution)
            orders = [record.order for record in solution.layers.values()]
            simulated = simulate(
                problem.network, problem.hardware, solution.mappings, result.releases, orders
            )
            assert [x.start for x in simulated] == [x.start for x in result.timeline.layers]
            assert [x.end for x in simulated] == [x.end for x in result.timeline.layers]
    assert earlier >= 5


@pytest.fixture(scope="module")
def tokens() -> tuple[Problem, Plan]:
    """Two branches that end at different times, the late one first in what reads both."""
    chip = load_hardware("toy").with_weights("static")
    result = solve(load_network(str(EXAMPLE)), chip, method="layerwise")
    problem = Problem(result.solution.network, chip)
    profiles = result.plan.profiles
    plan = overlap_static(problem, profiles)
    assert plan is not None
    return problem, plan


def test_late_branches_are_read_last(tokens: tuple[Problem, Plan]) -> None:
    problem, plan = tokens
    better = transform(problem, plan)
    assert better.latency < 0.9 * plan.latency
    project = problem.network.index["project"]
    order = better.orders[project]
    assert order is not None
    places = np.argsort(order)
    words = len(order) // 2
    assert places[-1] < places[words - 1] == len(order) - 1
    assert improve(problem, plan, Stop()).latency == better.latency
    assert restore(problem, better, range(len(problem.layers))).latency == plan.latency


def test_one_order_alone_may_be_no_gain(tokens: tuple[Problem, Plan]) -> None:
    problem, plan = tokens
    project, head = (problem.network.index[name] for name in ("project", "head"))
    assert transform(problem, plan, {project}).latency >= plan.latency
    assert transform(problem, plan, {project, head}).latency < plan.latency
    assert downstream(problem, project) == {project, head}


def test_improvement_stops_when_told(tokens: tuple[Problem, Plan]) -> None:
    problem, plan = tokens
    stop = Stop(iterations=0)
    assert improve(problem, plan, stop).latency <= plan.latency
    assert stop.steps == 1


def test_descent_finds_orders(tokens: tuple[Problem, Plan]) -> None:
    problem, plan = tokens
    result = solve(
        problem.network, problem.hardware, method="descent", stop=Stop(iterations=300), warm_start=plan
    )
    assert result.latency <= improve(problem, plan, Stop()).latency
    assert any(order is not None for order in result.plan.orders)


def test_orders_last_only_as_long_as_the_loops(tokens: tuple[Problem, Plan]) -> None:
    problem, plan = tokens
    better = transform(problem, plan)
    moves = StaticMoves(Pools(problem), random.Random(0))
    state, kept, dropped = moves.state(better), 0, 0
    for _ in range(300):
        changed = moves.change(state, math.inf)
        if changed is None:
            continue
        for old, new in zip(state.plan.timeline.layers, changed.plan.timeline.layers, strict=True):
            if old.order is not None and new.profile is not old.profile:
                kept += new.order is old.order
                dropped += new.order is None
        verify(from_plan(problem, changed.plan, "descent", 0))
        state = changed if any(o is not None for o in changed.plan.orders) else moves.state(better)
    assert kept and dropped


def test_shared_moves_take_orders_anew() -> None:
    ordered = 0
    for problem, plan in plans("shared")[:40]:
        transformed = transform(problem, plan)
        if all(order is None for order in transformed.orders):
            continue
        moves = SharedMoves(Pools(problem), random.Random(0))
        state = moves.state(transformed)
        for _ in range(20):
            state = moves.change(state, math.inf) or state
            verify(from_plan(problem, state.plan, "descent", 0))
            found = {i for i, order in enumerate(state.plan.orders) if order is not None}
            assert found <= state.eager
            ordered += len(found)
    assert ordered >= 10


def test_queues_that_run_against_the_reads_are_left_alone() -> None:
    """`late` has the bank of `last` after it, which depends on it, but reads only what is there sooner."""

    def layer(name: str, *reads: tuple[str, int], channels: int) -> dict[str, object]:
        axes = {"n": {"terms": {"N": 1}}, "h": {}, "w": {}}
        operands = [
            {"from": x, "axes": axes | {"ch": {"terms": {"G": 1}, "offset": -first}}, "concat": "c"}
            for x, first in reads
        ]
        return {"name": name, "dims": {"G": channels}, "operands": operands}

    layers = [
        layer("soon", ("image", 0), channels=2),
        layer("late", ("image", 0), channels=2),
        layer("both", ("soon", 0), ("late", 2), channels=4),
        layer("last", ("both", 0), channels=2),
    ]
    network = Network.model_validate(
        {
            "format": "overlapim/network/1",
            "name": "queues",
            "inputs": [{"name": "image", "shape": [1, 2, 1, 1]}],
            "layers": layers,
        }
    )
    problem = Problem(network, load_hardware("toy").with_weights("shared"))
    profiles = [
        problem.profile(i, Mapping((Loop("G", layer.bound("G"), "temporal"),)))
        for i, layer in enumerate(problem.layers)
    ]
    timeline = evaluate(problem, profiles, [0, 10_000, 0, 0])
    plan = Plan(timeline, tuple(np.array([bank]) for bank in (1, 0, 2, 0)))
    verify(from_plan(problem, plan, "test", 0))
    assert transform(problem, plan) is plan
    assert improve(problem, plan, Stop()) is plan


@pytest.fixture(scope="module")
def file(tokens: tuple[Problem, Plan], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A solution file that orders can improve."""
    path = tmp_path_factory.mktemp("transform") / "solution.yaml"
    path.write_text(dump(from_plan(*tokens, "layerwise", 7)))
    return path


def call(*arguments: str) -> int:
    return run(arguments, time.monotonic())


def test_command(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, _ = read_verified(file)
    assert call("transform", str(file), "--out", str(tmp_path)) == 0
    after, _ = read_verified(tmp_path / "solution.yaml")
    assert after.latency < before.latency
    assert (after.method, after.seed, after.network) == ("transform", 7, before.network)
    out = capsys.readouterr().out
    assert f"latency     {after.latency:,} cycles" in out
    assert f"before      {before.latency:,} cycles; now it is" in out
    assert out.splitlines()[-1].split() == ["reordered", "project,", "head"]
    assert call("simulate", str(tmp_path / "solution.yaml")) == 0


def test_command_has_nothing_more_to_do(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("transform", str(file), "-o", str(tmp_path / "once")) == 0
    capsys.readouterr()
    assert call("transform", str(tmp_path / "once" / "solution.yaml"), "-o", str(tmp_path / "twice")) == 0
    assert "before      the same" in capsys.readouterr().out
    once, twice = (tmp_path / name / "solution.yaml" for name in ("once", "twice"))
    assert once.read_text() == twice.read_text()


def test_command_refuses_what_is_not_so(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forged = tmp_path / "forged.yaml"
    forged.write_text(re.sub(r"latency: \d+", "latency: 1", file.read_text(), count=1))
    assert call("transform", str(forged), "-o", str(tmp_path / "out")) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {forged}: latency is ") and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
