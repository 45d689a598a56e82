"""Kill the program at random moments, and look at what it leaves behind.

    python tests/kills.py --count 200 --seed 1

Runs `solve` with one process and with two, `sweep` and `bench`, sends SIGINT, SIGTERM or SIGKILL to the
program alone or to all of its processes, and then says which processes, temporary files or broken results are
left.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from overlapim_files import InputError, load_json
from solver.solution import read_verified
from solver.sweep.task import TaskRecord

ROOT = Path(__file__).parent.parent
PROGRAM = (sys.executable, "-c", "from cli.start import main; open('begun', 'w').close(); main()")
MARK = "OVERLAPIM_KILLED"
END_SECONDS = 20.0
"""How long a program may take to end once it has been asked to, on a machine that has much else to do."""

GONE_SECONDS = 5.0
"""How long what it began may outlive it."""

SPEC = """
format: overlapim/sweep/1
networks: [toy]
chips:
  - {from: toy, set: {columns_per_bank: [8, 16, 32]}}
seeds: [0, 1]
seconds: 0.5
"""

COMMANDS = {
    "solve, one process": ("solve", "toy", "--weights", "static", "-t", "3", "-j", "1", "-o", "out"),
    "solve, two processes": ("solve", "toy", "--weights", "static", "-t", "90", "-j", "2", "-o", "out"),
    "sweep": ("sweep", "s.yaml", "-o", "out", "-j", "2"),
    "bench": ("bench", "anytime", "-n", "toy", "-w", "toy", "-t", "0.5", "-j", "2", "-o", "out"),
}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


@dataclass(frozen=True)
class Kill:
    """A command and the signal that it gets.

    Attributes
    ----------
    everyone : whether all of its processes get it.
    seconds : after which it gets it.
    once_found : whether these are counted from its first answer on.
    """

    command: str
    number: signal.Signals
    everyone: bool
    seconds: float
    once_found: bool

    @classmethod
    def drawn(cls, rng: random.Random) -> Kill:
        """Draw one; many of them fall into the first seconds."""
        once_found = rng.random() < 0.5
        seconds = rng.uniform(0.0, rng.choice((1.0, 4.0) if once_found else (1.5, 5.0)))
        return cls(rng.choice(list(COMMANDS)), rng.choice(SIGNALS), rng.random() < 0.3, seconds, once_found)

    def __str__(self) -> str:
        """Return it in words."""
        to = "all processes" if self.everyone else "the program"
        after = f"{self.seconds:.2f} s{' from its first answer on' if self.once_found else ''}"
        return f"{self.command}: {self.number.name} to {to} after {after}"


def kill(one: Kill, folder: Path) -> list[str]:
    """Run a command in an empty folder, kill it, and return what is wrong with what it leaves."""
    (folder / "s.yaml").write_text(SPEC)
    temporary = folder / "temporary"
    temporary.mkdir()
    mark = f"{os.getpid()}-{time.monotonic_ns()}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary), MARK: mark}
    command = [*PROGRAM, *COMMANDS[one.command]]
    null = subprocess.DEVNULL
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=null,
            stderr=said,
            start_new_session=True,
            # In the background of a shell, which is where this may run, Ctrl-C is ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        # What Python itself does with a signal while it starts is not looked into.
        while not (folder / "begun").exists() and process.poll() is None:
            time.sleep(0.005)
        while one.once_found and process.poll() is None and "cycles" not in (folder / "said").read_text():
            time.sleep(0.02)
        with suppress(subprocess.TimeoutExpired):
            process.wait(one.seconds)
        in_time = process.returncode is None
        with suppress(ProcessLookupError):
            (os.killpg if one.everyone else os.kill)(process.pid, one.number)
        try:
            code = process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return [f"had not ended after {END_SECONDS:g} s"]
    found = list(_outlived(mark, temporary))
    if code not in (0, 130, -one.number) or (code != 0 and not in_time):
        found.append(f"ended with {code}: {(folder / 'said').read_text()[-300:]}")
    return found + list(_broken(folder / "out"))


def _outlived(mark: str, temporary: Path) -> Iterator[str]:
    """Yield the processes, and the temporary files, that are there for longer than they may be."""
    end = time.monotonic() + GONE_SECONDS
    while (left := [*_processes(mark), *temporary.iterdir()]) and time.monotonic() < end:
        time.sleep(0.05)
    yield from (f"left: {what}" for what in left)
    for pid in _processes(mark):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _processes(mark: str) -> list[int]:
    """Return the processes that were begun with a mark, ended ones that nobody has asked for aside."""
    found = []
    for place in Path("/proc").iterdir():
        with suppress(OSError):
            if place.name.isdigit() and f"{MARK}={mark}".encode() in (place / "environ").read_bytes():
                found.append(int(place.name))
    return found


def _broken(out: Path) -> Iterator[str]:
    """Yield what is wrong with the files of results."""
    for file in sorted(out.rglob("*")) if out.is_dir() else ():
        try:
            if file.name.startswith("."):
                yield f"left: {file.relative_to(out)}"
            elif file.suffix == ".yaml" and file.name != "sweep.yaml":
                read_verified(file)
            elif file.parent.name == "tasks":
                load_json(file, TaskRecord)
            elif file.suffix == ".json":
                json.loads(file.read_text())
        except (InputError, ValueError) as error:
            yield f"broken: {error}"


def main() -> None:
    """Kill as often as was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, counts, wrong = random.Random(options.seed), Counter[str](), 0
    for number in range(options.count):
        one = Kill.drawn(rng)
        with tempfile.TemporaryDirectory() as folder:
            found = kill(one, Path(folder))
        counts[f"{one.command}, {one.number.name}"] += 1
        wrong += bool(found)
        for text in found:
            print(f"{number}: {one}: {text}", flush=True)
    for name, count in sorted(counts.items()):
        print(f"{count:5} {name}")
    print(f"{options.count} kills, {wrong} with something wrong")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
