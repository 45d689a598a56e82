"""Small random changes of one mapping."""

from __future__ import annotations

import math
import random
from collections.abc import Collection
from dataclasses import replace
from typing import NamedTuple

from hw.hardware import Hardware
from models.network import DIMS, Dim, Layer
from solver import core
from solver.core.compiled import compiled_layer
from solver.mapspace.enumeration import listed
from solver.mapspace.rows import with_full_rows
from solver.timing.mapping import Loop, Mapping
from solver.timing.own_bits import own_chip
from solver.timing.problem import Problem
from solver.timing.tiles import innermost_read, load_depth
from solver.timing.validity import valid

FACTORS = (2, 3, 4, 7, 8, 14)
"""Bounds of the outer parts into which loops are cut."""


ANYWHERE = 0.1
"""Share of the changes of a layer with few mappings that lead to any: not all are reached step by step."""


def neighbour(layer: Layer, mapping: Mapping, hardware: Hardware, rng: random.Random) -> Mapping | None:
    """Return a random valid mapping one move away, or None if the move led nowhere."""
    move = rng.choice((_swap, _swap, _trade, _trade, _divide, _reload, _tile))
    moved = move(layer, mapping, rng)
    changed = None if moved is None else settled(layer, moved, hardware)
    return None if changed == mapping else changed


def allowed_neighbour(problem: Problem, layer: int, mapping: Mapping, rng: random.Random) -> Mapping | None:
    """Return a random mapping one move away that a layer may have, or None if the move led nowhere.

    If it has few mappings, it is sometimes any of them.
    """
    if problem.limits.of(layer).mapping is not None:
        return None
    few = listed(problem, layer)
    if few and rng.random() < ANYWHERE:
        anything = rng.choice(few)
        return None if anything == mapping else anything
    changed = neighbour(problem.layers[layer], mapping, problem.chips[layer], rng)
    return changed if changed is not None and problem.allows(layer, changed) else None


def settled(layer: Layer, mapping: Mapping, hardware: Hardware) -> Mapping | None:
    """Return a mapping with loops that just cover each dim and with full rows; None if it is not valid."""
    if core.native is not None:
        compiled = compiled_layer(core.native, layer, own_chip(layer, hardware))
        found = core.native.settle(compiled, mapping.loops, mapping.load, Loop)
        if found is not False:
            return None if found is None else Mapping(*found)
    changed = Mapping(tuple(_tighten(layer, list(mapping.loops))), mapping.load)
    changed = with_full_rows(layer, changed, hardware)
    if changed.load is not None and changed.load >= innermost_read(layer, changed):
        changed = replace(changed, load=None)
    return changed if valid(layer, changed, hardware) else None


def _reload(layer: Layer, mapping: Mapping, rng: random.Random) -> Mapping:
    """Load the inputs at the next loop outside or inside."""
    depth = load_depth(layer, mapping) + rng.choice((-1, 1))
    return replace(mapping, load=max(depth, 0))


def _swap(layer: Layer, mapping: Mapping, rng: random.Random) -> Mapping | None:
    """Move one loop to another place."""
    loops = list(mapping.loops)
    if not loops:
        return None
    loops.insert(rng.randrange(len(loops)), loops.pop(rng.randrange(len(loops))))
    return replace(mapping, loops=tuple(loops))


def _trade(layer: Layer, mapping: Mapping, rng: random.Random) -> Mapping | None:
    """Take a factor from one spatial loop and give it to another dim of the same level."""
    loops = list(mapping.loops)
    spatial = [i for i, loop in enumerate(loops) if loop.kind != "temporal"]
    if not spatial:
        return None
    i, factor = rng.choice(spatial), rng.choice((2, 2, 3, 4, 7))
    kind = loops[i].kind
    loops[i] = loops[i]._replace(bound=max(1, loops[i].bound // factor))
    dim = rng.choice(DIMS)
    same = [j for j in spatial if loops[j].kind == kind and loops[j].dim == dim]
    if same:
        loops[same[0]] = loops[same[0]]._replace(bound=loops[same[0]].bound * factor)
    else:
        loops.append(Loop(dim, factor, kind))
    return replace(mapping, loops=tuple(loops))


def _divide(layer: Layer, mapping: Mapping, rng: random.Random) -> Mapping | None:
    """Cut one temporal loop in two and put its outer part in another place."""
    loops, cut = _cut(mapping, rng, DIMS)
    if cut is None:
        return None
    loops.insert(rng.randrange(len(loops) + 1), cut.outer)
    return replace(mapping, loops=tuple(loops))


def _tile(layer: Layer, mapping: Mapping, rng: random.Random) -> Mapping | None:
    """Cut one temporal loop that reads, put its outer part further out and load the inputs there."""
    loops, cut = _cut(mapping, rng, layer.read_dims)
    if cut is None:
        return None
    place = rng.randrange(cut.place + 1)
    loops.insert(place, cut.outer)
    outside = sum(loop.kind == "temporal" for loop in loops[:place])
    return Mapping(tuple(loops), outside + 1)


class _Cut(NamedTuple):
    """The outer part of a loop that was cut in two, and the place of the inner one."""

    outer: Loop
    place: int


def _cut(mapping: Mapping, rng: random.Random, dims: Collection[Dim]) -> tuple[list[Loop], _Cut | None]:
    """Shorten a temporal loop over one of the dims; return all loops, and what was cut off if one was."""
    loops = list(mapping.loops)
    long = [
        i for i, loop in enumerate(loops) if loop.kind == "temporal" and loop.bound > 3 and loop.dim in dims
    ]
    if not long:
        return loops, None
    place = rng.choice(long)
    dim, bound, kind = loops[place]
    outer = rng.choice([n for n in FACTORS if n < bound])
    loops[place] = Loop(dim, -(-bound // outer), kind)
    return loops, _Cut(Loop(dim, outer, kind), place)


def _tighten(layer: Layer, loops: list[Loop]) -> list[Loop]:
    """Give every dim loops that just cover it: longer in time if they fall short."""
    for dim in DIMS:
        own = [i for i, loop in enumerate(loops) if loop.dim == dim]
        covered = math.prod(loops[i].bound for i in own)
        temporal = [i for i in own if loops[i].kind == "temporal"]
        if covered < layer.bound(dim):
            if temporal:
                rest = covered // loops[temporal[-1]].bound
                loops[temporal[-1]] = loops[temporal[-1]]._replace(bound=-(-layer.bound(dim) // rest))
            else:
                last = max((i for i, loop in enumerate(loops) if loop.kind == "temporal"), default=-1)
                loops.insert(last + 1, Loop(dim, -(-layer.bound(dim) // covered), "temporal"))
                own = [i for i, loop in enumerate(loops) if loop.dim == dim]
        for i in sorted(own, key=lambda i: loops[i].kind != "temporal"):
            rest = math.prod(loops[j].bound for j in own if j != i)
            loops[i] = loops[i]._replace(bound=-(-layer.bound(dim) // rest))
    return loops
