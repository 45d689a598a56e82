"""What is seen while work goes on: on a terminal, off it, and with --quiet."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.main import run
from cli.show.progress import BARS, MOST, SearchProgress, curve, search_progress
from solver.run import Improvement

TOY = ["solve", "toy", "--hw", "toy", "--weights", "static", "--deterministic", "-t", "1"]


def test_lines_of_a_search() -> None:
    progress = SearchProgress(100.0, 20.0)
    progress.doing("walks")
    assert progress.lines(104.0, 80) == ["4.0 of 20 s, 16.0 s left  walks"]
    progress.improved(Improvement(1.0, 2000, 1000))
    progress.improved(Improvement(2.0, 2000, 1500))
    assert progress.lines(104.0, 80)[1:] == ["2,000 cycles, bound 1,500, gap 25.0%"]
    progress.improved(Improvement(3.0, 1600, 1500))
    now, known, drawn = progress.lines(123.0, 80)
    assert now == "23.0 of 20 s, 0.0 s left  walks"
    assert known == "1,600 cycles, bound 1,500, gap 6.2%"
    assert re.fullmatch(r"2,000 at 1.0 s █+▁+ 1,600, 20.0 s ago", drawn)
    assert len(drawn) <= 80
    assert progress.lines(123.0, 20)[1:] == [known]
    assert SearchProgress(100.0, None).lines(101.0, 80) == ["1.0 s  starting"]


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 10**12)), min_size=1), st.floats(0, 200))
def test_a_curve_falls_to_its_least(points: list[tuple[float, int]], until: float) -> None:
    times = sorted(seconds for seconds, _ in points)
    values = sorted((value for _, value in points), reverse=True)
    drawn = curve(list(zip(times, values, strict=True)), until, 40)
    heights = [BARS.index(bar) for bar in drawn]
    assert len(heights) == 40
    assert all(high >= low for high, low in pairwise(heights))
    assert heights[-1] == 0
    if len(times) > 1 and times[0] + 1e-9 < times[1] and values[0] > values[-1]:
        assert heights[0] == len(BARS) - 1


def test_lines_off_a_terminal_are_few(capsys: pytest.CaptureFixture[str]) -> None:
    progress = search_progress(time.monotonic(), None)
    progress.doing("something")
    for i in range(30):
        progress.improved(Improvement(0.1 * i, 900, 100 + i))
    progress.improved(Improvement(2.95, 800, 129))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert lines[-1].endswith("2.95 s  800 cycles, bound 129, gap 83.9%")


def test_quiet_leaves_only_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*TOY, "-m", "layerwise"], time.monotonic()) == 0
    loud = capsys.readouterr()
    assert run([*TOY, "-m", "layerwise", "--quiet"], time.monotonic()) == 0
    quiet = capsys.readouterr()
    assert loud.err and not quiet.err
    assert quiet.out == loud.out
    assert run(["evaluate", "nowhere.yaml", "--quiet"], time.monotonic()) == 2
    assert capsys.readouterr().err.startswith("error: nowhere.yaml")


def _on_a_terminal(*arguments: str) -> tuple[str, str]:
    """Return what Python draws on a terminal of 80 columns, and its standard output."""
    main, terminal = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=terminal, env=environment
    ) as process:
        os.close(terminal)
        drawn = b"".join(_chunks(main))
        out = process.communicate()[0]
    os.close(main)
    assert process.returncode == 0
    return drawn.decode(), out.decode()


def _chunks(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            chunk = os.read(terminal, 2**16)
        except OSError:  # how Linux says that the other side is closed
            return
        if not chunk:
            return
        yield chunk


SEARCH = """
import time
from cli.show.progress import moving, search_progress
from solver.run import Improvement
with moving(search_progress(time.monotonic(), 20)) as progress:
    progress.doing("walks")
    progress.improved(Improvement(0.0, 2000, 1000))
    progress.improved(Improvement(0.1, 1600, 1500))
print("done")
"""


def test_a_terminal_shows_a_moving_picture() -> None:
    drawn, out = _on_a_terminal("-c", SEARCH)
    assert out == "done\n"
    assert re.search(r"\d\.\d of 20 s, \d+\.\d s left  walks\r\n", drawn)
    assert "1,600 cycles, bound 1,500, gap 6.2%\r\n" in drawn
    assert re.search(rf"2,000 at 0\.0 s █[{BARS}]{{{MOST - 2}}}▁ 1,600, \d\.\d s ago", drawn)
    assert drawn.endswith("\x1b[1A\x1b[2K" * 3)  # nothing of it stays


def test_solve_draws_on_a_terminal_and_answers_elsewhere() -> None:
    drawn, out = _on_a_terminal("-m", "cli.main", *TOY, "-m", "layerwise")
    latency = re.search(r"latency +([\d,]+) cycles", out)
    assert latency and f"{latency[1]} cycles" in drawn
    assert "s left" not in out


def test_a_quiet_terminal_shows_nothing() -> None:
    drawn, out = _on_a_terminal("-m", "cli.main", *TOY, "-m", "layerwise", "--quiet")
    assert drawn == ""
    assert "latency" in out
