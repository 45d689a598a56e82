"""Ways to get a solution file wrong: each is one line on standard error that names it, and exit code 2."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from cli.main import app, run
from hw.library import load_hardware
from models.library import load_network
from overlapim_files import dump
from solver.solve import solve
from solver.stop import Stop

Tree = dict[str, Any]


@pytest.fixture(scope="module")
def text() -> str:
    chip = load_hardware("toy").with_weights("static")
    return dump(solve(load_network("toy"), chip, method="descent", stop=Stop(iterations=50)).solution)


def at(tree: Tree, *path: object) -> Tree:
    for step in path:
        tree = tree[step]
    return tree


MISTAKES: dict[str, tuple[Callable[[Tree], object], str]] = {
    "unknown key": (lambda t: t.update(latancy=t.pop("latency")), "did you mean 'latency'"),
    "missing key": (lambda t: t.pop("seed"), "seed"),
    "missing layer": (lambda t: t["layers"].pop("stem"), "'stem' is missing"),
    "unknown layer": (lambda t: t["layers"].update(stam=t["layers"]["stem"]), "did you mean 'stem'"),
    "text for a number": (lambda t: t.update(latency="soon"), "latency"),
    "negative time": (lambda t: at(t, "layers", "stem").update(start=-1), "start"),
    "endless time": (lambda t: at(t, "layers", "stem").update(release=2**70), "release"),
    "bound of zero": (lambda t: at(t, "layers", "stem", "loops", 0).update(bound=0), "bound"),
    "unknown kind": (lambda t: at(t, "layers", "stem", "loops", 0).update(kind="colum"), "column"),
    "unknown dim": (lambda t: at(t, "layers", "stem", "loops", 0).update(dim="X"), "dim"),
    "no loops": (lambda t: at(t, "layers", "stem").update(loops=[]), "'stem'"),
    "no banks": (lambda t: at(t, "layers", "stem").update(banks=[]), "'stem'"),
    "banks of text": (lambda t: at(t, "layers", "stem").update(banks=["a"]), "banks"),
    "an order that is none": (lambda t: at(t, "layers", "stem").update(order=[0, 0]), "'stem'"),
    "a broken network": (lambda t: at(t, "network", "layers", 0, "dims").update(K=0), "dims"),
    "a broken chip": (lambda t: at(t, "hardware").pop("channels"), "channels"),
    "a bound above the latency": (lambda t: t.update(bound=t["latency"] + 1), "bound"),
    "a forged latency": (lambda t: t.update(latency=t["latency"] - 1), "latency"),
    "a network file": (lambda t: t.update(format="overlapim/network/1"), "format"),
}


def refused(path: Path, word: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", str(path)], time.monotonic()) == 2
    error = capfd.readouterr().err
    assert len(error.strip().splitlines()) == 1
    assert word in error and str(path) in error


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(mistake: str, text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tree = yaml.safe_load(text)
    spoil, word = MISTAKES[mistake]
    spoil(tree)
    path = tmp_path / "solution.yaml"
    path.write_text(yaml.dump(tree, Dumper=NoAliases, sort_keys=False))
    refused(path, word, capfd)


class NoAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff", b"[" * 50_000, b"a: &a [*a]", b"format: overlapim/solution/1"]
)
def test_what_is_no_solution(content: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "solution.yaml"
    path.write_bytes(content)
    refused(path, "", capfd)


def test_truncated(text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "solution.yaml"
    path.write_text(text[: len(text) * 2 // 3])
    refused(path, "", capfd)


def test_the_untouched_file_is_accepted(text: str, tmp_path: Path) -> None:
    path = tmp_path / "solution.yaml"
    path.write_text(text)
    assert CliRunner().invoke(app, ["evaluate", str(path)]).exit_code == 0
