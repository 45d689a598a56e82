"""Hunt for what the command line does not take well: files spoilt at random, and odd options.

    python tests/hunt.py --seed 1 --count 1000

Every case is a command line and the files that it is given, made of valid ones. It is run in a process with
limits of time and memory. What is found is a traceback, an exit code that is none, more than one line for bad
input, what takes too long or too much, control characters, and a file that is broken or left over. A case
depends on its seed and its number only: `--only N` runs that one, and keeps its folder.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import typer
import yaml
from generators import draw_hardware, draw_network
from onnx_networks import Net

from cli import main as command_line
from hw.library import load_hardware
from models.library import load_network
from overlapim_files import InputError, dump
from solver.solution import read_verified
from solver.solve import solve
from solver.stop import Stop
from solver.sweep import run as sweep_run
from solver.sweep.task import solve_task

SECONDS = 60.0
"""After which a case hangs, however busy the machine is."""

CPU_SECONDS = 20.0
"""Of work, after which it takes too long; none asks for more than one."""

MEMORY = 3 * 2**30
"""Bytes of a process, after which it takes too much."""

ENDINGS = (0, 1, 2, 130)


# Valid files


@cache
def valid() -> dict[str, str | bytes]:
    """Return a file of each kind by its name."""
    network, chip = load_network("toy"), load_hardware("toy")
    shared = solve(network, chip, method="sequential", stop=Stop(iterations=1)).solution
    static = solve(network, chip.with_weights("static"), method="layerwise", stop=Stop(iterations=1)).solution
    return {
        "net.yaml": dump(network),
        "chip.yaml": dump(load_hardware("hbm-pim")),
        "toy.yaml": dump(chip),
        "solution.yaml": dump(shared),
        "static.yaml": dump(static),
        "limits.yaml": LIMITS,
        "sweep.yaml": SWEEP,
        "edges.yaml": EDGES,
        "problem.yaml": "problem: {shape: gemm_ABZ, instance: {M: 24, N: 32, K: 32}}\n",
        "net.onnx": _graph(),
    }


LIMITS = """\
format: overlapim/limits/1
layers:
  - {layer: stem, most_banks: 2}
  - {layer: "[lr]*", no_spread: {column: [C]}}
  - {layer: right, banks: [6, 7], earliest: 5000}
  - {layer: left, loops: [{dim: K, bound: 2, kind: bank}]}
  - {layer: head, mapping: {solution: static.yaml}}
"""

EDGES = """\
format: overlapim/edges/1
inputs: [x]
reads:
  1-a: x
  2-b: {sum: [1-a], add: [x]}
"""

SWEEP = """\
format: overlapim/sweep/1
networks: [toy, net.yaml]
chips:
  - from: toy.yaml
    set:
      banks_per_channel: [2, 4]
      columns_per_bank: {from: 4, to: 16, times: 2}
      rows_per_bank: "= 32768 / columns_per_bank"
    where: lanes <= 64
weights: [static, shared]
seeds: [0, 1]
method: layerwise
deterministic: true
seconds: 0.5
area: 0.02 * banks + 0.001 * lanes
"""


def _graph() -> bytes:
    net = Net("small")
    x = net.add("Relu", net.conv(net.input(1, 2, 8, 8), 2, 4, 3))
    x = net.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.add("Reshape", x, net.constant(1, -1))
    data: bytes = net.model(net.add("Softmax", net.dense(x, 64, 3))).SerializeToString()
    return data


# Command lines


COMMANDS = (
    "solve NET --hw HW -t 0.2 -j 1 -o OUT",
    "solve NET --hw HW -t 0.2 -j 2 -m descent",
    "solve NET --hw HW -D -t 0.2 --json",
    "solve NET --hw HW -t 0.2 -j 1 --limits limits.yaml",
    "solve NET --hw HW -t 0.2 -j 1 -W SOLUTION --fix left",
    "solve problem.yaml --hw HW -t 0.2 -j 1",
    "solve PROBLEMS --edges edges.yaml --hw HW -t 0.2 -j 1",
    "solve net.onnx --hw HW -t 0.2 -j 1 -o OUT",
    "front NET --hw HW -t 0.5 -j 1 -o OUT",
    "sweep sweep.yaml -o OUT -j 1",
    "evaluate SOLUTION --table OUT.csv",
    "evaluate SOLUTION --recompute -o OUT",
    "simulate SOLUTION",
    "execute SOLUTION",
    "execute SOLUTION --onnx net.onnx",
    "transform SOLUTION -t 0.2 -o OUT",
    "export SOLUTION --to timeloop -o OUT",
    "export SOLUTION --to aim -o OUT",
    "export SOLUTION --to loops",
    "trace SOLUTION -o OUT.json",
    "explain SOLUTION -t 0.2",
    "explain SOLUTION -t 0.2 --limits limits.yaml",
    "compare SOLUTION static.yaml",
    "report SOLUTION -o OUT.html",
    "plot SOLUTION -o OUT.svg",
    "hw list",
    "hw show HW",
    "hw check HW",
    "hw derive bitsimd --bits 8 --accumulator 32 --columns 1024 --out OUT.yaml",
    "hw derive aim --channels 4 --out OUT.yaml",
    "models list",
    "models show NET",
    "models show net.onnx --file",
    "models check NET",
    "models check net.onnx",
    "models check PROBLEMS --edges edges.yaml",
    "models check problem.yaml",
    "bench exhaustive --networks 1 -t 0.2 -o OUT",
    "bench page OUT",
)


@cache
def options() -> list[str]:
    """Return the options of all commands, and some that are none."""

    def of(command: Any) -> Iterator[str]:
        for parameter in command.params:
            yield from parameter.opts if parameter.param_type_name == "option" else ()
        for inner in getattr(command, "commands", {}).values():
            yield from of(inner)

    return sorted({*of(typer.main.get_command(command_line.app)), "--nothing", "--", "-"})


WORDS = (
    "", " ", "0", "1", "2", "-1", "0.3", "1e400", "nan", "inf", "-inf", "9" * 40, "0x10", "1e3", "50%",
    "1,2", "a=b", "stem:most_banks=2", "stem:banks=99999999999999999999", "stem:mapping=x", "*", "[",
    "l*", "toy", "resnet18:prefill@9", "llama-3.2-1b:decode@8", "x" * 5000, "\u00fc\u2603\U0001f600",
    "\u202ename", "a\nb", "\x1b[31mred", "../x", "/", ".", "/dev/full", "/dev/null", "/proc/self/mem",
    "~", "net.yaml", "solution.yaml", "net.onnx", "solution.yaml/x", "missing.yaml", "batch=1",
    "K=K,C=C", "512MiB", "1TiB", "--hw", "layerwise", "sequential", "exhaustive", "random", "energy",
    "edp", "latency,energy", "1ms", "2.5mJ", "x.svg", "x.csv", "x.parquet", "x.html", "<b>&amp;",
    "{{x}}", "%s%n", "\udcff",
)  # fmt: skip


# Spoiling


NUMBERS = (
    0, 1, -1, 2, 3, 7, 255, 2**31, 2**63, 2**64, 10**30, -(2**63), 0.0, 0.5, -0.0, 1e308, 1e-308,
    720720,
)  # fmt: skip
NUMBERS += (float("nan"), float("inf"), float("-inf"), 10**6, 2**20, 2**30)
STRANGE: tuple[Any, ...] = (
    *NUMBERS, None, True, False, "", " ", "0", "1/3", "= 2 ** 2 ** 99", "= [", "= banks", "x" * 3000,
    [], {}, [[]], [1], {"a": 1}, "stem", "toy", "<script>alert(1)</script>", "\x1b[31m", "a\nb",
    "\u202e", "../x", "null", "&a", "2024-01-01", {"K": 1}, [{"dim": "K", "bound": 2, "kind": "bank"}],
    {"from": 1, "to": 10**9, "step": 1}, {"from": 1, "to": 1e300, "times": 1.0000001},
    {"K": 10**6, "C": 10**6}, list(range(3000)), "\u00fc\u2603",
)  # fmt: skip
GROWN = (1009, 4096, 65536, 720720, 1_000_003, 2**20, 2**30)
LAUGHS = "".join(
    f"{c}: &{c} [{', '.join([f'*{p}' if p else 'x'] * 9)}]\n"
    for p, c in zip(["", *"abcdefgh"], "abcdefghi", strict=True)
)


def _paths(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to everything in plain data, the whole aside."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data):
        yield (*path, key)
        if isinstance(value, (dict, list)):
            yield from _paths(value, (*path, key))


def _spoil_data(data: Any, rng: random.Random) -> Any:
    """Change plain data in one place."""
    paths = list(_paths(data)) if isinstance(data, (dict, list)) else []
    if not paths:
        return rng.choice(STRANGE)
    *way, last = rng.choice(paths)
    inside = data
    for step in way:
        inside = inside[step]
    kind = rng.randrange(8)
    if kind <= 3:
        inside[last] = rng.choice(STRANGE if kind else NUMBERS)
    elif kind == 4:
        del inside[last]
    elif kind == 5:
        moved = data
        for step in rng.choice(paths):
            moved = moved[step]
        inside[last] = json.loads(json.dumps(moved))
    elif kind == 6 and isinstance(inside, dict):
        inside[rng.choice(("x", "", f"{last}s", "K", "format", "name", "bounds"))] = inside.pop(last)
    elif isinstance(inside, list):
        inside.extend([inside[last]] * rng.choice((1, 2, 2000)))
    else:
        deep: Any = inside[last]
        for _ in range(rng.choice((1, 2, 60))):
            deep = [deep] if rng.random() < 0.5 else {"x": deep}
        inside[last] = deep
    return data


def _grow(data: Any, rng: random.Random) -> None:
    """Change a number to one that may be meant, so that the file stays valid more often."""
    found = []
    for *way, last in _paths(data):
        inside = data
        for step in way:
            inside = inside[step]
        if type(inside[last]) is int:
            found.append((inside, last, inside[last]))
    if found:
        inside, last, own = rng.choice(found)
        inside[last] = rng.choice((0, 1, 3, own + 1, 2 * own, 1000 * own, own // 2, *GROWN))


def _spoil_text(text: str, rng: random.Random) -> bytes:
    """Change a text without minding what it says."""
    lines = text.splitlines(keepends=True)
    place = rng.randrange(len(lines))
    own = lines[place].rstrip("\n")
    changed = rng.choice(
        (
            lines[:place],
            [*lines[:place], own[: rng.randrange(len(own) + 1)]],
            [*lines[:place], *lines[place + 1 :]],
            [*lines[: place + 1], *lines[place:]],
            [*lines[:place], "\t" + own + "\n", *lines[place + 1 :]],
            [*lines[:place], own + " &a\n", *lines[place + 1 :]],
            [
                *lines[:place],
                own.replace(": ", ": !!python/object/apply:os.system ", 1),
                "\n",
                *lines[place + 1 :],
            ],
            [*lines[:place], "<<: {a: 1}\n", *lines[place:]],
            [*lines[:place], "---\n", *lines[place:]],
            ["\ufeff", *lines],
            [*lines, LAUGHS],
            [LAUGHS],
            ["[" * 20_000],
            [*lines[:place], "x: " + "9" * 5000 + "\n", *lines[place:]],
            [line.replace("\n", "\r\n") for line in lines],
        )
    )
    data = bytearray("".join(changed).encode())
    for _ in range(rng.choice((0, 0, 0, 1, 3))):
        if data:
            data[rng.randrange(len(data))] = rng.choice((0, 10, 27, 32, 58, 91, 128, 255, rng.randrange(256)))
    return bytes(data)


def spoilt(content: str | bytes, rng: random.Random) -> bytes:
    """Return a file that is changed in one place or a few."""
    if isinstance(content, bytes):
        data = bytearray(content)
        for _ in range(rng.choice((1, 1, 2, 8))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        return bytes(data[: rng.randrange(len(data))] if rng.random() < 0.2 else data)
    kind = rng.random()
    if kind < 0.2:
        return _spoil_text(content, rng)
    plain = yaml.safe_load(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if kind < 0.6:
            _grow(plain, rng)
        else:
            plain = _spoil_data(plain, rng)
    return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)).encode("utf-8", "surrogatepass")


@dataclass(frozen=True)
class Trial:
    """A command line, and its files by name."""

    arguments: tuple[str, ...]
    files: dict[str, bytes]

    @classmethod
    def drawn(cls, seed: int, number: int) -> Trial:
        """Draw the files and the command, and spoil one of them or both."""
        rng = random.Random(f"{seed} {number}")
        known = dict(valid())
        if rng.random() < 0.5:
            network = draw_network(rng, rng.randint(1, 4))
            known |= {"net.yaml": dump(network), "chip.yaml": dump(draw_hardware(rng, network))}
        files = {name: x if isinstance(x, bytes) else x.encode() for name, x in known.items()}
        command = rng.choice(COMMANDS).split()
        values = {
            "NET": rng.choice(("net.yaml", "net.yaml", "net.yaml", "toy")),
            "HW": rng.choice(("toy.yaml", "chip.yaml")),
            "SOLUTION": rng.choice(("solution.yaml", "static.yaml")),
            "PROBLEMS": "problems",
        }
        words = [values.get(word, word.replace("OUT", "out")) for word in command]
        used = [word for word in words if word in files] or ["problem.yaml", "edges.yaml"]
        if "problems" in words:
            used += ["problem.yaml"]
        if rng.random() < 0.8:
            name = rng.choice(used)
            files[name] = spoilt(known[name], rng)
        if rng.random() < 0.35:
            words = _odd(words, rng)
        files |= {f"problems/{i}.yaml": files["problem.yaml"] for i in ("1-a", "2-b")}
        return cls(tuple(words), files)

    def write(self, folder: Path) -> None:
        """Write the files."""
        for name, data in self.files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)


def _odd(words: Sequence[str], rng: random.Random) -> list[str]:
    """Return a command line with something odd in it."""
    words = list(words)
    for _ in range(rng.choice((1, 1, 2, 3))):
        place = rng.randrange(len(words) + 1)
        kind = rng.randrange(5)
        if kind == 0 and place < len(words):
            words[place] = rng.choice(WORDS)
        elif kind == 1 and place < len(words):
            del words[place]
        elif kind == 2:
            words.insert(place, rng.choice(WORDS))
        else:
            words += [rng.choice(options()), rng.choice(WORDS)][: rng.choice((1, 2, 2))]
    return words


# Running


class _Here:
    """A cluster of one process, this one: what is under test is not Dask."""

    def nthreads(self) -> dict[str, int]:
        return {"here": 1}

    def submit(self, work: Any, task: Any, pure: bool) -> _Here:
        self.status, self._found = "finished", work(task)
        return self

    def add_done_callback(self, call: Any) -> None:
        call(self)

    def result(self) -> Any:
        return self._found


@contextlib.contextmanager
def _cluster(*_: object) -> Iterator[_Here]:
    yield _Here()


def _brief(task: Any) -> Any:
    """Solve a case, or a little of it."""
    brief = replace(
        task, question=task.question.model_copy(update={"seconds": min(task.question.seconds, 0.3)})
    )
    return solve_task(brief)


@dataclass(frozen=True)
class Outcome:
    """How a command ended: with a code, or with the traceback of what it should have caught."""

    code: int | None
    error: str
    cpu: float
    most: int


def _serve(pipe: Connection) -> None:
    """Run the commands that come, each in a folder, until there are no more."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY + 2**31, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sweep_run.cluster = _cluster  # type: ignore[assignment]
    sweep_run.run_sweep.__kwdefaults__["work"] = _brief
    while (given := pipe.recv()) is not None:
        folder, arguments = given
        os.chdir(folder)
        began, code, error = time.process_time(), None, ""
        with (Path(folder) / "out.txt").open("w") as out, (Path(folder) / "err.txt").open("w") as err:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        try:
            code = command_line.run(arguments, time.monotonic())
        except BaseException:
            error = traceback.format_exc()
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        pipe.send(Outcome(code, error, time.process_time() - began, most))


class Runner:
    """A process that runs one command after the other; another one takes its place when it is lost."""

    def __init__(self) -> None:
        self._process: Any = None

    def _begin(self) -> None:
        context = multiprocessing.get_context("fork")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other,))
        self._process.start()
        other.close()

    def run(self, trial: Trial, folder: Path) -> list[str]:
        """Run a trial in a folder, and return what is wrong."""
        if self._process is None:
            self._begin()
        before = {file.name for file in folder.iterdir()} | {"out.txt", "err.txt"}
        self._pipe.send((str(folder), list(trial.arguments)))
        try:
            outcome = self._pipe.recv() if self._pipe.poll(SECONDS) else None
        except EOFError:
            outcome = Outcome(None, "the process died", 0.0, 0)
        found = ["hangs"] if outcome is None else list(_wrong(outcome, trial, folder, before))
        if found or (outcome and outcome.most > MEMORY // 4):
            self.end()
        return found

    def end(self) -> None:
        """End the process, and those that it has begun."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.join()
            self._process = None


def _wrong(outcome: Outcome, trial: Trial, folder: Path, before: set[str]) -> Iterator[str]:
    """Yield what is wrong with how a command ended, and with what it left."""
    said, shown = ((folder / name).read_bytes().decode("utf-8", "replace") for name in ("err.txt", "out.txt"))
    if outcome.error:
        yield f"traceback: {outcome.error.strip().splitlines()[-1][:200]}\n{outcome.error}"
    elif outcome.code not in ENDINGS:
        yield f"exit code {outcome.code}"
    elif outcome.code == 2 and not shown and (said.count("\n") != 1 or not said.startswith("error: ")):
        lines = [line for line in said.splitlines() if line.startswith("error: ")]
        progress = "cycles" in said or "pJ" in said or "cases are" in said
        if len(lines) != 1 or not progress:
            yield f"{said.count(chr(10))} lines of an error: {said[:500]}"
    if outcome.cpu > CPU_SECONDS:
        yield f"took {outcome.cpu:.0f} s of work"
    if outcome.most > MEMORY:
        yield f"took {outcome.most / 2**30:.1f} GiB"
    for text in (said, shown):
        odd = {c for c in text if not (c.isprintable() or c in "\n\t\ufffd")}
        if odd:
            yield f"control characters: {sorted(odd)!r}"
    new = [file for file in folder.iterdir() if file.name not in before]
    if outcome.code == 2 and not shown and new and "--top" not in trial.arguments:
        yield f"left after an error: {sorted(file.name for file in new)}"
    for file in new:
        yield from _broken(file)


def _broken(place: Path) -> Iterator[str]:
    """Yield what is wrong with what was written."""
    for file in [place, *place.rglob("*")]:
        try:
            if ".overlapim" in file.name:
                yield f"left over: {file.name}"
            elif not file.is_file():
                continue
            elif file.name in ("solution.yaml", "1.yaml") or file.parent.name == "solutions":
                read_verified(file)
            elif file.suffix == ".yaml":
                yaml.safe_load(file.read_text())
            elif file.suffix == ".json":
                json.loads(file.read_text())
            elif file.suffix in (".html", ".svg"):
                text = file.read_text().strip()
                if text.startswith("<") and not text.endswith(f"</{file.suffix[1:]}>"):
                    yield f"broken: {file.name} does not end"
            elif file.suffix == ".csv":
                list(csv.reader(file.read_text().splitlines()))
        except (InputError, ValueError, yaml.YAMLError) as error:
            yield f"broken: {file.name}: {error}"


def hunt(seed: int, numbers: Sequence[int], kept: Path | None = None) -> list[tuple[int, Trial, str]]:
    """Run cases, and return what is wrong with which.

    Parameters
    ----------
    kept : a folder for those of cases with which something is wrong.
    """
    runner, found = Runner(), []
    try:
        for number in numbers:
            trial = Trial.drawn(seed, number)
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch) / "case"
                folder.mkdir()
                trial.write(folder)
                wrong = runner.run(trial, folder)
                if wrong and kept is not None:
                    shutil.copytree(folder, kept / f"{seed}-{number}", dirs_exist_ok=True)
            found += [(number, trial, text) for text in wrong]
    finally:
        runner.end()
    return found


def main() -> None:
    """Hunt, and print what is found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--only", type=int)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    numbers = range(options.count) if options.only is None else [options.only]
    began, kinds = time.monotonic(), Counter[str]()
    for start in range(0, len(numbers), 50):
        for number, trial, text in hunt(options.seed, numbers[start : start + 50], options.keep):
            kinds[text.splitlines()[0]] += 1
            print(f"{number}: overlapim {' '.join(trial.arguments)!r}\n{text}\n", flush=True)
    for text, count in kinds.most_common():
        print(f"{count:5} {text}")
    print(f"{len(numbers)} cases in {time.monotonic() - began:.0f} s, {kinds.total()} findings")
    sys.exit(bool(kinds))


if __name__ == "__main__":
    main()
