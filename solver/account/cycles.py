"""Where the cycles go for which a layer holds its banks."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from hw.hardware import Hardware
from solver.timing.own_bits import own_chip
from solver.timing.profile import drain_parts, reads_back
from solver.timing.rounds import rounds_until
from solver.timing.tiles import tiles
from solver.timing.timeline import LayerTimes


@dataclass(frozen=True)
class Spent:
    """Cycles, or bank-cycles, by what they were spent on.

    Attributes
    ----------
    weights : writing weights before the first block, where they are loaded anew.
    multiply : multiply-accumulates, in whatever share of the lanes.
    rows : opening rows of weights.
    load : loading input tiles, with the additions of operands that are summed up.
    reduce : adding partial results up over lanes, banks and channels.
    drain : draining results, reading partial sums back, and adding residuals.
    post : post-operations.
    wait : standing still for data.
    """

    weights: int = 0
    multiply: int = 0
    rows: int = 0
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
    rounds = rounds_until(profile, times.end - int(times.delays[-1]))
    tile = tiles(layer, profile.mapping, profile.load_depth)
    back = reads_back(profile.temporal, profile.drain_depth)
    out, drains = drain_parts(layer, profile.mapping, tile, hardware, back), rounds.drains
    return Spent(
        weights=profile.t_weights,
        multiply=rounds.steps * own_chip(layer, hardware).mac_cycles,
        rows=rounds.opens * profile.t_open,
        load=rounds.loads * profile.t_in,
        reduce=drains * out.reduce,
        drain=drains * (out.drain + out.residual),
        post=drains * out.post,
        wait=times.waited,
    )
