"""The command line as a person uses it: answers, files, and mistakes that cost one line each."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cli.interrupt import interruptible
from cli.main import run
from hw.library import load_hardware
from models.library import load_network
from overlapim_files import digest, dump, load
from solver.account.plan import account
from solver.bound.quick import quick_bound
from solver.schedule.bins import Bins, Item
from solver.schedule.packing import least_capacity
from solver.solution import Solution, read_verified
from solver.stop import Stop
from solver.timing.problem import Problem

COMMAND = [sys.executable, "-m", "cli.main"]
TOY = ["toy", "--hw", "toy"]


def call(*arguments: str) -> int:
    return run(arguments, time.monotonic())


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with what one run has written."""
    out = tmp_path_factory.mktemp("solved") / "deep" / "results"
    assert call("solve", *TOY, "--weights", "static", "-m", "layerwise", "-s", "7", "-o", str(out)) == 0
    return out


# Answers


def test_solve_writes_a_solution_that_verifies(solved: Path) -> None:
    solution, plan = read_verified(solved / "solution.yaml")
    assert solution.latency == plan.latency
    assert (solution.method, solution.seed, solution.hardware.weights) == ("layerwise", 7, "static")
    assert sorted(path.name for path in solved.iterdir()) == ["result.json", "solution.yaml"]


def test_result_file(solved: Path) -> None:
    result = json.loads((solved / "result.json").read_text())
    solution = load(solved / "solution.yaml", Solution)
    assert result["latency"] == solution.latency <= result["sequential"]
    assert result["trace"][-1][1] == result["latency"]
    assert [latency for _, latency, _ in result["trace"]] == sorted(
        (latency for _, latency, _ in result["trace"]), reverse=True
    )
    assert all(0 <= seconds <= result["wall_s"] for seconds, _, _ in result["trace"])
    assert result["inputs"] == {"network": digest(solution.network), "hardware": digest(solution.hardware)}
    assert {"python", "overlapim", "numpy"} <= set(result["versions"])
    assert 0 < result["utilisation"] <= 1
    assert 0 < result["bottleneck"] <= result["latency"]
    known = {"bound", "bound_scope", "gap", "status", "method", "seed", "interrupted", "candidates"}
    assert known <= set(result)
    for kind in ("", "pool_"):
        assert (result[f"{kind}bound"] is None) == (result[f"{kind}gap"] is None)


def test_table(solved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    solution, plan = read_verified(solved / "solution.yaml")
    assert call("evaluate", str(solved / "solution.yaml")) == 0
    out = capsys.readouterr().out
    assert out.rstrip().endswith("agrees")
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.split()}
    told = account(Problem(solution.network, solution.hardware), plan)
    for layer, line, times in zip(solution.network.layers, told.layers, plan.timeline.layers, strict=True):
        row = rows[layer.name]
        held = (times.end - times.start) * times.profile.banks * solution.hardware.columns_per_bank
        assert row[1] == str(times.profile.banks)
        assert row[2] == f"{layer.macs * solution.hardware.mac_cycles / held:.1%}"
        assert row[3:6] == [f"{value:,}" for value in (times.start, times.end, times.waited)]
        waited = line.waited_for
        longest = solution.network.layers[max(waited, key=waited.__getitem__)].name if waited else "-"
        assert row[6] == longest
        assert sum(waited.values()) == times.waited
    assert rows["latency"][1] == f"{solution.latency:,}"


def test_simulate_agrees(solved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("simulate", str(solved / "solution.yaml")) == 0
    assert capsys.readouterr().out.rstrip().endswith("agrees")


def test_anytime_search_tells_of_improvements(capsys: pytest.CaptureFixture[str]) -> None:
    started = time.monotonic()
    assert call("solve", *TOY, "--weights", "static", "-t", "1.5", "-j", "1") == 0
    assert time.monotonic() - started < 2.5
    captured = capsys.readouterr()
    latencies = [
        int(re.findall(r"([\d,]+) cycles", line)[0].replace(",", "")) for line in captured.err.splitlines()
    ]
    assert latencies == sorted(latencies, reverse=True)
    assert f"latency     {latencies[-1]:,} cycles" in captured.out
    assert "x as fast as sequential" in captured.out
    assert "no valid solution is faster; the gap is" in captured.out


@pytest.fixture
def proving(monkeypatch: pytest.MonkeyPatch) -> None:
    """A method that proves three quarters of its latency, and seven eighths over the candidates."""
    from solver.methods import METHODS
    from solver.run import Run

    def method(run: Run) -> None:
        latency = run.sequential.latency
        run.found(run.sequential)
        run.bounded(latency * 3 // 4)
        run.candidates_bounded(latency * 7 // 8, 1234)

    monkeypatch.setitem(METHODS, "proving", method)


@pytest.mark.usefixtures("proving")
def test_bounds_are_shown_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("solve", *TOY, "-m", "proving", "-o", str(tmp_path)) == 0
    out = capsys.readouterr().out
    result = json.loads((tmp_path / "result.json").read_text())
    latency = result["latency"]
    assert (result["bound"], result["pool_bound"], result["candidates"]) == (
        latency * 3 // 4,
        latency * 7 // 8,
        1234,
    )
    assert result["gap"] == pytest.approx(0.25, abs=1e-3)
    assert result["pool_gap"] == pytest.approx(0.125, abs=1e-3)
    first = quick_bound(Problem(load_network("toy"), load_hardware("toy")))
    assert [entry[1:] for entry in result["trace"]] == [[latency, first], [latency, latency * 3 // 4]]
    assert f"bound       {latency * 3 // 4:,} cycles: no valid solution is faster; the gap is 25.0%" in out
    assert f"candidates  bound {latency * 7 // 8:,} over 1,234 candidate mappings, gap 12.5%" in out
    assert call("evaluate", str(tmp_path / "solution.yaml")) == 0
    assert f"{latency * 3 // 4:,} cycles over all valid solutions, says the file" in capsys.readouterr().out


def test_go_on_from_a_solution(solved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = load(solved / "solution.yaml", Solution)
    warm = ["--warm-start", str(solved / "solution.yaml"), "--weights", "static"]
    assert call("solve", *TOY, *warm, "-m", "sequential", "-o", str(tmp_path)) == 0
    solution, _ = read_verified(tmp_path / "solution.yaml")
    assert (solution.latency, solution.method) == (known.latency, "sequential")
    assert json.loads((tmp_path / "result.json").read_text())["sequential"] > known.latency
    assert f"latency     {known.latency:,} cycles" in capsys.readouterr().out


def test_deterministic_means_the_same_file_from_every_process(tmp_path: Path) -> None:
    written = []
    for name in ("first", "second"):
        out = tmp_path / name
        arguments = ["solve", *TOY, "--weights", "static", "--deterministic", "-t", "0.7", "-s", "4"]
        environment = {**os.environ, "PYTHONHASHSEED": str(len(name))}
        done = subprocess.run([*COMMAND, *arguments, "-o", str(out)], env=environment, timeout=60)
        assert done.returncode == 0
        written.append((out / "solution.yaml").read_bytes())
    assert written[0] == written[1]


def test_nothing_is_written_without_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("solve", *TOY, "-m", "sequential") == 0
    assert list(tmp_path.iterdir()) == []


def test_files_in_place_of_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chip, net = tmp_path / "chip.yaml", tmp_path / "net.yaml"
    for command, file in (("hw", chip), ("models", net)):
        assert call(command, "show", "toy", "--file") == 0
        file.write_text(capsys.readouterr().out)
        assert call(command, "check", str(file)) == 0
        assert "valid       yes" in capsys.readouterr().out
    assert call("solve", str(net), "--hw", str(chip), "-m", "sequential") == 0


@pytest.mark.parametrize("command", ["hw", "models"])
def test_catalogue(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(command, "list") == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()[2:]]
    assert "toy" in names
    for name in names:
        assert call(command, "show", name) == 0
        assert name in capsys.readouterr().out


def test_totals(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("hw", "check", "toy") == 0
    assert call("models", "check", "toy") == 0
    out = capsys.readouterr().out
    # 8 banks of 16 lanes of 2048 bits; 12 cycles of 1 ns for a multiply-accumulate.
    for fact in (
        "262,144 bits",
        "128 (16 a bank)",
        "1.067e+10 MAC/s",
        "24,144",
        "936",
        "head 1 x 10 x 1 x 1",
    ):
        assert fact in out


@pytest.mark.parametrize("command", [[], ["solve"], ["evaluate"], ["simulate"], ["hw", "show"], ["bench"]])
def test_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*command, "--help") == 0
    assert "Usage: overlapim" in capsys.readouterr().out


def test_help_of_solve_names_the_methods(capsys: pytest.CaptureFixture[str]) -> None:
    from solver.methods import METHODS

    call("solve", "--help")
    out = capsys.readouterr().out
    assert all(method in out for method in METHODS)


def test_help_is_there_without_the_solver() -> None:
    program = "import sys, cli.main; print([m for m in ('numpy', 'pydantic', 'solver') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Mistakes

MISTAKES = {
    "unknown command": (["sovle"], "'solve'"),
    "no network": (["solve"], "NETWORK"),
    "two networks": (["solve", "toy", "toy"], "toy"),
    "unknown option": (["solve", "toy", "--outt", "x"], "--out"),
    "option without value": (["solve", "toy", "--hw"], "--hw"),
    "unknown network": (["solve", "resnet19", "-o", "out"], "did you mean 'resnet18'"),
    "unknown chip": (["solve", "toy", "--hw", "tory", "-o", "out"], "did you mean 'toy'"),
    "unknown method": (["solve", *TOY, "-m", "layerwse", "-o", "out"], "layerwise"),
    "unknown weights": (["solve", *TOY, "--weights", "both", "-o", "out"], "static or shared or reload"),
    "negative time": (["solve", *TOY, "-t", "-1", "-o", "out"], "--time-limit"),
    "no time": (["solve", *TOY, "--time-limit", "0", "-o", "out"], "from 0.1 to"),
    "time is nan": (["solve", *TOY, "-t", "nan", "-o", "out"], "--time-limit"),
    "endless time": (["solve", *TOY, "-t", "inf", "-o", "out"], "--time-limit"),
    "no workers": (["solve", *TOY, "--workers", "0", "-o", "out"], "from 1 to 256"),
    "many workers": (["solve", *TOY, "-j", "100000", "-o", "out"], "from 1 to 256"),
    "workers of a deterministic search": (["solve", *TOY, "-D", "-j", "4", "-o", "out"], "--deterministic"),
    "deterministic time is nan": (["solve", *TOY, "--deterministic", "-t", "nan"], "--time-limit"),
    "deterministic with a value": (["solve", *TOY, "--deterministic=yes"], "--deterministic"),
    "seed of a deterministic search": (["solve", *TOY, "--deterministic", "-s", "1.5"], "--seed"),
    "warm start is missing": (["solve", *TOY, "-W", "missing.yaml", "-o", "out"], "missing.yaml"),
    "warm start is a directory": (["solve", *TOY, "-W", ".", "-o", "out"], "directory"),
    "warm start without a name": (["solve", *TOY, "-W", "", "-o", "out"], "directory"),
    "warm start is text": (["solve", *TOY, "--warm-start", "file.txt", "-o", "out"], "file.txt:1"),
    "too much to try": (["solve", *TOY, "-m", "exhaustive", "-o", "out"], "exhaustive"),
    "seed is text": (["solve", *TOY, "-s", "x", "-o", "out"], "--seed"),
    "batch is text": (["solve", *TOY, "--batch", "x"], "must be an integer from 1 to 1048576, not 'x'"),
    "negative seed": (["solve", *TOY, "--seed", "-3", "-o", "out"], "--seed"),
    "does not fit": (["solve", "resnet18", "--hw", "toy", "-o", "out/deep"], "rows"),
    "out is empty": (["solve", *TOY, "--out", ""], "--out"),
    "out is a file": (["solve", *TOY, "-o", "file.txt"], "--out"),
    "out below a file": (["solve", *TOY, "-o", "file.txt/out"], "--out"),
    "network is missing": (["solve", "missing.yaml"], "missing.yaml"),
    "network is text": (["solve", "./file.txt"], "file.txt:1"),
    "solution is missing": (["evaluate", "missing.yaml"], "missing.yaml"),
    "solution is a directory": (["simulate", "."], "directory"),
    "solution is text": (["evaluate", "file.txt"], "file.txt:1"),
    "hw without command": (["hw"], "Missing command; give one of list, show, check, derive (see"),
    "derive without technology": (["hw", "derive"], "Missing command; give one of bitsimd, simdram"),
    "bench without benchmark": (["bench"], "Missing command; give one of anytime"),
    "unknown benchmark": (["bench", "nothing"], "No such command 'nothing'; give one of anytime"),
    "network is empty": (["solve", ""], "no network and no file is called ''"),
    "chip is empty": (["hw", "check", ""], "no preset and no file is called ''"),
    "directory of something else": (["solve", "."], "each file of a directory must be a Timeloop problem"),
    "chip is text": (["hw", "check", "./file.txt"], "file.txt:1"),
    "unknown chip to show": (["hw", "show", "toi"], "did you mean 'toy'"),
    "network of the wrong kind": (["models", "check", "chip.yaml"], "overlapim/network/1"),
    "unknown network to show": (["models", "show", "resne18"], "did you mean 'resnet18'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(
    mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, told = MISTAKES[mistake]
    monkeypatch.chdir(tmp_path)
    Path("file.txt").write_text("just text\n")
    Path("chip.yaml").write_text("format: overlapim/hardware/1\n")
    assert call(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    assert told in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chip.yaml", "file.txt"]


WARM_STARTS = {
    "network": (["resnet18", "--hw", "toy", "--weights", "static"], "network: name is toy, not resnet18"),
    "chip": (["toy", "--weights", "static"], "chip: name is toy, not hbm2-bitsimd"),
    "weights": ([*TOY, "--weights", "shared"], "chip: weights is static, not shared"),
}


@pytest.mark.parametrize("other", WARM_STARTS)
def test_a_warm_start_of_something_else(
    other: str, solved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, told = WARM_STARTS[other]
    file = str(solved / "solution.yaml")
    assert call("solve", *arguments, "-W", file, "-o", str(tmp_path / "out")) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert captured.out == "" and told in line and file in line
    assert list(tmp_path.iterdir()) == []


def test_a_forged_warm_start(solved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    forged = tmp_path / "forged.yaml"
    solution = load(solved / "solution.yaml", Solution)
    forged.write_text(dump(solution.model_copy(update={"latency": solution.latency - 1})))
    assert call("solve", *TOY, "--weights", "static", "-W", str(forged)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "latency" in line and "forged.yaml" in line


def test_errors_of_the_process_are_one_line_too() -> None:
    done = subprocess.run([*COMMAND, "solve", "toy", "-t", "x"], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


@pytest.mark.parametrize("command", ["evaluate", "simulate"])
@pytest.mark.parametrize("key", ["start", "end"])
def test_tampered_times_are_refused(
    command: str, key: str, solved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    solution = load(solved / "solution.yaml", Solution)
    record = solution.layers["left"]
    changed = record.model_copy(update={key: getattr(record, key) + 1})
    forged = solution.model_copy(update={"layers": {**solution.layers, "left": changed}})
    file = tmp_path / "forged.yaml"
    file.write_text(dump(forged))
    assert call(command, str(file)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"layer 'left': {key} is {getattr(record, key)}" in line


@pytest.mark.parametrize("command", ["evaluate", "simulate"])
def test_an_impossible_mapping_is_refused(
    command: str, solved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    solution = load(solved / "solution.yaml", Solution)
    record = solution.layers["right"]
    changed = record.model_copy(update={"loops": record.loops[1:]})
    forged = solution.model_copy(update={"layers": {**solution.layers, "right": changed}})
    file = tmp_path / "forged.yaml"
    file.write_text(dump(forged))
    assert call(command, str(file)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert str(file) in line
    assert "layer 'right'" in line


def test_every_difference_is_told(solved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    solution = load(solved / "solution.yaml", Solution)
    layers = {name: record.model_copy(update={"end": 1}) for name, record in solution.layers.items()}
    file = tmp_path / "forged.yaml"
    file.write_text(dump(solution.model_copy(update={"layers": layers, "latency": 1})))
    assert call("evaluate", str(file)) == 2
    assert len(capsys.readouterr().err.splitlines()) == len(layers) + 1


def test_names_from_files_are_not_markup(
    solved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (solved / "solution.yaml").read_text()
    file = tmp_path / "odd.yaml"
    file.write_text(re.sub(r"\bhead\b", '"[bold]h\\\\n"', text))
    assert call("evaluate", str(file)) == 0
    assert r"[bold]h\n" in capsys.readouterr().out


# Signals


def _interrupted(out: Path, number: int, *how: str) -> tuple[int, str, str]:
    """Start a long search, send a signal once there is an answer, and return how it ends."""
    arguments = ["solve", "toy", "--weights", "static", "-t", "100", *how, "-o", str(out)]
    with subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert "cycles" in process.stderr.readline()
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=30)
    return process.returncode, stdout, stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("how", [("-j", "2"), ("--deterministic",)])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_search_with_what_it_has(
    number: signal.Signals, how: tuple[str, ...], tmp_path: Path
) -> None:
    code, stdout, stderr = _interrupted(tmp_path / "out", number, *how)
    assert code == 0
    assert "latency" in stdout
    assert f"interrupted by {number.name}" in stderr
    solution, _ = read_verified(tmp_path / "out" / "solution.yaml")
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["interrupted"]
    assert result["latency"] == solution.latency
    assert result["wall_s"] < 50


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_heard_while_the_main_thread_is_in_a_library(number: signal.Signals) -> None:
    with interruptible() as interrupt:
        heard: list[float] = []

        def listen() -> None:
            os.kill(os.getpid(), number)
            while not interrupt.is_set():
                time.sleep(0.001)
            heard.append(time.monotonic())

        listener = threading.Thread(target=listen)
        listener.start()
        hashlib.pbkdf2_hmac("sha256", b"", b"", 3_000_000)  # runs no handler for more than a second
        ended = time.monotonic()
        listener.join()
        assert heard[0] < ended - 0.1 and interrupt.name == number.name
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
            time.sleep(1)
    assert interrupt.is_set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_solver_does_not_keep_signals_to_itself(number: signal.Signals) -> None:
    """An easy model with a hard proof; the signal comes while it is solved, and ends that at once."""
    with interruptible() as interrupt:
        stop = Stop(seconds=60, interrupt=interrupt)
        sizes = [977 + 131 * i * i % 613 for i in range(60)]
        items = [[Item(1, 1, size, 0)] for size in sizes]
        threading.Timer(0.5, os.kill, (os.getpid(), number)).start()
        least_capacity(Bins(7, 1, 10**6), items, 1e9, stop)
        assert interrupt.name == number.name and stop.wall() < 30


def test_output_that_nobody_reads() -> None:
    with subprocess.Popen(
        [*COMMAND, "models", "show", "resnet50", "--file"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1
