"""Ways to get a solution file wrong: each is one line on standard error that names it, and exit code 2."""

from __future__ import annotations

import contextlib
import itertools
import random
import re
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from generators import draw_instance
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from typer.testing import CliRunner

from cli.main import app, run
from hw.hardware import Hardware, Weights
from hw.library import load_hardware
from models.library import load_network
from overlapim_files import InputError, dump
from solver import core
from solver.bank_list import BankList, bank_list, listed_banks
from solver.schedule.transform import remap
from solver.solution import Solution, check_holders, from_plan, read_verified, recompute
from solver.solve import solve
from solver.stop import Stop
from solver.timing.mapping import Loop, Mapping
from solver.timing.problem import Problem
from solver.timing.timeline import evaluate
from solver.timing.validity import check_mapping, valid

Tree = dict[str, Any]
LISTS: TypeAdapter[Any] = TypeAdapter(BankList)


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
    "negative load depth": (lambda t: at(t, "layers", "stem").update(load=-1), "load"),
    "load depth of text": (lambda t: at(t, "layers", "stem").update(load="all"), "load"),
    "load inside a loop that reads nothing": (
        lambda t: at(t, "layers", "stem").update(load=20),
        "'stem': its inputs are loaded at depth 20, and the last that reads is",
    ),
    "bound of zero": (lambda t: at(t, "layers", "stem", "loops", 0).update(bound=0), "bound"),
    "unknown kind": (lambda t: at(t, "layers", "stem", "loops", 0).update(kind="colum"), "column"),
    "unknown dim": (lambda t: at(t, "layers", "stem", "loops", 0).update(dim="X"), "dim"),
    "no loops": (lambda t: at(t, "layers", "stem").update(loops=[]), "'stem'"),
    "no banks": (lambda t: at(t, "layers", "stem").update(banks=[]), "'stem'"),
    "a bank beyond 64 bits": (lambda t: at(t, "layers", "stem").update(banks=[2**63]), "stem.banks[0]"),
    "a block beyond 64 bits": (lambda t: at(t, "layers", "stem").update(order=[2**63]), "order[0]"),
    "a forged interval": (lambda t: t.update(interval=t["interval"] + 1), "interval is"),
    "a forged energy": (lambda t: t.update(energy_pj=t["energy_pj"] * (1 + 1e-6)), "energy_pj is"),
    "a run that goes down": (lambda t: at(t, "layers", "stem").update(banks=["5-3"]), "such as 0-127"),
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


# Load depths and weights that are loaded anew


def solved(weights: Weights) -> Solution:
    chip = load_hardware("toy").with_weights(weights)
    return solve(load_network("toy"), chip, method="descent", stop=Stop(iterations=200), seed=1).solution


@pytest.mark.parametrize("weights", ["static", "shared", "reload"])
def test_what_was_solved_is_read_back_to_the_cycle(weights: Weights, tmp_path: Path) -> None:
    given = solved(weights)
    path = tmp_path / "solution.yaml"
    path.write_text(dump(given))
    read, plan = read_verified(path)
    assert read == given and plan.latency == given.latency
    assert [profile.mapping for profile in plan.profiles] == given.mappings
    leads = [profile.t_weights for profile in plan.profiles]
    assert all(leads) if weights == "reload" else not any(leads)


def test_a_load_depth_is_kept_and_counts(tmp_path: Path) -> None:
    """The file of a plan with another load depth is right; without the depth its times are others."""
    given = solved("static")
    problem = Problem(given.network, given.hardware)
    plan = recompute(given).plan
    depths = [profile.load_depth for profile in plan.profiles]
    index = next(i for i, depth in enumerate(depths) if depth > 0)
    mapping = replace(plan.profiles[index].mapping, load=depths[index] - 1)
    changed = remap(problem, plan, {index: problem.profile(index, mapping)})
    other = from_plan(problem, changed, "by hand", 0)
    name = given.network.layers[index].name
    assert other.layers[name].load == depths[index] - 1
    path = tmp_path / "solution.yaml"
    tree = yaml.safe_load(dump(other))
    path.write_text(yaml.dump(tree, sort_keys=False))
    assert read_verified(path)[1].latency == changed.latency
    del tree["layers"][name]["load"]
    path.write_text(yaml.dump(tree, sort_keys=False))
    with pytest.raises(InputError, match=f"layer '{name}': (start|end) is"):
        read_verified(path)


def test_a_file_of_the_first_version_means_what_it_meant(tmp_path: Path) -> None:
    """By hand: 2 rows of 12 + 9 + 1 cycles, on a chip and in a solution without any of the later keys."""
    path = tmp_path / "solution.yaml"
    path.write_text(FIRST_VERSION)
    given, plan = read_verified(path)
    (own,) = plan.profiles
    assert given.layers["a"].load is None and own.load_depth == 1
    # Of one element: 2 bits at 4 a cycle, and 2 rows at 4; to drain 2 bits at 8 a cycle takes 1.
    assert (own.t_in, own.t_out, own.lead, plan.latency) == (9, 1, 0, 34)


FIRST_VERSION = """
format: overlapim/solution/1
network:
  format: overlapim/network/1
  name: one
  inputs: [{name: x, shape: [1, 1, 2, 1]}]
  layers: [{name: a, dims: {P: 2}, operands: [{from: x, axes: {h: {terms: {P: 1}}}}]}]
hardware:
  format: overlapim/hardware/1
  name: chip
  clock_ns: 1.0
  channels: 1
  banks_per_channel: 1
  columns_per_bank: 1
  rows_per_bank: 1000
  weights: static
  bits: {activation: 2, weight: 1, accumulator: 8}
  cycles: {multiply: 5, add: 2, move: 3, row_write: 4, post: 10, transfer: 7}
  bits_per_cycle: {load: 4, drain: 8, bank: 4, channel: 2}
  sync_blocks: 100
latency: 34
method: by hand
seed: 0
layers:
  a:
    loops: [{dim: P, bound: 2, kind: temporal}]
    banks: [0]
    release: 0
    start: 0
    end: 34
"""


def test_with_reloaded_weights_a_bank_needs_rows_for_one_layer_at_a_time(tmp_path: Path) -> None:
    given = solved("reload")
    rows = max(profile.rows for profile in recompute(given).plan.profiles)
    tight = given.model_copy(update={"hardware": given.hardware.model_copy(update={"rows_per_bank": rows})})
    path = tmp_path / "solution.yaml"
    path.write_text(dump(tight))
    assert read_verified(path)[1].latency == given.latency
    shared = tight.model_copy(update={"hardware": tight.hardware.with_weights("shared")})
    with pytest.raises(InputError, match=r"rows, \d+ more than it has"):
        recompute(shared)


@pytest.mark.parametrize("seed", range(200))
def test_banks_that_are_held_twice_or_overfull_are_found(seed: int) -> None:
    """Whatever banks layers are given, the first one that cannot serve its layers is named."""
    rng = random.Random(seed)
    drawn = draw_instance(rng, rng.randint(1, 5))
    weights = rng.choice(("static", "shared", "reload"))
    problem = Problem(drawn.network, drawn.hardware.with_weights(weights))
    profiles = [problem.profile(i, mapping) for i, mapping in enumerate(drawn.mappings)]
    timeline = evaluate(problem, profiles, [rng.randrange(1 + 9 ** rng.randint(0, 4)) for _ in profiles])
    count = rng.choice((8, 40))
    banks = [np.array(rng.sample(range(count), rng.randint(1, 4))) for _ in profiles]

    def faulty(bank: int) -> bool:
        held = [(x.start, x.end) for x, own in zip(timeline.layers, banks, strict=True) if bank in own]
        rows = sum(p.rows for p, own in zip(profiles, banks, strict=True) if bank in own)
        at_a_time = any(a < d and c < b for (a, b), (c, d) in itertools.combinations(held, 2))
        static = weights == "static" and len(held) > 1
        return at_a_time or static or (weights != "reload" and rows > problem.hardware.rows_per_bank)

    wrong = [bank for bank in range(count) if faulty(bank)]
    if wrong:
        with pytest.raises(InputError, match=f"^bank {wrong[0]}[ :]"):
            check_holders(problem, timeline, banks)
    else:
        check_holders(problem, timeline, banks)


@st.composite
def placed(draw: st.DrawFn) -> tuple[Hardware, list[int]]:
    """Draw a chip, and banks of it: some of some channels, the same in each or others, perhaps shuffled."""
    channels, width = draw(st.integers(1, 12)), draw(st.integers(1, 30))
    chip = load_hardware("toy").model_copy(update={"channels": channels, "banks_per_channel": width})
    among = st.integers(0, width - 1)
    same = draw(st.lists(among, unique=True, max_size=width).map(sorted))
    first, last = sorted([draw(among), draw(among)])
    found = []
    for channel in draw(st.lists(st.integers(0, channels - 1), unique=True).map(sorted)):
        own = draw(st.sampled_from([same, range(first, last + 1), range(width)]))
        found += [channel * width + bank for bank in own]
    return chip, draw(st.one_of(st.just(found or [0]), st.permutations(found or [0])))


@given(placed())
def test_banks_are_read_back_from_a_list_as_they_were(drawn: tuple[Hardware, list[int]]) -> None:
    chip, banks = drawn
    entries = bank_list(np.array(banks), chip, most=0)
    assert listed_banks(entries, chip, "layer").tolist() == banks
    assert LISTS.validate_python(list(entries)) == entries
    assert len(entries) <= len(banks)


def test_banks_are_numbers_where_they_are_few_enough() -> None:
    chip = load_hardware("reram-aritpim")
    assert bank_list(np.arange(chip.banks), chip) == tuple(range(chip.banks))


def test_banks_of_a_large_chip_are_few_entries() -> None:
    """All of it, a part of each channel, one bank of each; a few banks are numbers as ever."""
    chip = load_hardware("toy").model_copy(update={"channels": 1000, "banks_per_channel": 100})
    numbers = np.arange(100_000).reshape(1000, 100)
    assert bank_list(numbers.ravel(), chip) == ("0-99999",)
    assert bank_list(numbers[3:704, 2:66].ravel(), chip) == ("3-703:2-65",)
    assert bank_list(numbers[:40, 7], chip, most=0) == ("0-39:7",)
    assert bank_list(numbers[4, 5:8], chip, most=0) == (405, 406, 407)


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        (["3-900"], "layer: there is no bank 900, the last is 127"),
        (["0-7:900"], "layer: there is no bank 900 of a channel, the last is 15"),
        (["0-8:3"], "layer: there is no channel 8, the last is 7"),
        ([f"0-{2**40}"], f"layer: there is no bank {2**40}, the last is 127"),
        (["0-127", 0], "layer: more banks are listed than the 128 of the chip"),
    ],
)
def test_lists_of_banks_that_a_chip_has_not_are_refused_unread(entries: list[int | str], text: str) -> None:
    with pytest.raises(InputError, match=re.escape(text)):
        listed_banks(entries, load_hardware("hbm2-bitsimd"), "layer")


@pytest.mark.parametrize("native", [True, False])
def test_loops_of_any_length_are_refused_before_they_are_walked(native: bool) -> None:
    layer, chip = load_network("toy").layers[0], load_hardware("toy")
    mapping = Mapping((Loop("C", 2**30, "temporal"), Loop("P", 2**30, "column")))
    tracemalloc.start()
    with contextlib.nullcontext() if native else core.without():
        assert not valid(layer, mapping, chip)
        with pytest.raises(InputError, match=r"layer 'stem': "):
            check_mapping(layer, mapping, chip)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2**20
