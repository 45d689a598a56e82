"""Small random changes of one mapping."""

from __future__ import annotations

import math
import random
from dataclasses import replace

from hw.hardware import Hardware
from models.network import DIMS, Layer
from solver.timing.mapping import Loop, Mapping
from solver.timing.tiles import innermost_read, load_depth
from solver.timing.validity import problems


def neighbour(layer: Layer, mapping: Mapping, hardware: Hardware, rng: random.Random) -> Mapping | None:
    """Return a random valid mapping one move away, or None if the move led nowhere."""
    move = rng.choice((_swap, _swap, _trade, _trade, _divide, None))
    if move is None:
        changed = _reload(layer, mapping, rng)
    else:
        loops = move(list(mapping.loops), rng)
        if not loops:
            return None
        changed = Mapping(tuple(_tighten(layer, loops)), mapping.load)
    innermost = innermost_read(layer, changed)
    if changed.load is not None and changed.load >= innermost:
        changed = replace(changed, load=None)
    return None if changed == mapping or problems(layer, changed, hardware) else changed


def _reload(layer: Layer, mapping: Mapping, rng: random.Random) -> Mapping:
    """Load the inputs at the next loop outside or inside."""
    depth = load_depth(layer, mapping) + rng.choice((-1, 1))
    return replace(mapping, load=max(depth, 0))


def _swap(loops: list[Loop], rng: random.Random) -> list[Loop]:
    """Move one loop to another place."""
    if not loops:
        return []
    loops.insert(rng.randrange(len(loops)), loops.pop(rng.randrange(len(loops))))
    return loops


def _trade(loops: list[Loop], rng: random.Random) -> list[Loop]:
    """Take a factor from one spatial loop and give it to another dim of the same level."""
    spatial = [i for i, loop in enumerate(loops) if loop.kind != "temporal"]
    if not spatial:
        return []
    i, factor = rng.choice(spatial), rng.choice((2, 2, 3, 4, 7))
    kind = loops[i].kind
    loops[i] = loops[i]._replace(bound=max(1, loops[i].bound // factor))
    dim = rng.choice(DIMS)
    same = [j for j in spatial if loops[j].kind == kind and loops[j].dim == dim]
    if same:
        loops[same[0]] = loops[same[0]]._replace(bound=loops[same[0]].bound * factor)
    else:
        loops.append(Loop(dim, factor, kind))
    return loops


def _divide(loops: list[Loop], rng: random.Random) -> list[Loop]:
    """Cut one temporal loop in two and put its outer part in another place."""
    temporal = [i for i, loop in enumerate(loops) if loop.kind == "temporal" and loop.bound > 3]
    if not temporal:
        return []
    i = rng.choice(temporal)
    dim, bound, kind = loops[i]
    outer = rng.choice([n for n in (2, 3, 4, 7, 8, 14) if n < bound])
    loops[i] = Loop(dim, -(-bound // outer), kind)
    loops.insert(rng.randrange(len(loops) + 1), Loop(dim, outer, kind))
    return loops


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
