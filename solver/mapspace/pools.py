"""The mapspace of a layer: good mappings for a given shape of banks, the pools that searches draw from.

A pool is made in three steps. The dims that the channels and banks of the shape are spread over are ranked by
how evenly they divide. For the best of these, all ways to fill the columns are weighed at once with an
estimate of the own latency. Some are built and profiled exactly: the fastest ones with several orders of the
temporal loops, those that need fewer rows than any faster one, and for each number of steps along the rows
and columns of the output the fastest one that makes them outermost. The latter hand on their outputs early,
so that the layers after them can follow closely.
"""

from __future__ import annotations

import bisect
import itertools
import math
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from hw.hardware import Hardware
from models.network import DIMS, OUTPUT_DIMS, REDUCTION_DIMS, Dim, Layer
from solver import core
from solver.core.compiled import compiled_layer
from solver.mapspace.arrays import BankShape, bank_arrays, over_level
from solver.mapspace.estimate import Batch, Ints, ceil_divide
from solver.mapspace.limited import limited_mappings
from solver.mapspace.loads import coarser_loads, worth_a_look
from solver.mapspace.rows import with_full_rows
from solver.mapspace.tiling import POSITIONS, tiled, tiles_matter
from solver.mapspace.widths import some_widths
from solver.memory import Cache
from solver.params import PoolParams
from solver.stop import Stop
from solver.timing.cache import cached
from solver.timing.infinity import INFINITY
from solver.timing.limits import NO_LIMITS, LayerLimits
from solver.timing.mapping import Loop, Mapping
from solver.timing.own_bits import own_chip
from solver.timing.problem import Problem
from solver.timing.profile import Profile
from solver.timing.validity import units

INNER_ORDERS: tuple[tuple[Dim, ...], ...] = (("K", "C", "R", "S"), ("C", "R", "S", "K"))


def shapes(hardware: Hardware) -> list[BankShape]:
    """Return the shapes that are tried, smallest first: part of one channel, or whole channels."""
    width, most = hardware.banks_per_channel, hardware.most_banks
    within = [(1, banks) for banks in _round_numbers(min(width, most))]
    return within + [(channels, width) for channels in _round_numbers(most // width)[1:]]


def reshaped(layer: Layer, hardware: Hardware, shape: BankShape) -> BankShape:
    """Return as many banks in more channels, if a layer cannot be spread over so many banks of each."""
    channels, banks = shape
    most = min(banks, units(layer, hardware, "bank", DIMS))
    return min(channels * banks // most, hardware.channels), most


def sizes(hardware: Hardware) -> list[BankShape]:
    """Return a shape for every number of banks up to 16, then for eight in each doubling; smallest first."""
    most = hardware.most_banks
    powers = [2**i for i in range(most.bit_length())]
    counts = sorted({m * p for p in powers for m in range(1, 16) if m * p <= most} | {most})
    found = []
    for count in counts:
        fewest = -(-count // hardware.banks_per_channel)
        exact = [c for c in range(fewest, hardware.channels + 1) if count % c == 0]
        found += [(c, count // c) for c in exact[:1]]
    return found


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
    if "G" in read:
        # Groups are the channels of a depthwise layer, whose readers need all of them for one position.
        orders.append((*(dim for dim in read if dim != "G"), "G", *unread, *REDUCTION_DIMS))
    return list(dict.fromkeys(orders))


def build_mapping(batch: Batch, i: int, order: tuple[Dim, ...]) -> Mapping:
    """Return a batch's mapping number `i`: temporal loops outermost, in the given order."""
    return Mapping(batch.loops(i, order, Loop))


@cached
def _column_choices(work: tuple[int, ...], columns: int, count: int) -> Ints:
    """Return about so many ways to fill at least half of the columns that can be; shape (dims, ways)."""
    bounds = np.array(work)
    active = np.flatnonzero(bounds > 1).tolist()
    most = max(6, int(count ** (1 / max(len(active), 1))))
    reachable = np.append(np.cumprod(np.minimum(bounds, columns)[::-1].astype(float))[::-1], 1.0)
    target = min(columns, reachable[0]) / 2
    options = [[n for n in some_widths(work[i], 2 * most) if n <= columns] for i in active]
    choices = _filled(options, columns, reachable[[0, *(i + 1 for i in active)]].tolist(), target)
    whole = np.ones((len(work), choices.shape[1]), np.int64)
    whole[active] = choices
    return whole


def _filled(options: list[list[int]], columns: int, reachable: list[float], target: float) -> Ints:
    """Return ways to choose an option for each dim; shape (dims, ways).

    Parameters
    ----------
    columns : the options of a way multiply to at most so many.
    reachable : what the options before each dim need to be multiplied by to be the most that can be filled.
    target : columns that are filled at least.
    """
    if core.native is not None:
        return np.asarray(core.native.fillings(options, columns, reachable, target))
    ways: list[Ints] = []
    filled = np.ones(1, np.int64)
    for place, own in enumerate(options):
        widths = np.array(own, np.int64)
        product = filled[:, None] * widths
        rows, picks = np.nonzero((product <= columns) & (product * reachable[place + 1] >= target))
        ways = [*(way[rows] for way in ways), widths[picks]]
        filled = product[rows, picks]
    return np.array(ways).reshape(len(options), len(filled))


def _ways(layer: Layer, hardware: Hardware, shape: BankShape, params: PoolParams) -> Batch | None:
    """Return the mappings with few steps on at most `shape` of banks; None if none fits."""
    arrays = list(bank_arrays(np.array(layer.bounds), hardware, shape, params))
    batches = (_batch(layer, hardware, own, most, params) for most in _lanes(hardware) for own in arrays)
    return next((batch for batch in batches if batch.count), None)


def _lanes(hardware: Hardware) -> list[int]:
    """Return how many columns to fill: all, or ever fewer where a buffer has no room for what they read."""
    columns = hardware.columns_per_bank
    return [columns >> i for i in range(columns.bit_length() if hardware.buffered else 1)]


def _batch(
    layer: Layer,
    hardware: Hardware,
    arrays: Sequence[tuple[Ints, Ints]],
    columns: int,
    params: PoolParams,
) -> Batch:
    """Return the mappings with few steps and few enough rows on any of some arrays of banks."""
    bounds = np.array(layer.bounds, np.int64)
    filled: list[tuple[Ints, Ints, Ints]] = []
    for channel, bank in arrays:
        work = over_level(ceil_divide(bounds, channel * bank), hardware, "column")
        filled.append((channel, bank, _column_choices(tuple(work.tolist()), columns, params.column_options)))
    if core.native is not None:
        compiled = compiled_layer(core.native, layer, own_chip(layer, hardware))
        found: Batch | None = core.native.batch(compiled, filled, params.most_steps)
        if found is not None:
            return found
    return _with_few_steps(layer, hardware, filled, params.most_steps)


def _with_few_steps(
    layer: Layer, hardware: Hardware, filled: Sequence[tuple[Ints, Ints, Ints]], most_steps: float
) -> Batch:
    """Return those that take at most so many times the fewest steps.

    Parameters
    ----------
    filled : (channel bounds, bank bounds, ways to fill the columns) of each array.
    """
    needed = np.array(layer.bounds, np.int64)[:, None]
    parts: list[tuple[Ints, Ints, Ints, Ints]] = []
    fewest = INFINITY
    for channel, bank, column in filled:
        array = (channel * bank)[:, None]
        temporal = ceil_divide(needed, array * column)
        steps = temporal.prod(axis=0)
        whole = np.ones_like(array)
        fits = Batch(layer, own_chip(layer, hardware), whole, array, column, temporal).fits
        fewest = min(fewest, steps[fits].min(initial=INFINITY))
        temporal = temporal[:, fits & (steps <= most_steps * fewest)]
        # The smallest bounds that still cover, so that the mapping is valid.
        column = ceil_divide(needed, temporal * array)
        banks = ceil_divide(needed, temporal * column * channel[:, None])
        parts.append((ceil_divide(needed, temporal * column * banks), banks, column, temporal))
    bounds = (np.concatenate(part, axis=1) for part in zip(*parts, strict=True))
    return Batch(layer, own_chip(layer, hardware), *bounds)


def pool_mappings(
    layer: Layer, hardware: Hardware, shape: BankShape, params: PoolParams = PoolParams()
) -> Iterator[Mapping]:
    """Yield good mappings of a layer on at most a shape of banks, those of least own latency first."""
    batch = _ways(layer, hardware, shape, params)
    if batch is None:
        return
    orders = temporal_orders(layer)
    seen = set()
    if tiles_matter(layer, hardware):
        ways = [batch.loops(i, DIMS, Loop) for i in batch.fastest(orders[:2], params.tiling.ways)[0]]
        seen.update(cut := tiled(layer, hardware, ways, [orders[0], *orders[3::2]], params.tiling))
        yield from cut
    best, frugal = batch.fastest(orders[:2], params.splits)
    picks = itertools.chain(
        ((i, order) for i in best for order in orders),
        ((i, order) for i in frugal for order in orders[:2]),
        _streaming(layer, batch, params),
    )
    for i, order in picks:
        mapping = with_full_rows(layer, build_mapping(batch, i, order), hardware)
        if mapping not in seen:
            seen.add(mapping)
            yield mapping
    if layer.bound("N") > 1:
        one = Layer.model_validate({**layer.model_dump(by_alias=True), "dims": {**layer.dims, "N": 1}})
        alone = itertools.islice(pool_mappings(one, hardware, shape, params), params.lifted)
        yield from (mapping for own in alone if (mapping := lifted(own, layer.bound("N"))) not in seen)


def lifted(mapping: Mapping, batch: int) -> Mapping:
    """Return the mapping of one inference with the loop over a batch outside of all its loops."""
    load = None if mapping.load is None else mapping.load + 1
    return Mapping((Loop("N", batch, "temporal"), *mapping.loops), load)


def _streaming(layer: Layer, batch: Batch, params: PoolParams) -> Iterator[tuple[int, tuple[Dim, ...]]]:
    """Yield the fastest mappings (number, order) for each number of steps along rows and columns.

    Left out are those for which a faster one makes about as many steps along both.
    """
    for axes in (POSITIONS, POSITIONS[::-1]):
        orders: list[tuple[Dim, ...]] = [("N", "G", *axes, *inner) for inner in INNER_ORDERS]
        if layer.bound("G") > 1:
            orders += [("N", *axes, "G", *inner) for inner in INNER_ORDERS]
        for i, order in batch.streaming(orders, params.slowest, params.finer):
            yield i, orders[order]


def lag(profile: Profile) -> float:
    """Return about by which share of its own latency the next layer lags behind this one.

    It waits for about two steps of the outermost loop along rows or columns, and one of all such loops.
    """
    outer = itertools.takewhile(lambda loop: loop.dim in POSITIONS, profile.temporal)
    bounds = [loop.bound for loop in outer] or [1]
    return 2 / bounds[0] + 1 / math.prod(bounds)


def look(layer: Layer) -> str:
    """Return what a layer's mappings and their times depend on: layers of one look share them."""
    return layer.model_dump_json(exclude={"name": True, "operands": {"__all__": {"producer"}}})


class KeptPools(Cache[tuple[int, BankShape], tuple[Profile, ...]]):
    """The pools of layers. Profiles that are in use when it is emptied are in their pools again later.

    Searches tell a layer's profile from the others of its pool by what it is, not by what it says.
    """

    def __init__(self) -> None:
        super().__init__()
        self._used: weakref.WeakValueDictionary[tuple[int, BankShape, int], Profile] = (
            weakref.WeakValueDictionary()
        )

    def clear(self) -> None:
        """Drop all that nobody uses."""
        for (layer, shape), pool in list(self.items()):
            self._used.update({(layer, shape, i): profile for i, profile in enumerate(pool)})
        super().clear()

    def keep(self, layer: int, shape: BankShape, pool: Sequence[Profile]) -> tuple[Profile, ...]:
        """Keep a pool that has been made, or made again, and return it."""
        found = tuple(self._used.get((layer, shape, i), profile) for i, profile in enumerate(pool))
        self[layer, shape] = found
        return found


@dataclass
class Pools:
    """The pools of a problem, made when they are first asked for; layers that look the same share them.

    Attributes
    ----------
    stop : when reached while a pool is made, `StoppedError` is raised, and that pool is not kept.
    """

    problem: Problem
    params: PoolParams = PoolParams()
    stop: Stop = field(default_factory=Stop)
    _looks: dict[int, str] = field(default_factory=dict)
    _alike: Cache[tuple[str, LayerLimits, BankShape, int | None], list[Profile]] = field(
        default_factory=Cache
    )
    _pools: KeptPools = field(default_factory=KeptPools)
    _close: Cache[tuple[int, BankShape], tuple[Profile, ...]] = field(default_factory=Cache)

    def __reduce__(self) -> tuple[type[Pools], tuple[Problem, PoolParams]]:
        """Leave the pools out on the way to another process: it makes its own sooner."""
        return Pools, (self.problem, self.params)

    def until(self, stop: Stop) -> Pools:
        """Return the same pools, of which no more are made once it is time to stop."""
        return replace(self, stop=stop)

    def pool(self, layer: int, shape: BankShape) -> tuple[Profile, ...]:
        """Return profiles of good mappings on at most `shape`, the fastest first; empty if none fits."""
        key = (layer, shape)
        found = self._pools.get(key)
        if found is None:
            found = self._pools.keep(layer, shape, self._profiles(layer, shape, None, self.stop))
        return found

    def close(self, layer: int, shape: BankShape) -> tuple[Profile, ...]:
        """Return those of the pool that the next layer can follow more closely than any faster one."""
        key = (layer, shape)
        found = self._close.get(key)
        if found is None:
            pool = self.pool(layer, shape)
            closest = itertools.accumulate(map(lag, pool), min)
            found = tuple(p for p, least in zip(pool, closest, strict=True) if lag(p) == least)
            self._close[key] = found
        return found

    @cached_property
    def sizes(self) -> list[BankShape]:
        """The shapes that banks are shared out in; see `sizes`."""
        return sizes(self.problem.hardware)

    def size(self, banks: int) -> int:
        """Return the position in `sizes` of the largest shape of at most so many banks."""
        return bisect.bisect_right(self.sizes, banks, key=math.prod) - 1

    def favourites(self, layer: int, shape: BankShape) -> tuple[Profile, ...]:
        """Return the profiles of the pool that were estimated best, the fastest first; soon made."""
        return self._profiles(layer, shape, self.params.favourites, self.stop)

    def quick(self, layer: int, shape: BankShape) -> tuple[Profile, ...]:
        """Return the profile that was estimated best, and what other loads make of it; the soonest made."""
        return self._profiles(layer, shape, 1, self.stop)

    def first(self, layer: int, shape: BankShape) -> tuple[Profile, ...]:
        """Return the favourite that was estimated best, with other loads; made however late it is."""
        return self._profiles(layer, shape, 1, Stop())

    def _profiles(self, layer: int, shape: BankShape, most: int | None, stop: Stop) -> tuple[Profile, ...]:
        record, limits = self.problem.layers[layer], self.problem.limits.of(layer)
        if limits.number is not None:
            if math.prod(shape) < math.prod(self.sizes[self.size(limits.number)]):
                return ()
            # One of the sizes below the next has to stand for a number that is none of them.
            shape = self.sizes[-1]
        shape = reshaped(record, self.problem.chips[layer], shape)
        key = (self._look(layer), limits, shape, most)
        found = self._alike.get(key)
        if found is None:
            profiles = self._made(layer, shape, most, stop)
            found = self._alike[key] = sorted(profiles, key=lambda p: (p.total, p.banks, p.rows))
        return tuple([profile.of(record) for profile in found])

    def _look(self, layer: int) -> str:
        if layer not in self._looks:
            self._looks[layer] = look(self.problem.layers[layer])
        return self._looks[layer]

    def _made(self, layer: int, shape: BankShape, most: int | None, stop: Stop) -> list[Profile]:
        """Profile the best so many mappings of a layer, then other loads of those for which they may pay."""
        stop.check()
        profiles: list[Profile] = []
        for mapping in itertools.islice(self._mappings(layer, shape), most):
            stop.check()
            profiles.append(self.problem.profile(layer, mapping))
        for profile in [p for p in profiles if worth_a_look(p)]:
            stop.check()
            coarser = coarser_loads(profile, self.problem.chips[layer])
            profiles += [self.problem.profile(layer, x) for x in coarser if self.problem.allows(layer, x)]
        return profiles

    def _mappings(self, layer: int, shape: BankShape) -> Iterator[Mapping]:
        """Yield good mappings of a layer on at most a shape, those of least own latency first."""
        if self.problem.limits.of(layer) == NO_LIMITS:
            return pool_mappings(self.problem.layers[layer], self.problem.hardware, shape, self.params)
        return limited_mappings(self.problem, layer, shape, self.params, pool_mappings)
