"""Options that several commands share, and numbers that say their range when they are wrong."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from cli.amounts import memory_size

MAX_SECONDS = 1_000_000
MAX_WORKERS = 256
MAX_SEED = 2**31 - 1
MAX_INFERENCES = 2**40
MEASURES = ("makespan", "energy", "edp")
ALL_WEIGHTS = ("static", "shared", "reload")
ALL_CORES = min(os.cpu_count() or 1, MAX_WORKERS)


def integer(low: int, high: int) -> Callable[[object], int]:
    """Return a parser of integers from `low` to `high`."""

    def parse(given: object) -> int:
        try:
            value = int(str(given))
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise typer.BadParameter(f"must be an integer from {low} to {high}, not {str(given)[:40]!r}")
        return value

    return parse


def quantity(unit: str, low: float, high: float) -> Callable[[object], float]:
    """Return a parser of numbers of a unit from `low` to `high`."""

    def parse(given: object) -> float:
        try:
            value = float(str(given))
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise typer.BadParameter(
                f"must be a number of {unit} from {low} to {high}, not {str(given)[:40]!r}"
            )
        return value

    return parse


seconds = quantity("seconds", 0.1, MAX_SECONDS)


def share(given: object) -> float:
    """Return a share from 0 to 1, given as a number or in percent."""
    text = str(given)
    try:
        value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise typer.BadParameter(f"must be a share from 0 to 1, or 0% to 100%, not {text[:40]!r}")
    return value


def text(longest: int) -> Callable[[object], str]:
    """Return a parser of text that is not empty."""

    def parse(given: object) -> str:
        if not 1 <= len(str(given)) <= longest:
            raise typer.BadParameter(f"must have 1 to {longest} characters, not {len(str(given))}")
        return str(given)

    return parse


def one_of(*words: str) -> Callable[[object], str]:
    """Return a parser that takes some words only."""

    def parse(given: object) -> str:
        if given not in words:
            raise typer.BadParameter(f"must be {' or '.join(words)}, not {str(given)[:40]!r}")
        return str(given)

    return parse


def directory(given: object) -> Path:
    """Return the path of a directory; an empty name is more likely a mistake than the current directory."""
    if not str(given):
        raise typer.BadParameter("must name a directory ('.' for this one), not ''")
    return Path(str(given))


def file(*endings: str) -> Callable[[object], Path]:
    """Return a parser of the paths of files that end in one way or another."""

    def parse(given: object) -> Path:
        path = Path(str(given))
        if path.suffix.lower() not in endings or not path.stem:
            known = " or ".join(filter(None, [", ".join(endings[:-1]), endings[-1]]))
            raise typer.BadParameter(f"must end in {known}, not {str(given)[:60]!r}")
        return path

    return parse


DEFAULT_HARDWARE = "hbm2-bitsimd"
DEFAULT_SECONDS = 10.0

NetworkName = Annotated[
    str,
    typer.Argument(
        metavar="NETWORK",
        help="A built-in network (`overlapim models list`), a file, or a directory of Timeloop problems.",
    ),
]
SolutionFile = Annotated[
    Path, typer.Argument(metavar="SOLUTION", help="A solution file, as `overlapim solve --out` writes it.")
]
HardwareName = Annotated[
    str,
    typer.Option("--hw", "-w", metavar="NAME|FILE", help="A built-in chip (`overlapim hw list`) or a file."),
]
OutDirectory = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        parser=directory,
        metavar="DIR",
        help="Write the results here; the directory is made if need be.",
    ),
]
TimeLimit = Annotated[
    float,
    typer.Option(
        "--time-limit",
        "-t",
        parser=seconds,
        metavar="SECONDS",
        help="Wall time of the whole command; with --deterministic an amount of work.",
    ),
]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        "--weights",
        parser=one_of(*ALL_WEIGHTS),
        metavar="|".join(ALL_WEIGHTS),
        help="Whether a bank serves one layer only, or several whose weights stay in it or are loaded anew; "
        "as the chip's file says unless given.",
    ),
]
LayerTableFile = Annotated[
    Path | None,
    typer.Option(
        "--table",
        parser=file(".csv", ".parquet"),
        metavar="FILE.csv|parquet",
        help="Write the layers as a table for data frames, with network, chip, seconds and energies.",
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        "--seed", "-s", parser=integer(0, MAX_SEED), metavar="N", help="Seed of every random choice."
    ),
]
MemoryLimit = Annotated[
    int | None,
    typer.Option(
        "--memory",
        parser=memory_size,
        metavar="SIZE",
        help="The most that all processes of the run may take, such as 4GiB; half of the machine's unless "
        "given. A search that cannot do with it ends with its best answer.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        "-j",
        parser=integer(1, MAX_WORKERS),
        metavar="N",
        help="Processes that search side by side; as many as there are cores unless given.",
    ),
]
ExecutedInferences = Annotated[
    int | None,
    typer.Option(
        "--inferences",
        "-N",
        parser=integer(1, MAX_INFERENCES),
        metavar="N",
        help="How many follow each other, each the interval of the file after the one before; as many as the "
        "file is about unless given.",
    ),
]
CatalogueName = Annotated[str, typer.Argument(metavar="NAME", help="A built-in name or a file.")]
CheckedFile = Annotated[str, typer.Argument(metavar="FILE", help="The file to check.")]
AsFile = Annotated[bool, typer.Option("--file", "-f", help="Print it as a file to begin one's own with.")]
