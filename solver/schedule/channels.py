"""Which channels have the banks for layers that are given banks of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from solver import core

Cuttable = tuple[int, Sequence[int], int]
"""Banks of a layer, the numbers of channels that they may be spread over, and how many it has."""

PACKING_STEPS = 500
"""Steps, beyond those of one straight attempt, after which no more ways to pack are tried."""


def chosen_channels(free: list[int], shapes: Sequence[tuple[int, int]]) -> list[list[int]] | None:
    """Choose channels for each shape, depth first; None if there is no way, or none is found in time.

    Parameters
    ----------
    free : how many banks of each channel are.
    shapes : channels, and banks of each of them, that are to be chosen one after the other.
    """
    if core.native is not None:
        found: list[list[int]] | None = core.native.chosen_channels(free, shapes, PACKING_STEPS)
        return found
    if not shapes:
        return []
    if sum(channels * banks for channels, banks in shapes) > sum(free):
        return None
    chosen: list[list[int]] = []
    stack = [(free, _ways(free, *shapes[0]))]
    for _ in range(len(shapes) + PACKING_STEPS):
        free, ways = stack[-1]
        way = next(ways, None)
        if way is None:
            stack.pop()
            if not stack:
                return None
            chosen.pop()
            continue
        banks = shapes[len(chosen)][1]
        chosen.append(way)
        if len(chosen) == len(shapes):
            return chosen
        left = free.copy()
        for c in way:
            left[c] -= banks
        stack.append((left, _ways(left, *shapes[len(chosen)])))
    return None


def _ways(free: Sequence[int], channels: int, banks: int) -> Iterator[list[int]]:
    """Yield choices of channels, the fullest ones first; of those that are equally full take the first."""
    alike: dict[int, list[int]] = {}
    for left, c in sorted((left, c) for c, left in enumerate(free) if left >= banks):
        alike.setdefault(left, []).append(c)

    def choose(classes: list[list[int]], missing: int) -> Iterator[list[int]]:
        if missing == 0:
            yield []
        elif sum(map(len, classes)) >= missing:
            for number in range(min(len(classes[0]), missing), -1, -1):
                for others in choose(classes[1:], missing - number):
                    yield classes[0][:number] + others

    return (sorted(way) for way in choose(list(alike.values()), channels))


def filled_channels(free: Sequence[int], layers: Sequence[Cuttable]) -> list[list[int]]:
    """Return the channels of one layer after the other, of as many of them as there is room for.

    Each fills those that leave the fewest channels half used, of equally good ones its own number of them.

    Parameters
    ----------
    free : how many banks of each channel are.
    layers : their banks, the numbers of channels over which they can be spread evenly, and their own number.
    """
    if core.native is not None:
        known: list[list[int]] = core.native.filled_channels(free, layers)
        return known
    left = list(free)
    found = []
    for layer in layers:
        chosen = _fullest(left, *layer)
        if chosen is None:
            break
        for c in chosen:
            left[c] -= layer[0] // len(chosen)
        found.append(chosen)
    return found


def _fullest(free: Sequence[int], banks: int, cuts: Sequence[int], own: int) -> list[int] | None:
    """Return the channels that a layer fills best; None if there are too few free banks."""
    fullest = sorted((left, c) for c, left in enumerate(free) if left)
    ranked: list[tuple[tuple[int, bool, int], list[int]]] = []
    for channels in cuts:
        each = banks // channels
        fitting = [(left, c) for left, c in fullest if left >= each][:channels]
        rest = sum(left > each for left, _ in fitting)
        if len(fitting) == channels:
            ranked.append(((rest, channels != own, channels), sorted(c for _, c in fitting)))
    return min(ranked)[1] if ranked else None
