"""Solutions of which only mappings and banks are given: the rest follows, and is as a solution says it."""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from generators import check_by_simulation

from cli.main import run
from hw.hardware import Weights
from hw.library import load_hardware
from models.library import load_network
from overlapim_files import InputError, dump
from solver.draft import Draft, completed
from solver.solution import Solution, read_verified, verify
from solver.solve import Result, solve
from solver.stop import Stop

Tree = dict[str, Any]
FOLLOWS = ("latency", "bound", "status", "interval", "energy_pj")


def solved(weights: Weights, method: str = "descent") -> Result:
    chip = load_hardware("toy").with_weights(weights)
    return solve(load_network("toy"), chip, method=method, stop=Stop.deterministic(1), seed=1)


def draft_of(solution: Solution, releases: bool) -> Tree:
    """Return a solution file without what follows from the rest."""
    tree: Tree = yaml.safe_load(dump(solution))
    for key in FOLLOWS:
        tree.pop(key, None)
    for layer in tree["layers"].values():
        for key in ("start", "end", *(() if releases else ("release",))):
            del layer[key]
    return tree


@pytest.mark.parametrize("weights", ["static", "shared", "reload"])
@pytest.mark.parametrize("releases", [True, False])
def test_a_draft_comes_to_what_it_was_made_of(weights: Weights, releases: bool) -> None:
    result = solved(weights)
    found, _ = completed(Draft.model_validate(draft_of(result.solution, releases)))
    verify(found)
    assert found.layers == result.solution.layers if releases else found.latency <= result.latency
    assert found.bound is None and found.method == "descent"


def test_layers_of_a_draft_take_banks_in_the_order_of_the_network() -> None:
    result = solved("shared", "sequential")
    found, _ = completed(Draft.model_validate(draft_of(result.solution, releases=False)))
    layers = [found.layers[layer.name] for layer in found.network.layers]
    shared = [set(a.banks) & set(b.banks) for a, b in pairwise(layers)]
    assert all(shared) and all(a.end <= b.start for a, b in pairwise(layers))


MISTAKES: dict[str, tuple[Callable[[Tree], object], str]] = {
    "no banks": (lambda t: t["layers"]["left"].pop("banks"), "layers.left: the key 'banks' is missing"),
    "a layer too few": (lambda t: t["layers"].pop("left"), "'left' is missing"),
    "a layer too many": (
        lambda t: t["layers"].update(lefd=deepcopy(t["layers"]["left"])),
        "did you mean 'left'",
    ),
    "another bank": (
        lambda t: t["layers"]["left"].update(banks=[99]),
        "'left': there is no bank 99, the last is 7",
    ),
    "a bank that is not there": (
        lambda t: t["layers"]["head"].update(banks=[2**40 for _ in t["layers"]["head"]["banks"]]),
        "'head'",
    ),
    "a release too few": (lambda t: t["layers"]["left"].update(release=5), "'stem' has no release"),
    "a mapping that is none": (lambda t: t["layers"]["left"].update(loops=[]), "'left'"),
    "an order that is none": (lambda t: t["layers"]["left"].update(order=[1, 1]), "'left'"),
}


@pytest.mark.parametrize(("change", "text"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_cost_one_line(
    change: Callable[[Tree], object], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = draft_of(solved("static", "layerwise").solution, releases=False)
    change(tree)
    file = tmp_path / "draft.yaml"
    file.write_text(yaml.safe_dump(tree, sort_keys=False))
    assert run(["evaluate", str(file), "--recompute", "-o", str(tmp_path / "out")], time.monotonic()) == 2
    error = capsys.readouterr().err
    assert text in error and str(file) in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_releases_that_no_longer_keep_layers_apart_are_refused() -> None:
    """With slower layers the interval of such a plan was looked for without end."""
    tree = draft_of(solved("shared", "sequential").solution, releases=True)
    tree["network"]["layers"][0]["post"] = 65536
    with pytest.raises(InputError, match=r"'stem' and .* hold it at the same time"):
        completed(Draft.model_validate(tree))


def test_the_command_writes_a_solution(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = solved("static")
    file = tmp_path / "draft.yaml"
    file.write_text(yaml.safe_dump(draft_of(result.solution, releases=False), sort_keys=False))
    assert run(["evaluate", str(file), "--recompute", "-o", str(tmp_path)], time.monotonic()) == 0
    assert f"latency     {result.latency:,} cycles" in capsys.readouterr().out
    solution, plan = read_verified(tmp_path / "solution.yaml")
    assert (solution.latency, plan.latency) == (result.latency, result.latency)
    check_by_simulation(result)
    assert run(["evaluate", str(file), "-o", str(tmp_path)], time.monotonic()) == 2
    assert "--out goes with --recompute" in capsys.readouterr().err
