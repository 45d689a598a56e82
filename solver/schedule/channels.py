"""Which channels have the banks for layers that are given banks of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from solver import core

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


def fullest_channels(free: Sequence[int], banks: int, cuts: Sequence[int], own: int) -> list[list[int]]:
    """Return the channels that a layer might fill, the best first; none if there are too few free banks.

    Parameters
    ----------
    free : how many banks of each channel are.
    banks : of the layer.
    cuts : numbers of channels over which they can be spread evenly.
    own : the number that is preferred where others leave as few channels half used.
    """
    if core.native is not None:
        known: list[list[int]] = core.native.fullest_channels(free, banks, cuts, own)
        return known
    fullest = sorted((left, c) for c, left in enumerate(free) if left)
    ranked: list[tuple[tuple[int, bool, int], list[int]]] = []
    for channels in cuts:
        each = banks // channels
        fitting = [(left, c) for left, c in fullest if left >= each][:channels]
        rest = sum(left > each for left, _ in fitting)
        if len(fitting) == channels:
            ranked.append(((rest, channels != own, channels), sorted(c for _, c in fitting)))
    return [chosen for _, chosen in sorted(ranked)]
