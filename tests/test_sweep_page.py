"""The page of a sweep: it works in a browser, names stay text, and its reports open."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import CHROMIUM, DRIVER, count, hovered, opened, texts
from test_sweep import sweep_inline

from cli.main import run
from solver.sweep.folder import SweepFolder
from solver.sweep.front import fronts
from solver.sweep.table import sweep_rows

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> {{ 7 * 7 }}"
SPEC = f"""\
format: overlapim/sweep/1
networks: [toy]
chips:
  - from: toy
    name: {json.dumps(HOSTILE)}
    set: {{columns_per_bank: [8, 16], banks_per_channel: [2, 4]}}
batch: [1, 2]
weights: [static, shared]
method: sequential
deterministic: true
where: lanes < 64 or weights == 'shared'
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "designs"
    sweep_inline(folder, SPEC)
    assert run(["sweep", "--show", str(folder), "-q"], time.monotonic()) == 0
    return folder


@pytest.fixture
def browser(folder: Path, tmp_path: Path) -> Iterator[Any]:
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("chromium and chromedriver are not installed")
    with opened(folder / "index.html", tmp_path / "chromium") as driver:
        yield driver


def chosen(browser: Any) -> str:
    (text,) = texts(browser, "#chosen")
    return text


def values(browser: Any, chart: str, trace: int, axis: str) -> list[Any]:
    script = "return Array.from(document.getElementById(arguments[0]).data[arguments[1]][arguments[2]])"
    found: list[Any] = browser.execute_script(script, chart, trace, axis)
    return found


def pick(browser: Any, name: str, value: str) -> None:
    """Choose an option as a person does."""
    script = "const x = document.getElementById(arguments[0]); x.value = arguments[1];"
    browser.execute_script(f"{script} x.dispatchEvent(new Event('change'))", name, value)


def test_it_shows_every_design_along_two_axes_and_along_all(browser: Any, folder: Path) -> None:
    one, two = fronts(sweep_rows(SweepFolder(folder)))
    for i, own in enumerate((one, two)):
        pick(browser, "group", str(i))
        for y, unit in (("latency_ns", 1e6), ("energy_pj", 1e6), ("inferences_per_s", 1)):
            pick(browser, "up", y)
            shown = zip(values(browser, "front", 1, "x"), values(browser, "front", 1, "y"), strict=True)
            wanted = [(row["lanes"], row[y] / unit) for row in own.front]
            assert np.array(sorted(shown)) == pytest.approx(np.array(sorted(wanted)))
        assert len(values(browser, "front", 0, "x")) == len(own.rows) - len(own.front)
        axes = texts(browser, "#parallel .xtick")
        assert axes == [
            "columns_per_bank",
            "banks_per_channel",
            "weights",
            "latency",
            "energy",
            "inferences/s",
            "lanes",
        ]
        drawn = [x for trace in (0, 1) for x in values(browser, "parallel", trace, "x") if x is not None]
        assert len(drawn) == len(own.rows) * len(axes)
    pick(browser, "across", "chip.columns_per_bank")
    assert set(values(browser, "front", 1, "x")) <= {8, 16}
    assert count(browser, ".chart:has(.trace)") == 2
    assert browser.get_log("browser") == []


def test_hovering_names_the_chip_and_a_click_leads_to_its_report(browser: Any, folder: Path) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.support.ui import WebDriverWait

    (front, _) = fronts(sweep_rows(SweepFolder(folder)))
    points = browser.find_elements("css selector", "#front .trace.scatter:nth-of-type(2) .point")
    assert len(points) == len(front.front)
    shown = hovered(browser, points[0])
    assert HOSTILE[:20] in shown and "lanes" in shown and "columns_per_bank" in shown
    ActionChains(browser).click().perform()
    WebDriverWait(browser, 10).until(lambda _: count(browser, "#chosen a"))
    names = {row["name"]: row for row in front.front}
    (name,) = [name for name in names if name in chosen(browser)]
    assert texts(browser, "tr.chosen td")[1] == name
    assert values(browser, "front", 3, "x") == [names[name]["lanes"]]
    assert count(browser, "img, script[src]") == 0
    browser.find_element("css selector", "#chosen a").click()
    assert browser.title == f"toy on {name}"
    assert count(browser, ".chart") == count(browser, ".chart:has(.trace)") > 5
    assert browser.get_log("browser") == []
