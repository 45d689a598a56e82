"""Sweeps: nothing is lost or solved twice, whatever dies, and the table is the same however it came about."""

from __future__ import annotations

import csv
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import overlapim
from cli.main import run
from cli.show.sweep import SweepProgress
from hw.library import load_hardware
from models.library import load_network
from overlapim_files import InputError, dump
from solver.solution import read_verified
from solver.solve import solve
from solver.stop import Stop
from solver.sweep.cases import SweepCase, read_spec, sweep_cases
from solver.sweep.cluster import TaskPool, Work, cluster
from solver.sweep.folder import SweepFolder
from solver.sweep.front import fronts, on_front
from solver.sweep.retarget import retargeted
from solver.sweep.run import SweepObserver, SweepRun, SweepState, known_records
from solver.sweep.table import csv_text, sweep_rows, write_table
from solver.sweep.task import Finished, SweepTask, solve_task
from solver.timing.problem import Problem

ROOT = Path(__file__).parent.parent

SPEC = """\
format: overlapim/sweep/1
networks: [toy]
chips:
  - from: toy
    set: {columns_per_bank: [8, 16]}
  - from: toy
    name: tiny
    set: {rows_per_bank: 8}
weights: [static, shared]
seeds: [0, 1]
method: layerwise
deterministic: true
"""
CASES = 12
SOLVED = 8


class InlinePool:
    """What a cluster does, in this process: tasks are solved one by one, when it is asked what has ended."""

    def __init__(self, slots: int = 2, work: Work = solve_task) -> None:
        self._slots, self._work = slots, work
        self._tasks: list[SweepTask] = []
        self.begun: list[SweepTask] = []

    def slots(self) -> int:
        return self._slots

    def __len__(self) -> int:
        return len(self._tasks)

    def begin(self, task: SweepTask) -> None:
        self._tasks.append(task)
        self.begun.append(task)

    def ended(self, seconds: float) -> list[Finished]:
        return [self._work(self._tasks.pop(0))]


def sweep_inline(
    folder: Path, text: str = SPEC, pool: Any = None, stop: Stop | None = None, observer: Any = None
) -> InlinePool:
    """Run a sweep without a cluster, and return the pool that its cases were solved in."""
    pool = InlinePool() if pool is None else pool
    spec = folder.parent / f"{folder.name}.yaml"
    spec.write_text(text)
    folder.mkdir(exist_ok=True)
    known = read_spec(spec)
    cases, own = sweep_cases(known, spec.parent), SweepFolder(folder)
    own.begin(known.text, [case.record for case in cases])
    told, done = observer or SweepObserver(), known_records([case.record for case in cases], own)
    SweepRun(cases, done, own, pool, stop or Stop(), known.record.warms, 1e9, told).run()
    return pool


def table(folder: Path) -> list[dict[str, Any]]:
    """Return the table of a sweep without what the clock says."""
    rows = sweep_rows(SweepFolder(folder))
    return [{name: value for name, value in row.items() if name != "solve_s"} for row in rows]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep that has been solved in this process."""
    folder = tmp_path_factory.mktemp("swept") / "designs"
    sweep_inline(folder)
    return folder


# What comes of a sweep


def test_the_table_has_a_row_for_each_case(swept: Path) -> None:
    rows = table(swept)
    assert [row["outcome"] for row in rows] == ["solved"] * SOLVED + ["refused"] * (CASES - SOLVED)
    assert "needs 72 rows" in rows[-1]["reason"]
    for row in rows[:SOLVED]:
        chip = load_hardware("toy").model_copy(update={"columns_per_bank": row["chip.columns_per_bank"]})
        found = solve(
            load_network("toy"),
            chip.with_weights(row["weights"]),
            method="layerwise",
            seed=row["seed"],
            stop=Stop.deterministic(10),
        )
        assert (row["latency"], row["bound"], row["interval"]) == (
            found.latency,
            found.bound,
            found.plan.interval,
        )
        assert row["energy_pj"] == found.solution.energy_pj
        assert row["version.overlapim"] == overlapim.__version__


def test_the_best_seed_of_each_group_is_kept(swept: Path, tmp_path: Path) -> None:
    for row in table(swept)[:SOLVED]:
        assert row["best"] == (row["seed"] == 0)  # both seeds are as good, so the lower one is kept
        assert (swept / "solutions" / f"{row['key']}.yaml").exists() == row["best"]
        if row["best"]:
            solution, plan = read_verified(swept / row["solution"])
            assert (solution.latency, plan.latency) == (row["latency"], row["latency"])

    def second_is_better(task: SweepTask) -> Finished:
        done = solve_task(task)
        figures = done.record.figures
        faster = figures and figures.model_copy(update={"value": figures.value - task.seed})
        return Finished(done.record.model_copy(update={"figures": faster}), done.solution)

    text = SPEC.replace("layerwise", "sequential")
    sweep_inline(tmp_path / "designs", text, InlinePool(work=second_is_better))
    assert [row["best"] for row in table(tmp_path / "designs")[:SOLVED]] == [False, True] * 4
    assert len(list((tmp_path / "designs/solutions").iterdir())) == SOLVED // 2


def test_tables_are_parquet_and_csv(swept: Path) -> None:
    import pandas

    rows = sweep_rows(SweepFolder(swept))
    frame = pandas.read_parquet(write_table(SweepFolder(swept), rows))
    text = list(csv.DictReader(csv_text(rows).splitlines()))
    assert list(frame.columns) == list(text[0]) == list(rows[0])
    assert frame["latency"].tolist()[:SOLVED] == [row["latency"] for row in rows[:SOLVED]]
    assert [row["latency"] for row in text][-1] == ""


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=12))
def test_the_front_is_what_nothing_else_equals_and_beats(points: list[tuple[int, ...]]) -> None:
    good = on_front(np.array(points, float))
    for own, is_good in zip(points, good, strict=True):
        beaten = any(
            other != own and all(x <= y for x, y in zip(other, own, strict=True)) for other in points
        )
        assert bool(is_good) != beaten


def test_objectives_and_numbers_of_inferences_are_axes(tmp_path: Path) -> None:
    text = SPEC.replace("weights: [static, shared]", "inferences: [1, 50]\nobjective: [makespan, energy]")
    sweep_inline(tmp_path / "designs", text.replace("seeds: [0, 1]", "where: rows_per_bank > 8"))
    rows = table(tmp_path / "designs")
    assert [(row["objective"], row["inferences"]) for row in rows[:4]] == [
        ("makespan", 1),
        ("makespan", 50),
        ("energy", 1),
        ("energy", 50),
    ]
    for row in rows:
        assert row["makespan"] == row["latency"] + (row["inferences"] - 1) * row["interval"]
        assert row["value"] == row["makespan" if row["objective"] == "makespan" else "energy_pj"]
        solution, _ = read_verified(tmp_path / "designs" / row["solution"])
        assert (solution.objective, solution.inferences) == (row["objective"], row["inferences"])
    assert [(front.inferences, len(front.rows)) for front in fronts(rows)] == [(1, 4), (50, 4)]


def test_energy_counts_only_where_all_chips_have_it(tmp_path: Path) -> None:
    chips = "chips: [toy, {from: toy, set: {energy: null, columns_per_bank: 32}}]\n"
    text = f"format: overlapim/sweep/1\nnetworks: [toy]\n{chips}method: layerwise\narea: 1 / lanes\n"
    sweep_inline(tmp_path / "designs", text)
    (front,) = fronts(table(tmp_path / "designs"))
    assert front.size == "area"
    assert [row["chip.columns_per_bank"] for row in front.front] == [
        32
    ]  # smaller by this measure, and faster


# Whatever happens, it goes on


class Ending(SweepObserver):
    """Stops a sweep after some cases."""

    def __init__(self, stop: Stop, after: int) -> None:
        self._stop, self._left = stop, after
        self.states: list[SweepState] = []

    def changed(self, state: SweepState) -> None:
        self.states.append(state)

    def ended(self, case: Any, record: Any) -> None:
        self._left -= 1
        if not self._left:
            self._stop.interrupt.set()  # type: ignore[attr-defined]


def test_what_was_interrupted_goes_on_and_nothing_is_solved_twice(swept: Path, tmp_path: Path) -> None:
    folder, stop = tmp_path / "designs", Stop()
    ending = Ending(stop, 3)
    first = sweep_inline(folder, stop=stop, observer=ending)
    assert len(first.begun) == 4  # three, and the one that was under way
    assert [row["outcome"] for row in table(folder)].count("open") == CASES - 4
    assert (ending.states[-1].done, ending.states[-1].running) == (4, 0)
    second = sweep_inline(folder)
    keys = [task.key for task in (*first.begun, *second.begun)]
    assert len(keys) == len(set(keys)) == CASES
    assert table(folder) == table(swept)
    assert not sweep_inline(folder).begun


def test_a_changed_specification_solves_only_what_is_new(swept: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(swept, tmp_path / "designs"))
    more = sweep_inline(folder, SPEC.replace("[8, 16]", "[8, 16, 32]"))
    assert len(more.begun) == 4
    assert len(table(folder)) == CASES + 4
    fewer = sweep_inline(folder, SPEC)
    assert not fewer.begun
    assert table(folder) == table(swept)
    # the solutions of the second seeds were worse and are not there any more
    other = sweep_inline(folder, SPEC.replace("[0, 1]", "[1]"))
    assert [task.seed for task in other.begun] == [1] * (SOLVED // 2)
    assert all((folder / row["solution"]).exists() for row in table(folder) if row["best"])


def test_what_failed_or_cannot_be_read_is_tried_again(swept: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(swept, tmp_path / "designs"))
    keys = [row["key"] for row in table(folder)]
    (folder / "tasks" / f"{keys[0]}.json").write_text('{"format": "overlapim/sweep-ta')
    failed = json.loads((folder / "tasks" / f"{keys[1]}.json").read_text())
    failed |= {"outcome": "failed", "figures": None, "reason": "killed"}
    (folder / "tasks" / f"{keys[1]}.json").write_text(json.dumps(failed))
    (folder / "tasks" / ".overlapim-1-ab").write_text("half of a fi")
    assert [task.key for task in sweep_inline(folder).begun] == keys[:2]
    assert not list((folder / "tasks").glob(".*"))


def test_no_case_begins_that_might_not_end_in_time(tmp_path: Path) -> None:
    assert not sweep_inline(tmp_path / "designs", stop=Stop(seconds=9.9)).begun  # a case may take 10 s


def test_two_sweeps_do_not_share_a_folder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s.yaml").write_text(SPEC)
    with SweepFolder(tmp_path).alone():
        assert run(["sweep", str(tmp_path / "s.yaml"), "-o", str(tmp_path)], time.monotonic()) == 2
    assert "another sweep is running in this folder" in capfd.readouterr().err


def test_mappings_move_to_another_chip_if_they_fit() -> None:
    network, chip = load_network("toy"), load_hardware("toy").with_weights("static")
    found = solve(network, chip, method="layerwise")
    text = dump(found.solution)
    wider = chip.model_copy(update={"channels": 3, "banks_per_channel": 6})
    plan = retargeted(text, Problem(network, wider))
    assert plan is not None
    assert [x.mapping for x in plan.profiles] == [x.mapping for x in found.plan.profiles]
    moved = [{bank // 4 * 6 + bank % 4 for bank in banks.tolist()} for banks in found.plan.banks]
    assert [set(banks.tolist()) for banks in plan.banks] == moved
    for smaller in ({"banks_per_channel": 2}, {"columns_per_bank": 1}, {"rows_per_bank": 1}):
        assert retargeted(text, Problem(network, chip.model_copy(update=smaller))) is None
    assert retargeted("nonsense", Problem(network, chip)) is None


def test_searches_begin_with_the_nearest_chip(tmp_path: Path) -> None:
    chips = "chips:\n  - {from: toy, set: {columns_per_bank: [4, 16, 8, 12]}}\n"
    text = f"format: overlapim/sweep/1\nnetworks: [toy]\n{chips}method: layerwise\nwarm_start: true\n"
    begun = sweep_inline(tmp_path / "designs", text, InlinePool(slots=1)).begun
    names = {task.key: task.hardware.columns_per_bank for task in begun}
    nearest = [task.neighbour and names[task.neighbour.key] for task in begun]
    assert nearest == [None, 4, 4, 16]
    # on fewer columns the mappings of the one before do not fit
    warm = {row["chip.columns_per_bank"]: row["warm_start"] for row in table(tmp_path / "designs")}
    assert warm[4] is None and warm[16] is not None


# Processes that die


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with cluster(None, 2) as client:
        yield client


def dies_once(marker: str, task: SweepTask) -> Finished:
    """Kill the process of the first task, once."""
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return solve_task(task)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def hangs_or_fails(hanging: str, failing: str, where: str, task: SweepTask) -> Finished:
    if task.key == hanging:
        Path(where).write_text(str(os.getpid()))
        Event().wait()
    if task.key == failing:
        raise RuntimeError("out of\nthe ordinary")
    return solve_task(task)


class Patient(SweepObserver):
    """Notes the cases that end; once there is only one left, a sweep gives it up."""

    run: SweepRun

    def __init__(self, patience: float) -> None:
        self.keys: list[str] = []
        self._patience = patience

    def ended(self, case: Any, record: Any) -> None:
        self.keys.append(case.key)
        if len(self.keys) == CASES - 1:
            self.run.overrun = self._patience


def has_ended(pid: int) -> bool:
    """Return whether a process ends within a minute."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], 60)[0])
    finally:
        os.close(process)


def sweep_on(
    client: Any, folder: Path, work: Callable[[list[SweepCase]], Work], patience: float = 1e9
) -> list[str]:
    """Run the sweep on a cluster and return the keys of the cases that ended, in that order."""
    folder.mkdir()
    spec = read_spec(yaml.safe_load(SPEC))
    cases, own, observer = sweep_cases(spec, folder), SweepFolder(folder), Patient(patience)
    own.begin(spec.text, [case.record for case in cases])
    observer.run = SweepRun(cases, {}, own, TaskPool(client, work(cases)), Stop(), False, 1e9, observer)
    observer.run.run()
    return observer.keys


def test_two_processes_of_which_one_dies_make_the_same_table(
    client: Any, swept: Path, tmp_path: Path
) -> None:
    marker = str(tmp_path / "died")
    ended = sweep_on(client, tmp_path / "designs", lambda cases: partial(dies_once, marker))
    assert Path(marker).exists()
    assert len(ended) == len(set(ended)) == CASES
    assert table(tmp_path / "designs") == table(swept)


def test_what_fails_or_does_not_end_is_noted_and_the_rest_is_solved(
    client: Any, swept: Path, tmp_path: Path
) -> None:
    def work(cases: list[SweepCase]) -> Work:
        return partial(hangs_or_fails, cases[1].record.key, cases[2].record.key, str(tmp_path / "pid"))

    ended = sweep_on(client, tmp_path / "designs", work, patience=0.5)
    rows, wanted = table(tmp_path / "designs"), table(swept)
    assert len(ended) == CASES
    assert [row["reason"] for row in rows[1:3]] == [
        "did not end within 0.5 s",
        "RuntimeError: out of the ordinary",
    ]
    assert [row["best"] for row in rows[:4]] == [True, False, False, True]
    assert rows[4:] == wanted[4:]
    assert has_ended(int((tmp_path / "pid").read_text()))
    client.wait_for_workers(2, timeout=60)  # another one has taken its place


PROGRAM = [sys.executable, "-c", "from cli.main import main; main()"]
BEGIN = [*PROGRAM, "sweep", "s.yaml", "-o", "designs", "-j", "1"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def ended_by(number: int, folder: Path) -> tuple[int, str]:
    """Run the sweep until its first case has ended, and send a signal to all of its processes."""
    with subprocess.Popen(
        BEGIN,
        cwd=folder,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        assert "cycles" in process.stderr.readline()
        os.killpg(process.pid, number)
        return process.wait(), process.stderr.read()


def records(folder: Path) -> dict[str, int]:
    """Return the cases that are finished, with the time at which each was written."""
    return {file.name: file.stat().st_mtime_ns for file in (folder / "designs/tasks").iterdir()}


def test_a_sweep_that_is_interrupted_and_killed_goes_on(swept: Path, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(SPEC)
    code, said = ended_by(signal.SIGINT, tmp_path)
    assert code == 130 and "interrupted by SIGINT; the same command goes on" in said
    first = records(tmp_path)
    assert ended_by(signal.SIGKILL, tmp_path) == (-signal.SIGKILL, "")
    second = records(tmp_path)
    assert 0 < len(first) < len(second) < CASES and first.items() <= second.items()
    done = subprocess.run(BEGIN, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    third = records(tmp_path)
    assert len(third) == CASES and second.items() <= third.items()
    assert table(tmp_path / "designs") == table(swept)
    assert "of 4 designs are on the front" in done.stdout
    assert "12: 8 solved, 4 refused, 0 failed" in done.stdout
    left = {file.name for file in (tmp_path / "designs").iterdir()}
    assert left == {
        "cases.json",
        "index.html",
        "reports",
        "results.parquet",
        "solutions",
        "sweep.yaml",
        "tasks",
    }


# The command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["s.yaml"], "a sweep needs the file SPEC and --out DIR"),
        (["-o", "x"], "a sweep needs the file SPEC and --out DIR"),
        (["s.yaml", "--show", "x"], "--show takes no file and no --out"),
        (["--show", "nothing"], "nothing: holds no sweep"),
        (["nothing.yaml", "-o", "x"], "nothing.yaml: cannot be read"),
        (["s.yaml", "-o", "x", "--scheduler", "nobody"], "--scheduler: no scheduler answers at 'nobody'"),
        (["s.yaml", "-o", "x", "--scheduler", "a:1", "-j", "2"], "--workers are of this machine"),
    ],
)
def test_mistakes_leave_nothing_behind(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(SPEC)
    assert run(["sweep", *arguments], time.monotonic()) == 2
    said = capfd.readouterr()
    assert said.err.startswith("error: ") and message in said.err and said.err.count("\n") == 1
    assert not said.out
    assert [file.name for file in tmp_path.iterdir()] == ["s.yaml"]


def test_show_prints_what_there_is(swept: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["sweep", "--show", str(swept), "--json", "-q"], time.monotonic()) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["counts"] == {"cases": 12, "solved": 8, "refused": 4, "failed": 0, "open": 0}
    (front,) = found["fronts"]
    (own,) = fronts(table(swept))
    assert [row["key"] for row in front["front"]] == [row["key"] for row in own.front]


def test_libraries_that_are_missing_are_named(
    swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import importlib.util

    found = importlib.util.find_spec
    missing = ("distributed", "pandas", "polars", "pyarrow", "plotly")
    for module in ("solver.sweep.cluster", "solver.sweep.table", "cli.sweeps"):
        monkeypatch.setattr(
            f"{module}.find_spec", lambda name, *rest: None if name in missing else found(name, *rest)
        )
    (tmp_path / "s.yaml").write_text(SPEC)
    assert run(["sweep", str(tmp_path / "s.yaml"), "-o", str(tmp_path / "x")], time.monotonic()) == 2
    assert "pip install 'fast-overlapim[sweep]'" in capfd.readouterr().err
    with pytest.raises(InputError, match=r"pip install 'fast-overlapim\[frame\]'"):
        overlapim.sweep(tmp_path / "s.yaml", tmp_path / "x")
    assert run(["sweep", "--show", str(swept)], time.monotonic()) == 0
    assert "pip install 'fast-overlapim[report]'" in capfd.readouterr().err
    assert (swept / "results.csv").exists()


def test_progress_says_how_far_it_is() -> None:
    said: list[str] = []
    progress = SweepProgress(time.monotonic(), 600.0, said.append)
    assert progress.lines(time.monotonic(), 80)[0].endswith("starting processes")
    progress.changed(SweepState(40, 10, solved=9, failed=1, running=2, slots=0))
    assert "waiting for processes" in progress.text
    state = SweepState(40, 10, solved=9, failed=1, running=2, slots=2, seconds=12.0)
    progress.changed(state)
    assert progress.text == "20 of 40 done, 2 running, 1 failed, about 2 min left"
    assert progress.lines(time.monotonic(), 80)[1] == f"[{'=' * 15}{' ' * 15}] 50%"
    progress.changed(replace(state, ending=True))
    assert progress.text == "20 of 40 done, 2 running, 1 failed; no more begin"
