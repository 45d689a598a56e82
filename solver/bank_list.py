"""Banks as files list them: numbers, and for many that follow each other runs such as `0-127`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any

import numpy as np
from pydantic import Field, PlainValidator

from overlapim_files import InputError, fault, shorten
from solver.schedule.banks import Banks

SHORTEST_RUN = 16
"""Banks that follow each other are written as a run if there are at least so many."""

MAX_BANK = 2**40

_RUN = re.compile(r"(\d{1,13})-(\d{1,13})", re.ASCII)


def _entry(given: Any) -> int | str:
    """Return an entry of a list of banks."""
    if isinstance(given, int) and not isinstance(given, bool) and 0 <= given <= MAX_BANK:
        return given
    first, last = _ends(given) if isinstance(given, str) and _RUN.fullmatch(given) else (1, 0)
    if first > last or last > MAX_BANK:
        shown = shorten(repr(given))
        raise fault(f"must be the number of a bank, or a run of them such as 0-127, found {shown}")
    return str(given)


def _ends(entry: int | str) -> tuple[int, int]:
    """Return the first and the last bank of an entry."""
    if isinstance(entry, int):
        return entry, entry
    first, last = entry.split("-")
    return int(first), int(last)


BankList = Annotated[tuple[Annotated[int | str, PlainValidator(_entry)], ...], Field(strict=False)]
"""The banks of a layer, in a file."""


def bank_list(banks: Banks) -> tuple[int | str, ...]:
    """Return banks as files list them, in the same order."""
    breaks = np.flatnonzero(np.diff(banks) != 1) + 1
    found: list[int | str] = []
    for run in np.split(banks, breaks):
        found += [f"{run[0]}-{run[-1]}"] if len(run) >= SHORTEST_RUN else run.tolist()
    return tuple(found)


def listed_banks(entries: Iterable[int | str], count: int, where: str) -> Banks:
    """Return the numbers of the banks of a list.

    Parameters
    ----------
    count : the banks of the chip.
    where : what an error begins with.

    Raises
    ------
    InputError
        if there is no such bank, or more are listed than there are.
    """
    ends = [*map(_ends, entries)]
    beyond = max((last for _, last in ends), default=0)
    if beyond >= count:
        raise InputError(f"{where}: there is no bank {beyond}, the last is {count - 1}")
    if (many := sum(last - first + 1 for first, last in ends)) > count:
        raise InputError(f"{where}: {many} banks are listed, but the chip has {count}")
    return np.concatenate([np.zeros(0, np.int64), *[np.arange(a, b + 1, dtype=np.int64) for a, b in ends]])
