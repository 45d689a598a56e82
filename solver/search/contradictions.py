"""Limits that leave a layer nothing: refused before a search, with the nearest choice that would do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hw.hardware import LevelDims
from models.network import DIMS
from overlapim_files import InputError
from solver.mapspace.frugal import frugal_allowed
from solver.mapspace.pools import Pools, shapes
from solver.timing.limits import LayerLimits, Limits, bank_shape, has_loops
from solver.timing.mapping import SPATIAL
from solver.timing.problem import Problem
from solver.timing.validity import problems

TRIED = 24
"""Numbers of banks above and below that are tried, at most, in search of one that would do."""


def check_limits(pools: Pools) -> None:
    """Raise `InputError` if limits contradict each other, or the chip, or leave a layer no mapping.

    A layer for which it is only not known whether there is a mapping is refused too.
    """
    problem = pools.problem
    if not problem.limits.layers:
        return
    if len(problem.limits.layers) != len(problem.layers):
        raise InputError(
            f"limits of {len(problem.limits.layers)} layers for a network of {len(problem.layers)}"
        )
    for i, own in enumerate(problem.limits.layers):
        if own == LayerLimits():
            continue
        fault = next(_faults(pools, i), None)
        if fault is not None:
            raise InputError(f"limits: layer '{problem.layers[i].name}': {fault}")
    _check_together(problem)


def _faults(pools: Pools, layer: int) -> Iterator[str]:
    """Yield what is wrong with the limits of a layer."""
    problem, own = pools.problem, pools.problem.limits.of(layer)
    yield from _number_faults(problem, own)
    if own.mapping is not None:
        yield from _mapping_faults(problem, layer)
    elif not _possible(pools, layer):
        yield _impossible(problem, layer)


def _number_faults(problem: Problem, own: LayerLimits) -> Iterator[str]:
    """Yield where the numbers of banks that are given differ, or exceed what a layer may have."""
    given = {
        "mapping": None if own.mapping is None else own.mapping.banks,
        "exact_banks": own.exact_banks,
        "banks": len(own.banks) or None,
    }
    numbers = {key: number for key, number in given.items() if number is not None}
    if len(set(numbers.values())) > 1:
        said = " and ".join(f"{key} says {number}" for key, number in numbers.items())
        yield f"{said} banks; leave one of them out"
    for key, number in numbers.items():
        if own.most_banks is not None and number > own.most_banks:
            yield f"{key} says {number} banks, and most_banks {own.most_banks}; {own.most_banks} would do"
        if number > (most := problem.hardware.most_banks):
            yield f"{key} says {number} banks, and a layer of '{problem.hardware.name}' may have {most}"


def _mapping_faults(problem: Problem, layer: int) -> Iterator[str]:
    """Yield what is wrong with a mapping that is to be kept."""
    own, record, hardware = problem.limits.of(layer), problem.layers[layer], problem.hardware
    assert own.mapping is not None
    for fault in problems(record, own.mapping, replace(own, mapping=None).chip(hardware)):
        yield f"mapping: {fault}"
    if own.banks and (shape := bank_shape(own.banks, hardware)) != (
        own.mapping.channels,
        own.mapping.banks_per_channel,
    ):
        yield (
            f"mapping: it needs {own.mapping.banks_per_channel} banks in each of {own.mapping.channels} "
            f"channels, and banks are {shape[1]} in each of {shape[0]}"
        )
    if not has_loops(own.mapping.loops, own.loops):
        yield "loops: they are not among those of the mapping that is to be kept; leave one of them out"


def _possible(pools: Pools, layer: int) -> bool:
    """Whether a mapping is found that a layer may have."""
    whole = shapes(pools.problem.hardware)[-1]
    return any(True for _ in frugal_allowed(pools.problem, layer, whole)) or bool(pools.first(layer, whole))


def _with(problem: Problem, layer: int, own: LayerLimits) -> Problem:
    """Return the problem with other limits for a layer."""
    layers = problem.limits.layers
    return replace(problem, limits=Limits((*layers[:layer], own, *layers[layer + 1 :])))


def _impossible(problem: Problem, layer: int) -> str:
    """Say which limits leave a layer no mapping that is known, and what would do."""
    own = problem.limits.of(layer)
    for key, changed, text in _relaxed(problem, own):
        if _possible(Pools(_with(problem, layer, changed)), layer):
            return f"{key}: no mapping is known that keeps to it; {text} would do"
    keys = [key for key in ("loops", "most_banks", "exact_banks", "banks") if getattr(own, key)]
    keys += ["spread"] if own.spread != LevelDims() else []
    return f"{', '.join(keys) or 'mapping'}: no mapping is known that keeps to this"


def _relaxed(problem: Problem, own: LayerLimits) -> Iterator[tuple[str, LayerLimits, str]]:
    """Yield limits with one of them changed as little as can be, with its name and the change in words."""
    most = problem.hardware.most_banks
    if own.exact_banks is not None:
        for by in range(1, TRIED):
            for number in (own.exact_banks - by, own.exact_banks + by):
                if 0 < number <= most:
                    yield f"exact_banks {own.exact_banks}", replace(own, exact_banks=number), f"{number}"
    if own.most_banks is not None:
        for number in range(own.most_banks + 1, min(own.most_banks + TRIED, most) + 1):
            yield f"most_banks {own.most_banks}", replace(own, most_banks=number), f"{number}"
    for level in SPATIAL:
        dims = getattr(own.spread, level)
        for dim in DIMS if dims is not None else ():
            if dim not in dims and problem.hardware.may_spread(level, dim):
                wider = LevelDims.model_validate({**own.spread.model_dump(), level: (*dims, dim)})
                yield f"spread of {level}", replace(own, spread=wider), f"{dim} as well"
    for place, loop in enumerate(own.loops):
        fewer = replace(own, loops=own.loops[:place] + own.loops[place + 1 :])
        yield "loops", fewer, f"leaving out the {loop.kind} loop of {loop.dim} with bound {loop.bound}"
    if own.banks:
        yield f"{len(own.banks)} banks", replace(own, banks=()), "leaving their numbers open"


def _check_together(problem: Problem) -> None:
    """Raise `InputError` if layers are given what only one of them can have."""
    if problem.hardware.weights != "static":
        return
    holder: dict[int, int] = {}
    for layer, banks in problem.given_banks.items():
        for bank in banks:
            if bank in holder:
                names = f"'{problem.layers[holder[bank]].name}' and '{problem.layers[layer].name}'"
                taken = {b for own in problem.given_banks.values() for b in own}
                free = [b for b in range(problem.hardware.banks) if b not in taken]
                near = min(free, key=lambda b: abs(b - bank), default=None)
                hint = "" if near is None else f"; bank {near} is free"
                raise InputError(
                    f"limits: banks of layers {names}: with static weights bank {bank} can serve one{hint}"
                )
            holder[bank] = layer
    numbers = [own.number or 1 for own in problem.limits.layers]
    if (more := sum(numbers) - problem.hardware.banks) > 0:
        largest = max(range(len(numbers)), key=numbers.__getitem__)
        raise InputError(
            f"limits: with static weights the layers need {sum(numbers)} banks together, {more} more than "
            f"there are; the largest is layer '{problem.layers[largest].name}' with {numbers[largest]}, for "
            f"which {max(numbers[largest] - more, 1)} would do"
        )
