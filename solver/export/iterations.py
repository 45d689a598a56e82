"""Which iterations of a mapped layer are real, and for which of its channels."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from models.network import DIMS, REDUCTION_DIMS, Operand
from solver.timing.mapping import Kind
from solver.timing.profile import Profile

Point = tuple[int, ...]
"""A coordinate, or a number of iterations, for each of `DIMS`."""

ChannelCounts = tuple[tuple[Point, int], ...]
"""For each different case how many iterations of each dim are real, all above 0, and its channels' mask."""


@dataclass(frozen=True, eq=False)
class RealIterations:
    """The coordinates of a mapped layer in time and in space; those past a bound are idle.

    Channels take the digits of their loops so that those of reduction dims are the slowest.

    Attributes
    ----------
    channels : their numbers, ascending.
    """

    profile: Profile
    channels: tuple[int, ...]

    @cached_property
    def strides(self) -> list[int]:
        """How far one iteration of each loop of the mapping is from the next one in its dim."""
        strides, inside = [], dict.fromkeys(DIMS, 1)
        for loop in reversed(self.profile.mapping.loops):
            strides.append(inside[loop.dim])
            inside[loop.dim] *= loop.bound
        return strides[::-1]

    @cached_property
    def steps(self) -> list[Point]:
        """What one iteration of each temporal loop adds to the coordinates."""
        return [
            tuple(stride if dim == loop.dim else 0 for dim in DIMS)
            for loop, stride in zip(self.profile.mapping.loops, self.strides, strict=True)
            if loop.kind == "temporal"
        ]

    def offsets(self, kind: Kind) -> list[Point]:
        """Return what each index of the loops of a kind in space adds to the coordinates."""
        loops = [x for x in zip(self.profile.mapping.loops, self.strides, strict=True) if x[0].kind == kind]
        loops.sort(key=lambda x: x[0].dim not in REDUCTION_DIMS)
        found = []
        for digits in product(*(range(loop.bound) for loop, _ in loops)):
            point = dict.fromkeys(DIMS, 0)
            for digit, (loop, stride) in zip(digits, loops, strict=True):
                point[loop.dim] += digit * stride
            found.append(tuple(point.values()))
        return found

    @cached_property
    def _channel_offsets(self) -> list[Point]:
        return self.offsets("channel")

    def reach(self, first: int, end: int | None = None) -> list[list[int]]:
        """Return for each dim what the temporal loops from `first` up to `end` add to it, ascending."""
        reach = [[0] for _ in DIMS]
        for loop, step in zip(self.profile.temporal[first:end], self.steps[first:end], strict=True):
            dim = DIMS.index(loop.dim)
            reach[dim] = [x + digit * step[dim] for x in reach[dim] for digit in range(loop.bound)]
        return reach

    @cached_property
    def inside(self) -> list[list[list[int]]]:
        """For each depth, from 0 to all temporal loops, the reach of the loops inside it."""
        return [self.reach(depth) for depth in range(len(self.profile.temporal) + 1)]

    @cached_property
    def _ragged(self) -> list[bool]:
        """Whether the loops of each dim cover more than its bound."""
        loops = self.profile.mapping.loops
        covered = [math.prod(x.bound for x in loops if x.dim == dim) for dim in DIMS]
        return [reached > bound for reached, bound in zip(covered, self.profile.layer.bounds, strict=True)]

    @cached_property
    def _known(self) -> dict[tuple[int, Point], ChannelCounts]:
        return {}

    def parts(self, depth: int, base: Point) -> ChannelCounts:
        """Return which iterations of the loops inside a depth are real from a coordinate on, and where.

        Dims that the loops cover exactly are the same everywhere, so that there are few different answers.
        """
        key = depth, tuple(at if ragged else 0 for at, ragged in zip(base, self._ragged, strict=True))
        if key not in self._known:
            self._known[key] = self._parts(*key)
        return self._known[key]

    def _parts(self, depth: int, base: Point) -> ChannelCounts:
        found: dict[Point, int] = {}
        for channel, offset in zip(self.channels, self._channel_offsets, strict=True):
            each = zip(self.inside[depth], self.profile.layer.bounds, base, offset, strict=True)
            counts = tuple(bisect_left(reach, bound - at - own) for reach, bound, at, own in each)
            if all(counts):
                found[counts] = found.get(counts, 0) | 1 << channel
        return tuple(found.items())

    def mask(self, depth: int, base: Point) -> int:
        """Return the mask of the channels that are not idle in an iteration of the loop at a depth."""
        return sum(mask for _, mask in self.parts(depth, base))

    def alike(self, keys: Iterable[Hashable]) -> list[int]:
        """Return the masks of the channels that have the same key, given one for each channel."""
        masks: dict[Hashable, int] = {}
        for key, channel in zip(keys, self.channels, strict=True):
            masks[key] = masks.get(key, 0) | 1 << channel
        return list(masks.values())

    def same_weights(self, dims: Iterable[str]) -> list[int]:
        """Return the masks of the channels that are at the same coordinates in some dims."""
        held = [dim in dims for dim in DIMS]
        return self.alike(
            tuple(x for x, own in zip(at, held, strict=True) if own) for at in self._channel_offsets
        )

    def same_elements(self, operands: Sequence[Operand]) -> list[int]:
        """Return the masks of the channels that read the same elements."""
        terms = [terms for operand in operands for terms in operand.terms]
        return self.alike(
            tuple(sum(c * at[DIMS.index(dim)] for dim, c in form) for form in terms)
            for at in self._channel_offsets
        )

    def distinct(self, operands: Sequence[Operand], depth: int, counts: Point) -> int:
        """Return how many different elements of an operand a lane reads in so many iterations inside a depth.

        Of operands that are added, or are parts of one, it is the most of any.
        """
        reach = [own[:count] for own, count in zip(self.inside[depth], counts, strict=True)]
        return max(_elements(operand, reach) for operand in operands)


def _elements(operand: Operand, reach: Sequence[Sequence[int]]) -> int:
    elements = 1
    for form in operand.terms:
        values = {0}
        for dim, coefficient in form:
            values = {x + coefficient * more for x in values for more in reach[DIMS.index(dim)]}
        elements *= len(values)
    return elements


def moved(base: Point, step: Point, times: int = 1) -> Point:
    """Return a coordinate that lies some steps further."""
    return tuple(x + times * more for x, more in zip(base, step, strict=True))
