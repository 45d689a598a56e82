"""The report: what it says is what the account says, names stay text, and it works in a browser."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import time
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import fields
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import CHROMIUM, DRIVER, count, hovered, opened, texts
from generators import begin_early

from cli.main import run
from cli.show.tables import joules
from models.library import load_network
from models.network import Layer
from overlapim_files import dump
from solver.account.cycles import Spent
from solver.account.plan import Account, account
from solver.maxplus.latest import postpone
from solver.solution import read_verified
from solver.timing.energy import EnergyParts
from solver.timing.problem import Problem

HOSTILE = {
    "stem": "<img src=x onerror=alert(1)>",
    "left": "</script><script>alert(2)</script>",
    "right": "<b>bold</b> &amp; %{x} $x^2$ \"quoted\" 'single'",
    "head": "{{ 7 * 7 }} <a href='javascript:alert(3)'>link</a>",
}


def call(*arguments: str) -> int:
    return run(arguments, time.monotonic())


def renamed(layer: Layer) -> Layer:
    operands = tuple(
        x.model_copy(update={"producer": HOSTILE.get(x.producer, x.producer)}) for x in layer.operands
    )
    return layer.model_copy(update={"name": HOSTILE[layer.name], "operands": operands})


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the solution and the report of a network whose names are anything but harmless."""
    toy = load_network("toy")
    layers = tuple(map(renamed, toy.layers))
    network = toy.model_copy(update={"name": "</title><script>alert(4)</script>", "layers": layers})
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "net.yaml").write_text(dump(network))
    solve = ("solve", str(folder / "net.yaml"), "--hw", "toy", "--weights", "static", "-m", "layerwise")
    assert call(*solve, "-o", str(folder)) == 0
    begin_early(folder / "solution.yaml")
    assert call("report", str(folder / "solution.yaml"), "-o", str(folder / "report.html")) == 0
    return folder


def told(folder: Path) -> Account:
    solution, plan = read_verified(folder / "solution.yaml")
    return account(Problem(solution.network, solution.hardware), plan)


class Parts(HTMLParser):
    """The tags of a page, the text of its scripts, and its tables and lists as rows of cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.scripts: list[str] = []
        self.nests: list[str] = []
        self.open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open = tag
        if tag in ("tr", "div"):
            self.rows.append([])
        if tag in ("td", "th", "dt", "dd"):
            self.rows[-1].append("")
        if tag == "script":
            self.scripts.append("")
        if tag == "pre":
            self.nests.append("")

    def handle_endtag(self, tag: str) -> None:
        self.open = ""

    def handle_data(self, data: str) -> None:
        if self.open in ("td", "th", "dt", "dd"):
            self.rows[-1][-1] += data
        if self.open == "script":
            self.scripts[-1] += data
        if self.open == "pre":
            self.nests[-1] += data


def values(data: Any) -> list[Any]:
    """Return an array of a Plotly figure, which may have been packed."""
    if isinstance(data, dict):
        return np.frombuffer(b64decode(data["bdata"]), np.dtype(data["dtype"])).tolist()
    return list(data)


@pytest.fixture(scope="module")
def page(hostile: Path) -> Parts:
    return Parts((hostile / "report.html").read_text())


@pytest.fixture(scope="module")
def figures(page: Parts) -> Any:
    return json.loads(page.scripts[0])


# What it says


def test_tables_say_what_the_account_says(hostile: Path, page: Parts) -> None:
    found = told(hostile)
    for line in found.layers:
        row = next(row for row in page.rows if len(row) == 10 and row[0] == line.name)
        counts = (line.profile.rows, line.start, line.end, line.waited)
        assert row[1:3] == [str(len(line.banks)), f"{line.busy:.1%}"]
        assert row[3:7] == [f"{value:,}" for value in counts]
        longest = next((found.layers[i].name for i in line.waited_for), "-")
        assert row[7] == longest
    edges = [row for row in page.rows if len(row) == 4 and row[0] != "producer"]
    assert len(edges) == sum(map(len, found.problem.edges))
    for line, operands in zip(found.layers, found.problem.edges, strict=True):
        for operand, edge in enumerate(operands):
            waited = sum(wait.cycles for wait in line.waits if wait.operand == operand)
            slack = found.readiness(line.index, operand).slack
            names = [found.layers[edge.producer].name, line.name]
            assert [*names, f"{waited:,}", f"{slack:,}"] in edges


def test_summary_says_what_account_and_result_say(hostile: Path, page: Parts) -> None:
    found, result = told(hostile), json.loads((hostile / "result.json").read_text())
    tiles = {row[0]: row[1:] for row in page.rows if len(row) == 3}
    assert tiles["latency"][0] == f"{found.latency:,}"
    assert tiles["interval"][0] == f"{found.interval:,}"
    assert found.energy is not None and tiles["energy"][0] == joules(found.energy.total)
    assert tiles["utilisation"][0] == f"{found.utilisation:.2%}"
    assert tiles["speed-up"][0] == f"{result['sequential'] / found.latency:.2f}x"
    assert found.without_overlap is not None
    assert tiles["overlap"][0] == f"{found.without_overlap / found.latency:.2f}x"
    assert f"{found.without_overlap:,} cycles" in tiles["overlap"][1]
    assert tiles["bound"][0] == "none"


def test_layers_that_begin_late_say_what_comes_just_in_time(hostile: Path) -> None:
    from cli.show.html.text import awaited, layer_text

    early = told(hostile)
    late = account(early.problem, postpone(early.problem, early.plan))
    exact = {line.index: line.just_in_time for line in late.layers if line.just_in_time is not None}
    assert {early.layers[i].name for i in exact} >= {HOSTILE["right"], HOSTILE["head"]}
    for i, wait in exact.items():
        producer = awaited(late, wait)
        said = f"begins so that {producer} is there just in time for block {wait.block + 1:,}"
        assert said in layer_text(late, late.layers[i]) and said not in layer_text(early, early.layers[i])


def test_charts_over_time_say_what_the_account_says(hostile: Path, figures: Any) -> None:
    found = told(hostile)
    drawn = {line.index: [0, 0] for line in found.layers}
    banks = np.zeros(found.hardware.banks, np.int64)
    for kind, trace in zip((0, 1), figures["layers"]["data"], strict=False):
        for row, length in zip(values(trace["y"]), values(trace["x"]), strict=True):
            drawn[row][kind] += length
    for trace in figures["banks"]["data"][:3]:
        for middle, width, length in zip(*(values(trace[x]) for x in ("y", "width", "x")), strict=True):
            banks[round(middle - (width - 1) / 2) :][:width] += length
    assert drawn == {line.index: [line.held - line.waited, line.waited] for line in found.layers}
    assert banks.tolist() == found.bank_times.tolist()


def test_other_charts_say_what_the_account_says(hostile: Path, figures: Any) -> None:
    found, result = told(hostile), json.loads((hostile / "result.json").read_text())
    assert found.energy is not None
    parts = [field.name for field in fields(Spent) if getattr(found.spent, field.name)]
    for part, trace in zip(parts, figures["cycles"]["data"], strict=True):
        assert values(trace["x"]) == [getattr(line.spent, part) for line in found.layers]
    total = found.hardware.banks * found.latency
    shares = [values(trace["x"])[0] * total for trace in figures["whole_chip"]["data"]]
    exact = [*(getattr(found.spent, part) for part in parts), found.idle]
    assert shares == pytest.approx(exact)
    kinds = [field.name for field in fields(EnergyParts) if getattr(found.energy.parts, field.name)]
    for kind, trace in zip(kinds, figures["energy"]["data"], strict=True):
        picojoules = [getattr(line.energy, kind) for line in found.layers]
        assert values(trace["x"]) == pytest.approx([1e-12 * x for x in picojoules])
    held, rows = figures["bank_use"]["data"]
    assert values(held["y"]) == found.bank_times.tolist()
    assert values(rows["y"]) == found.bank_rows.tolist()
    latency, bound = figures["search"]["data"]
    drawn = zip(values(latency["x"]), values(latency["y"]), values(bound["y"]), strict=True)
    assert [list(step) for step in drawn] == result["trace"]


def test_curves_of_edges_are_those_of_the_account(hostile: Path, figures: Any) -> None:
    found = told(hostile)
    index = {line.name: line.index for line in found.layers}
    for edge in figures["edges"]:
        layer, producer = index[edge["reader"]], index[edge["producer"]]
        operand = [x.producer for x in found.problem.edges[layer]].index(producer)
        exact = found.readiness(layer, operand)
        for name, times in (("ready", np.maximum.accumulate(exact.ready)), ("needed", exact.needed)):
            curve = edge[name]
            assert curve["count"] == len(times)
            assert [times[block - 1] for block in curve["blocks"]] == curve["times"]
        assert sum(cycles for _, cycles, _ in edge["waits"]) == edge["waited"]


def test_it_has_loop_nests_and_the_command(hostile: Path, page: Parts) -> None:
    from solver.export.nest import loop_nest

    found = told(hostile)
    nests = [loop_nest(line.profile, found.hardware) for line in found.layers]
    assert page.nests[: len(HOSTILE)] == nests
    assert any(text.startswith("overlapim solve") and "layerwise" in text for text in page.nests)


# What names can do


def test_names_stay_text(hostile: Path, page: Parts) -> None:
    """Between tags of our own and scripts of our own there is nothing else."""
    kinds = {tag for tag, _ in page.tags}
    assert not kinds & {"img", "a", "b", "iframe", "object", "link", "base", "form"}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert [attributes.get("type") for tag, attributes in page.tags if tag == "script"] == [
        "application/json",
        None,
        None,
    ]
    assert "<img src=x" not in (hostile / "report.html").read_text()
    assert "alert(" not in page.scripts[2]


def test_it_loads_nothing(page: Parts) -> None:
    for _, attributes in page.tags:
        assert not {"src", "href", "srcset", "data"} & set(attributes)
    policies = [x["content"] or "" for tag, x in page.tags if tag == "meta" and "http-equiv" in x]
    assert len(policies) == 1
    assert policies[0].startswith("default-src 'none';")
    assert policies[0].count("'sha256-") == 2


# In a browser


@pytest.fixture(scope="module")
def browser(hostile: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("chromium and chromedriver are not installed")
    with opened(hostile / "report.html", tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


def test_browser_draws_it_without_errors(browser: Any, tmp_path: Path) -> None:
    assert count(browser, ".chart") == count(browser, ".chart:has(.trace)") == 8
    picture = tmp_path / "report.png"
    assert browser.save_screenshot(str(picture))
    assert picture.stat().st_size > 20_000
    assert browser.get_log("browser") == []


def test_hovering_shows_the_mapping_and_names_as_they_are(browser: Any, hostile: Path) -> None:
    from cli.show.html.text import loops

    kinds = browser.find_elements("css selector", "[data-figure=layers] .trace.bars")
    bars = [kind.find_elements("css selector", ".point path") for kind in kinds]
    shown = [hovered(browser, bar) for own in bars for bar in own[:: max(1, len(own) // 8)]]
    for line in told(hostile).layers[1:3]:
        mine = [text for text in shown if text.startswith(line.name)]
        assert mine
        assert all(f"mapping: {loops(line.profile.mapping)}" in text for text in mine)
    wait = rf"waits before block \d+ of \d+for {re.escape(HOSTILE['stem'])}, block \d+ of \d+"
    assert any(re.search(wait, text) for text in shown)
    assert count(browser, "img, main a, svg a, svg image") == 0
    assert HOSTILE["stem"] in texts(browser, "[data-figure=layers] .ytick")
    assert browser.get_log("browser") == []


def test_edges_can_be_chosen_and_zooms_go_together(browser: Any) -> None:
    for row in browser.find_elements("css selector", "#edges tbody tr"):
        browser.execute_script("arguments[0].click()", row)
        (chosen,) = texts(browser, "#edge option:checked")
        producer, reader, waited, _ = texts(browser, "#edges .chosen td")
        assert chosen.startswith(f"{producer} → {reader}: {waited}")
        assert browser.execute_script("return document.getElementById('edge-chart').data[1].x.length")
    zoom = "Plotly.relayout(document.querySelector('[data-figure=layers]'), {'xaxis.range': [10, 90]})"
    browser.execute_script(zoom)
    other = "return document.querySelector('[data-figure=banks]').layout.xaxis.range"
    assert browser.execute_script(other) == [10, 90]
    for button in ("share", "nests"):
        browser.execute_script("document.getElementById(arguments[0]).click()", button)
    assert count(browser, "details[open]") == len(HOSTILE)
    assert browser.get_log("browser") == []


def test_it_can_be_printed(browser: Any) -> None:
    printed = b64decode(browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
    assert printed.startswith(b"%PDF")
    assert len(printed) < 3e6
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) >= 3
    assert browser.get_log("browser") == []


# The command


def test_a_hundred_layers_stay_small(tmp_path: Path) -> None:
    forms = {"n": "N", "ch": "C", "h": "P", "w": "Q"}
    axes = {axis: {"terms": {dim: 1}} for axis, dim in forms.items()}
    names = ["in", *(f"a layer with a rather long name, number {i}" for i in range(100))]
    dims = {"K": 16, "C": 16, "P": 64, "Q": 64}
    layers = [
        {"name": name, "dims": dims, "operands": [{"from": before, "axes": axes}]}
        for before, name in itertools.pairwise(names)
    ]
    network = {
        "format": "overlapim/network/1",
        "name": "chain",
        "inputs": [{"name": "in", "shape": [1, 16, 64, 64]}],
        "layers": layers,
    }
    (tmp_path / "net.json").write_text(json.dumps(network))
    how = ("--weights", "static", "-m", "layerwise", "--strategy", "forward")
    solve = ("solve", str(tmp_path / "net.json"), *how)
    assert call(*solve, "-t", "1", "-o", str(tmp_path)) == 0
    assert call("report", str(tmp_path / "solution.yaml"), "-o", str(tmp_path / "report.html")) == 0
    assert (tmp_path / "report.html").stat().st_size < 15e6


def test_a_result_of_another_run_is_left_out(
    hostile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    solution, result = tmp_path / "solution.yaml", tmp_path / "result.json"
    shutil.copy(hostile / "solution.yaml", solution)
    other = json.loads((hostile / "result.json").read_text())
    for text, reason in (
        (json.dumps(other | {"latency": other["latency"] + 1}), "about another solution"),
        (json.dumps(other | {"trace": []}), "trace: must be a list of at least 1"),
        ("[", "not valid YAML"),
    ):
        result.write_text(text)
        assert call("report", str(solution), "-o", str(tmp_path / "report.html")) == 0
        said = capsys.readouterr().err.splitlines()
        assert said[0].startswith(f"left out: {result}")
        assert reason in said[0]
        page = Parts((tmp_path / "report.html").read_text())
        assert not any(row[0] == "speed-up" for row in page.rows if row)
        assert json.loads(page.scripts[0])["search"] is None


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("report.pdf", "must end in .html, not 'report.pdf'"),
        (".html", "must end in .html"),
        ("no/such/folder/report.html", "no such file or directory"),
    ],
)
def test_mistakes_cost_one_line(
    hostile: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    out: str,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("report", str(hostile / "solution.yaml"), "-o", out) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert list(tmp_path.iterdir()) == []


def test_missing_libraries_cost_one_line(
    hostile: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert call("report", str(hostile / "solution.yaml"), "-o", "report.html") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "error: plotly and jinja2 are missing: pip install 'fast-overlapim[report]'"
