"""Temporal loops cut into parts, so that one load of inputs and one open row of weights serve many steps.

The inner parts make a tile that runs to its end before the outer parts move on. Where a load takes a while
whatever its size, or where weights stream out of rows, the tile decides the own latency: small ones are
loaded again and again, large ones do not fit, and ones that divide badly take more steps. The tile of a load
and that of a row may differ, so the outer parts of the best ways are cut once more.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hw.hardware import Hardware
from models.network import DIMS, OUTPUT_DIMS, REDUCTION_DIMS, Dim, Layer
from solver.mapspace.estimate import WEIGHT_POSITIONS, Batch, Ints, ceil_divide
from solver.mapspace.widths import some_widths
from solver.params import TilingParams
from solver.timing.infinity import INFINITY
from solver.timing.mapping import SPATIAL, Kind, Loop, Mapping
from solver.timing.own_bits import own_chip
from solver.timing.tiles import innermost_read
from solver.timing.validity import valid

POSITIONS: tuple[Dim, Dim] = ("P", "Q")


def tiles_matter(layer: Layer, hardware: Hardware) -> bool:
    """Whether a load or an open row costs something by itself, so that tiles are worth choosing."""
    opens = hardware.steps_per_row is not None and layer.weights > 0
    return bool(layer.loaded) and (opens or hardware.buffered or hardware.cycles.load > 0)


def tiled(
    layer: Layer,
    hardware: Hardware,
    ways: Iterable[Sequence[Loop]],
    orders: Sequence[Sequence[Dim]],
    params: TilingParams = TilingParams(),
) -> list[Mapping]:
    """Return mappings with the temporal loops of some others cut, those estimated fastest first.

    Parameters
    ----------
    ways : loops of mappings; only those in space matter.
    orders : of the dims, outermost first, in which the outer parts are tried, and the inner ones after them.
    """
    ranked: list[tuple[int, int, _Cuts, Sequence[Dim], int]] = []  # cycles, way, cuts, order, load depth
    whole = _Cuts.cut_once(layer, hardware, ways, params)
    for order in orders:
        once = whole.cycles(order)
        twice = whole.cut_again(np.argsort(once[0], kind="stable")[: params.kept], params)
        for cuts, (cycles, depths) in ((whole, once), (twice, twice.cycles(order))):
            best = np.argsort(cycles, kind="stable")[: params.kept]
            ranked += [(int(cycles[i]), int(i), cuts, order, int(depths[i])) for i in best]
    ranked.sort(key=lambda own: own[0])
    found: dict[int, Mapping] = {}
    for total, way, cut, loops, load in ranked:
        if total == INFINITY or len(found) == params.kept:
            break
        # Cuts that take equally long mostly differ in how they are written only.
        if total not in found and valid(layer, mapping := cut.mapping(way, loops, load), hardware):
            found[total] = mapping
    return list(found.values())


@dataclass(frozen=True, eq=False)
class _Cuts:
    """Ways to cut the temporal loops of mappings.

    Attributes
    ----------
    whole : the mappings without cuts.
    parts : bounds of the parts, the outermost ones first; each of shape (dims, ways).
    """

    whole: Batch
    parts: tuple[Ints, ...]

    @classmethod
    def cut_once(
        cls, layer: Layer, hardware: Hardware, ways: Iterable[Sequence[Loop]], params: TilingParams
    ) -> _Cuts:
        """Return the cuts for whose inner parts a row of weights and the room for inputs suffice."""
        bounds = np.array(layer.bounds, np.int64)[:, None]
        found: list[tuple[Ints, ...]] = []
        for loops in ways:
            spatial = [_bounds(loops, kind)[:, None] for kind in SPATIAL]
            temporal = ceil_divide(bounds, math.prod(spatial))
            inner = _inner_parts(temporal[:, 0], params)
            outer = ceil_divide(temporal, inner)
            inner = ceil_divide(temporal, outer)
            found.append((*(np.broadcast_to(x, inner.shape) for x in spatial), outer, inner))
        *spatial, outer, inner = (np.concatenate(x, axis=1) for x in zip(*found, strict=True))
        cuts = cls.covering(layer, hardware, spatial, (outer, inner))
        kept = cuts.whole.room(inner)
        if layer.weights and hardware.steps_per_row is not None:
            kept &= inner[WEIGHT_POSITIONS].prod(axis=0) <= hardware.steps_per_row
        return cuts.only(np.flatnonzero(kept))

    @classmethod
    def covering(
        cls, layer: Layer, hardware: Hardware, spatial: Sequence[Ints], parts: tuple[Ints, ...]
    ) -> _Cuts:
        """Return cuts with the smallest bounds in space that still cover, so that the mappings are valid."""
        needed, steps = np.array(layer.bounds, np.int64)[:, None], np.prod(parts, axis=0)
        channel, bank, column = spatial
        column = ceil_divide(needed, steps * bank * channel)
        bank = ceil_divide(needed, steps * column * channel)
        channel = ceil_divide(needed, steps * column * bank)
        return cls(Batch(layer, own_chip(layer, hardware), channel, bank, column, steps), parts)

    def only(self, ways: Ints) -> _Cuts:
        """Return some of the ways."""
        whole = self.whole
        bounds = (x[:, ways] for x in (whole.channel, whole.bank, whole.column, whole.temporal))
        return _Cuts(Batch(whole.layer, whole.hardware, *bounds), tuple(x[:, ways] for x in self.parts))

    def cut_again(self, ways: Ints, params: TilingParams) -> _Cuts:
        """Return some of the ways with the outer part of one reduction dim cut in two."""
        outer = self.parts[0]
        cuts = [
            (way, i, width)
            for way in ways.tolist()
            for i in (DIMS.index(dim) for dim in REDUCTION_DIMS)
            for width in some_widths(int(outer[i, way]), params.reductions)[1 : params.middle]
        ]
        picks = np.array([way for way, _, _ in cuts], np.int64)
        chosen = self.only(picks)
        middle = np.ones_like(chosen.parts[0])
        for place, (_, i, width) in enumerate(cuts):
            middle[i, place] = width
        outside = ceil_divide(chosen.parts[0], middle)
        middle = ceil_divide(chosen.parts[0], outside)
        whole = chosen.whole
        return self.covering(
            whole.layer,
            whole.hardware,
            (whole.channel, whole.bank, whole.column),
            (outside, middle, *chosen.parts[1:]),
        )

    def cycles(self, order: Sequence[Dim]) -> tuple[Ints, Ints]:
        """Return the own latency of each way, infinite where there is no room, and its load depth.

        The depth counts all parts, each in the order given.
        """
        layer, hardware, count = self.whole.layer, self.whole.hardware, self.whole.count
        loops = [(dim, x[DIMS.index(dim)]) for x in self.parts for dim in order]
        # The iterations of the loops outside of each depth, and over each dim those of the loops inside it.
        outside = np.cumprod([np.ones(count, np.int64), *(bound for _, bound in loops)], axis=0)
        inside = np.ones((len(DIMS), len(loops) + 1, count), np.int64)
        for depth, (dim, bound) in reversed(list(enumerate(loops))):
            inside[:, depth] = inside[:, depth + 1]
            inside[DIMS.index(dim), depth] *= bound
        loading = np.where(self.whole.room(inside), outside * self.whole.load_of(inside), INFINITY)
        total = outside[-1] * hardware.mac_cycles
        if layer.weights and hardware.steps_per_row is not None:
            full = inside[WEIGHT_POSITIONS].prod(axis=0) <= hardware.steps_per_row
            total += outside[full.argmax(axis=0), np.arange(count)] * (hardware.cycles.open or 0)
        # Results are drained at the innermost loop of an output dim; read back if some loop reduces outside.
        drains, last = np.ones_like(total), np.zeros_like(total)
        for depth, (dim, bound) in enumerate(loops, 1):
            if dim in OUTPUT_DIMS:
                drains = np.where(bound > 1, outside[depth], drains)
                last = np.where(bound > 1, depth, last)
        reads = np.zeros(count, np.bool_)
        for depth, (dim, bound) in enumerate(loops, 1):
            if dim in REDUCTION_DIMS:
                reads |= (bound > 1) & (depth < last)
        drain, reload = self.whole.drain
        total += drains * (drain + reads * reload)
        return np.minimum(total + loading.min(axis=0), INFINITY), loading.argmin(axis=0)

    def mapping(self, i: int, order: Sequence[Dim], depth: int) -> Mapping:
        """Return way number `i`, with the load at a depth of all parts.

        The innermost parts stand next to the columns: what a tile reads then lies side by side.
        """
        whole, (*outer, inner) = self.whole, self.parts
        kinds: list[tuple[Kind, Ints]] = [
            *(("temporal", part) for part in outer),
            ("channel", whole.channel),
            ("bank", whole.bank),
            ("temporal", inner),
            ("column", whole.column),
        ]
        loops = tuple(loop for kind, bounds in kinds for loop in _loops(kind, bounds[:, i], order))
        before = itertools.islice(itertools.product(self.parts, order), depth)
        load = sum(bool(part[DIMS.index(dim), i] > 1) for part, dim in before)
        mapping = Mapping(loops)
        return mapping if load >= innermost_read(whole.layer, mapping) else Mapping(loops, load)


def _loops(kind: Kind, bounds: Ints, order: Sequence[Dim]) -> Iterator[Loop]:
    """Yield the loops of a kind that do something, in an order of the dims."""
    for dim in order:
        if (bound := int(bounds[DIMS.index(dim)])) > 1:
            yield Loop(dim, bound, kind)


def _inner_parts(temporal: Ints, params: TilingParams) -> Ints:
    """Return the bounds of inner parts that are tried; shape (dims, ways)."""
    tried = dict.fromkeys(REDUCTION_DIMS, params.reductions) | dict.fromkeys(POSITIONS, params.positions)
    widths = [
        some_widths(bound, tried[dim])[: tried[dim]] if dim in tried else [1]
        for dim, bound in zip(DIMS, temporal.tolist(), strict=True)
    ]
    return np.array(list(itertools.product(*widths)), np.int64).T


def _bounds(loops: Sequence[Loop], kind: Kind) -> Ints:
    """Return the product of the bounds of a kind of loops over each dim."""
    return np.array([math.prod(x.bound for x in loops if x.kind == kind and x.dim == dim) for dim in DIMS])
