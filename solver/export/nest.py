"""A mapped layer as a loop nest: one glance at the text tells what runs side by side and what after what."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from hw.hardware import Hardware
from models.network import DIMS, REDUCTION_DIMS, Layer
from solver.timing.mapping import SPATIAL, Loop, Mapping
from solver.timing.own_bits import own_chip
from solver.timing.profile import Profile, reads_back

LEVELS = {"temporal": "time", "channel": "channel", "bank": "bank", "column": "column"}
PLURALS = {"channel": "channels", "bank": "banks", "column": "columns"}


class _Line(NamedTuple):
    """One line of the nest; `level` and `cycles` are empty where there is nothing to say."""

    indent: int
    text: str
    level: str = ""
    cycles: str = ""


def loop_nest(profile: Profile, hardware: Hardware) -> str:
    """Return the loops of a mapped layer as text, outermost first, under how coordinates are put together.

    Loops are `for` if they take time and `parallel for` if they spread over channels, banks or columns, which
    the second column names. Between them stand what happens at each iteration of the loop above: the wait
    before a block, rows that are opened, the load of inputs, the multiply-accumulate, and the reduction and
    drain of outputs. The
    third column is the cycles of one iteration, waiting left out.

    Returns
    -------
    str
        lines without trailing blanks, and without the layer's name or any other text from a file.
    """
    return "\n".join([*_heading(profile), "", *_aligned(list(_nest(profile, hardware)))])


def _heading(profile: Profile) -> Iterator[str]:
    layer, mapping = profile.layer, profile.mapping
    yield f"dims      {', '.join(f'{dim} {layer.bound(dim)}' for dim in DIMS if layer.bound(dim) > 1) or '1'}"
    if split := _coordinates(layer, mapping):
        yield f"where     {', '.join(split)}"
    lanes = mapping.product("column")
    counts = f"{_count(mapping.banks, 'bank')}, {_count(lanes, 'lane')} in each"
    blocks = _count(profile.blocks, "block")
    yield f"runs on   {counts}: {profile.total:,} cycles in {blocks}, waiting left out"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' if number != 1 else ''}"


def _coordinates(layer: Layer, mapping: Mapping) -> list[str]:
    """Return how the coordinate of a dim follows from the indices of its loops, where that needs saying."""
    found = []
    for dim in DIMS:
        bounds = [loop.bound for loop in mapping.loops if loop.dim == dim]
        strides = [math.prod(bounds[i + 1 :]) for i in range(len(bounds))]
        indices = zip(strides, _indices(mapping, dim), strict=True)
        form = " + ".join(f"{stride}*{index}" if stride > 1 else index for stride, index in indices)
        past = math.prod(bounds) > layer.bound(dim)
        if past or len(bounds) > 1:
            found.append(f"{dim} = {form}{f' < {layer.bound(dim)}' if past else ''}")
    return found


def _indices(mapping: Mapping, dim: str) -> list[str]:
    """Return the names of a dim's indices, outermost first: `p`, or `p1` and `p0`."""
    count = sum(loop.dim == dim for loop in mapping.loops)
    return [f"{dim.lower()}{place if count > 1 else ''}" for place in reversed(range(count))]


def _nest(profile: Profile, hardware: Hardware) -> Iterator[_Line]:
    yield _Line(0, "", "level", "cycles each")
    if profile.t_weights:
        yield _Line(0, "write weights", "", f"{profile.t_weights:,}")
    yield from _opening(profile, 0, 0)
    depth, bodies = 0, [0]
    names = {dim: iter(_indices(profile.mapping, dim)) for dim in DIMS}
    for indent, loop in enumerate(profile.mapping.loops):
        cycles = f"{profile.weights[depth]:,}" if loop.kind == "temporal" else ""
        yield _Line(indent, _loop(loop, next(names[loop.dim])), LEVELS[loop.kind], cycles)
        if loop.kind == "temporal":
            depth += 1
            bodies.append(indent + 1)
            yield from _opening(profile, depth, indent + 1)
    step = own_chip(profile.layer, hardware).mac_cycles
    yield _Line(len(profile.mapping.loops), "multiply-accumulate", "", f"{step:,}")
    yield _Line(bodies[profile.drain_depth], _drain(profile, hardware), "", f"{profile.t_out:,}")


def _loop(loop: Loop, index: str) -> str:
    return f"{'for' if loop.kind == 'temporal' else 'parallel for'} {index} in [0:{loop.bound})"


def _opening(profile: Profile, depth: int, indent: int) -> Iterator[_Line]:
    """Return what happens first in every iteration of the temporal loop at this depth; 0 is the layer."""
    if depth == profile.depth:
        yield _Line(indent, "wait for data: a block begins")
    if depth == profile.open_depth:
        yield _Line(indent, "open a row of weights", "", f"{profile.t_open:,}")
    if depth == profile.load_depth:
        yield _Line(indent, "load inputs", "", f"{profile.t_in:,}")


def _drain(profile: Profile, hardware: Hardware) -> str:
    """Return what happens to a result, in the order of its doing."""
    residuals = ["add residuals"] if profile.layer.residuals else []
    if hardware.reduction == "host":
        return ", ".join([*residuals, "drain partial results"])
    steps = ["read partial sums back"] if reads_back(profile.temporal, profile.drain_depth) else []
    reduced = [PLURALS[kind] for kind in SPATIAL[::-1] if profile.mapping.product(kind, REDUCTION_DIMS) > 1]
    if reduced:
        steps.append(f"reduce over {' and '.join(reduced)}")
    return ", ".join([*steps, *residuals, "drain outputs"])


def _aligned(lines: list[_Line]) -> Iterator[str]:
    texts = [f"{'  ' * line.indent}{line.text}" for line in lines]
    width = max(map(len, texts))
    right = max(len(line.cycles) for line in lines)
    for text, line in zip(texts, lines, strict=True):
        yield f"{text:<{width}}   {line.level:<7}   {line.cycles:>{right}}".rstrip()
