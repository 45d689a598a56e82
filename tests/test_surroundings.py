"""Odd surroundings: full disks, no home, plain locales, two runs at once, and names that want to be something
else. One line says what is wrong, if anything is, and nothing is left half-written."""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from cli.main import run
from hw.library import load_hardware
from models.library import load_network
from overlapim_files import dump, remove_unfinished, write_text
from solver.solution import read_verified

PROGRAM = [sys.executable, "-c", "from cli.start import main; main()"]
SOLVE = "solve toy --hw toy -m layerwise -t 20 -j 1"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and devices of Linux")


def call(
    command: str, folder: Path, stdout: str = "", most: int | None = None, **environment: str | None
) -> tuple[int, str]:
    """Run a command in a folder, perhaps with a limit of bytes for each file; return its code and errors."""

    def limited() -> None:
        if most is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    inherited = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), **environment}
    given = {key: value for key, value in inherited.items() if value is not None}
    with open(stdout or os.devnull, "w") as out:  # noqa: PTH123 - a device
        done = subprocess.run(
            [*PROGRAM, *shlex.split(command)],
            cwd=folder,
            env=given,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            errors="strict",
            preexec_fn=limited,
        )
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a solution in `out`."""
    folder = tmp_path_factory.mktemp("solved")
    assert run([*shlex.split(SOLVE), "-o", str(folder / "out")], time.monotonic()) == 0
    return folder


# Where there is no room


WRITING = {
    SOLVE + " -o new/out": ["new/out"],
    "trace out/solution.yaml -o t.json": [],
    "report out/solution.yaml -o r.html": [],
    "plot out/solution.yaml -o p.svg": [],
    "evaluate out/solution.yaml --table t.parquet": [],
    "evaluate out/solution.yaml --recompute -o again": ["again"],
    "front toy --hw toy -t 1 -j 1 -o front": ["front"],
}


@pytest.mark.parametrize("command", WRITING)
def test_a_full_disk_leaves_what_was_there(command: str, solved: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in solved.rglob("*") if file.is_file()}
    code, said = call(command, solved, most=1000)
    assert code == 2 and re.search(r"^error: .*cannot be written: file too large$", said, re.MULTILINE)
    assert len([line for line in said.splitlines() if line.startswith("error")]) == 1
    assert {file: file.stat().st_mtime_ns for file in solved.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("command", ["models list", "hw list --json", "evaluate out/solution.yaml"])
def test_output_to_a_full_device_gets_one_line(command: str, solved: Path) -> None:
    assert call(command, solved, stdout="/dev/full") == (1, "error: no space left on device\n")


@pytest.mark.parametrize("command", ["solve toy --hw toy -j 1 -o {}", "bench exhaustive --networks 1 -o {}"])
def test_a_folder_that_takes_nothing_is_found_out_first(command: str, tmp_path: Path) -> None:
    began = time.monotonic()
    code, said = call(command.format("/proc/results"), tmp_path)
    assert code == 2 and said.startswith("error: --out: /proc/results cannot be made a directory")
    assert said.count("\n") == 1 and time.monotonic() - began < 60


# Environments


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C", "LANG": None, "PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "nowhere.NONE", "TERM": "nothing", "COLUMNS": "x"},
        {"HOME": None, "TMPDIR": "/nonexistent", "XDG_CACHE_HOME": None},
        {"HOME": "/nonexistent", "MPLCONFIGDIR": "/nonexistent"},
    ],
    ids=str,
)
@pytest.mark.parametrize("command", [SOLVE + " -o {}", "models list", "plot out/solution.yaml -o {}.svg"])
def test_odd_environments_change_nothing(
    environment: dict[str, str | None], command: str, solved: Path, tmp_path: Path
) -> None:
    code, said = call(command.format(tmp_path / "x"), solved, **environment)
    assert code == 0, said
    assert "Traceback" not in said and "Error" not in said
    if command.startswith("solve"):
        ours, theirs = (Path(x) / "solution.yaml" for x in (solved / "out", tmp_path / "x"))
        assert ours.read_text() == theirs.read_text()


# Names


NAMES = ("<script>alert(1)</script>", "\x1b[31mred\x1b[0m", "a\nb", "../../x" + "n" * 180)
INPUT = "</title><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a network and a chip of hostile names, and a solution."""
    folder = tmp_path_factory.mktemp("hostile")
    network = yaml.safe_load(dump(load_network("toy")))
    names = dict(zip((layer["name"] for layer in network["layers"]), NAMES, strict=True))
    names[network["inputs"][0]["name"]] = INPUT
    for layer in (*network["inputs"], *network["layers"]):
        layer["name"] = names[layer["name"]]
        for operand in layer.get("operands", ()):
            operand["from"] = names[operand["from"]]
    network["name"] = "../<b>&\"'net\x1b]0;t\x07"
    chip = yaml.safe_load(dump(load_hardware("toy")))
    chip |= {
        "name": "../chip</script><script>alert(2)</script>",
        "source": "\x1b[2J<script>alert(3)</script>",
    }
    for name, data in (("net.yaml", network), ("chip.yaml", chip)):
        (folder / name).write_text(yaml.safe_dump(data, sort_keys=False))
    net, own, out = (str(folder / name) for name in ("net.yaml", "chip.yaml", "out"))
    assert run(["solve", net, "--hw", own, "-m", "layerwise", "-t", "20", "-o", out], time.monotonic()) == 0
    return folder


@pytest.mark.parametrize(
    "command",
    [
        "solve net.yaml --hw chip.yaml -m layerwise -t 20 --json",
        "evaluate out/solution.yaml",
        "evaluate out/solution.yaml --table t.csv",
        "explain out/solution.yaml -t 1",
        "export out/solution.yaml --to loops",
        "export out/solution.yaml --to timeloop -o timeloop",
        "compare out/solution.yaml out/solution.yaml",
        "trace out/solution.yaml -o t.json",
        "plot out/solution.yaml -o p.svg",
        "models show net.yaml",
        "models check net.yaml",
        "hw show chip.yaml",
        "hw check chip.yaml",
    ],
)
def test_names_control_neither_terminal_nor_paths(
    command: str, hostile: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(hostile)
    around = set(hostile.parent.iterdir())
    assert run(shlex.split(command), time.monotonic()) == 0
    said = capfd.readouterr()
    assert all(c.isprintable() or c == "\n" for c in said.out + said.err)
    assert set(hostile.parent.iterdir()) == around
    if command.startswith("trace"):
        json.loads((hostile / "t.json").read_text())


class _Elements(HTMLParser):
    """Collects what a page would run, or look up."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._script = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._script = tag == "script"
        self.found += [f"{tag} {name}" for name, _ in attributes if name.startswith("on")]
        self.found += [tag for _ in range(tag == "img")]

    def handle_data(self, data: str) -> None:
        if self._script and data.lstrip().startswith("alert("):
            self.found.append(data)


def test_names_are_no_part_of_a_page(hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(hostile)
    assert run(["report", "out/solution.yaml", "-o", "r.html"], time.monotonic()) == 0
    assert run(["plot", "out/solution.yaml", "-o", "p.svg"], time.monotonic()) == 0
    for name in ("r.html", "p.svg"):
        page = _Elements()
        page.feed((hostile / name).read_text())
        assert not page.found
    assert "&lt;script&gt;alert(1)" in (hostile / "r.html").read_text()


# Two at once


@pytest.mark.skipif(sys.platform != "linux", reason="names are text elsewhere")
def test_names_that_are_no_text_are_written_as_escapes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = os.fsdecode(b"a\xff")
    for words in (
        ["solve", "toy", "--hw", "toy", "-D", "-t", "0.2", "-o", folder],
        ["evaluate", f"{folder}/solution.yaml", "--json"],
        ["explain", f"{folder}/solution.yaml", "-t", "0.1"],
        ["report", f"{folder}/solution.yaml", "-o", f"{folder}.html"],
    ):
        assert run(words, time.monotonic()) == 0, words
    assert "left out" not in capsys.readouterr().err
    record = json.loads((tmp_path / folder / "result.json").read_text())
    assert record["command"].endswith(r"-o 'a\udcff'")


def test_two_runs_into_one_folder_leave_whole_files(tmp_path: Path) -> None:
    root = str(Path(__file__).parent.parent)
    command = [*PROGRAM, *shlex.split(SOLVE), "-o", "out", "-q"]
    both = [
        subprocess.Popen(
            [*command, "--seed", str(seed)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": root},
            stdout=subprocess.DEVNULL,
        )
        for seed in (0, 1)
    ]
    assert [process.wait() for process in both] == [0, 0]
    solution, _ = read_verified(tmp_path / "out/solution.yaml")
    assert json.loads((tmp_path / "out/result.json").read_text())["latency"] == solution.latency
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"solution.yaml", "result.json"}


def test_files_without_names_are_written_where_there_are_none_of_these(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on file systems that know no such files: there is one with a name for as long as it is written."""
    monkeypatch.setattr("overlapim_files.disk._nameless", lambda folder: None)
    write_text(tmp_path / "a.yaml", "old")
    write_text(tmp_path / "a.yaml", "new")
    assert (tmp_path / "a.yaml").read_text() == "new" and len(list(tmp_path.iterdir())) == 1
    (tmp_path / ".overlapim-1-x").write_text("half")
    remove_unfinished(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
