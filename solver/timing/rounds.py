"""How often a layer does what: opens rows, loads, steps and drains."""

from __future__ import annotations

import math
from dataclasses import dataclass

from solver.timing.profile import Profile


@dataclass(frozen=True)
class Rounds:
    """How often a layer opens a row, loads, steps and drains."""

    opens: int
    loads: int
    steps: int
    drains: int


def rounds_until(profile: Profile, finish: int) -> Rounds:
    """Return what a layer has done by the ideal time at which an output is finished."""
    bounds = [loop.bound for loop in profile.temporal]
    digits = _digits(profile, finish)

    def begun(depth: int) -> int:
        """Count the iterations of a loop up to the drain that finishes the output."""
        before = 0
        for digit, bound in zip(digits[:depth], bounds, strict=False):
            before = before * bound + digit
        return (before + 1) * math.prod(bounds[len(digits) : depth])

    opens = 0 if profile.open_depth is None else begun(profile.open_depth)
    return Rounds(opens, begun(profile.load_depth), begun(len(bounds)), begun(profile.drain_depth))


def _digits(profile: Profile, finish: int) -> list[int]:
    """Return the digits of the loops up to the drain in the iteration that ends at an ideal time."""
    rest = finish - profile.first_drain
    digits = []
    for weight in profile.weights[: profile.drain_depth]:
        digit, rest = divmod(rest, weight)
        digits.append(digit)
    return digits
