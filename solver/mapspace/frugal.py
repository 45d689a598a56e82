"""Mappings with the fewest rows: for a shape of banks, the fewest weights that a lane can hold, exactly.

A lane holds a weight for each iteration of its temporal loops over the dims of the weights, and beside the
weights no mapping needs less than one that loads single elements. So the fewest rows are those of the fewest
weights. To find these, the shape is spread over the dims in all ways that differ, and what is left of each
dim over the columns: in all useful widths of all dims but the last, which takes the columns that are left.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hw.hardware import Hardware, Level
from models.network import DIMS, Layer
from solver.mapspace.arrays import BankShape
from solver.mapspace.estimate import Batch, Ints, ceil_divide
from solver.mapspace.pools import build_mapping, shapes, temporal_orders
from solver.mapspace.rows import with_full_rows
from solver.mapspace.widths import useful_widths
from solver.timing.cache import cached
from solver.timing.mapping import WEIGHT_DIMS, Mapping
from solver.timing.own_bits import own_chip
from solver.timing.problem import Problem
from solver.timing.profile import ceil_div
from solver.timing.validity import least_rows, valid

SPREADS = 2**9
"""Ways to spread channels, or banks, over the dims beyond which only some of them are looked at."""

FILLINGS = 2**16
"""The same for columns."""

BUILT = 64
"""Mappings with the fewest weights that are weighed, at most."""

UNWEIGHTED = [i for i, dim in enumerate(DIMS) if dim not in WEIGHT_DIMS]


@dataclass(frozen=True, eq=False)
class Fewest:
    """The fewest weights that each lane can hold on a shape, and in which ways.

    Attributes
    ----------
    weights : per lane.
    proven : whether there are no fewer; else some ways were left out.
    ways : widths of the channel, bank and column loops over each dim; each of shape (dims, ways).
    """

    weights: int
    proven: bool
    ways: tuple[Ints, Ints, Ints]


def fewest_weights(layer: Layer, hardware: Hardware, shape: BankShape) -> Fewest:
    """Find the fewest weights of a lane on at most a shape; where inputs are held plays no part."""
    bounds = [layer.bound(dim) if dim in WEIGHT_DIMS else 1 for dim in DIMS]
    return _fewest_weights(tuple(bounds), hardware, shape)


@lru_cache(maxsize=2**12)
def _fewest_weights(bounds: tuple[int, ...], hardware: Hardware, shape: BankShape) -> Fewest:
    limits = np.array(bounds, np.int64)
    allowed = {level: _allowed(hardware, level) for level in ("channel", "bank", "column")}
    channels, all_channels = _spreads(shape[0], tuple(np.where(allowed["channel"], limits, 1).tolist()))
    banks, all_banks = _spreads(shape[1], tuple(np.where(allowed["bank"], limits, 1).tolist()))
    columns = np.where(allowed["column"], hardware.columns_per_bank, 1)
    return _fewest(limits, channels, banks, columns, hardware.columns_per_bank, all_channels and all_banks)


def _allowed(hardware: Hardware, level: Level) -> Ints:
    return np.array([hardware.may_spread(level, dim) for dim in DIMS])


def _fewest(bounds: Ints, channels: Ints, banks: Ints, columns: Ints, lanes: int, proven: bool) -> Fewest:
    """Return the fewest weights over all pairs of ways to spread channels and banks.

    Parameters
    ----------
    columns : for each dim the most columns that it may have.
    """
    pairs = (channels[:, None, :] * banks[None, :, :]).reshape(-1, len(DIMS))
    left = ceil_divide(bounds, pairs)
    # One number for each row is sorted sooner than the rows; the bounds multiply to far below 2**63.
    strides = np.cumprod(np.append(1, left.max(axis=0)[:-1] + 1))
    _, first = np.unique(left @ strides, return_index=True)
    first = first[np.argsort(left[first].prod(axis=1), kind="stable")]
    best, found = np.iinfo(np.int64).max, list[tuple[int, Ints]]()
    for pair in first.tolist():
        rest = tuple(left[pair].tolist())
        least = ceil_div(math.prod(rest), lanes)
        if least > best or (least == best and len(found) >= BUILT):
            break
        widths, complete = _columns(rest, tuple(columns.tolist()), lanes)
        proven &= complete
        weights = ceil_divide(left[pair][:, None], widths).prod(axis=0)
        if weights.min() < best:
            best, found = int(weights.min()), []
        if weights.min() == best and len(found) < BUILT:
            found += [(pair, widths[:, i]) for i in np.flatnonzero(weights == best)[:BUILT].tolist()]
    chosen = [divmod(pair, len(banks)) for pair, _ in found]
    return Fewest(
        best,
        proven,
        (
            channels[[c for c, _ in chosen]].T,
            banks[[b for _, b in chosen]].T,
            np.stack([widths for _, widths in found], axis=1),
        ),
    )


@cached
def _spreads(count: int, bounds: tuple[int, ...]) -> tuple[Ints, bool]:
    """Return the ways to spread `count` units over dims, shape (ways, dims), and whether these are all."""
    widths, complete = _filled(bounds, (count,) * len(bounds), count, SPREADS)
    return widths.T, complete


@cached
def _columns(left: tuple[int, ...], most: tuple[int, ...], columns: int) -> tuple[Ints, bool]:
    """Return the ways to spread the columns over what is left of the dims, and whether these are all."""
    return _filled(left, most, columns, FILLINGS)


def _filled(bounds: tuple[int, ...], most: tuple[int, ...], count: int, limit: int) -> tuple[Ints, bool]:
    """Return useful widths of each dim with a product of at most `count`, and whether none are left out.

    No way that is left out saves steps on all dims over one that is returned, if all are: the last dim is as
    wide as the others allow. Shape (dims, ways).
    """
    active = [i for i, bound in enumerate(bounds) if min(bound, most[i]) > 1]
    chosen = np.ones((len(bounds), 1), np.int64)
    complete = True
    for place, i in enumerate(active):
        room = count // chosen.prod(axis=0)
        if place == len(active) - 1:
            bound = np.array(bounds[i])
            chosen[i] = ceil_divide(bound, ceil_divide(bound, np.minimum(room, most[i])))
            break
        options = np.array([w for w in useful_widths(bounds[i]) if w <= min(count, most[i])], np.int64)
        if chosen.shape[1] * len(options) > limit:
            options = options[np.unique(np.geomspace(1, len(options), 8).astype(int)) - 1]
            complete = False
        rows, picks = np.nonzero(options <= room[:, None])
        chosen = chosen[:, rows]
        chosen[i] = options[picks]
    return chosen, complete


def frugal_mappings(layer: Layer, hardware: Hardware, shape: BankShape) -> Iterator[Mapping]:
    """Yield the fastest of the mappings with the fewest rows on at most a shape; nothing if none is valid.

    Where rows of weights are opened, another one follows that fills them, and may need more.
    """
    fewest = fewest_weights(layer, hardware, shape)
    bits = own_chip(layer, hardware).bits.weight
    if bits * fewest.weights + least_rows(layer, hardware) > hardware.rows_per_bank:
        return
    batch = _with_outputs(layer, hardware, fewest)
    orders = temporal_orders(layer)[:2]
    totals = np.array([batch.total(order) for order in orders])
    ranked = sorted(np.flatnonzero(batch.fits).tolist(), key=lambda i: int(totals[:, i].min()))
    for i in ranked:
        mapping = build_mapping(batch, i, orders[int(totals[:, i].argmin())])
        if valid(layer, mapping, hardware):
            yield from dict.fromkeys((mapping, with_full_rows(layer, mapping, hardware)))
            return


def frugal_allowed(problem: Problem, layer: int, shape: BankShape) -> Iterator[Mapping]:
    """Yield those of the frugal mappings on at most a shape that a layer may have; all that it may if one."""
    if (kept := problem.limits.of(layer).mapping) is not None:
        yield from (kept,) if kept.banks <= math.prod(shape) else ()
        return
    chip = problem.chips[layer]
    own = min(shape[0], chip.channels), min(shape[1], chip.banks_per_channel)
    if math.prod(own) > chip.most_banks:
        own = shapes(chip)[-1]
    found = frugal_mappings(problem.layers[layer], chip, own)
    yield from (mapping for mapping in found if problem.permits(layer, mapping))


def _with_outputs(layer: Layer, hardware: Hardware, fewest: Fewest) -> Batch:
    """Return the ways with the columns that weights leave free spread over rows, columns and batch."""
    needed = np.array(layer.bounds, np.int64)[:, None]
    channel, bank, column = (way.copy() for way in fewest.ways)
    parts = []
    for filled in (True, False):  # Where a buffer is small, columns may have to stay idle.
        wide = column.copy()
        for i in UNWEIGHTED if filled else ():
            if hardware.may_spread("column", DIMS[i]):
                room = hardware.columns_per_bank // wide.prod(axis=0)
                wide[i] = np.minimum(room, needed[i])
        parts.append(wide)
    channel, bank = np.tile(channel, 2), np.tile(bank, 2)
    column = np.concatenate(parts, axis=1)
    temporal = ceil_divide(needed, channel * bank * column)
    # The smallest bounds that still cover, so that the mapping is valid.
    column = ceil_divide(needed, temporal * channel * bank)
    bank = ceil_divide(needed, temporal * column * channel)
    channel = ceil_divide(needed, temporal * column * bank)
    return Batch(layer, own_chip(layer, hardware), channel, bank, column, temporal)


def fewest_rows(layer: Layer, hardware: Hardware, shape: BankShape) -> int:
    """Return the rows below which there is no mapping on a shape; some if ways to spread it are left out."""
    fewest = fewest_weights(layer, hardware, shape)
    even = ceil_div(_least_weights(layer, hardware), math.prod(shape))
    weights = fewest.weights if fewest.proven else even
    return own_chip(layer, hardware).bits.weight * weights + least_rows(layer, hardware)


def least_banks(layer: Layer, hardware: Hardware) -> int:
    """Return the banks below which no mapping keeps to the rows of a bank, by the number of weights alone."""
    held = (hardware.rows_per_bank - least_rows(layer, hardware)) // own_chip(layer, hardware).bits.weight
    return ceil_div(_least_weights(layer, hardware), max(held, 1))


def least_area(layer: Layer, hardware: Hardware) -> int:
    """Return the rows below which no mapping gets by, over all banks that it has."""
    beside = least_banks(layer, hardware) * least_rows(layer, hardware)
    return own_chip(layer, hardware).bits.weight * _least_weights(layer, hardware) + beside


def _least_weights(layer: Layer, hardware: Hardware) -> int:
    """Return the weights of a lane if one bank held them all, its lanes being filled evenly."""
    bounds = {dim: layer.bound(dim) for dim in WEIGHT_DIMS}
    spread = math.prod(bound for dim, bound in bounds.items() if hardware.may_spread("column", dim))
    return ceil_div(math.prod(bounds.values()), min(hardware.columns_per_bank, spread))
