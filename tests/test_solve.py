"""The front door: what a run keeps and proves, going on from a plan, and limits that ignore the clock."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from generators import check_by_simulation

from hw.hardware import Hardware
from hw.library import load_hardware
from models.library import load_network
from models.network import Network
from overlapim_files import InputError, dump
from solver import stop as stop_module
from solver.bound.quick import quick_bound
from solver.mapspace.pools import Pools
from solver.methods import METHODS
from solver.params import Params
from solver.run import Improvement, Observer, Run
from solver.schedule.plan import Plan
from solver.search.sequential import sequential
from solver.solution import read_plan, recompute
from solver.solve import Result, solve
from solver.stop import STEPS_PER_SECOND, Stop
from solver.timing.problem import Problem

TOY = load_network("toy")
STATIC = load_hardware("toy").with_weights("static")


def tiny() -> tuple[Network, Hardware]:
    """Two pointwise layers on two banks: few enough plans to try them all."""

    def layer(name: str, reads: str) -> dict[str, Any]:
        axes = {axis: {"terms": {dim: 1}} for axis, dim in (("ch", "C"), ("h", "P"))}
        return {"name": name, "dims": {"K": 2, "C": 2, "P": 2}, "operands": [{"from": reads, "axes": axes}]}

    network = {
        "format": "overlapim/network/1",
        "name": "tiny",
        "inputs": [{"name": "image", "shape": [1, 2, 2, 1]}],
        "layers": [layer("first", "image"), layer("second", "first")],
    }
    small = {"channels": 1, "banks_per_channel": 2, "columns_per_bank": 2, "weights": "static"}
    return Network.model_validate(network), load_hardware("toy").model_copy(update=small)


class Log(Observer):
    """Remembers what it hears."""

    def __init__(self) -> None:
        self.improvements: list[Improvement] = []
        self.texts: list[str] = []

    def improved(self, improvement: Improvement) -> None:
        self.improvements.append(improvement)

    def doing(self, text: str) -> None:
        self.texts.append(text)


@pytest.fixture(scope="module")
def plans() -> tuple[Plan, Plan]:
    """The plan without overlap and a better one."""
    result = solve(TOY, STATIC, method="layerwise")
    return sequential(Pools(Problem(TOY, STATIC)), Stop()), result.plan


@pytest.fixture
def run() -> Run:
    problem = Problem(TOY, STATIC)
    return Run(problem, Pools(problem), Params(), Stop(), 0, 1, Log(), 0)


@pytest.fixture
def method(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Run], None]], Result]:
    """Solve with a method made for the test."""

    def solved(function: Callable[[Run], None]) -> Result:
        monkeypatch.setitem(METHODS, "made up", function)
        return solve(TOY, STATIC, method="made up")

    return solved


# What a run keeps


def test_the_trace_grows_when_the_latency_falls_or_the_bound_rises(
    run: Run, plans: tuple[Plan, Plan]
) -> None:
    slow, fast = plans
    run.bounded(5)
    assert run.trace == []
    run.found(slow)
    for bound in (7, 6, 7):
        run.bounded(bound)
    run.found(fast)
    run.found(slow)
    expected = [(slow.latency, 5), (slow.latency, 7), (fast.latency, 7)]
    assert [(entry.value, entry.bound) for entry in run.trace] == expected
    assert isinstance(run.observer, Log) and run.observer.improvements == run.trace
    assert run.best is fast and not run.stop.reached()


def test_a_bound_that_meets_the_latency_ends_the_run(run: Run, plans: tuple[Plan, Plan]) -> None:
    run.bounded(plans[1].latency)
    run.found(plans[0])
    assert not run.stop.reached()
    run.found(plans[1])
    assert run.stop.reached()


def test_a_wrong_bound_is_a_bug(run: Run, plans: tuple[Plan, Plan]) -> None:
    run.found(plans[0])
    with pytest.raises(RuntimeError, match="bound"):
        run.bounded(plans[0].latency + 1)


def test_a_plan_below_the_bound_is_a_bug(run: Run, plans: tuple[Plan, Plan]) -> None:
    run.found(plans[0])
    run.bounded(plans[0].latency - 1)
    with pytest.raises(RuntimeError, match="bound"):
        run.found(plans[1])


# What a result says


def test_nothing_proved_but_what_is_known_at_once(method: Callable[..., Result]) -> None:
    result = method(lambda run: run.found(run.sequential))
    assert (result.candidate_bound, result.candidate_gap, result.candidates) == (None,) * 3
    assert result.bound == result.solution.bound == quick_bound(Problem(TOY, STATIC)) > 0
    assert result.gap > 0 and result.status == "feasible"


def test_both_bounds(method: Callable[..., Result]) -> None:
    def proving(run: Run) -> None:
        start = run.sequential
        run.found(start)
        run.bounded(start.latency // 2)
        run.candidates_bounded(start.latency - 5, 70)
        run.candidates_bounded(start.latency * 3 // 4, 90)

    result = method(proving)
    assert (result.bound, result.solution.bound) == (result.latency // 2,) * 2
    assert (result.candidate_bound, result.candidates) == (result.latency * 3 // 4, 90)
    assert result.gap == pytest.approx(0.5, abs=1e-3) and result.candidate_gap == pytest.approx(
        0.25, abs=1e-3
    )
    assert (result.solution.bound_scope, result.status) == ("mapspace", "feasible")


@pytest.mark.parametrize("excess", [-1, 0, 1])
def test_a_bound_over_candidates_alone_proves_nothing_optimal(
    excess: int, method: Callable[..., Result]
) -> None:
    def proving(run: Run) -> None:
        run.found(run.sequential)
        run.candidates_bounded(run.sequential.latency + excess, 12)

    result = method(proving)
    assert result.candidate_bound == result.latency + excess
    assert result.bound == result.solution.bound < result.latency and result.status == "feasible"


@pytest.mark.parametrize("workers", [1, 2])
def test_optimal_stops_early(workers: int, plans: tuple[Plan, Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    def proving(run: Run) -> None:
        run.bounded(plans[1].latency)
        METHODS["descent"](run)

    monkeypatch.setattr("solver.methods.layerwise", lambda *_: plans[1])
    monkeypatch.setitem(METHODS, "made up", proving)
    result = solve(TOY, STATIC, method="made up", stop=Stop(), workers=workers)
    assert (result.bound, result.status, result.gap) == (result.latency, "optimal", 0.0)
    assert result.steps <= 1 + workers


def test_a_file_cannot_claim_to_be_optimal_without_a_bound() -> None:
    solution = solve(TOY, STATIC, method="sequential").solution.model_copy(update={"status": "optimal"})
    assert "optimal" in recompute(solution).differences[0]
    known = {"bound": solution.latency, "bound_scope": "mapspace"}
    assert recompute(solution.model_copy(update=known)).differences == []


def test_methods_say_what_they_do() -> None:
    log = Log()
    solve(TOY, STATIC, method="descent", stop=Stop(iterations=5), observer=log)
    assert len(log.texts) >= 3


# Exhaustive search


def test_exhaustive_search_proves_the_optimum() -> None:
    network, chip = tiny()
    result = solve(network, chip, method="exhaustive", stop=Stop())
    check_by_simulation(result)
    assert (result.bound, result.solution.bound_scope, result.status) == (
        result.latency,
        "mapspace",
        "optimal",
    )
    for other in ("sequential", "layerwise", "descent"):
        assert solve(network, chip, method=other, stop=Stop(iterations=200)).latency >= result.latency


def test_exhaustive_search_refuses_what_is_too_large() -> None:
    with pytest.raises(InputError, match=r"\d+ (mappings|combinations)"):
        solve(load_network("resnet18"), load_hardware("hbm2-bitsimd"), method="exhaustive", stop=Stop())


def test_exhaustive_search_cut_short_has_an_answer_and_proves_nothing() -> None:
    network, chip = tiny()
    stop = Stop()
    stop.interrupt.set()  # type: ignore[attr-defined]
    result = solve(network, chip, method="exhaustive", stop=stop)
    assert (result.latency, result.status) == (result.sequential, "feasible")
    assert result.bound == quick_bound(Problem(network, chip))


# Going on from a plan


@pytest.mark.parametrize("weights", ["static", "shared"])
@pytest.mark.parametrize("method_name", ["sequential", "layerwise", "descent"])
def test_never_worse_than_the_warm_start(method_name: str, weights: str) -> None:
    chip = load_hardware("toy").with_weights(weights)  # type: ignore[arg-type]
    known = solve(TOY, chip, method="descent", stop=Stop(iterations=2000)).plan
    result = solve(TOY, chip, method=method_name, stop=Stop(iterations=20), warm_start=known)
    assert result.latency <= known.latency
    assert result.trace[0].value == known.latency
    assert result.sequential == solve(TOY, chip, method="sequential").latency


def test_a_bad_warm_start_does_no_harm(plans: tuple[Plan, Plan]) -> None:
    assert solve(TOY, STATIC, method="layerwise", warm_start=plans[0]).latency == plans[1].latency


CHANGES: dict[str, tuple[Callable[[], tuple[Network, Hardware]], str]] = {
    "network": (lambda: (load_network("resnet18"), STATIC), "network: name is toy, not resnet18"),
    "dims": (
        lambda: (Network.model_validate(_widened(TOY.model_dump(by_alias=True))), STATIC),
        "network: layers[3].dims.K is 10, not 11",
    ),
    "layers": (
        lambda: (TOY.model_copy(update={"layers": TOY.layers[:3]}), STATIC),
        "network: layers has 4 entries, not 3",
    ),
    "chip": (lambda: (TOY, STATIC.model_copy(update={"name": "other"})), "chip: name is toy, not other"),
    "weights": (lambda: (TOY, STATIC.with_weights("shared")), "chip: weights is static, not shared"),
}


def _widened(tree: dict[str, Any]) -> dict[str, Any]:
    tree["layers"][3]["dims"]["K"] += 1
    return tree


@pytest.mark.parametrize("change", CHANGES)
def test_a_plan_of_something_else_is_refused(change: str, tmp_path: Path) -> None:
    file = tmp_path / "solution.yaml"
    file.write_text(dump(solve(TOY, STATIC, method="sequential").solution))
    other, told = CHANGES[change]
    with pytest.raises(InputError) as error:
        read_plan(file, *other())
    assert told in str(error.value) and str(file) in str(error.value)
    assert read_plan(file, TOY, STATIC).latency == solve(TOY, STATIC, method="sequential").latency


def test_a_bound_in_a_file_is_not_believed(tmp_path: Path) -> None:
    solution = solve(TOY, STATIC, method="sequential").solution
    forged = {"bound": solution.latency, "status": "optimal"}
    file = tmp_path / "solution.yaml"
    file.write_text(dump(solution.model_copy(update=forged)))
    result = solve(TOY, STATIC, method="layerwise", warm_start=read_plan(file, TOY, STATIC))
    assert result.bound < result.latency < solution.latency


# Nominal seconds


def test_nominal_seconds_count_work() -> None:
    stop = Stop.deterministic(2.0, started=-1e9)
    assert stop.remaining() == 2.0
    stop.worked(1.0)
    assert [stop.step() for _ in range(STEPS_PER_SECOND)] == [False] * (STEPS_PER_SECOND - 1) + [True]
    assert stop.wall() > 1e9


@pytest.mark.parametrize("weights", ["static", "shared"])
def test_the_clock_decides_nothing(weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chip = load_hardware("toy").with_weights(weights)  # type: ignore[arg-type]
    first = solve(TOY, chip, method="descent", stop=Stop.deterministic(1.0), seed=5)
    ticks = itertools.count(0.0, 1000.0)
    monkeypatch.setattr(stop_module.time, "monotonic", lambda: next(ticks))
    again = solve(TOY, chip, method="descent", stop=Stop.deterministic(1.0), seed=5)
    assert again.steps == first.steps == STEPS_PER_SECOND
    assert dump(again.solution) == dump(first.solution)


def test_a_deterministic_search_has_one_worker() -> None:
    with pytest.raises(InputError, match="one worker, not 3"):
        solve(TOY, STATIC, stop=Stop.deterministic(1.0), workers=3)
