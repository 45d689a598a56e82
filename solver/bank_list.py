"""Banks as files list them: numbers, runs such as `0-127`, and the same ones of several channels, `0-7:4-11`.

A plan on a chip of many banks would fill its file with their numbers otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any

import numpy as np
from pydantic import Field, PlainValidator

from hw.hardware import Hardware
from overlapim_files import InputError, fault, shorten
from solver.schedule.banks import Banks

MOST_NUMBERS = 2**14
"""Banks of a layer that are written one by one, as every program reads them; more are written as runs."""

FEWEST = 16
"""Of these, banks that are worth a run."""

MAX_BANK = 2**40

_ENTRY = re.compile(r"(?:(\d{1,13})-(\d{1,13}):)?(\d{1,13})(?:-(\d{1,13}))?", re.ASCII)

_Run = tuple[int, int]


def _parts(text: str) -> tuple[_Run | None, _Run] | None:
    """Return the channels, if an entry names any, and the banks; None if it is no entry."""
    found = _ENTRY.fullmatch(text)
    if found is None:
        return None
    channel, last_channel, bank, last_bank = found.groups()
    banks = int(bank), int(last_bank or bank)
    channels = None if channel is None else (int(channel), int(last_channel))
    down = any(first > last or last > MAX_BANK for first, last in (banks, channels or banks))
    return None if down else (channels, banks)


def _entry(given: Any) -> int | str:
    """Return an entry of a list of banks."""
    if isinstance(given, int) and not isinstance(given, bool) and 0 <= given <= MAX_BANK:
        return given
    if isinstance(given, str) and _parts(given) is not None:
        return given
    raise fault(
        "must be a bank, a run of banks such as 0-127, or banks of some channels such as 0-7:4-11, "
        f"found {shorten(repr(given))}"
    )


BankList = Annotated[tuple[Annotated[int | str, PlainValidator(_entry)], ...], Field(strict=False)]
"""The banks of a layer, in a file."""


def bank_list(banks: Banks, hardware: Hardware, most: int = MOST_NUMBERS) -> tuple[int | str, ...]:
    """Return banks as files list them, in the same order; up to `most` as numbers."""
    if len(banks) <= most:
        return tuple(banks.tolist())
    starts = np.append(0, np.flatnonzero(np.diff(banks) != 1) + 1)
    first, last = banks[starts], banks[np.append(starts[1:], len(banks)) - 1]
    channel, own = np.divmod(first, hardware.banks_per_channel)
    size = last - first
    alike = (np.diff(channel) == 1) & (np.diff(own) == 0) & (np.diff(size) == 0)
    alike &= own[1:] + size[1:] < hardware.banks_per_channel
    groups = np.append(0, np.flatnonzero(~alike) + 1).tolist()
    found: list[int | str] = []
    for begin, end in zip(groups, [*groups[1:], len(first)], strict=True):
        count, (low, high) = end - begin, (int(own[begin]), int(own[begin] + size[begin]))
        if count > 1 and count * (high - low + 1) >= FEWEST:
            found.append(f"{channel[begin]}-{channel[end - 1]}:{_run(low, high)}")
            continue
        for run in zip(first[begin:end].tolist(), last[begin:end].tolist(), strict=True):
            found += [_run(*run)] if run[1] - run[0] + 1 >= FEWEST else range(run[0], run[1] + 1)
    return tuple(found)


def _run(first: int, last: int) -> str:
    return f"{first}" if first == last else f"{first}-{last}"


def listed_banks(entries: Iterable[int | str], hardware: Hardware, where: str) -> Banks:
    """Return the numbers of the banks of a list.

    Parameters
    ----------
    where : what an error begins with.

    Raises
    ------
    InputError
        if the chip has no such bank, or fewer than are listed.
    """
    parts, many = [np.zeros(0, np.int64)], 0
    for entry in entries:
        stated = (None, (entry, entry)) if isinstance(entry, int) else _parts(entry)
        assert stated is not None, entry
        channels, (first, last) = stated
        _check(channels, last, hardware, where)
        count = (last - first + 1) * (1 if channels is None else channels[1] - channels[0] + 1)
        if (many := many + count) > hardware.banks:
            raise InputError(f"{where}: more banks are listed than the {hardware.banks} of the chip")
        own = np.arange(first, last + 1, dtype=np.int64)
        if channels is not None:
            own = np.arange(channels[0], channels[1] + 1)[:, None] * hardware.banks_per_channel + own
        parts.append(own.ravel())
    return np.concatenate(parts)


def _check(channels: _Run | None, last: int, hardware: Hardware, where: str) -> None:
    """Raise InputError if an entry goes beyond the chip."""
    banks = hardware.banks if channels is None else hardware.banks_per_channel
    if channels is not None and channels[1] >= hardware.channels:
        raise InputError(f"{where}: there is no channel {channels[1]}, the last is {hardware.channels - 1}")
    if last >= banks:
        of = "" if channels is None else " of a channel"
        raise InputError(f"{where}: there is no bank {last}{of}, the last is {banks - 1}")
