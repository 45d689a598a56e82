"""Benchmarks as commands: nothing is measured twice, what they write is complete, and figures are right."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import typer
from typer.testing import CliRunner

from cli.commands.bench import app as bench_app
from cli.commands.bench.publish import environment
from cli.main import app, run
from hw.library import load_hardware
from models.library import load_network
from overlapim_files import InputError
from solver.bench import large, speed
from solver.bench.anytime import AnytimeRun, Spread, spread
from solver.bench.cases import Case, Environment, Kept, Record, Results, run_cases
from solver.bench.exhaustive import SmallRun
from solver.bench.overlap import EdgeTimes, MeasuredEdge, OverlapResults, exponents, overlap_cases
from solver.stop import Flag

TOY = ["-n", "toy", "-w", "toy"]


def bench(*arguments: str) -> tuple[int, str]:
    """Run a benchmark and return its exit code and what it printed on standard error."""
    done = CliRunner().invoke(app, ["bench", *arguments])
    return done.exit_code, done.stderr


def raw(path: Path) -> Any:
    return json.loads(path.read_text())


# Cases


class Number(Record):
    number: int


class Squares(Results[Number, Number]):
    format: Literal["squares"] = "squares"


HERE = Environment(command="overlapim bench squares", system="some", cores=2, versions={"python": "3"})


def squares(numbers: range, measured: list[int], interrupt_at: int = -1) -> Iterator[Case[Number, Number]]:
    """Yield cases that note what they measure; one of them is interrupted."""

    def case(i: int) -> Case[Number, Number]:
        def measure(interrupt: Flag) -> Number | None:
            measured.append(i)
            return None if i == interrupt_at else Number(number=i * i)

        return Case(Number(number=i), measure)

    return map(case, numbers)


def test_a_run_that_was_stopped_goes_on_and_measures_nothing_twice(tmp_path: Path) -> None:
    path, measured, flag = tmp_path / "squares.json", list[int](), threading.Event()
    for case in run_cases(squares(range(6), measured), Kept(Squares(), HERE, path), flag):
        if case.what.number == 2:
            break  # as if the process had been killed
    for _ in run_cases(squares(range(6), measured, interrupt_at=4), Kept(Squares(), HERE, path), flag):
        pass
    assert measured == [0, 1, 2, 3, 4]
    elsewhere = HERE.model_copy(update={"cores": 64})
    list(run_cases(squares(range(6), measured), Kept(Squares(), elsewhere, path), flag))
    assert measured == [0, 1, 2, 3, 4, 4, 5]
    at_once = Kept(Squares(), HERE)
    list(run_cases(squares(range(6), []), at_once, flag))
    resumed = Kept(Squares(), HERE, path).results
    assert [(c.what, c.result) for c in resumed.cases] == [(c.what, c.result) for c in at_once.results.cases]
    assert [case.run for case in resumed.cases] == [0, 0, 0, 0, 1, 1]
    assert resumed.runs == (HERE, elsewhere)


def test_nothing_begins_once_interrupted() -> None:
    flag, measured = threading.Event(), list[int]()
    flag.set()
    assert not list(run_cases(squares(range(3), measured), Kept(Squares(), HERE), flag))
    assert measured == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('{"format": "squares", "runs": [], "cases": [{"what"', "not valid JSON"),
        ('{"format": "cubes"}', "format: must be 'squares'"),
        ('{"format": "squares", "cases": [{"what": {"number": 1}, "result": {"number": 1}}]}', "'run'"),
        (
            '{"format": "squares", "cases": [{"what": {"number": 1}, "result": {"number": 1}, "run": 0}]}',
            "run 0",
        ),
        ('{"format": "squares", "cases": [[]]}', "cases[0]"),
    ],
)
def test_a_file_that_is_not_of_the_benchmark_is_one_line(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "squares.json"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        Kept(Squares(), HERE, path)
    assert word in str(error.value) and "--out" in str(error.value) and str(path) in str(error.value)
    assert path.read_text() == text


# Commands


def test_overlap_writes_raw_results_and_a_table_and_keeps_them(tmp_path: Path) -> None:
    code, error = bench("overlap", *TOY, "-o", str(tmp_path))
    assert code == 0 and "9/9  toy on toy" in error
    written = (tmp_path / "overlap.json").read_text()
    report = raw(tmp_path / "overlap.json")
    assert [case["what"]["part"] for case in report["cases"]] == ["network"] * 4 + ["growth"] * 5
    assert all(case["result"]["equal"] for case in report["cases"])
    assert report["runs"][0]["command"] == "overlapim bench overlap --network toy --hw toy"
    assert "| stem | left |" in (tmp_path / "overlap.md").read_text()
    code, error = bench("overlap", *TOY, "-o", str(tmp_path))
    assert code == 0 and error == "9 of 9 cases are there already\n"
    assert (tmp_path / "overlap.json").read_text() == written


def test_anytime_reads_each_run_at_all_limits(tmp_path: Path) -> None:
    arguments = ["anytime", *TOY, "-t", "0.3,0.6", "-s", "0", "-j", "1", "-o", str(tmp_path)]
    assert bench(*arguments, "--methods", "layerwise,descent")[0] == 0
    cases = raw(tmp_path / "anytime.json")["cases"]
    assert [(case["what"]["on"]["weights"], case["what"]["method"]) for case in cases] == [
        (weights, method) for weights in ("static", "shared") for method in ("descent", "layerwise")
    ]
    assert all(case["result"]["trace"] for case in cases)
    assert "| toy | toy | static | descent | 1 |" in (tmp_path / "anytime.md").read_text()
    for picture, beginning in (("anytime.svg", b"<?xml"), ("anytime.png", b"\x89PNG")):
        assert (tmp_path / picture).read_bytes().startswith(beginning)


def test_a_page_shows_all_results_of_a_folder(tmp_path: Path) -> None:
    results, page = tmp_path / "results", tmp_path / "page.md"
    assert (
        bench("anytime", *TOY, "-t", "0.3", "-s", "0,1", "--methods", "layerwise", "-o", str(results))[0] == 0
    )
    assert bench("exhaustive", "-n", "1", "--methods", "sequential", "-o", str(results))[0] == 0
    assert bench("page", str(results), "-o", str(page))[0] == 0
    text = page.read_text()
    assert text.count("\n## ") == 2
    assert "overlapim bench anytime --network toy --hw toy" in text and "\n4 cases on " in text
    assert "(results/anytime.svg)" in text and "(results/exhaustive.json)" in text
    assert (results / "anytime.md").read_text().strip() in text


def test_a_page_of_nothing_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "page", str(tmp_path), "-o", str(tmp_path / "page.md")], time.monotonic()) == 2
    error = capfd.readouterr().err
    assert len(error.splitlines()) == 1 and "anytime.json" in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["-n", "resnet81"], "resnet18"),
        (["-n", "toy", "--hw", "tpy"], "toy"),
        (["-n", "toy", "--hw", "toy", "-o", "taken/inside"], "--out"),
        (["-n", "toy", "--hw", "toy", "-o", ""], "--out"),
    ],
)
@pytest.mark.parametrize("command", ["overlap", "speed", "anytime"])
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


# Figures


def test_data_spaces_grow_as_columns_shrink() -> None:
    kept = Kept(OverlapResults(), HERE)
    cases = overlap_cases(load_network("toy"), load_hardware("toy"))
    growth = [case for case in cases if case.what.part == "growth"]
    pairs = [case.result.pairs for case in run_cases(growth, kept, threading.Event())]
    assert pairs == sorted(pairs) and pairs[0] < pairs[-1]


def test_exponents_are_slopes() -> None:
    what = next(iter(overlap_cases(load_network("toy"), load_hardware("toy")))).what
    times = [
        EdgeTimes(
            producer_spaces=n, consumer_spaces=10, closed_s=0.5, pairwise_s=(10 * n) ** 0.75, equal=True
        )
        for n in (1, 10, 1000)
    ]
    assert exponents([MeasuredEdge(what=what, result=x, run=0) for x in times]) == pytest.approx((0, 0.75))


def test_primal_integrals_are_areas_over_the_best() -> None:
    trace = ((1.0, 200, None), (3.0, 100, 50), (9.0, 50, 50))
    result = AnytimeRun(trace=trace, seconds=9, pool_gap=None, candidates=None, peak_mib=1)
    # Nothing for a second, twice the best for two, the best for one; what comes later does not count.
    assert result.primal_integral(best=100, seconds=4) == pytest.approx((1 + 2 * 0.5) / 4)
    nothing = result.model_copy(update={"trace": ()})
    assert nothing.primal_integral(best=100, seconds=4) == 1


def test_spreads_are_of_runs_that_all_have_something() -> None:
    assert spread([3, 1, 2, 9]) == Spread(2.5, 1, 9)
    assert spread([3, None]) is None and spread([]) is None


def test_speed_measures_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CANDIDATES", "DRAWN"):
        monkeypatch.setattr(speed, name, 20)
    monkeypatch.setattr(speed, "SEARCHED", 0.1)
    report = speed.library_speed(load_network("toy"), load_hardware("toy"), 0)
    assert report.edges_per_candidate >= 1 and all(figure > 0 for figure in report.model_dump().values())


def test_a_benchmark_notes_its_arguments_as_they_are_typed() -> None:
    command = typer.main.get_command(bench_app).commands["network"]  # type: ignore[attr-defined]
    context = command.make_context(
        "overlapim bench network", ["toy", "resnet18", "-t", "5", "-s", "0", "-j", "1"]
    )
    chips = "--hw hbm2-bitsimd --hw reram-aritpim"
    typed = f"network toy resnet18 {chips} --time-limit 5.0 --seeds 0 --workers 1"
    assert environment(context).command.endswith(typed)


def test_large_times_steps_and_commands_and_says_how_they_grow(tmp_path: Path) -> None:
    arguments = ["large", "--shapes", "chain,residual", "--layers", "2,4", "--banks", "30", "-t", "0.2"]
    code, error = bench(*arguments, "--weights", "static", "-o", str(tmp_path))
    assert code == 0 and "4/4  residual-4 on hbm2-bitsimd-30, static" in error
    cases = raw(tmp_path / "large.json")["cases"]
    assert [case["what"]["banks"] for case in cases] == [32] * 4
    for case in cases:
        assert list(case["result"]["commands"]) == [
            "solve",
            "evaluate",
            "explain",
            "report",
            "trace",
            "plot",
        ]
        assert min(case["result"]["sizes"].values()) > 0 and case["result"]["steps"]["verify"] > 0
    assert "| `report` |" in (tmp_path / "large.md").read_text()


def test_exponents_are_those_of_powers() -> None:
    assert large.exponent((100, 5.0), (300, 5.0 * 9)) == pytest.approx(2)
    assert large.exponent((1000, 7.0), (3000, 7.0)) == 0


@pytest.mark.parametrize("shape", large.SHAPES)
def test_large_networks_have_the_layers_they_say(shape: str) -> None:
    made = large.large_network(shape, 6)
    assert len(made.layers) == 6
    assert made.producers == tuple(
        (i - 1, i - 2) if shape == "residual" and i in (3, 5) else (i - 1,) * (i > 0) for i in range(6)
    )


# Small networks and streams


def test_small_networks_are_tried_with_other_objectives(tmp_path: Path) -> None:
    arguments = ["exhaustive", "-n", "3", "--methods", "sequential", "-o", str(tmp_path)]
    assert bench(*arguments, "--objectives", "energy,makespan:3")[0] == 0
    cases = raw(tmp_path / "exhaustive.json")["cases"]
    whats = [
        (case["what"]["instance"], case["what"]["measure"], case["what"]["inferences"]) for case in cases
    ]
    # The chip of the second one has fewer banks than there are layers, so that nothing can follow there.
    assert whats == [
        (0, "energy", 1),
        (0, "makespan", 3),
        (1, "energy", 1),
        (2, "energy", 1),
        (2, "makespan", 3),
    ]
    assert all(case["what"]["weights"] == "static" for case in cases if case["what"]["inferences"] > 1)
    assert all(case["result"]["tried"] for case in cases)
    assert "| sequential | makespan:3 | static | 2 |" in (tmp_path / "exhaustive.md").read_text()


@pytest.mark.parametrize(
    ("small", "wrong"),
    [
        (SmallRun(optimum=10, tried=True, value=10, bound=10), False),
        (SmallRun(optimum=10, tried=True, value=12, bound=11), True),
        (SmallRun(optimum=10, tried=True, value=9, bound=9), True),
        (SmallRun(optimum=10, tried=False, value=9, bound=9), False),
        (SmallRun(optimum=10.0, tried=True, value=10.0 + 1e-9, bound=10.0 + 1e-9), False),
        (SmallRun(optimum=None, tried=True, value=None, bound=None), False),
    ],
)
def test_bounds_and_values_that_cannot_be_are_counted(small: SmallRun, wrong: bool) -> None:
    assert small.wrong == wrong


@pytest.mark.parametrize(
    ("value", "text"),
    [("energi", "makespan or energy or edp"), ("energy:0", "from 1"), ("edp:", "an integer")],
)
def test_objectives_that_are_none_cost_one_line(
    value: str, text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["bench", "exhaustive", "--objectives", value], time.monotonic()) == 2
    (error,) = capfd.readouterr().err.splitlines()
    assert text in error and "--objectives" in error


def test_streams_stand_beside_the_whole_chip(tmp_path: Path) -> None:
    assert bench("streams", *TOY, "-t", "1", "-N", "1,8", "-o", str(tmp_path))[0] == 0
    cases = raw(tmp_path / "streams.json")["cases"]
    ways = [
        (case["what"]["way"], case["what"]["inferences"], case["what"]["on"]["weights"]) for case in cases
    ]
    assert ways == [("in turn", 1, "shared"), ("apart", 1, "static"), ("apart", 8, "static")]
    in_turn, _, many = (case["result"] for case in cases)
    assert in_turn["latency"] == in_turn["interval"]
    assert many["bound"] <= many["latency"] + 7 * many["interval"]
    clock = load_hardware("toy").clock_ns
    assert many["makespan_ns"] == pytest.approx(clock * (many["latency"] + 7 * many["interval"]))
    rows = [line for line in (tmp_path / "streams.md").read_text().splitlines() if line.startswith("| toy")]
    assert [row.split(" | ")[2:4] for row in rows] == [["in turn", "any"], ["apart", "1"], ["apart", "8"]]
    assert f"| {8 * in_turn['makespan_ns'] / many['makespan_ns']:.2f}x |" in rows[2]
    assert f"| {many['energy_pj'] / in_turn['energy_pj']:.2f}x |" in rows[2]
