"""Inferences that follow each other on the banks of one: is any bank held twice at a time?

Everything is walked through, bank by bank, in the times that an execution came to. The closed form of the
least interval (`solver/schedule/interval.py`) is checked against it and takes no part.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from overlapim_files import InputError
from solver.bank_list import listed_banks
from solver.solution import Solution

IN_A_ROW = 3
"""Inferences that `execute` runs if a file is about more: each of them takes as long as the first."""

Hold = tuple[int, int, int, int]
"""A bank that is held: from when, until when, in which inference, by which layer."""


@dataclass(frozen=True)
class Succession:
    """Inferences in a row.

    Attributes
    ----------
    interval : cycles from each of them to the next; None if there is but one.
    makespan : cycles until the last one ends.
    handovers : banks that another inference takes in the very cycle in which they become free.
    differences : the first bank that is held twice at a time, if there is one.
    """

    inferences: int
    interval: int | None
    makespan: int
    handovers: int
    differences: tuple[str, ...]


def stated_interval(solution: Solution, inferences: int) -> int | None:
    """Return the interval that a file states, if more than one inference is to follow it.

    Raises
    ------
    InputError
        if the file does not state it.
    """
    if inferences == 1:
        return None
    if solution.interval is None:
        hint = "`overlapim evaluate FILE --recompute -o DIR` fills it in"
        raise InputError(f"interval: is missing, so {inferences} inferences cannot follow each other; {hint}")
    return solution.interval


def follow_each_other(
    solution: Solution, times: Sequence[tuple[int, int]], interval: int | None, inferences: int
) -> Succession:
    """Lay inferences over each other, each an interval after the one before.

    Parameters
    ----------
    times : when each layer of the first holds its banks, as an execution came to, in the network's order.
    """
    names = [layer.name for layer in solution.network.layers]
    banks = [listed_banks(solution.layers[name].banks, solution.hardware, name).tolist() for name in names]
    return succeed(names, banks, times, interval, inferences)


def succeed(
    names: Sequence[str],
    banks: Sequence[Sequence[int]],
    times: Sequence[tuple[int, int]],
    interval: int | None,
    inferences: int,
) -> Succession:
    """Do the same with layers by their names, banks and times."""
    step, latency = interval or 1, max(end for _, end in times)
    # An inference meets those before it that have not ended, so any more of them meet the same.
    meeting = min(inferences, latency // step + 2)
    makespan = latency + (inferences - 1) * step
    groups = _banks_alike(banks)
    held: list[list[Hold]] = [[] for _ in groups]
    handovers: dict[int, int] = {}
    for turn in range(meeting):
        for (bank, count, layers), holds in zip(groups, held, strict=True):
            for layer in layers:
                start, end = (turn * step + x for x in times[layer])
                hold = (start, end, turn, layer)
                at = bisect_left(holds, hold)
                for first, second in _neighbours(holds, at, hold):
                    if first[1] > second[0]:
                        text = _twice(bank, first, second, names)
                        return Succession(inferences, interval, makespan, 0, (text,))
                    if first[1] == second[0] and first[2] != second[2]:
                        handovers[bank] = count
                insort(holds, hold)
    return Succession(inferences, interval, makespan, sum(handovers.values()), ())


def _neighbours(holds: Sequence[Hold], at: int, hold: Hold) -> Iterator[tuple[Hold, Hold]]:
    """Yield the pairs of holds, the earlier one first, that a new one makes with those beside it."""
    if at:
        yield holds[at - 1], hold
    if at < len(holds):
        yield hold, holds[at]


def _banks_alike(banks: Sequence[Sequence[int]]) -> list[tuple[int, int, list[int]]]:
    """Return the first bank of each group that the same layers use, how many are in it, and those layers."""
    users: dict[int, list[int]] = {}
    for layer, own in enumerate(banks):
        for bank in own:
            users.setdefault(bank, []).append(layer)
    groups: dict[tuple[int, ...], list[int]] = {}
    for bank in sorted(users):
        groups.setdefault(tuple(users[bank]), []).append(bank)
    return [(own[0], len(own), list(layers)) for layers, own in groups.items()]


def _twice(bank: int, first: Hold, second: Hold, names: Sequence[str]) -> str:
    """Say that a bank is held twice."""
    (_, end, turn, layer), (start, _, later, other) = first, second
    one, two = (f"'{names[x]}' of inference {i + 1}" for x, i in ((layer, turn), (other, later)))
    return f"bank {bank}: {one} holds it until {end}, but {two} takes it at {start}"
