"""The plan without overlap where room is scarce: which mappings and banks, decided together.

Each layer may have any of its mappings that no other beats in shape, rows and latency, those with the fewest
rows on each shape among them. First fit at falling prices of room gives a packing, which CP-SAT improves; or
CP-SAT finds one that first fit does not (`solver.schedule.packing`). Without one it is said what is missing:
a shortage is stated only if it is proven for all mappings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from hw.hardware import Hardware
from models.network import Layer
from overlapim_files import InputError
from solver.mapspace.arrays import BankShape
from solver.mapspace.frugal import fewest_rows, frugal_allowed, least_area, least_banks
from solver.mapspace.pools import Pools, look, shapes
from solver.params import FittingParams
from solver.schedule.bins import Bins, Item, Packed, banks_of, bins_of, cheapest_fit, item_of, undominated
from solver.schedule.plan import Plan, in_turn
from solver.stop import Stop, StoppedError
from solver.timing.limits import LayerLimits
from solver.timing.problem import Problem
from solver.timing.profile import Profile


@dataclass(frozen=True, eq=False)
class _Options:
    """What each layer may have: its items, and the profile behind each of them."""

    items: list[list[Item]]
    profiles: list[list[Profile]]


def fit(pools: Pools, prices: Sequence[float], stop: Stop, params: FittingParams = FittingParams()) -> Plan:
    """Return the plan without overlap of the least latency that was found.

    Parameters
    ----------
    prices : of the room that mappings take, rising; at infinity only room counts.

    Raises
    ------
    InputError
        if none was found; says what is missing, and that it is proven if it is.
    """
    problem = pools.problem
    _check_area(problem)
    options = _in_time(pools, stop, params)
    given = {i: min(options.profiles[i], key=lambda p: (p.rows, p.total)) for i in problem.given_banks}
    bins = bins_of(problem.hardware, problem.given_banks, {i: p.rows for i, p in given.items()})
    if (least := min(bins.room)) < 0:
        bank = bins.room.index(least)
        raise InputError(f"the layers that are given bank {bank} need {-least} rows more of it than it has")
    free = [i for i in range(len(problem.layers)) if i not in given]
    items = [options.items[i] for i in free]
    packed = cheapest_fit(bins, items, prices, stop.part(params.share)) if items else Packed((), ())
    packed = _decided(bins, items, packed, stop, params)
    if packed is None:
        raise InputError(_why_not(problem, stop, params))
    chosen = dict(zip(free, packed.chosen, strict=True))
    taken = [options.items[i][place] for i, place in chosen.items()]
    own = given | {i: options.profiles[i][place] for i, place in chosen.items()}
    profiles = [replace(own[i], layer=layer) for i, layer in enumerate(problem.layers)]
    banks = banks_of(problem.hardware, taken, packed.places, problem.given_banks)
    return in_turn(problem, profiles, banks)


Pool = Callable[[int, BankShape], Sequence[Profile]]
"""Some profiles of a layer on a shape."""


def _in_time(pools: Pools, stop: Stop, params: FittingParams) -> _Options:
    """Return what each layer may have: a few mappings on some shapes, or if there is time many on all."""
    began, unhurried = stop.elapsed(), pools.until(Stop())
    few = set(_shapes(pools.problem.hardware, params)[:: -params.coarse])
    options = _options(pools, lambda i, shape: unhurried.favourites(i, shape) if shape in few else (), params)
    if stop.remaining() > params.thorough * (stop.elapsed() - began):
        with suppress(StoppedError):
            return _options(pools, pools.until(stop).pool, params)
    return options


def _options(pools: Pools, pool: Pool, params: FittingParams) -> _Options:
    """Return what each layer may have; layers of one look have the same."""
    known: dict[tuple[str, LayerLimits], tuple[list[Item], list[Profile]]] = {}
    found = []
    for i, layer in enumerate(pools.problem.layers):
        key = look(layer), pools.problem.limits.of(i)
        if key not in known:
            known[key] = _of_layer(pools.problem, i, pool, params)
        found.append(known[key])
    return _Options([items for items, _ in found], [profiles for _, profiles in found])


def _of_layer(
    problem: Problem, layer: int, pool: Pool, params: FittingParams
) -> tuple[list[Item], list[Profile]]:
    hardware, profiles = problem.hardware, list[Profile]()
    for shape in _shapes(hardware, params):
        profiles += pool(layer, shape)
        frugal = frugal_allowed(problem, layer, shape)
        profiles += [problem.profile(layer, mapping) for mapping in frugal]
    if not profiles:
        raise InputError(why_no_mapping(problem, layer))
    items = [
        item_of(hardware, (p.mapping.channels, p.mapping.banks_per_channel), p.rows, p.total)
        for p in profiles
    ]
    kept = undominated(items)
    return [items[i] for i in kept], [profiles[i] for i in kept]


def _shapes(hardware: Hardware, params: FittingParams) -> list[BankShape]:
    """Return the shapes that a layer may have: all of a small chip, else those that are tried elsewhere."""
    if hardware.banks > params.banks:
        return shapes(hardware)
    return [
        (channels, banks)
        for channels in range(1, hardware.channels + 1)
        for banks in range(1, hardware.banks_per_channel + 1)
        if channels * banks <= hardware.most_banks
    ]


def _decided(
    bins: Bins, items: list[list[Item]], start: Packed | None, stop: Stop, params: FittingParams
) -> Packed | None:
    """Return a better packing than a first one, or any; what is given if it takes too long."""
    from solver.schedule.packing import (  # Soon enough: CP-SAT takes long to load.
        find,
        improve_packing,
        literals,
    )

    if not items or literals(bins, items) > params.literals:
        return start
    if start is None:
        start = find(bins, items, params.effort, _at_least(stop, params)).packed
    if start is None or stop.reached():
        return start
    return improve_packing(bins, items, start, params.polish, stop.part(params.share))


def _at_least(stop: Stop, params: FittingParams) -> Stop:
    """Return a stop that leaves the time for a first plan, which all else depends on."""
    return replace(stop, seconds=stop.elapsed() + max(stop.remaining(), params.seconds))


def _check_area(problem: Problem) -> None:
    """Raise `InputError` if the layers have more weights than the chip can hold however they are mapped."""
    hardware = problem.hardware
    if hardware.weights == "static":
        need: Callable[[Layer, Hardware], int] = least_banks
        have, unit = hardware.banks, "banks"
    else:
        need, have, unit = least_area, hardware.banks * hardware.rows_per_bank, "rows"
    needed = [need(layer, chip) for layer, chip in zip(problem.layers, problem.chips, strict=True)]
    if sum(needed) > have:
        raise InputError(
            f"{_refused(problem)}: its layers need {sum(needed)} {unit} together, "
            f"{sum(needed) - have} more than there are; {_largest(problem, needed)} {unit}"
        )


def _refused(problem: Problem) -> str:
    hardware = problem.hardware
    return f"'{problem.network.name}' does not fit on '{hardware.name}' with {hardware.weights} weights"


def _largest(problem: Problem, needed: Sequence[int]) -> str:
    largest = max(range(len(needed)), key=needed.__getitem__)
    return f"the largest is layer '{problem.layers[largest].name}' with {needed[largest]}"


def _why_not(problem: Problem, stop: Stop, params: FittingParams) -> str:
    """Return why there is no plan, if that can be proven; else that none was found, and what would help."""
    hardware, bins = problem.hardware, bins_of(problem.hardware)
    least = _least_capacity(problem, stop, params) if hardware.banks <= params.banks else 0
    needed = [least_area(layer, hardware) for layer in problem.layers]
    if least > bins.capacity:
        where = "channel of at least {} banks" if hardware.weights == "static" else "bank of at least {} rows"
        return (
            f"{_refused(problem)}: its layers need a {where.format(least)}, {least - bins.capacity} more "
            f"than the {bins.capacity} there are; {_largest(problem, needed)} rows in its banks together"
        )
    have = hardware.banks * hardware.rows_per_bank
    return (
        f"no way was found to fit '{problem.network.name}' on '{hardware.name}' with {hardware.weights} "
        f"weights, nor a proof that there is none: its layers need at least {sum(needed)} of the {have} rows "
        f"together; more time, or more rows in each bank, may help"
    )


def _least_capacity(problem: Problem, stop: Stop, params: FittingParams) -> int:
    """Return the rows, or the banks of a channel, below which there is no plan; 0 if that takes too long."""
    from solver.schedule.packing import least_capacity, literals

    bins, items = bins_of(problem.hardware), _least_items(problem, params)
    if literals(bins, items) > params.literals:
        return 0
    return least_capacity(bins, items, params.effort, _at_least(stop, params))


def _least_items(problem: Problem, params: FittingParams) -> list[list[Item]]:
    """Return for each layer the least that mappings take on each shape that they may have."""
    known: dict[tuple[str, LayerLimits], list[Item]] = {}
    keys = [(look(layer), problem.limits.of(i)) for i, layer in enumerate(problem.layers)]
    for layer, chip, key in zip(problem.layers, problem.chips, keys, strict=True):
        if key not in known:
            known[key] = _least_of_layer(layer, chip, params)
    return [known[key] for key in keys]


def _least_of_layer(layer: Layer, hardware: Hardware, params: FittingParams) -> list[Item]:
    items = []
    for shape in _shapes(hardware, params):
        rows = fewest_rows(layer, hardware, shape)
        if hardware.weights != "static" or rows <= hardware.rows_per_bank:
            items.append(item_of(hardware, shape, rows, 0))
    return [items[i] for i in undominated(items)]


def why_no_mapping(problem: Problem, layer: int) -> str:
    """Return why a layer has no mapping, even on the whole chip."""
    record, hardware = problem.layers[layer], problem.chips[layer]
    # No layer may have more; if a layer may not have all of them, it needs no fewer rows.
    least = fewest_rows(record, hardware, (hardware.channels, hardware.banks_per_channel))
    if least > hardware.rows_per_bank:
        more = least - hardware.rows_per_bank
        return (
            f"layer '{record.name}' needs {least} rows in each lane even on the whole chip, "
            f"{more} more than the {hardware.rows_per_bank} of '{hardware.name}'"
        )
    limit = hardware.rows_per_bank
    return f"layer '{record.name}': no mapping was found that keeps to {limit} rows in each lane"
