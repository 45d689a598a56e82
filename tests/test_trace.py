"""Traces against the format, the simulator and the account."""

from __future__ import annotations

import json
import random
import re
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from generators import Instance, draw_instance, instances
from hypothesis import given, settings

from cli.main import run
from overlapim_files import InputError
from solver.account.plan import Account, account
from solver.export.trace import MOST_BYTES, MOST_CYCLES, tile, trace
from solver.maxplus.latest import postpone
from solver.reference import simulate
from solver.schedule.plan import Plan
from solver.solution import read_verified
from solver.timing.problem import Problem
from solver.timing.timeline import LayerTimes, Timeline, evaluate

Event = dict[str, Any]
Thread = tuple[int, int]


def planned(instance: Instance) -> Account:
    """Account for an instance whose layers never share a bank, on a chip that is large enough for that."""
    profiles = [
        Problem(instance.network, instance.hardware).profile(i, mapping)
        for i, mapping in enumerate(instance.mappings)
    ]
    firsts = np.cumsum([0, *(profile.banks for profile in profiles)])
    size = -(-int(firsts[-1]) // 3)
    chip = instance.hardware.model_copy(update={"channels": 3, "banks_per_channel": size})
    orders = [None if order is None else np.array(order, np.int64) for order in instance.orders]
    problem = Problem(instance.network, chip)
    timeline = evaluate(problem, profiles, instance.releases, orders)
    banks = tuple(np.arange(a, b) for a, b in pairwise(firsts))
    return account(problem, Plan(timeline, banks))


# The format, checked by its own rules: see "Trace Event Format" of the Chromium project


def read(text: str) -> list[Event]:
    """Parse a trace and check every event by the rules of its phase."""
    data = json.loads(text)
    assert set(data) == {"displayTimeUnit", "otherData", "traceEvents"}
    assert data["displayTimeUnit"] in ("ms", "ns")
    for event in data["traceEvents"]:
        assert type(event["pid"]) is int and type(event["tid"]) is int
        assert event["pid"] > 0 and event["tid"] > 0
        _check_event(event)
    _check_nesting(data["traceEvents"])
    _check_arrows(data["traceEvents"])
    events: list[Event] = data["traceEvents"]
    return events


def _check_event(event: Event) -> None:
    phases = {
        "M": {"name", "args"},
        "X": {"name", "cat", "ts", "dur", "args"},
        "s": {"name", "cat", "id", "ts"},
        "f": {"name", "cat", "id", "ts", "bp"},
    }
    assert set(event) == {"ph", "pid", "tid"} | phases[event["ph"]]
    for key in ("ts", "dur"):
        if key in event:
            assert type(event[key]) is int and 0 <= event[key] <= MOST_CYCLES
    if event["ph"] == "M":
        ((kind, value),) = event["args"].items()
        assert kind == ("sort_index" if event["name"].endswith("sort_index") else "name")
        assert isinstance(value, str if kind == "name" else int)
        assert event["name"].removesuffix("_name").removesuffix("_sort_index") in ("process", "thread")
    assert event.get("bp", "e") == "e"


def by_thread(events: list[Event]) -> dict[Thread, list[Event]]:
    threads: dict[Thread, list[Event]] = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            threads[event["pid"], event["tid"]].append(event)
    return threads


def _check_nesting(events: list[Event]) -> None:
    """Slices of a thread, sorted as readers do it, begin and end like brackets."""
    for slices in by_thread(events).values():
        open_until: list[int] = []
        for event in sorted(slices, key=lambda e: (e["ts"], -e["dur"])):
            while open_until and open_until[-1] <= event["ts"]:
                open_until.pop()
            assert event["dur"] > 0
            assert not open_until or event["ts"] + event["dur"] <= open_until[-1]
            open_until.append(event["ts"] + event["dur"])


def around(slices: list[Event], time: int) -> list[Event]:
    return [event for event in slices if event["ts"] <= time < event["ts"] + event["dur"]]


def _check_arrows(events: list[Event]) -> None:
    """Every arrow has one beginning and, later, one end, both in slices of their threads."""
    threads = by_thread(events)
    ends: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        if event["ph"] in "sf":
            ends[event["id"]].append(event)
            assert around(threads[event["pid"], event["tid"]], event["ts"])
    for first, second in ends.values():
        assert (first["ph"], second["ph"]) == ("s", "f")
        assert (first["name"], first["cat"]) == (second["name"], second["cat"])
        assert first["ts"] < second["ts"]


# What a trace says


def banks_of(events: list[Event]) -> dict[Thread, list[int]]:
    """Return the banks of each thread, as its name tells."""
    named = [e for e in events if e["name"] == "thread_name"]
    found = {}
    for event in named:
        text = event["args"]["name"].removeprefix("banks ").removeprefix("bank ")
        runs = [(part.split("-") * 2)[:2] for part in text.split(", ")]
        found[event["pid"], event["tid"]] = [b for a, z in runs for b in range(int(a), int(z) + 1)]
    return found


def check_totals(told: Account, events: list[Event]) -> None:
    """The latency and every bank's time are those of the account."""
    held = np.zeros(told.hardware.banks, np.int64)
    banks = banks_of(events)
    for thread, slices in by_thread(events).items():
        held[banks[thread]] += sum(event["dur"] for event in slices if event["cat"] == "layer")
    assert held.tolist() == told.bank_times.tolist()
    assert max(e["ts"] + e["dur"] for e in events if e["ph"] == "X") == told.latency


@given(instances())
@settings(max_examples=40)
def test_every_block_and_wait_is_there(instance: Instance) -> None:
    told = planned(instance)
    found = trace(told)
    assert found.merged == ()
    events = read("".join(found.lines()))
    check_totals(told, events)
    executed = simulate(
        instance.network, told.hardware, instance.mappings, instance.releases, instance.orders
    )
    slices = by_thread(events)
    for layer, times in zip(told.layers, executed, strict=True):
        threads = [x for x, own in banks_of(events).items() if set(own) <= set(layer.banks.tolist())]
        assert len(threads) == len(layer.banks)
        drawn = [[(e["name"], e["ts"], e["dur"], e["args"]) for e in slices[thread]] for thread in threads]
        assert all(one == drawn[0] for one in drawn)
        inside = [event for event in slices[threads[0]] if event["cat"] != "layer"]
        starts = [event["ts"] for event in inside if event["cat"] == "compute"]
        # The slice of the first block begins with what is done before it.
        begins = [times.start, *times.block_starts[1:]]
        assert starts == [start for start in begins if start < times.end]
        assert [event["ts"] for event in inside] == [
            times.start,
            *(event["ts"] + event["dur"] for event in inside[:-1]),
        ]
        assert inside[-1]["ts"] + inside[-1]["dur"] == times.end
        assert sum(event["dur"] for event in inside if event["cat"] == "wait") == layer.waited


@given(instances())
@settings(max_examples=40)
def test_arrows_lead_from_the_block_that_was_waited_for(instance: Instance) -> None:
    told = planned(instance)
    _check_leads(told)
    _check_leads(account(told.problem, postpone(told.problem, told.plan)))


def _check_leads(told: Account) -> None:
    events = read("".join(trace(told).lines()))
    slices, transfer = by_thread(events), told.hardware.cycles.transfer
    arrows = [e for e in events if e["ph"] in "sf"]
    waits = [e for e in events if e["ph"] == "X" and e["cat"] == "wait"]
    leads = {(layer.name, layer.start): layer.blocks.lead for layer in told.layers}
    for source, target in zip(arrows[::2], arrows[1::2], strict=True):
        writing = around(slices[source["pid"], source["tid"]], source["ts"])[-1]
        reading = around(slices[target["pid"], target["tid"]], target["ts"])[-1]
        assert writing["cat"] == reading["cat"] == "compute"
        lead = leads.get((reading["args"]["layer"], reading["ts"]), 0)
        assert reading["ts"] + lead == target["ts"]
        assert writing["ts"] < target["ts"] - transfer <= writing["ts"] + writing["dur"]
        before = [w for w in waits if w["ts"] + w["dur"] == target["ts"] and w["tid"] == target["tid"]]
        for wait in before:
            assert wait["args"]["layer"] == reading["args"]["layer"]
            assert f"block {wait['args']['block']}" == reading["name"]
            assert wait["args"]["tile"] == reading["args"]["tile"]
            assert wait["args"]["for"] == writing["args"]["layer"]
            assert f"block {wait['args']['for block']}" == writing["name"]
            assert wait["args"]["for tile"] == writing["args"]["tile"]
    ends = {(e["tid"], e["ts"]) for e in arrows if e["ph"] == "f"}
    for layer in told.layers:
        for wait in (layer.begins_after, layer.just_in_time, *layer.waits):
            assert wait is None or (int(layer.banks[0]) + 1, int(layer.blocks.starts[wait.block])) in ends


def test_a_small_trace_tells_the_same_totals() -> None:
    """What is always granted suffices: names and a slice for each layer and thread, and some slack."""
    rng = random.Random(4)
    told = [planned(draw_instance(rng, 5)) for _ in range(60)]
    assert sum(_merged(own, 12_000 + 2_500 * len(own.layers)) for own in told) >= 5
    assert sum(_merged(own, 60_000) for own in told) >= 2


def _merged(told: Account, limit: int) -> bool:
    """Check a trace of at most so many characters; return whether anything had to be merged."""
    found = trace(told, limit)
    text = "".join(found.lines())
    assert len(text) <= limit
    events = read(text)
    check_totals(told, events)
    assert bool(found.merged) == (json.loads(text)["otherData"]["merged"] != "nothing")
    for layer in told.layers:
        thread = next(x for x, own in banks_of(events).items() if int(layer.banks[0]) in own)
        inside = [e for e in by_thread(events)[thread] if e["cat"] != "layer"]
        waited = sum(e["dur"] if e["cat"] == "wait" else e["args"].get("waited", 0) for e in inside)
        assert waited == layer.waited
        assert sum(e["dur"] for e in inside) == layer.held
    return bool(found.merged)


def test_small_traces_are_merged_in_every_way() -> None:
    rng = random.Random(0)
    notes: set[str] = set()
    for _ in range(60):
        told = planned(draw_instance(rng, 5))
        for limit in (15_000, 20_000, 30_000, 60_000):
            try:
                notes.update(re.sub(r"[\d,]+", "N", note) for note in trace(told, limit).merged)
            except InputError:
                notes.add("refused")
    assert len(notes) == 5, notes


def test_digits_of_a_tile() -> None:
    rng = random.Random(2)
    for _ in range(50):
        told = planned(draw_instance(rng))
        for layer in told.layers:
            shape = layer.profile.block_shape
            number = int(layer.blocks.numbers[-1])
            digits = np.unravel_index(number, shape) if shape else ()
            loops = zip(layer.profile.temporal, digits, strict=False)
            text = " ".join(f"{loop.dim}={digit}" for loop, digit in loops) or "all"
            assert tile(layer.times, len(layer.blocks.numbers) - 1) == text


def test_times_that_no_reader_can_hold_are_refused() -> None:
    told = planned(draw_instance(random.Random(3), 1))
    (times,) = told.plan.timeline.layers
    late = LayerTimes(times.profile, 0, times.steps, times.delays, (), None, times.start, end=MOST_CYCLES + 1)
    with pytest.raises(InputError, match=str(MOST_CYCLES)):
        trace(account(told.problem, Plan(Timeline((late,)), told.plan.banks)))


# The command


@pytest.fixture(scope="module")
def solution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("solved")
    toy = ["solve", "toy", "--hw", "toy", "--weights", "static", "-m", "layerwise", "-q", "-o", str(out)]
    assert run(toy, time.monotonic()) == 0
    return out / "solution.yaml"


def test_command(solution: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "trace.json"
    assert run(["trace", str(solution), "-o", str(file), "--json"], time.monotonic()) == 0
    captured = capsys.readouterr()
    record = json.loads(captured.out)
    given, plan = read_verified(solution)
    told = account(Problem(given.network, given.hardware), plan)
    check_totals(told, read(file.read_text()))
    assert (record["bytes"], record["latency"]) == (file.stat().st_size, given.latency)
    assert record["bottleneck"] == told.bottleneck
    assert captured.err.startswith(f"written: {file}")
    assert json.loads(file.read_text())["otherData"]["scale"].startswith(
        "1 microsecond of the trace is 1 cycle"
    )


def test_names_are_escaped(solution: Path, tmp_path: Path) -> None:
    odd = tmp_path / "odd.yaml"
    odd.write_text(re.sub(r"\bleft\b", r'"\\e[31m</script>\\n\\"\\u202e"', solution.read_text()))
    assert run(["trace", str(odd), "-q", "-o", str(tmp_path / "t.json")], time.monotonic()) == 0
    text = (tmp_path / "t.json").read_text()
    assert text.isascii() and "\x1b" not in text
    assert '\x1b[31m</script>\n"\u202e' in {e["name"] for e in read(text)}


def test_mistakes(solution: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, told in (
        ([str(solution)], "--out"),
        ([str(solution), "-o", str(tmp_path)], "is a directory"),
        ([str(solution), "-o", str(tmp_path / "none" / "t.json")], "cannot be written"),
        (["nowhere.yaml", "-o", str(tmp_path / "t.json")], "nowhere.yaml"),
    ):
        assert run(["trace", *arguments], time.monotonic()) == 2
        captured = capsys.readouterr()
        (line,) = captured.err.splitlines()
        assert line.startswith("error: ") and told in line
        assert captured.out == "" and list(tmp_path.iterdir()) == []


def test_the_limit_is_what_was_promised() -> None:
    assert MOST_BYTES == 50 * 10**6
