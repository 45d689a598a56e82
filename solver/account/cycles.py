"""Where the cycles go for which a layer holds its banks."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

from hw.hardware import Hardware
from solver.timing.profile import Profile, drain_cycles, reads_back
from solver.timing.timeline import LayerTimes


@dataclass(frozen=True)
class Spent:
    """Cycles, or bank-cycles, by what they were spent on.

    Attributes
    ----------
    multiply : multiply-accumulates, in whatever share of the lanes.
    load : loading input tiles, with the additions of operands that are summed up.
    reduce : adding partial results up over lanes, banks and channels.
    drain : draining results, and reading partial sums back.
    post : post-operations.
    wait : standing still for data.
    """

    multiply: int = 0
    load: int = 0
    reduce: int = 0
    drain: int = 0
    post: int = 0
    wait: int = 0

    @property
    def total(self) -> int:
        """The sum of all parts."""
        return sum(astuple(self))

    def __add__(self, other: Spent) -> Spent:
        """Return the sums part by part."""
        return Spent(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __mul__(self, banks: int) -> Spent:
        """Return the bank-cycles of so many banks."""
        return Spent(*(part * banks for part in astuple(self)))


def spent(times: LayerTimes, hardware: Hardware) -> Spent:
    """Return where the cycles of a layer went from its start to its end; they add up to `end - start`.

    Iterations whose lanes are all idle cost their time, except those after the last output: the layer has
    ended by then.
    """
    profile, layer = times.profile, times.profile.layer
    loads, steps, drains = _rounds(profile, times.end - int(times.delays[-1]))
    out = drain_cycles(layer, profile.mapping, hardware, reads_back(profile.temporal, profile.jo))
    return Spent(
        multiply=steps * hardware.mac_cycles,
        load=loads * profile.t_in,
        reduce=drains * out.reduce,
        drain=drains * out.drain,
        post=drains * out.post,
        wait=times.waited,
    )


def _rounds(profile: Profile, finish: int) -> tuple[int, int, int]:
    """Return the loads, steps and drains up to the ideal time at which an output is finished."""
    bounds = [loop.bound for loop in profile.temporal]
    digits = _digits(profile, finish)

    def begun(depth: int) -> int:
        """Count the iterations of a loop up to the drain that finishes the output."""
        before = 0
        for digit, bound in zip(digits[:depth], bounds, strict=False):
            before = before * bound + digit
        return (before + 1) * math.prod(bounds[len(digits) : depth])

    return begun(profile.ji), begun(len(bounds)), begun(profile.jo)


def _digits(profile: Profile, finish: int) -> list[int]:
    """Return the digits of the loops up to the drain in the iteration that ends at an ideal time."""
    rest = finish if profile.jo == 0 else finish - profile.weights[profile.jo - 1]
    rest -= profile.t_in if profile.ji < profile.jo else 0
    digits = []
    for weight in profile.weights[: profile.jo]:
        digit, rest = divmod(rest, weight)
        digits.append(digit)
    return digits
