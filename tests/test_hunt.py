"""Spoilt files and odd command lines: cases of `tests/hunt.py`, and that it finds what it looks for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import hunt
import pytest

PARTS = 6
CASES = 300


@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_is_found(part: int) -> None:
    """The parts run side by side."""
    found = hunt.hunt(0, range(part, CASES, PARTS))
    assert not found, "\n".join(f"{number}: {trial.arguments}: {text}" for number, trial, text in found)


def _traceback(arguments: Sequence[str], started: float) -> int:
    raise RuntimeError("oh")


def _code(arguments: Sequence[str], started: float) -> int:
    return 3


def _lines(arguments: Sequence[str], started: float) -> int:
    import sys

    print("error: one\nerror: two", file=sys.stderr)
    return 2


def _hang(arguments: Sequence[str], started: float) -> int:
    time.sleep(100)
    return 0


def _work(arguments: Sequence[str], started: float) -> int:
    end = time.process_time() + 0.5
    while time.process_time() < end:
        pass
    return 0


def _memory(arguments: Sequence[str], started: float) -> int:
    return len(bytearray(b"x" * 2**27)) * 0


def _control(arguments: Sequence[str], started: float) -> int:
    print("\x1b[31mred")
    return 0


def _half(arguments: Sequence[str], started: float) -> int:
    Path("out.json").write_text('{"a": ')
    return 0


def _left(arguments: Sequence[str], started: float) -> int:
    Path(".overlapim-1-x").write_text("")
    return 0


@pytest.mark.parametrize(
    ("run", "text"),
    [
        (_traceback, "traceback: RuntimeError: oh"),
        (_code, "exit code 3"),
        (_lines, "2 lines of an error"),
        (_hang, "hangs"),
        (_work, "s of work"),
        (_memory, "GiB"),
        (_control, "control characters"),
        (_half, "broken: out.json"),
        (_left, "left over"),
    ],
)
def test_what_is_wrong_is_found(run: object, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hunt.command_line.run", run)
    monkeypatch.setattr(hunt, "SECONDS", 4.0)
    monkeypatch.setattr(hunt, "CPU_SECONDS", 0.4)
    monkeypatch.setattr(hunt, "MEMORY", 2**26)
    ((_, _, found),) = [x for x in hunt.hunt(0, [0]) if "GiB" not in x[2] or run is _memory]
    assert text in found


def test_a_case_is_the_same_every_time() -> None:
    assert hunt.Trial.drawn(5, 7) == hunt.Trial.drawn(5, 7) != hunt.Trial.drawn(5, 8)
