"""Good mappings of layers with limits of their own, made from those of layers without.

Loops that a layer is to keep are put around good mappings of what they leave of it: of the rest of each dim,
on the rest of the chip. An exact number of banks is reached with loops over banks that are kept like that.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np

from hw.hardware import Hardware
from models.network import DIMS, Layer
from solver.mapspace.arrays import BankShape, bank_arrays
from solver.mapspace.enumeration import mappings
from solver.params import PoolParams
from solver.timing.limits import LayerLimits
from solver.timing.mapping import WEIGHT_DIMS, Kind, Loop, Mapping
from solver.timing.problem import Problem
from solver.timing.profile import ceil_div
from solver.timing.validity import least_rows

MappingSource = Callable[[Layer, Hardware, BankShape, PoolParams], Iterator[Mapping]]
"""Yields good mappings of a layer on at most a shape of banks of a chip."""


def limited_mappings(
    problem: Problem, layer: int, shape: BankShape, params: PoolParams, source: MappingSource
) -> Iterator[Mapping]:
    """Yield good mappings that a layer may have, on at most as many banks as a shape has.

    Where none is found that way, and the layer is small, the first of all that it may have are yielded.
    """
    most, kept = math.prod(shape), problem.limits.of(layer).mapping
    if kept is not None:
        yield from (kept,) if kept.banks <= most else ()
        return
    found: dict[Mapping, None] = {}
    for mapping in _proposed(problem, layer, shape, params, source):
        if mapping not in found and mapping.banks <= most and problem.permits(layer, mapping):
            found[mapping] = None
            yield mapping
    if not found and problem.layers[layer].macs <= params.small:
        every = itertools.islice(mappings(problem.layers[layer], problem.chips[layer]), params.listed)
        yield from (x for x in every if x.banks <= most and problem.allows(layer, x))


def _proposed(
    problem: Problem, layer: int, shape: BankShape, params: PoolParams, source: MappingSource
) -> Iterator[Mapping]:
    """Yield mappings that may be good and keep to the limits, though not all of them do."""
    record, chip, limits = problem.layers[layer], problem.chips[layer], problem.limits.of(layer)
    for own in _shapes(limits, chip, shape):
        if limits.loops:
            yield from _completed(record, chip, limits.loops, own, params, source)
        else:
            yield from source(record, chip, own, params)
        if limits.number is not None:
            for array in _exact_arrays(record, chip, limits.loops, own, params):
                yield from _completed(record, chip, (*limits.loops, *array), own, params, source)


def _shapes(limits: LayerLimits, chip: Hardware, shape: BankShape) -> list[BankShape]:
    """Return the shapes of the number of banks that is asked for, else one that is on the chip."""
    number, width = limits.number, chip.banks_per_channel
    if number is not None:
        channels = [c for c in range(1, chip.channels + 1) if number % c == 0 and number // c <= width]
        return [(c, number // c) for c in channels] if number <= math.prod(shape) else []
    most = chip.most_banks
    if math.prod(shape) <= most:
        return [(min(shape[0], chip.channels), min(shape[1], width))]
    fewest = ceil_div(most, width)
    return [(fewest, most // fewest)] if most % fewest == 0 else [(most // width, width)]


def _exact_arrays(
    layer: Layer, chip: Hardware, kept: tuple[Loop, ...], shape: BankShape, params: PoolParams
) -> Iterator[tuple[Loop, ...]]:
    """Yield loops over all channels and banks of a shape that kept loops leave."""
    rest, left, own = _rest(layer, chip, kept, shape)
    for ways in bank_arrays(np.array(rest.bounds), left, own, params) if min(own) else ():
        for channels, banks in ways:
            if (channels.prod(), banks.prod()) == own:
                loops = [*_loops(channels.tolist(), "channel"), *_loops(banks.tolist(), "bank")]
                yield tuple(loop for loop in loops if loop.bound > 1)


def _loops(bounds: list[int], kind: Kind) -> list[Loop]:
    return [Loop(dim, bound, kind) for dim, bound in zip(DIMS, bounds, strict=True)]


def _completed(
    layer: Layer,
    chip: Hardware,
    kept: tuple[Loop, ...],
    shape: BankShape,
    params: PoolParams,
    source: MappingSource,
) -> Iterator[Mapping]:
    """Yield mappings with kept loops, and good ones for the rest inside of them or outside."""
    rest, left, own = _rest(layer, chip, kept, shape)
    timed = any(loop.kind == "temporal" for loop in kept)
    for mapping in source(rest, left, own, params) if min(own) else ():
        yield Mapping((*kept, *mapping.loops), None if timed else mapping.load)
        if timed:
            yield Mapping((*mapping.loops, *kept))


def _rest(
    layer: Layer, chip: Hardware, kept: tuple[Loop, ...], shape: BankShape
) -> tuple[Layer, Hardware, BankShape]:
    """Return what loops leave of a layer, of the chip and of a shape of its banks, perhaps (0, 0)."""
    own = Mapping(kept)
    dims = {dim: ceil_div(layer.bound(dim), math.prod(x.bound for x in kept if x.dim == dim)) for dim in DIMS}
    beside = least_rows(layer, chip)
    rows = (chip.rows_per_bank - beside) // own.product("temporal", WEIGHT_DIMS) + beside
    changes = {
        "channels": chip.channels // own.channels,
        "banks_per_channel": chip.banks_per_channel // own.banks_per_channel,
        "columns_per_bank": chip.columns_per_bank // own.product("column"),
        "rows_per_bank": rows,
        "banks_per_layer": chip.most_banks // own.banks,
    }
    rest = Layer.model_validate({**layer.model_dump(by_alias=True), "dims": dims})
    left = shape[0] // own.channels, shape[1] // own.banks_per_channel
    usable = min(changes.values()) > 0
    return rest, chip.model_copy(update=changes), left if usable else (0, 0)
