"""Whole commands timed from outside, each in a fresh process."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

from solver.bench.speed import CommandSpeed

PROGRAM = [sys.executable, "-c", "from cli.main import main; main()"]
REPEATS = 5


def help_seconds() -> float:
    """Return the median wall time of `overlapim --help`, in seconds."""
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        subprocess.run([*PROGRAM, "--help"], stdout=subprocess.DEVNULL, check=True)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def first_solution(network: str, hardware: str) -> tuple[float, float]:
    """Return seconds until `solve` prints its first latency, and the command's peak memory in MiB."""
    started = time.perf_counter()
    arguments = ["solve", network, "--hw", hardware, "--time-limit", "10", "--workers", "1"]
    with subprocess.Popen(
        [*PROGRAM, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        process.stderr.readline()
        seconds = time.perf_counter() - started
        process.stderr.read()
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
    return seconds, usage.ru_maxrss / 1024


def command_speed(network: str, hardware: str) -> CommandSpeed:
    """Measure `--help`, and `solve` on a network and a chip."""
    first_s, peak_mib = first_solution(network, hardware)
    return CommandSpeed(help_s=help_seconds(), first_solution_s=first_s, peak_mib=peak_mib)
