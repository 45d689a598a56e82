"""Figures for papers: all three kinds, any names, and mistakes that cost one line."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest
from generators import begin_early

from cli.main import run
from models.library import load_network
from models.network import Network
from overlapim import Stop, load_hardware, solve
from overlapim_files import dump, parse
from solver.account.blocks import drawable
from solver.account.plan import account
from solver.timing.problem import Problem

HOSTILE = "</text><script>alert(1)</script> $\\frac{1}{0}$ &amp; 層"
STARTS = {"svg": b"<?xml", "png": b"\x89PNG\r\n", "pdf": b"%PDF-"}


def call(*arguments: str) -> int:
    return run(arguments, time.monotonic())


@pytest.fixture(scope="module")
def solution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A solution of the toy network, one of whose layers has a name that nothing must be read into."""
    network = parse(
        dump(load_network("toy")).replace("name: head", f"name: {json.dumps(HOSTILE)}"), Network, "toy"
    )
    chip = load_hardware("toy").with_weights("static")
    file = tmp_path_factory.mktemp("plot") / "solution.yaml"
    file.write_text(dump(solve(network, chip, method="layerwise", stop=Stop(iterations=1)).solution))
    begin_early(file)
    return file


@pytest.mark.parametrize("kind", STARTS)
def test_every_kind_is_drawn_and_again_the_same(
    solution: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / f"one.{kind}", tmp_path / f"two.{kind.upper()}"
    for out in (first, second):
        assert call("plot", str(solution), "-o", str(out)) == 0
        assert capsys.readouterr().err == f"written: {out}\n"
    assert first.read_bytes().startswith(STARTS[kind])
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [first.name, second.name]


def test_texts_are_those_of_the_plan(solution: Path, tmp_path: Path) -> None:
    from solver.solution import read_verified

    found, plan = read_verified(solution)
    assert call("plot", str(solution), "-o", str(tmp_path / "gantt.svg")) == 0
    root = ElementTree.fromstring((tmp_path / "gantt.svg").read_text())
    texts = ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"stem", "left", "right", "computes", "waits", f"{plan.latency:,} cycles"} <= set(texts)
    assert any(text.startswith("</text><script>") for text in texts)
    assert not list(root.iter("{http://www.w3.org/2000/svg}script"))
    assert any(re.fullmatch("(thousand |million )?cycles", text) for text in texts)
    assert found.latency == plan.latency


def test_bars_are_the_stretches_of_the_account(solution: Path) -> None:
    from matplotlib.figure import Figure

    from cli.show.gantt import draw_bars
    from solver.solution import read_verified

    found, plan = read_verified(solution)
    told = account(Problem(found.network, found.hardware), plan)
    axes = Figure().add_subplot()
    kinds = draw_bars(axes, told)
    resolution, cut = drawable([line.blocks for line in told.layers], 1000)
    assert resolution == 1
    assert kinds == {"compute", "wait"}
    drawn = [path.get_extents() for bars in axes.collections for path in bars.get_paths()]
    spans = sorted((round((box.y0 + box.y1) / 2), box.x0, box.x1) for box in drawn)
    assert spans == sorted((i, x.start, x.end) for i, own in enumerate(cut) for x in own)


@pytest.mark.parametrize("out", ["gantt.gif", "gantt", "gantt.html", ".svg"])
def test_another_ending_costs_one_line(
    solution: Path,
    out: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("plot", str(solution), "-o", out) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"must end in .svg, .png or .pdf, not '{out}'" in line
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_it_says_what_to_do(
    solution: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert call("plot", str(solution), "-o", "gantt.svg") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "error: matplotlib is missing: pip install 'fast-overlapim[plot]'"
