"""How long a layer takes at least on a number of banks, whatever its mapping (docs/bound.md, "Durations")."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hw.hardware import Hardware
from models.network import DIMS, OUTPUT_DIMS, REDUCTION_DIMS, Dim, Layer
from solver.bound.reuse import Floats, Reuse, least_load
from solver.params import BoundParams
from solver.timing.own_bits import own_chip
from solver.timing.validity import least_rows, units

ROUNDING = 1 - 1e-9
"""Keeps sums of floating-point numbers below the exact ones."""


class Lanes(NamedTuple):
    """A range of numbers of lanes over which a sum is spread."""

    least: int
    most: int


def _covers(bound: int, most: int) -> tuple[Floats, Floats]:
    """Return the least pairs of a spatial and a temporal bound whose product covers a dim, about `most`."""
    widths = [bound]
    while widths[-1] > 1 and len(widths) < most:
        widths.append(-(-bound // -(-bound // (widths[-1] - 1))))
    steps = [-(-bound // width) for width in widths]
    if widths[-1] > 1:
        # Each width of the grid stands for all up to the next, with the steps of the widest of them.
        widths = np.unique(np.geomspace(1, bound, most).astype(np.int64)).tolist()
        steps = [-(-bound // (above - 1)) for above in [*widths[1:], bound + 1]]
    return np.array(widths, float), np.array(steps, float)


def _reductions(layer: Layer, most: int) -> tuple[Floats, Floats]:
    """Return the least products of the spatial and the temporal bounds of the loops on reduction dims."""
    lanes, steps = np.ones(1), np.ones(1)
    for dim in REDUCTION_DIMS:
        widths, times = _covers(layer.bound(dim), most)
        lanes, steps = np.outer(lanes, widths).ravel(), np.outer(steps, times).ravel()
        order = np.lexsort((steps, lanes))
        lanes, steps = lanes[order], steps[order]
        fewer = steps < np.minimum.accumulate(np.concatenate(([np.inf], steps[:-1])))
        lanes, steps = lanes[fewer], steps[fewer]
    return lanes, steps


def _widest(layer: Layer, hardware: Hardware, dims: Sequence[Dim], banks: Floats) -> Floats:
    """Return over how many lanes of so many banks some dims can be spread at most, by what levels may do."""
    channels, within = (units(layer, hardware, level, dims) for level in ("channel", "bank"))
    among = [d for d in dims if hardware.may_spread("channel", d) or hardware.may_spread("bank", d)]
    most = min(channels * within, math.prod(layer.bound(dim) for dim in among))
    return np.minimum(banks, most) * units(layer, hardware, "column", dims)


def _least_product(levels: int) -> int:
    """Return the least product of two numbers whose adder trees together have so many levels."""
    factors = [2 ** (n - 1) + 1 if n else 1 for n in range(levels + 1)]
    return min(factors[n] * factors[levels - n] for n in range(levels + 1))


class _Drain(NamedTuple):
    """Least cycles of reducing over some lanes and draining, and of reading partial sums back."""

    once: Floats
    back: Floats


def _drain(
    lanes: Floats, outputs: Floats, layer: Layer, hardware: Hardware, banks: Floats, between: int
) -> _Drain:
    """Return what one drain of so many outputs takes if so many levels of adding up lie between banks."""
    bits, cycles, bandwidth = hardware.bits, hardware.cycles, hardware.bits_per_cycle
    fixed = cycles.drain + layer.post * cycles.post + _residual(layer, hardware)
    if hardware.reduction == "host":
        # Whatever lies between lanes, banks and channels, every lane's partial result is drained.
        partial = outputs * lanes / banks * bits.accumulator
        return _Drain(partial / float(bandwidth.drain) + fixed, np.zeros_like(partial))
    between_banks, drained_at = float(max(bandwidth.bank, bandwidth.channel)), float(bandwidth.drain)
    drained = outputs * _least_product(between) / banks
    within = np.maximum(np.ceil(np.log2(lanes) - 1e-9) - between, 0)
    hop = cycles.add + drained * bits.accumulator / between_banks
    time = within * (cycles.move + cycles.add) + between * hop + drained * bits.activation / drained_at
    return _Drain(time + fixed, drained * bits.accumulator / drained_at)


def _residual(layer: Layer, hardware: Hardware) -> int:
    """Return the least cycles of adding the residuals at one drain."""
    one = 1 + hardware.bits.activation * hardware.input_row_write + hardware.cycles.add
    return len(layer.residuals) * one


def useful_cycles(
    layer: Layer,
    hardware: Hardware,
    banks: Sequence[int],
    params: BoundParams = BoundParams(),
    spread: Lanes | None = None,
) -> Floats:
    """Return the least cycles in which so many banks can do all the useful work of a layer.

    That is the least own latency without the share of it that is spent on idle outputs. Nothing is counted
    for writing weights.

    Parameters
    ----------
    spread : over how many lanes each sum is spread.

    Returns
    -------
    A time for each number of banks; infinite where the rows do not suffice.
    """
    hardware = own_chip(layer, hardware)
    lanes, steps = _reductions(layer, params.widths)
    if spread is not None:
        # On fewer lanes than there are, no sum has fewer steps.
        first = max(int(np.searchsorted(lanes, spread.least, side="right")) - 1, 0)
        last = int(np.searchsorted(lanes, spread.most, side="right"))
        lanes, steps = np.maximum(lanes[first:last], spread.least), steps[first:last]
    rows = hardware.bits.weight * steps + least_rows(layer, hardware)
    everything = float(math.prod(layer.bound(dim) for dim in OUTPUT_DIMS))
    fitting = rows <= hardware.rows_per_bank
    lanes, steps = lanes[fitting], steps[fitting]
    # One row for each number of banks, one column for each way to cut the reduction.
    useful = units(layer, hardware, "channel", DIMS) * units(layer, hardware, "bank", DIMS)
    numbers = np.minimum(np.array(banks, float), useful)[:, None]
    outputs = np.minimum(numbers * hardware.columns_per_bank / lanes, everything)
    outputs = np.minimum(outputs, _widest(layer, hardware, OUTPUT_DIMS, numbers))
    possible = (outputs >= 1) & (lanes <= _widest(layer, hardware, REDUCTION_DIMS, numbers))
    reuse, each_bank = Reuse(layer, hardware), units(layer, hardware, "column", OUTPUT_DIMS)
    least = np.full(possible.shape, np.inf)
    # Of a product of two numbers of lanes, both together need at most one level more.
    levels = 2 * int(max(banks)).bit_length() if spread is None else (spread.most - 1).bit_length() + 1
    for between in range(levels + 1):
        # So many levels of adding up lie between banks or channels, which takes at least `factor` banks.
        if (factor := _least_product(between)) > max(banks):
            break
        most = np.minimum(outputs, numbers / factor * each_bank)
        drain = _drain(lanes, most, layer, hardware, numbers, between)
        each = steps * hardware.mac_cycles + reuse.cycles(steps, drain.once, drain.back, numbers, between)
        least = np.minimum(least, np.where(possible & (numbers >= factor), everything / most * each, np.inf))
    return np.asarray(np.floor(least.min(axis=1, initial=np.inf) * ROUNDING))


def block_tail(layer: Layer, hardware: Hardware, products: int = 1, lanes: Lanes | None = None) -> int:
    """Return the least cycles from an arrival to the finish of an output.

    Parameters
    ----------
    products : how many of those that the output sums up wait for the arrival.
    lanes : over how many the sum is spread; on more there are fewer steps, and more levels of adding up.
    """
    hardware = own_chip(layer, hardware)
    cycles = hardware.cycles
    drain = cycles.drain + layer.post * cycles.post + _residual(layer, hardware)
    least, most = lanes or Lanes(1, _most_lanes(layer, hardware))
    numbers = [least, *(2**i for i in range(least.bit_length(), most.bit_length())), most]
    summing = min(-(-products // n) * hardware.mac_cycles + _adding_up(n, hardware) for n in numbers)
    return int(least_load(layer, hardware) + summing + drain)


def lane_ranges(layer: Layer, hardware: Hardware, step: float) -> list[Lanes]:
    """Return ranges of all numbers of lanes that a mapping can give a sum, the ends `step` apart."""
    most = _most_lanes(layer, own_chip(layer, hardware))
    products = min(math.prod(layer.bound(dim) for dim in REDUCTION_DIMS), most)
    ends = [1]
    while ends[-1] < products:
        ends.append(math.ceil(ends[-1] * step))
    return [Lanes(last + 1, end) for last, end in itertools.pairwise([0, *ends[:-1], max(most, ends[-1])])]


def _most_lanes(layer: Layer, hardware: Hardware) -> int:
    return int(_widest(layer, hardware, REDUCTION_DIMS, np.array(hardware.most_banks)))


def _adding_up(lanes: int, hardware: Hardware) -> int:
    """Return the least cycles of adding up one number from each of so many lanes, wherever these are."""
    bits, bandwidth = hardware.bits.accumulator, hardware.bits_per_cycle
    if hardware.reduction == "host":
        return math.floor(bits * lanes / hardware.most_banks / float(bandwidth.drain) * ROUNDING)
    between = bits / float(max(bandwidth.bank, bandwidth.channel))
    level = hardware.cycles.add + min(hardware.cycles.move, between)
    return math.floor((lanes - 1).bit_length() * level * ROUNDING)
