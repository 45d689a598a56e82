"""Inferences in a row: laid over each other bank by bank, and executed with numbers of their own."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.main import run
from hw.library import load_hardware
from models.library import load_network
from overlapim_files import dump
from solver.execute.check import check_execution
from solver.execute.numbers import draw_in_a_row
from solver.execute.run import execute_in_a_row
from solver.execute.schedule import stated
from solver.execute.succession import succeed
from solver.execute.whole import compute
from solver.schedule.interval import interval
from solver.solution import Solution
from solver.solve import solve
from solver.stop import Stop
from solver.timing.objective import Objective

TOY, CHIP = load_network("toy"), load_hardware("toy")
WEIGHTS = ("static", "shared", "reload")
ENOUGH = 100
"""Inferences that are as good as any number: plans below are shorter than as many cycles."""

Holds = tuple[list[tuple[int, int]], list[list[int]]]


@st.composite
def holds(draw: st.DrawFn) -> Holds:
    """Draw when layers hold banks, and which, no bank being held twice at a time in one inference."""
    rng = random.Random(draw(st.integers(0, 10**6)))
    times: list[tuple[int, int]] = []
    banks: list[list[int]] = []
    for _ in range(rng.randint(1, 6)):
        start = rng.randrange(60)
        end = start + rng.randint(1, 25)
        taken = {b for (a, z), own in zip(times, banks, strict=True) if a < end and start < z for b in own}
        if free := [bank for bank in range(4) if bank not in taken]:
            times.append((start, end))
            banks.append(sorted(rng.sample(free, rng.randint(1, len(free)))))
    return times, banks


@given(holds())
@settings(max_examples=300)
def test_the_interval_of_a_plan_is_the_least_that_holds_no_bank_twice(drawn: Holds) -> None:
    times, banks = drawn
    names = [f"l{i}" for i in range(len(times))]
    starts, ends = [a for a, _ in times], [z for _, z in times]
    least = interval(starts, ends, [np.array(own) for own in banks])
    found = succeed(names, banks, times, least, ENOUGH)
    assert found.differences == ()
    assert found.makespan == max(ends) + (ENOUGH - 1) * least
    for shorter in range(1, least):
        (text,) = succeed(names, banks, times, shorter, ENOUGH).differences
        assert text.startswith("bank ")


def test_a_bank_that_goes_on_without_a_pause_is_counted_once() -> None:
    times, banks = [(0, 5), (5, 8), (6, 9)], [[0, 1, 2], [0, 1], [3]]
    found = succeed(["a", "b", "c"], banks, times, 8, 4)
    assert (found.handovers, found.makespan, found.differences) == (2, 33, ())
    text = "bank 0: 'b' of inference 1 holds it until 8, but 'a' of inference 2 takes it at 7"
    assert succeed(["a", "b", "c"], banks, times, 7, 4).differences == (text,)
    assert succeed(["a", "b", "c"], banks, times, 7, 1).differences == ()


def test_a_bank_that_one_inference_holds_twice_is_found() -> None:
    (text,) = succeed(["a", "b"], [[0], [0]], [(0, 5), (4, 8)], None, 1).differences
    assert text == "bank 0: 'a' of inference 1 holds it until 5, but 'b' of inference 1 takes it at 4"


# Executed


@pytest.fixture(scope="module", params=WEIGHTS)
def solution(request: pytest.FixtureRequest) -> Solution:
    """Return a stream on the toy chip, with each kind of weights."""
    chip = CHIP.with_weights(request.param)
    stop = Stop.deterministic(2.0)
    return solve(TOY, chip, method="descent", objective=Objective(inferences=10), stop=stop).solution


def test_every_inference_computes_its_own(solution: Solution) -> None:
    drawn = draw_in_a_row(TOY, 0, 3)
    step = solution.interval or 0
    rows = execute_in_a_row(TOY, solution.hardware, stated(solution), drawn, step)
    outcomes = [compute(TOY, own) for own in drawn]
    assert not np.array_equal(outcomes[0][-1], outcomes[1][-1])
    for executed, whole in zip(rows, outcomes, strict=True):
        assert all(np.array_equal(a.values, b) for a, b in zip(executed, whole, strict=True))


def command(name: str, solution: Solution, folder: Path, *options: str) -> int:
    path = folder / "s.yaml"
    path.write_text(dump(solution))
    return run([name, str(path), *options], time.monotonic())


def tampered(solution: Solution, **keys: object) -> Solution:
    return solution.model_copy(update=keys)


@pytest.mark.parametrize("name", ["execute", "simulate"])
def test_three_in_a_row(
    name: str, solution: Solution, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    step = solution.interval or 0
    assert command(name, solution, tmp_path, "-N", "3", "--json") == 0
    row: dict[str, Any] = json.loads(capfd.readouterr().out)["succession"]
    assert (row["inferences"], row["interval"]) == (3, step)
    assert row["makespan"] == solution.latency + 2 * step
    assert row["handovers"] > 0
    assert command(name, solution, tmp_path, "-N", "3") == 0
    said = capfd.readouterr().out
    assert f"3 in a row, one every {step:,} cycles: the last ends at {row['makespan']:,}" in said
    assert f"no bank is held twice at a time; {row['handovers']} go to the next" in said


@pytest.mark.parametrize("name", ["execute", "simulate"])
def test_one_cycle_less_holds_a_bank_twice(
    name: str, solution: Solution, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shorter = tampered(solution, interval=(solution.interval or 0) - 1)
    assert command(name, shorter, tmp_path, "--inferences", "3") == 2
    (error,) = capfd.readouterr().err.splitlines()
    assert "holds it until" in error
    assert error.startswith(f"error: {tmp_path / 's.yaml'}: bank ")
    assert command(name, shorter, tmp_path, "--inferences", "1") == 0


def test_how_many_there_are_unless_given(solution: Solution, tmp_path: Path) -> None:
    def ran(name: str, inferences: int) -> int:
        own = tampered(solution, inferences=inferences, bound=None, status="feasible")
        return counted(name, own, tmp_path)

    assert [ran("execute", n) for n in (1, 2, 1000)] == [1, 2, 3]
    assert [ran("simulate", n) for n in (1, 2, 1000)] == [1, 2, 1000]


def counted(name: str, solution: Solution, folder: Path) -> int:
    """Return how many inferences a command runs of its own accord."""
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr("builtins.print", lambda text, **_: lines.append(text))
        assert command(name, solution, folder, "--json") == 0
    found: int = json.loads(lines[-1])["succession"]["inferences"]
    return found


@pytest.mark.parametrize("name", ["execute", "simulate"])
def test_a_file_without_an_interval(
    name: str, solution: Solution, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    without = tampered(solution, interval=None)
    assert command(name, without, tmp_path, "-N", "2") == 2
    (error,) = capfd.readouterr().err.splitlines()
    assert "interval: is missing, so 2 inferences cannot follow each other" in error
    assert command(name, without, tmp_path, "-N", "1") == 0


def test_more_than_can_be_executed(
    solution: Solution, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert command("execute", solution, tmp_path, "-N", "10000000") == 2
    (error,) = capfd.readouterr().err.splitlines()
    most = int(error.split("--inferences ")[1].split()[0])
    assert 1 < most < 10_000_000


def test_a_wrong_number_in_a_later_inference_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    chip = CHIP.with_weights("static")
    solution = solve(TOY, chip, method="sequential", stop=Stop()).solution
    others = iter([0, 1])
    monkeypatch.setattr(
        "solver.execute.check.compute", lambda network, drawn: shifted(network, drawn, others)
    )
    (text,) = check_execution(solution, 0, lambda _: None, inferences=2).differences
    assert text == "inference 2: layer 'stem': element (0, 0, 0, 0) is not what the network computes"


def shifted(network: Any, drawn: Any, offsets: Any) -> Any:
    """Compute a network, with a number added to the outputs of the first layer."""
    first, *others = compute(network, drawn)
    return [first + next(offsets), *others]
