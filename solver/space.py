"""The mapspace of a layer: good mappings for a given shape of banks, the pools that searches draw from.

A pool is made in three steps. The dims that the channels and banks of the shape are spread over are ranked by
how evenly they divide. For the best of these, all ways to fill the columns are weighed at once with an
estimate of the layer's own latency. The best ones are built with several orders of the temporal loops and
profiled exactly.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from hw.hardware import Hardware
from models.network import DIMS, OUTPUT_DIMS, REDUCTION_DIMS, Dim, Layer
from solver.mapping import SPATIAL, WEIGHT_DIMS, Kind, Loop, Mapping
from solver.problem import Problem
from solver.profile import Profile

Ints = npt.NDArray[np.int64]
Shape = tuple[int, int]
"""Channels, and banks in each of them."""

ARRAYS = 6
COLUMN_OPTIONS = 3000
SPLITS = 12
MOST_STEPS = 1.5
FAVOURITES = 8
UNREACHED = 2**62
WEIGHT_POSITIONS = [i for i, dim in enumerate(DIMS) if dim in WEIGHT_DIMS]


def shapes(hardware: Hardware) -> list[Shape]:
    """Return the shapes that are tried, smallest first: part of one channel, or whole channels."""
    within = [(1, banks) for banks in _round_numbers(hardware.banks_per_channel)]
    across = [(channels, hardware.banks_per_channel) for channels in _round_numbers(hardware.channels)[1:]]
    return within + across


def _round_numbers(limit: int) -> list[int]:
    """Return 1, 2, 3, 4, 6, 8, 12, .. up to the limit, and the limit."""
    powers = [2**i for i in range(limit.bit_length())]
    return sorted({n for p in powers for n in (p, 3 * p // 2) if 0 < n <= limit} | {limit})


def temporal_orders(layer: Layer) -> list[tuple[Dim, ...]]:
    """Return orders of the temporal loops worth trying, the first two being those of least own latency.

    Outputs are finished one after the other if reductions are innermost; a loop that no operand reads needs
    no new load if it is innermost.
    """
    read = tuple(dim for dim in OUTPUT_DIMS if dim in layer.read_dims)
    unread = tuple(dim for dim in OUTPUT_DIMS if dim not in layer.read_dims)
    rows_last = tuple(dim for dim in ("N", "G", "K", "Q", "P") if dim in read)
    head, columns = tuple(dim for dim in read if dim != "Q"), tuple(dim for dim in read if dim == "Q")
    orders = [
        read + unread + REDUCTION_DIMS,
        read + REDUCTION_DIMS + unread,
        head + unread + columns + REDUCTION_DIMS,
        unread + read + REDUCTION_DIMS,
        rows_last + unread + REDUCTION_DIMS,
    ]
    return list(dict.fromkeys(orders))


def build(split: dict[Kind, Ints], temporal: Ints, order: tuple[Dim, ...]) -> Mapping:
    """Return the mapping with the given bounds for each dim: temporal loops outermost, in the given order."""
    loops = [Loop(dim, int(temporal[DIMS.index(dim)]), "temporal") for dim in order]
    for kind in SPATIAL:
        loops += [Loop(dim, int(bound), kind) for dim, bound in zip(DIMS, split[kind], strict=True)]
    return Mapping(tuple(loops))


def _ceil(a: Ints, b: Ints | int) -> Ints:
    return np.asarray(-(-a // b))


def _halvings(widths: Ints) -> Ints:
    return np.asarray(np.ceil(np.log2(widths)), np.int64)


@lru_cache(maxsize=2**10)
def _spread(count: int, bounds: tuple[int, ...]) -> Ints:
    """Return ways to spread `count` units over one or two dims; shape (ways, dims)."""
    active = [i for i, bound in enumerate(bounds) if bound > 1]
    ways = {(1,) * len(bounds)}
    divisors = [n for n in range(1, count + 1) if count % n == 0]
    for i, j in itertools.combinations_with_replacement(active, 2):
        for first in divisors if i != j else [count]:
            way = [1] * len(bounds)
            way[i] = min(first, bounds[i])
            if i != j:
                way[j] = min(count // first, bounds[j])
            ways.add(tuple(way))
    return np.array(sorted(ways), np.int64)


def _arrays(bounds: Ints, shape: Shape) -> list[tuple[Ints, Ints]]:
    """Return the most even ways to spread a shape over the dims, as (channel bounds, bank bounds)."""
    work = tuple(bounds.tolist())
    channels, banks = _spread(shape[0], work), _spread(shape[1], work)
    pairs = channels[:, None, :] * banks[None, :, :]
    used = pairs.prod(axis=-1)
    waste = (_ceil(bounds, pairs) * pairs / bounds).prod(axis=-1) * (shape[0] * shape[1] / used)
    reduction = len(OUTPUT_DIMS)
    waste *= 1 + 0.01 * np.log2(pairs[..., reduction:].prod(axis=-1))
    best = np.argsort(waste, axis=None, kind="stable")
    chosen: dict[tuple[int, ...], tuple[Ints, Ints]] = {}
    for flat in best.tolist():
        c, b = divmod(flat, len(banks))
        chosen.setdefault(tuple(pairs[c, b].tolist()), (channels[c], banks[b]))
        if len(chosen) == ARRAYS:
            break
    return list(chosen.values())


def _options(bound: int, most: int) -> list[int]:
    """Return the widths of a dim that save a step, thinned to about `most`, from 1 to the bound."""
    useful = [bound]
    while useful[-1] > 1:
        # The next smaller width, as small as its number of steps allows.
        useful.append(-(-bound // -(-bound // (useful[-1] - 1))))
    useful.reverse()
    if len(useful) <= most:
        return useful
    places = np.unique(np.geomspace(1, len(useful), most).round().astype(int)) - 1
    powers = [n for n in useful if n & (n - 1) == 0]
    return sorted({useful[i] for i in places} | set(powers))


@lru_cache(maxsize=2**10)
def _column_choices(work: tuple[int, ...], columns: int) -> Ints:
    """Return ways to fill at least half of the columns that can be filled; shape (dims, ways)."""
    bounds = np.array(work)
    active = int((bounds > 1).sum())
    most = max(6, int(COLUMN_OPTIONS ** (1 / max(active, 1))))
    ways = np.ones((0, 1), np.int64)
    filled = np.ones(1, np.int64)
    reachable = np.append(np.cumprod(np.minimum(bounds, columns)[::-1].astype(float))[::-1], 1.0)
    target = min(columns, reachable[0]) / 2
    for bound, after in zip(bounds, reachable[1:], strict=True):
        options = np.array([n for n in _options(int(bound), 2 * most) if n <= columns], np.int64)
        product = filled[:, None] * options
        rows, picks = np.nonzero((product <= columns) & (product * after >= target))
        ways = np.vstack((ways[:, rows], options[picks]))
        filled = product[rows, picks]
    return ways


@dataclass(frozen=True)
class _Estimate:
    """Own latency of many mappings at once, input tiles counted as if padding and idle lanes were read."""

    layer: Layer
    hardware: Hardware

    def rows(self, temporal: Ints) -> Ints:
        bits = self.hardware.bits
        fixed = 2 * bits.activation * self.layer.operand_count + bits.accumulator
        return np.asarray(bits.weight * temporal[WEIGHT_POSITIONS].prod(axis=0) + fixed)

    def load(self, spatial: Ints, banks: Ints) -> Ints:
        hardware = self.hardware
        time = np.full(spatial.shape[1], self.layer.additions * hardware.cycles.add, np.int64)
        for operand in self.layer.distinct_operands:
            elements = np.ones(spatial.shape[1], np.int64)
            for _, form in operand.forms():
                widths = [(spatial[DIMS.index(dim)], c) for dim, c in form.terms.items()]
                if widths:
                    points = np.prod([width for width, _ in widths], axis=0)
                    reach = 1 + np.sum([(width - 1) * c for width, c in widths], axis=0)
                    elements *= np.minimum(points, reach)
            time += _ceil(elements * hardware.bits.activation, banks * hardware.bits_per_cycle.load)
            time += hardware.bits.activation * hardware.cycles.row_write
        return time

    def drain(self, split: dict[Kind, Ints]) -> tuple[Ints, Ints]:
        """Return the cycles of a drain, and those of reading partial sums back."""
        hardware, outputs = self.hardware, len(OUTPUT_DIMS)
        cycles, bandwidth = hardware.cycles, hardware.bits_per_cycle
        halvings = {kind: _halvings(split[kind][outputs:].prod(axis=0)) for kind in SPATIAL}
        drained = split["column"][:outputs].prod(axis=0)
        partial = drained * hardware.bits.accumulator
        time = halvings["column"] * (cycles.move + cycles.add) + self.layer.post * cycles.post
        time += halvings["bank"] * (_ceil(partial, bandwidth.bank) + cycles.add)
        time += halvings["channel"] * (_ceil(partial, bandwidth.channel) + cycles.add)
        time += _ceil(drained * hardware.bits.activation, bandwidth.drain)
        return time, _ceil(partial, bandwidth.drain)

    def total(self, split: dict[Kind, Ints], temporal: Ints, order: tuple[Dim, ...]) -> Ints:
        spatial = split["column"] * split["bank"] * split["channel"]
        banks = (split["bank"] * split["channel"]).prod(axis=0)
        reached = np.ones(temporal.shape[1], np.int64)
        loads, drains = reached.copy(), reached.copy()
        reducing, reloads = np.zeros(temporal.shape[1], bool), np.zeros(temporal.shape[1], bool)
        for dim in order:
            bound = temporal[DIMS.index(dim)]
            reached = reached * bound
            if dim in self.layer.read_dims:
                loads = np.where(bound > 1, reached, loads)
            if dim in OUTPUT_DIMS:
                drains = np.where(bound > 1, reached, drains)
                reloads |= (bound > 1) & reducing
            else:
                reducing |= bound > 1
        drain, reload = self.drain(split)
        time = reached * self.hardware.mac_cycles + loads * self.load(spatial, banks)
        return np.asarray(time + drains * (drain + reloads * reload), np.int64)


def _splits(layer: Layer, hardware: Hardware, shape: Shape) -> Iterator[tuple[dict[Kind, Ints], Ints, Ints]]:
    """Yield many (split, temporal bounds, estimate of the least own latency), each column one mapping."""
    bounds = np.array(layer.bounds, np.int64)
    needed = bounds[:, None]
    estimate = _Estimate(layer, hardware)
    for channel, bank in _arrays(bounds, shape):
        array = (channel * bank)[:, None]
        column = _column_choices(tuple(_ceil(bounds, channel * bank).tolist()), hardware.columns_per_bank)
        temporal = _ceil(needed, array * column)
        steps = temporal.prod(axis=0)
        fits = estimate.rows(temporal) <= hardware.rows_per_bank
        worth = fits & (steps <= MOST_STEPS * steps[fits].min(initial=UNREACHED))
        column, temporal = column[:, worth], temporal[:, worth]
        # The smallest bounds that still cover, so that the mapping is valid.
        column = _ceil(needed, temporal * array)
        banks = _ceil(needed, temporal * column * channel[:, None])
        channels = _ceil(needed, temporal * column * banks)
        split: dict[Kind, Ints] = {"channel": channels, "bank": banks, "column": column}
        if temporal.size:
            totals = [estimate.total(split, temporal, order) for order in temporal_orders(layer)[:2]]
            yield split, temporal, np.min(totals, axis=0).astype(np.int64)


def candidates(layer: Layer, hardware: Hardware, shape: Shape) -> list[Mapping]:
    """Return good mappings of a layer on at most a shape of banks, roughly in the order of own latency."""
    ranked: list[tuple[float, int, dict[Kind, Ints], Ints]] = []
    for split, temporal, total in _splits(layer, hardware, shape):
        rows = _Estimate(layer, hardware).rows(temporal)
        best = np.argsort(total, kind="stable")[:SPLITS]
        frugal = np.lexsort((total, rows))[:2]
        for i in dict.fromkeys([*best.tolist(), *frugal.tolist()]):
            row: dict[Kind, Ints] = {kind: bounds[:, i] for kind, bounds in split.items()}
            ranked.append((float(total[i]), int(rows[i]), row, temporal[:, i]))
    ranked.sort(key=lambda entry: entry[0])
    by_rows = sorted(ranked, key=lambda entry: (entry[1], entry[0]))
    kept = ranked[:SPLITS] + by_rows[:2]
    built = (
        build(split, temporal, order) for _, _, split, temporal in kept for order in temporal_orders(layer)
    )
    return list(dict.fromkeys(built))


@dataclass
class Space:
    """The pools of a problem, made when they are first asked for; layers that look the same share them."""

    problem: Problem
    _mappings: dict[tuple[str, Shape], list[Mapping]] = field(default_factory=dict)
    _pools: dict[tuple[int, Shape], tuple[Profile, ...]] = field(default_factory=dict)

    def pool(self, layer: int, shape: Shape) -> tuple[Profile, ...]:
        """Return profiles of good mappings on at most `shape`, the fastest first; empty if none fits."""
        key = (layer, shape)
        if key not in self._pools:
            self._pools[key] = self._profiles(layer, self._candidates(layer, shape))
        return self._pools[key]

    def favourites(self, layer: int, shape: Shape) -> tuple[Profile, ...]:
        """Return the profiles of the pool that were estimated best, the fastest first; soon made."""
        if (layer, shape) in self._pools:
            return self._pools[layer, shape]
        return self._profiles(layer, self._candidates(layer, shape)[:FAVOURITES])

    def _candidates(self, layer: int, shape: Shape) -> list[Mapping]:
        record = self.problem.layers[layer]
        look = record.model_dump_json(exclude={"name": True, "operands": {"__all__": {"producer"}}})
        if (look, shape) not in self._mappings:
            self._mappings[look, shape] = candidates(record, self.problem.hardware, shape)
        return self._mappings[look, shape]

    def _profiles(self, layer: int, mappings: list[Mapping]) -> tuple[Profile, ...]:
        profiles = [self.problem.profile(layer, mapping) for mapping in mappings]
        return tuple(sorted(profiles, key=lambda p: (p.total, p.banks, p.rows)))
