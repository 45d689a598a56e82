"""The memory of a run: it is measured with all processes, caches are dropped before its limit, and no answer
depends on that."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
import weakref
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from cli.main import run
from hw.hardware import Hardware, Weights
from hw.library import load_hardware
from models.library import load_network
from models.network import Network
from overlapim_files import dump
from solver import memory
from solver.mapspace.pools import Pools
from solver.memory import Cache, Memory, clear_caches, evictable, machine_memory, used_memory
from solver.methods import METHODS
from solver.run import Run
from solver.search.parallel import processes
from solver.solve import Result, solve
from solver.stop import Stop
from solver.timing.problem import Problem

MEBIBYTE = 2**20


@dataclass
class Evicting(Memory):
    """Empties the caches again and again, however much memory there is."""

    every: int = 23
    asked: int = 0

    def short(self) -> bool:
        self.asked += 1
        if self.asked % self.every == 0:
            clear_caches()
        return False


def _solved(network: str, chip: str, weights: Weights, method: str, own: Memory | None) -> Result:
    stop = replace(Stop.deterministic(0.4), memory=own)
    return solve(load_network(network), load_hardware(chip).with_weights(weights), method=method, stop=stop)


@pytest.mark.parametrize(
    ("network", "chip", "weights", "method"),
    [
        ("toy", "toy", "shared", "cpsat"),
        ("toy", "toy", "static", "cpsat"),
        ("resnet18", "hbm2-bitsimd", "static", "descent"),
        ("alexnet", "hbm2-bitsimd", "static", "descent"),
        ("toy", "toy", "reload", "descent"),
    ],
)
def test_what_is_dropped_does_not_change_the_answer(
    network: str, chip: str, weights: Weights, method: str
) -> None:
    own = Evicting(1)
    plain, evicted = (_solved(network, chip, weights, method, x) for x in (None, own))
    assert own.asked > 5 * own.every
    assert (dump(evicted.solution), evicted.steps) == (dump(plain.solution), plain.steps)


def test_profiles_in_use_are_in_their_pools_again() -> None:
    pools = Pools(Problem(load_network("toy"), load_hardware("toy")))
    pool = pools.pool(0, (1, 4))
    used, others = pool[1], len(pool)
    meant = [profile.mapping for profile in pool]
    del pool
    clear_caches()
    gc.collect()
    again = pools.pool(0, (1, 4))
    assert again[1] is used and len(again) == others and [x.mapping for x in again] == meant


def test_caches_are_emptied_and_go_with_their_object() -> None:
    dropped: list[int] = []
    evictable(lambda: dropped.append(1))
    own: Cache[int, str] = Cache()
    own[1] = "x"
    clear_caches()
    assert dropped and not own
    gone = weakref.ref(own)
    del own
    assert gone() is None


# What is measured


def test_memory_is_that_of_all_processes() -> None:
    before = used_memory(os.getpid())
    held = np.ones(64 * MEBIBYTE, np.uint8)
    assert 60 * MEBIBYTE < used_memory(os.getpid()) - before < 80 * MEBIBYTE
    code = "import sys; x = bytearray(b'x' * (96 << 20)); print(flush=True); sys.stdin.read()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert 150 * MEBIBYTE < used_memory(os.getpid()) - before < 200 * MEBIBYTE
        child.communicate()
    del held


def test_what_forked_processes_share_counts_once() -> None:
    held = np.ones(128 * MEBIBYTE, np.uint8)
    before = used_memory(os.getpid())
    context = processes()
    ended = context.Event()
    child = context.Process(target=ended.wait, daemon=True)
    child.start()
    assert used_memory(os.getpid()) - before < 64 * MEBIBYTE
    ended.set()
    child.join()
    del held


def test_the_memory_of_a_machine_is_that_of_its_innermost_control_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = machine_memory()
    assert 2**28 < whole <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    monkeypatch.setattr(memory, "PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "cgroup")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("4:memory:/a/b\n3:cpu:/c\n0::/job/step\n")
    (tmp_path / "cgroup/job/step").mkdir(parents=True)
    (tmp_path / "cgroup/job/step/memory.max").write_text("max\n")
    (tmp_path / "cgroup/job/memory.max").write_text(f"{10 * MEBIBYTE}\n")
    assert machine_memory() == 10 * MEBIBYTE
    (tmp_path / "cgroup/memory").mkdir()
    (tmp_path / "cgroup/memory/memory.limit_in_bytes").write_text(f"{9 * MEBIBYTE}\n")
    assert machine_memory() == 9 * MEBIBYTE
    assert Memory().limit == 9 * MEBIBYTE // 2


def test_caches_are_emptied_before_the_search_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    cache: Cache[int, int] = Cache()
    base, each = 50, 1
    monkeypatch.setattr(memory, "used_memory", lambda root: base + each * len(cache))
    monkeypatch.setattr(memory, "ASKED_SECONDS", 0.0)
    monkeypatch.setattr(memory, "ASKED_SHARE", float("inf"))
    own = Memory(100)
    sizes = []
    for i in range(40):
        cache[i] = i
        assert not own.short()
        sizes.append(base + len(cache))
    assert max(sizes) == 60 and cache
    base = 86
    assert own.short() and not cache
    base = 0
    assert own.short(), "once it has not sufficed the search has ended"


# Whole runs


GROWING = """
import sys
import time
from dataclasses import replace
from hw.library import load_hardware
from models.library import load_network
from models.network import Network
from solver.memory import Cache, Memory
from solver.solve import solve
from solver.stop import Stop

held = Cache() if sys.argv[1] == "cache" else {}
most = 0

class Growing(Memory):
    def short(self):
        global most
        held[len(held)] = b"x" * 2**17
        most = max(most, len(held))
        time.sleep(0.001)
        return super().short()

stop = replace(Stop.deterministic(10), memory=Growing(400 * 2**20))
result = solve(load_network("toy"), load_hardware("toy"), method="descent", stop=stop)
print(result.ending, result.latency, len(held) < most)
"""


def _most(*arguments: str) -> tuple[int, list[str]]:
    """Run a search that takes ever more memory; return the most that it had, and what it prints."""
    most = 0
    command = [sys.executable, "-c", GROWING, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            most = max(most, used_memory(process.pid))
            time.sleep(0.01)
        assert process.stdout is not None
        return most, process.stdout.read().split()


def test_a_run_stays_below_its_limit() -> None:
    """With a cache that grows it goes on to its end; with what cannot be dropped it has to end before."""
    peak, (ending, latency, emptied) = _most("cache")
    assert 240 * MEBIBYTE < peak < 420 * MEBIBYTE
    assert (ending, emptied) == ("time", "True")
    plain = solve(load_network("toy"), load_hardware("toy"), method="descent", stop=Stop.deterministic(10))
    assert int(latency) == plain.latency
    peak, (ending, latency, _) = _most("leak")
    assert 340 * MEBIBYTE < peak < 420 * MEBIBYTE
    assert ending == "memory" and int(latency) >= plain.latency


def test_a_search_that_has_too_little_ends_with_its_best_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory, "used_memory", lambda root: 2**40)
    began = time.monotonic()
    assert (
        run(["solve", "toy", "--hw", "toy", "--memory", "1GiB", "-t", "60", "-o", str(tmp_path)], began) == 0
    )
    assert time.monotonic() - began < 30
    assert json.loads((tmp_path / "result.json").read_text())["ending"] == "memory"
    assert "ended by --memory: 1 GiB do not suffice" in capsys.readouterr().err
    assert run(["evaluate", str(tmp_path / "solution.yaml")], time.monotonic()) == 0
    assert run(["front", "toy", "--hw", "toy", "--memory", "1GiB", "-t", "60"], time.monotonic()) == 0
    assert "ended by --memory: 1 GiB do not suffice" in capsys.readouterr().err


def test_memory_that_the_machine_refuses_ends_a_search_with_its_best_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def greedy(run: Run) -> None:
        raise MemoryError

    monkeypatch.setitem(METHODS, "descent", greedy)
    result = solve(load_network("toy"), load_hardware("toy"), method="descent")
    assert result.ending == "memory" and result.value == result.sequential


def test_memory_that_the_machine_refuses_gets_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def greedy(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("solver.solve.solve", greedy)
    assert run(["solve", "toy", "--hw", "toy"], time.monotonic()) == 1
    assert capsys.readouterr().err == "error: the memory of this machine does not suffice\n"


@pytest.mark.parametrize("given", ["", "4", "4XB", "-4GiB", "nan", "inf", "0GiB", "511MiB", "1e99GiB", "GiB"])
@pytest.mark.parametrize("command", ["solve", "front", "sweep"])
def test_bad_sizes_get_one_line(command: str, given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "toy", "--memory", given], time.monotonic()) == 2
    err = capsys.readouterr().err
    assert "--memory" in err and len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("given", "size"), [("512MiB", 2**29), ("1.5G", 3 * 2**29), ("2GB", 2 * 10**9), ("1e3 MiB", 1000 * 2**20)]
)
def test_sizes_have_units(given: str, size: int) -> None:
    from cli.amounts import memory_size

    assert memory_size(given) == size


# Networks that make single steps long


def _products(*extents: int) -> Network:
    """Return matrix products one after the other, over rows and channels of these extents."""
    rows, *channels = extents
    layers = [
        {
            "name": f"l{i}",
            "dims": {"P": rows, "C": inner, "K": outer},
            "operands": [
                {
                    "from": f"l{i - 1}" if i else "x",
                    "axes": {"ch": {"terms": {"C": 1}}, "h": {"terms": {"P": 1}}},
                }
            ],
        }
        for i, (inner, outer) in enumerate(pairwise(channels))
    ]
    inputs = [{"name": "x", "shape": [1, channels[0], rows, 1]}]
    return Network.model_validate(
        {"format": "overlapim/network/1", "name": "products", "inputs": inputs, "layers": layers}
    )


HARD = {
    "many divisors": (_products(720720, 8, 720, 16), {"weights": "shared"}),
    "long latencies": (_products(4096, 64, 64, 64, 64), {"cycles": {"multiply": 2**30, "add": 2**30}}),
    "many channels": (_products(64, 64, 64, 64), {"channels": 2**16, "banks_per_channel": 1}),
    "wide layers": (_products(65536, 3, 1_000_003, 4), {"columns_per_bank": 720720, "rows_per_bank": 10**9}),
}


@pytest.mark.parametrize(("network", "changes"), HARD.values(), ids=HARD)
def test_hard_networks_keep_to_their_time(network: Network, changes: dict[str, object]) -> None:
    base = load_hardware("reram-aritpim").model_dump(mode="json", by_alias=True, exclude_defaults=True)
    base["rows_per_bank"] = 10**6
    cycles = {**base["cycles"], **changes.get("cycles", {})}  # type: ignore[dict-item]
    chip = Hardware.model_validate({**base, **changes, "cycles": cycles})
    began = time.process_time()
    solve(network, chip, stop=Stop(seconds=0.5))
    assert time.process_time() - began < 8
    assert used_memory(os.getpid()) < 2**31
