"""When a search ends: limits, parts that share them, what is proved, and what does not improve any more."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cli import main
from hw.library import load_hardware
from models.library import load_network
from overlapim_files import dump
from solver.params import CpsatParams, Params
from solver.solve import Result, solve
from solver.stop import STEPS_PER_SECOND, Ending, Stop

TOY = load_network("toy")
STATIC = load_hardware("toy").with_weights("static")


def nominal(seconds: float, gap: float | None = None, patience: float | None = None) -> Stop:
    return replace(Stop.deterministic(seconds), gap=gap, patience=patience)


# Reasons


def _interrupted(stop: Stop) -> None:
    stop.interrupt.set()  # type: ignore[attr-defined]


def _idle(stop: Stop) -> None:
    stop.improved(0.5)
    stop.worked(3)


ENDINGS: dict[Ending, tuple[Stop, Callable[[Stop], None]]] = {
    "optimal": (nominal(10), lambda stop: stop.improved(0.0)),
    "gap": (nominal(10, gap=0.05), lambda stop: stop.improved(0.05)),
    "interrupt": (nominal(10), _interrupted),
    "patience": (nominal(10, patience=3), _idle),
    "time": (nominal(10), lambda stop: stop.worked(10)),
    "iterations": (Stop(iterations=10), lambda stop: stop.count(11)),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_limit_ends_a_search_and_says_so(ending: Ending) -> None:
    stop, reach = ENDINGS[ending]
    assert stop.ending() is None and not stop.reached()
    reach(stop)
    assert stop.ending() == ending and stop.reached() and stop.is_set()


def test_a_larger_gap_is_not_enough() -> None:
    stop = nominal(10, gap=0.05)
    stop.improved(0.051)
    assert not stop.reached()


def test_patience_begins_with_the_first_plan_and_anew_with_every_improvement() -> None:
    stop = nominal(100, patience=3)
    stop.worked(50)
    assert not stop.reached(), "nothing has been found that could improve"
    for _ in range(4):
        stop.improved(0.5)
        stop.worked(2)
    assert not stop.reached()
    stop.worked(1)
    assert stop.ending() == "patience"


# Parts, and stops of stops


def test_a_part_is_a_share_of_what_is_left_and_counts_for_the_whole() -> None:
    whole = Stop.deterministic(10)
    whole.worked(2)
    part = whole.part(0.5)
    assert (part.remaining(), whole.part(0.5, until=4).remaining()) == (4, 1)
    part.worked(3)
    part.count(STEPS_PER_SECOND)
    assert part.reached() and not whole.reached()
    assert (whole.elapsed(), whole.steps) == (6, STEPS_PER_SECOND)
    assert whole.part(until=100).remaining() == whole.remaining() == 4


def test_a_part_has_no_limit_if_the_whole_has_none() -> None:
    assert Stop().part(0.5).remaining() == float("inf")


def test_what_ends_the_whole_ends_its_parts() -> None:
    whole = nominal(10, gap=0.1)
    part = whole.part(0.5)
    whole.improved(0.05)
    assert part.ending() == "gap"


def test_a_stop_can_be_the_interrupt_of_another() -> None:
    outer = nominal(10)
    inner = Stop(seconds=1000, interrupt=outer)
    assert not inner.reached()
    outer.worked(10)
    assert inner.ending() == "interrupt" and inner.steps == 0


def test_another_process_counts_for_itself_and_is_ended_by_who_sees_all() -> None:
    stop = Stop(iterations=5, gap=0.1, patience=1, interrupt=threading.Event())
    stop.improved(0.05)
    ended = multiprocessing.Event()
    abroad = stop.abroad(ended)
    assert not abroad.reached()
    assert [abroad.step() for _ in range(6)] == [False] * 5 + [True]
    assert stop.steps == 0
    with pytest.raises(TypeError):
        pickle.dumps(stop)  # an event of threads stays at home
    ended.set()
    assert abroad.ending() == "interrupt"


# Searches


def run(stop: Stop, method: str = "cpsat", workers: int = 1) -> Result:
    quick = Params(cpsat=CpsatParams(head_start=0.1, shortest_turn=0.3, latest_bound=4.0))
    return solve(TOY, STATIC, method=method, params=quick, stop=stop, workers=workers, seed=2)


def test_a_search_ends_once_the_gap_is_small_enough() -> None:
    whole = run(nominal(8))
    assert whole.ending == "time" and whole.gap is not None
    loose, again = run(nominal(8, gap=whole.gap + 0.01)), run(nominal(8, gap=whole.gap + 0.01))
    assert loose.ending == "gap" and loose.gap is not None and loose.gap <= whole.gap + 0.01
    assert loose.steps < whole.steps
    assert (dump(again.solution), again.steps) == (dump(loose.solution), loose.steps)


def test_a_search_ends_when_nothing_improves() -> None:
    found = run(nominal(1000, patience=1), "descent")
    assert found.ending == "patience"
    assert found.steps < 100 * STEPS_PER_SECOND
    assert dump(run(nominal(1000, patience=1), "descent").solution) == dump(found.solution)
    assert run(nominal(1000, patience=2), "descent").steps >= found.steps + STEPS_PER_SECOND


@pytest.mark.parametrize("method", ["descent", "cpsat"])
def test_other_processes_end_too(method: str) -> None:
    result = run(Stop(seconds=300, patience=0.5), method, workers=2)
    assert result.ending in ("patience", "optimal")
    assert result.seconds < 100 and not multiprocessing.active_children()


def test_other_processes_end_at_the_gap() -> None:
    result = run(Stop(seconds=300, gap=0.99), workers=2)
    assert result.ending == "gap" and result.seconds < 100 and not multiprocessing.active_children()


@pytest.mark.parametrize("method", ["sequential", "layerwise"])
def test_a_method_that_has_nothing_more_to_do_is_finished(method: str) -> None:
    assert run(Stop(seconds=300), method).ending == "finished"


# On the command line


def call(*options: str) -> int:
    command = ["solve", "toy", "--hw", "toy", "--weights", "static", "--deterministic", *options]
    return main.run(command, time.monotonic())


@pytest.mark.parametrize("share", ["0.99", "99%"])
def test_the_command_line_takes_shares_and_percent(
    share: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("-t", "400", "--gap", share, "-o", str(tmp_path)) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["ending"] == "gap" and result["gap"] <= 0.99
    assert "ended by --gap" in capsys.readouterr().err


def test_the_command_line_takes_patience(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("-m", "descent", "-t", "400", "--patience", "1", "-o", str(tmp_path)) == 0
    assert json.loads((tmp_path / "result.json").read_text())["ending"] == "patience"
    assert "ended by --patience" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "given"),
    [("--gap", given) for given in ("x", "%", "-1", "101%", "1.5", "nan")]
    + [("--patience", given) for given in ("0", "soon", "nan")],
)
def test_bad_limits_get_one_line(option: str, given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(option, given) == 2
    err = capsys.readouterr().err
    assert option in err and given in err and len(err.strip().splitlines()) == 1
