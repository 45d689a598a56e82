"""Objectives beside the latency: exhaustive search, random plans and other ways to compute the same."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from generators import draw_instance
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.hardware import Energy, Hardware
from hw.library import load_hardware
from models.library import load_network
from models.network import Network
from overlapim_files import InputError, dump
from solver.bench.small import draw_energy, draw_small
from solver.bound.energy import least_energy
from solver.bound.quick import quick_bound, quick_floor
from solver.cpsat.method import whole_mapspace
from solver.front import front
from solver.maxplus.response import response
from solver.params import MoveParams
from solver.schedule.goal import Goal
from solver.schedule.pace import apart, best_paced, longest_held, paced, tightest
from solver.schedule.plan import Plan
from solver.search.exhaustive import exhaustive
from solver.search.state import decisive_layers
from solver.search.streaming import best_releases, released
from solver.solution import read_verified
from solver.solve import Result, solve
from solver.stop import Stop
from solver.timing.energy import energy_parts
from solver.timing.objective import Measure, Objective
from solver.timing.problem import Problem
from solver.timing.timeline import Timeline, evaluate

TOY, CHIP = load_network("toy"), load_hardware("toy")
STATIC = CHIP.with_weights("static")


def with_energy(chip: Hardware, rng: random.Random) -> Hardware:
    return chip.model_copy(update={"energy": draw_energy(rng)})


def small(seed: int) -> tuple[Network, Hardware]:
    """Draw a network and a chip with energies of which all plans can be tried."""
    rng = random.Random(seed)
    network, chip = draw_small(rng)
    return network, with_energy(chip, rng)


def found(objective: Objective, chip: Hardware = STATIC, seconds: float = 3.0, **named: Any) -> Result:
    return solve(TOY, chip, objective=objective, stop=Stop.deterministic(seconds), **named)


# The optimum

OBJECTIVES = (
    Objective("makespan", 3),
    Objective("makespan", 10),
    Objective("energy"),
    Objective("energy", 4),
    Objective("edp"),
)


@pytest.mark.parametrize("seed", [2, 5, 7, 8, 9, 11, 13])
@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda own: f"{own.measure}{own.inferences}")
def test_the_solver_proves_what_trying_all_plans_finds(seed: int, objective: Objective) -> None:
    network, chip = small(seed)
    if objective.streams and chip.weights != "static":
        chip = chip.with_weights("static")
    if chip.weights == "static" and chip.banks < len(network.layers):
        pytest.skip("fewer banks than layers")
    best = solve(network, chip, method="exhaustive", objective=objective, stop=Stop())
    proved = solve(network, chip, objective=objective, stop=Stop.deterministic(20.0))
    assert best.status == proved.status == "optimal"
    assert proved.value == pytest.approx(best.value, rel=1e-8)


@pytest.mark.parametrize("objective", [Objective("energy"), Objective("edp"), Objective(inferences=3)])
def test_mappings_that_cannot_be_part_of_a_better_plan_are_left_out(objective: Objective) -> None:
    """All of network 58 that matters is given to CP-SAT: without energies and ends counted it is too much."""
    network, chip = small(58)
    problem = Problem(network, chip, objective)
    best = exhaustive(problem, 10**9, Stop()).plan
    assert best is not None
    candidates = whole_mapspace(problem, best, Stop(), 10**6)
    everything = whole_mapspace(Problem(network, chip, objective), slowest(problem), Stop(), 10**6)
    assert candidates is not None and everything is not None
    kept = sum(map(len, candidates))
    assert kept < sum(map(len, everything))
    result = solve(network, chip, objective=objective, stop=Stop.deterministic(10.0))
    assert result.status == "optimal"
    assert result.value == pytest.approx(Goal(problem).value(best), rel=1e-8)


def slowest(problem: Problem) -> Plan:
    """Return a plan that is so late that nothing is left out for being worse."""
    plan = solve(problem.network, problem.hardware, method="sequential", stop=Stop()).plan
    last = plan.timeline.layers[-1]
    late = last.postponed(last.release + 10**6)
    return Plan(Timeline((*plan.timeline.layers[:-1], late)), plan.banks)


@pytest.mark.parametrize("seed", [1, 2, 4])
def test_a_stream_on_shared_banks_is_solved_to_the_end(seed: int) -> None:
    network, chip = small(seed)
    result = solve(network, chip, objective=Objective(inferences=3), stop=Stop.deterministic(30.0))
    assert chip.weights != "static"
    assert result.status == "optimal"
    alone = solve(network, chip, stop=Stop.deterministic(10.0)).solution
    assert result.value <= alone.latency + 2 * (alone.interval or 0)


def test_exhaustive_search_says_what_it_does_not_plan() -> None:
    with pytest.raises(InputError, match="does not plan a stream of inferences with shared weights"):
        found(Objective(inferences=2), CHIP, method="exhaustive")


# Streams


@given(st.integers(0, 10**6), st.integers(0, 40))
@settings(max_examples=60)
def test_the_pace_of_a_plan_is_that_of_its_responses(seed: int, more: int) -> None:
    instance = draw_instance(random.Random(seed))
    problem = Problem(instance.network, instance.hardware.with_weights("static"))
    profiles = [problem.profile(i, mapping) for i, mapping in enumerate(instance.mappings)]
    longest = tightest(profiles) + more
    own = paced(problem, profiles, [None] * len(profiles), longest)
    twin = released(problem, [response(problem, i, p) for i, p in enumerate(profiles)], longest)
    assert longest_held(own) <= longest
    assert own.latency == twin.latency
    assert [layer.end for layer in own.layers] == sorted_ends(problem, own.layers, twin.releases)


def sorted_ends(problem: Problem, layers: Any, releases: tuple[int, ...]) -> list[int]:
    """Return the ends of layers that are released so."""
    timeline = evaluate(problem, [layer.profile for layer in layers], releases)
    return [layer.end for layer in timeline.layers]


@given(st.integers(0, 10**6))
@settings(max_examples=40)
def test_the_best_pace_is_the_best_of_all(seed: int) -> None:
    instance = draw_instance(random.Random(seed))
    objective = Objective(inferences=2 + seed % 5)
    problem = Problem(instance.network, instance.hardware.with_weights("static"), objective)
    profiles = [problem.profile(i, mapping) for i, mapping in enumerate(instance.mappings)]
    natural = evaluate(problem, profiles, [0] * len(profiles))
    orders = [None] * len(profiles)
    low, high = tightest(profiles), longest_held(natural)
    tried = [paced(problem, profiles, orders, t) for t in range(low, max(low, min(high, low + 3000)) + 1)]
    least = min(own.latency + (objective.inferences - 1) * longest_held(own) for own in tried)
    best = best_paced(problem, Plan(natural, ())).timeline
    assert best.latency + (objective.inferences - 1) * longest_held(best) <= least
    twin = best_releases(problem, [response(problem, i, p) for i, p in enumerate(profiles)])
    assert twin is not None
    assert twin.latency + (objective.inferences - 1) * twin.held <= least


def test_a_stream_is_planned_for_its_interval() -> None:
    alone, many = found(Objective()), found(Objective(inferences=1000))
    assert many.solution.interval < alone.solution.interval
    assert many.value == many.latency + 999 * many.solution.interval
    assert many.value < alone.latency + 999 * alone.solution.interval
    assert apart(many.plan)


# Limits


def test_the_limit_on_the_interval_is_kept_at_the_least_latency() -> None:
    free, tight = found(Objective()), found(Objective(inferences=1000))
    most = (free.solution.interval + tight.solution.interval) // 2
    within = found(Objective(interval_at_most=most))
    assert within.solution.interval <= most < free.solution.interval
    assert free.latency <= within.latency


def test_the_limit_on_the_energy_is_kept() -> None:
    least = found(Objective("energy"), CHIP)
    within = found(Objective(energy_at_most=1.001 * least.value), CHIP)
    assert within.solution.energy_pj <= 1.001 * least.value


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ({"latency_at_most": 10}, "no plan has at most 10 cycles of latency: none has less than 3,487"),
        ({"interval_at_most": 10}, "no plan has at most 10 cycles of interval: none has less than"),
        ({"energy_at_most": 10.0}, "no plan has at most 10 pJ of energy: none has less than"),
        (
            {"latency_at_most": 3600},
            "no plan with at most 3,600 cycles of latency: the nearest",
        ),
    ],
)
def test_what_no_plan_keeps_is_refused(limits: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        found(Objective(**limits), seconds=1.0)


# Bounds within limits


def bounded_by(rng: random.Random, fastest: Result, static: bool) -> Objective:
    """Draw an objective with limits about what the fastest plan comes to, on either side of it."""

    def about(figure: float) -> float:
        return figure * rng.choice((0.8, 0.97, 1.0, 1.1, 1.4))

    solution, kinds = fastest.solution, rng.choice(("l", "i", "e", "li", "le", "ie"))
    measure: Measure = rng.choice(("makespan", "energy", "edp"))
    return Objective(
        measure,
        rng.choice((1, 3)) if static else 1,
        round(about(solution.latency)) if "l" in kinds else None,
        max(1, round(about(solution.interval or 1))) if "i" in kinds and static else None,
        about(solution.energy_pj or 1.0) if "e" in kinds else None,
    )


@pytest.mark.parametrize("seed", [1, 2, 3, 5, 7])
def test_bounds_within_limits_are_those_of_trying_all_plans(seed: int) -> None:
    network, chip = small(seed)
    fastest = solve(network, chip, stop=Stop.deterministic(5.0))
    rng = random.Random(seed)
    for _ in range(4):
        objective = bounded_by(rng, fastest, chip.weights == "static")
        if not objective.limited:
            continue
        best = exhaustive(Problem(network, chip, objective), 10**9, Stop())
        try:
            result = solve(network, chip, objective=objective, stop=Stop.deterministic(10.0))
        except InputError as error:
            assert best.plan is None, objective
            assert "which is proved" in str(error)
            continue
        assert best.plan is not None and result.bound_within is not None
        value = Goal(Problem(network, chip, objective)).value(best.plan)
        assert result.bound <= result.bound_within <= value * (1 + 1e-9)
        assert result.ending == "optimal"
        assert result.gap_within == 0
        assert result.value == pytest.approx(value, rel=1e-8)


def test_what_is_proved_within_limits_is_shown_and_not_stated(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("solve", "toy", "--hw", "toy", "--weights", "static", "-m", "layerwise", "-q")
    assert run(*options, "--latency-at-most", "9000", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bound_within_limits"] == told["bound"]
    assert told["gap_within_limits"] == told["gap"]
    assert run(*options, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bound_within_limits"] is told["gap_within_limits"] is None


def test_energies_need_figures() -> None:
    chip = STATIC.model_copy(update={"energy": None})
    with pytest.raises(InputError, match="chip 'toy' has no section 'energy'"):
        found(Objective("energy"), chip)


# Bounds


@pytest.mark.parametrize("seed", range(60))
def test_no_mapping_takes_less_energy_than_the_bound(seed: int) -> None:
    rng = random.Random(seed)
    instance = draw_instance(rng)
    chip = with_energy(instance.hardware, rng)
    problem = Problem(instance.network, chip)
    for i, (layer, mapping) in enumerate(zip(instance.network.layers, instance.mappings, strict=True)):
        assert least_energy(layer, chip) <= energy_parts(problem.profile(i, mapping), chip).total


def test_multiplying_everywhere_is_all_of_a_least_energy() -> None:
    layer = TOY.layers[0]
    chip = STATIC.model_copy(update={"energy": Energy(mac=2.0)})
    assert least_energy(layer, chip) == pytest.approx(2.0 * layer.macs)


@pytest.mark.parametrize("chip", [STATIC, CHIP], ids=["static", "shared"])
@pytest.mark.parametrize("objective", [*OBJECTIVES, Objective("edp", 5)], ids=str)
def test_first_bounds_are_below_what_is_found(chip: Hardware, objective: Objective) -> None:
    problem = Problem(TOY, chip, objective)
    result = found(objective, chip, seconds=1.0, method="descent")
    first = quick_floor(problem).value(objective, quick_bound(problem))
    assert 0 < first <= result.bound <= result.value
    assert quick_floor(problem).interval <= result.plan.interval


def test_the_plan_of_the_least_energy_takes_less_than_the_fastest() -> None:
    energies = {own: found(Objective(own)).solution.energy_pj for own in ("makespan", "energy")}
    assert energies["energy"] <= energies["makespan"]


# Files


def test_a_file_says_what_was_minimised(tmp_path: Path) -> None:
    result = found(Objective("edp", 5))
    file = tmp_path / "solution.yaml"
    file.write_text(dump(result.solution))
    solution, plan = read_verified(file)
    assert (solution.objective, solution.inferences) == ("edp", 5)
    assert Goal(solution.problem).value(plan) == pytest.approx(result.value)
    assert solution.bound <= result.value
    lie = solution.model_copy(update={"bound": result.value * 1.01})
    file.write_text(dump(lie))
    with pytest.raises(InputError, match="above the energy-delay product"):
        read_verified(file)


def test_the_energy_in_a_file_has_its_share_of_the_standby(tmp_path: Path) -> None:
    solution = found(Objective("energy", 5)).solution
    file = tmp_path / "solution.yaml"
    file.write_text(dump(solution.model_copy(update={"inferences": 1, "bound": None})))
    with pytest.raises(InputError, match="energy_pj is"):
        read_verified(file)


def test_a_plain_file_is_as_it_always_was() -> None:
    text = dump(found(Objective(), seconds=1.0).solution)
    assert "objective" not in text
    assert "inferences" not in text


# Fronts


def test_no_plan_of_a_front_is_as_good_as_another() -> None:
    changes: list[int] = []
    result = front(
        TOY, STATIC, stop=Stop.deterministic(12.0), found=lambda points: changes.append(len(points))
    )
    assert changes
    figures = [[point.figure(axis) for axis in result.over] for point in result.points]
    for one in figures:
        assert [other for other in figures if all(a <= b for a, b in zip(other, one, strict=True))] == [one]
        assert all(own >= least for own, least in zip(one, result.least.values(), strict=True))
    assert len(figures) > 1


def test_a_front_of_two_figures_leaves_the_third_alone() -> None:
    result = front(TOY, STATIC, ("interval", "latency"), stop=Stop.deterministic(6.0))
    intervals = [point.figure("interval") for point in result.points]
    assert intervals == sorted(set(intervals))
    assert set(result.least) == {"interval", "latency"}


# The command line


def run(*arguments: str) -> int:
    import time

    from cli.main import run as command

    return command(arguments, time.monotonic())


def test_options_and_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--hw", "toy", "--weights", "static", "-D", "-t", "1")
    assert run("solve", "toy", *options, "-N", "8", "--interval-at-most", "10us") == 0
    shown = capsys.readouterr().out
    assert "for 8 inferences" in shown
    assert "no valid solution is faster" in shown
    assert run("solve", "toy", *options, "--objective", "energy", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["objective"] == "energy"
    assert told["value"] == pytest.approx(told["energy_pj"])
    assert math.isclose(told["gap"], 1 - told["bound"] / told["value"])


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        (
            "--interval-at-most",
            "20lb",
            "must be cycles or a time in ns, us, ms or s, such as 1.5ms",
        ),
        ("--latency-at-most", "-3", "must be cycles or a time"),
        ("--latency-at-most", "0", "must be cycles or a time"),
        ("--latency-at-most", "1e99", "must be cycles or a time"),
        ("--energy-at-most", "3 W", "must be an energy in pJ, nJ, uJ, mJ or J, such as 2.5mJ"),
        ("--objective", "speed", "must be makespan or energy or edp"),
        ("--inferences", "0", "must be an integer from 1"),
    ],
)
def test_wrong_options_cost_one_line(
    option: str, value: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("solve", "toy", "--hw", "toy", f"{option}={value}") == 2
    assert text in capsys.readouterr().err


def test_times_are_cycles_of_the_chip() -> None:
    from cli.amounts import cycles_or_time, picojoules

    assert cycles_or_time("1.5us").cycles(2.0) == 750
    assert cycles_or_time("1,500 cycles").cycles(2.0) == 1500
    assert picojoules("2.5mJ").value == 2.5e9


def test_the_front_command_writes_what_it_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    options = ("--hw", "toy", "--weights", "static", "-t", "5", "-j", "1")
    assert run("front", "toy", *options, "-o", str(tmp_path)) == 0
    record = json.loads((tmp_path / "front.json").read_text())
    for line in record["points"]:
        solution, plan = read_verified(tmp_path / line["file"])
        assert (solution.latency, plan.interval) == (line["latency"], line["interval"])
    assert (tmp_path / "front.svg").stat().st_size > 5_000
    assert "no plan is below" in capsys.readouterr().out
    assert run("front", "toy", "--hw", "toy", "--over", "latency,area") == 2
    assert "must be two or three of latency, interval, energy" in capsys.readouterr().err


def test_energies_that_are_all_zero_leave_a_search_something_to_choose_from() -> None:
    free = dict.fromkeys(("step", "mac", "load", "drain"), 0.0)
    chip = load_hardware("toy").model_copy(update={"energy": Energy.model_validate(free)})
    timeline = solve(load_network("toy"), chip, method="sequential").plan.timeline
    goal = Goal(Problem(load_network("toy"), chip, Objective("edp")))
    always = MoveParams(otherwise=1.0)
    assert decisive_layers(goal, timeline, random.Random(1), always)[0] in range(4)
