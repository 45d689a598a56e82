"""The commands that aim_simulator executes, for layers on chips of AiM's kind.

The loops inside which nothing is loaded, drained or opened make one command: they run over columns of one
row, each times an entry of the buffer. docs/aim.md says what each command stands for.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from operator import attrgetter

from hw.hardware import Hardware, Level
from hw.library import load_hardware
from models.network import DIMS, REDUCTION_DIMS, Dim, Operand
from overlapim_files import InputError
from solver.export.iterations import Point, RealIterations, moved
from solver.schedule.plan import Plan
from solver.timing.mapping import WEIGHT_DIMS, Loop
from solver.timing.problem import Problem
from solver.timing.profile import Profile, ceil_div, ceil_log2

AIM = "gddr6-aim"
SAME_KEYS = (
    "banks_per_channel",
    "columns_per_bank",
    "bits.activation",
    "bits.weight",
    "bits.accumulator",
    "steps_per_row",
    "inputs.store",
    "inputs.buffer_bits",
    "reduction",
)
LEVELS_LIMITED: tuple[Level, ...] = ("bank", "column")

COLUMNS = 64
"""256 bits each: in a row, and as many entries in a buffer."""
ROWS = 2**14
MOST_COMMANDS = 10_000_000
"""About 300 MB of text."""

INPUTS, RESULTS = 0, 64
"""The first of the registers for what fills a buffer or a row, and of those for results, one a channel."""
TABLES = 8
"""Of activation functions."""

BEGIN, END = "W CFR 0 1", "AiM EOC"


def check_aim(hardware: Hardware) -> None:
    """Refuse a chip on which a mapping may do what AiM cannot.

    Raises
    ------
    InputError
        naming the key, and what it would have to be.
    """
    aim = load_hardware(AIM)
    for key in SAME_KEYS:
        wanted, found = attrgetter(key)(aim), attrgetter(key)(hardware)
        if found != wanted:
            raise InputError(f"hardware: {key}: must be {wanted} as on AiM, found {found or 'nothing'}")
    if hardware.channels > aim.channels:
        text = f"must be at most {aim.channels} as on AiM, found {hardware.channels}"
        raise InputError(f"hardware: channels: {text}")
    for level in LEVELS_LIMITED:
        beyond = [dim for dim in DIMS if hardware.may_spread(level, dim) and not aim.may_spread(level, dim)]
        if beyond:
            wanted = _list(dim for dim in DIMS if aim.may_spread(level, dim))
            text = f"must be [{wanted}] as on AiM, and allows {_list(beyond)}"
            raise InputError(f"hardware: spread.{level}: {text}")


def _list(dims: Iterable[str]) -> str:
    return ", ".join(dims)


def aim_layers(problem: Problem, plan: Plan) -> list[AimLayer]:
    """Return the layers of a plan, producers first, each in rows of its own unless it writes its weights.

    Raises
    ------
    InputError
        if the chip is not of AiM's kind, or a layer does what AiM cannot, or needs too many rows or commands.
    """
    check_aim(problem.hardware)
    written = 0 if problem.hardware.weights == "reload" else None
    free = [0] * problem.hardware.channels
    layers, commands = [], 0
    for i in problem.network.topological:
        if problem.layers[i].bits is not None:
            text = "has bits of its own, and AiM computes with those of its units"
            raise InputError(f"layer '{problem.layers[i].name}': {text}")
        places: dict[int, list[int]] = {}
        for bank in sorted(plan.banks[i].tolist()):
            channel, number = divmod(bank, problem.hardware.banks_per_channel)
            places.setdefault(channel, []).append(number)
        first = max(free[channel] for channel in places) if written is None else 0
        layer = aim_layer(plan.profiles[i], places, first, written)
        for channel in places:
            free[channel] = max(free[channel], first + layer.stored.rows)
        layers.append(layer)
        commands += layer.most_commands
        if max(free) > ROWS:
            raise InputError(
                f"layer '{layer.name}': its rows end at {max(free)}, and a bank of AiM has {ROWS}"
            )
        if commands > MOST_COMMANDS:
            text = (
                f"up to here there are about {commands:,} commands, and {MOST_COMMANDS:,} are written at most"
            )
            raise InputError(f"layer '{layer.name}': {text}")
    return layers


@dataclass(frozen=True, eq=False)
class StoredFactor:
    """What stands in the rows of the banks: weights, or one factor of a product of two activations.

    Attributes
    ----------
    dims : those whose loops lead from one column to another.
    written : depth of the loop at whose iterations it is written; None if it is there beforehand.
    depth : number of temporal loops outside which another row may be read; those inside stay in one.
    strides : how many iterations that each read another row the next one of each temporal loop is away.
    rows : how many there are in each bank. They are used in turn, so that all get as full as they can and yet
        each iteration reads another one than that before it.
    same : masks of the channels that hold the same.
    """

    dims: frozenset[Dim]
    written: int | None
    depth: int
    strides: tuple[int, ...]
    rows: int
    same: tuple[int, ...]


def _stored(
    real: RealIterations, dims: frozenset[Dim], written: int | None, same: Iterable[int]
) -> StoredFactor:
    temporal, outside = real.profile.temporal, written or 0
    depth, steps = len(temporal), 1
    while depth > outside and (steps := steps * _bound(temporal[depth - 1], dims)) <= COLUMNS:
        depth -= 1
    strides, count = [0] * len(temporal), 1
    for place in reversed(range(outside, depth)):
        if temporal[place].dim in dims:
            strides[place] = count
            count *= temporal[place].bound
    columns = math.prod(_bound(loop, dims) for loop in temporal[depth:])
    rows = ceil_div(count, COLUMNS // columns)
    return StoredFactor(dims, written, depth, tuple(strides), rows, tuple(same))


def _bound(loop: Loop, dims: frozenset[Dim]) -> int:
    return loop.bound if loop.dim in dims else 1


def aim_layer(
    profile: Profile, places: dict[int, list[int]], first_row: int, written: int | None
) -> AimLayer:
    """Return a mapped layer as commands.

    Parameters
    ----------
    places : its channels, ascending, and its banks in each.
    first_row : where its rows begin, in all its banks.
    written : depth of the loop at whose iterations its weights are written; None if they are there.

    Raises
    ------
    InputError
        if AiM cannot do what the mapping does; names the layer.
    """
    real = RealIterations(profile, tuple(places))
    buffered, second = _factors(profile)
    entries = real.distinct(buffered, profile.load_depth, tuple(map(len, real.inside[profile.load_depth])))
    if entries > COLUMNS:
        raise _refusal(profile, f"a tile takes {entries} entries of the buffer, which has {COLUMNS}")
    if second:
        dims = frozenset(REDUCTION_DIMS).union(*(x.dims for x in second))
        stored = _stored(real, dims, profile.load_depth, real.same_elements(second))
    else:
        stored = _stored(real, WEIGHT_DIMS, written, real.same_weights(WEIGHT_DIMS))
    banks = tuple(zip(zip(*places.values(), strict=True), real.offsets("bank"), strict=True))
    return AimLayer(profile, first_row, real, buffered, stored, banks)


def _factors(profile: Profile) -> tuple[tuple[Operand, ...], tuple[Operand, ...]]:
    """Return what is held in the buffer and, of a product of two activations, what is written into rows."""
    factors = profile.layer.factors
    if len(factors) > 2:
        raise _refusal(profile, f"it multiplies {len(factors)} tensors")
    spread = {loop.dim for loop in profile.mapping.loops if loop.kind == "bank"}
    shared = [i for i, group in enumerate(factors) if not any(x.dims & spread for x in group)]
    if not shared:
        dims = _list(dim for dim in DIMS if dim in spread)
        raise _refusal(profile, f"what it loads differs between banks, which are spread over {dims}")
    others = [group for i, group in enumerate(factors) if i != shared[0]]
    return factors[shared[0]], others[0] if others else ()


def _refusal(profile: Profile, reason: str) -> InputError:
    return InputError(f"layer '{profile.layer.name}': {reason}, so AiM cannot run it")


@dataclass(frozen=True, eq=False)
class AimLayer:
    """A mapped layer as commands.

    Attributes
    ----------
    first_row : where its rows begin, in all its banks.
    buffered : the operands that are held in the buffer.
    banks : for each bank of a channel its number in each channel, and what it adds to the coordinates.
    """

    profile: Profile
    first_row: int
    real: RealIterations
    buffered: tuple[Operand, ...]
    stored: StoredFactor
    banks: tuple[tuple[tuple[int, ...], Point], ...]

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self.profile.layer.name

    @property
    def most_commands(self) -> int:
        """About how many commands there are; idle iterations count, too."""
        profile, bounds = self.profile, [loop.bound for loop in self.profile.temporal]
        drain = 2 + ceil_log2(self._summed) + 4 * profile.layer.post
        total = math.prod(bounds[: self._leaf]) + math.prod(bounds[: profile.drain_depth]) * drain
        total += math.prod(bounds[: profile.load_depth]) * len(self._same_inputs)
        if (depth := self.stored.written) is not None:
            columns = math.prod(_bound(loop, self.stored.dims) for loop in profile.temporal[depth:])
            total += math.prod(bounds[:depth]) * columns * len(self.banks) * len(self.stored.same)
        return total

    @cached_property
    def _leaf(self) -> int:
        """Number of temporal loops outside one command of multiply-accumulates."""
        return max(self.profile.load_depth, self.profile.drain_depth, self.stored.depth)

    @cached_property
    def _same_inputs(self) -> list[int]:
        return self.real.same_elements(self.buffered)

    @cached_property
    def _summed(self) -> int:
        """The number of channels whose results are added up."""
        return self.profile.mapping.product("channel", REDUCTION_DIMS)

    def commands(self) -> Iterator[str]:
        """Yield the commands, without those that begin and end a trace."""
        return self._iteration(0, (0,) * len(DIMS), 0)

    def _row(self, place: int) -> int:
        return self.first_row + place % self.stored.rows

    def _iteration(self, depth: int, base: Point, place: int) -> Iterator[str]:
        """Yield one iteration of the temporal loop at a depth, at a coordinate; nothing if it is idle."""
        if not (mask := self.real.mask(depth, base)):
            return
        if depth == self.stored.written:
            yield from self._write(base)
        if depth == self.profile.load_depth:
            yield from self._fill(base)
        if depth == self.profile.drain_depth:
            yield f"AiM WR_BIAS {RESULTS} {mask:#x}"
        if depth == self._leaf:
            yield from self._multiply(base, self._row(place))
        else:
            step, stride = self.real.steps[depth], self.stored.strides[depth]
            for digit in range(self.profile.temporal[depth].bound):
                yield from self._iteration(depth + 1, moved(base, step, digit), place + digit * stride)
        if depth == self.profile.drain_depth:
            yield from self._drain(base, mask)

    def _fill(self, base: Point) -> Iterator[str]:
        """Yield what fills the buffers with a tile: one command for all channels with the same inputs."""
        depth = self.profile.load_depth
        for counts, mask in self.real.parts(depth, base):
            entries = self.real.distinct(self.buffered, depth, counts)
            for same in self._same_inputs:
                if here := mask & same:
                    yield f"AiM WR_GB {entries} {INPUTS} {here:#x}"

    def _multiply(self, base: Point, row: int) -> Iterator[str]:
        masks: dict[int, int] = {}
        for counts, mask in self.real.parts(self._leaf, base):
            columns = math.prod(counts)
            masks[columns] = masks.get(columns, 0) | mask
        for columns, mask in masks.items():
            yield f"AiM MAC_ABK {columns} {mask:#x} {row}"

    def _write(self, base: Point) -> Iterator[str]:
        """Yield what writes rows, a column of a bank at a time: weights, or a tile of an activation."""
        depths = [depth for depth, stride in enumerate(self.stored.strides) if stride]
        for digits in product(*(range(self.profile.temporal[depth].bound) for depth in depths)):
            at, place = base, 0
            for depth, digit in zip(depths, digits, strict=True):
                at = moved(at, self.real.steps[depth], digit)
                place += digit * self.stored.strides[depth]
            for numbers, offset in self.banks:
                yield from self._write_bank(numbers, moved(at, offset), self._row(place))

    def _write_bank(self, numbers: Sequence[int], base: Point, row: int) -> Iterator[str]:
        """Yield what writes a row of one bank of each channel, whose number is given for each."""
        places = zip(dict.fromkeys(numbers), self.real.alike(numbers), strict=True)
        each = [(number, own & same) for number, own in places for same in self.stored.same]
        for counts, mask in self.real.parts(self.stored.depth, base):
            columns = math.prod(n for dim, n in zip(DIMS, counts, strict=True) if dim in self.stored.dims)
            for number, own in each:
                if here := mask & own:
                    yield from [f"AiM WR_SBK {INPUTS} {here:#x} {number} {row}"] * columns

    def _drain(self, base: Point, mask: int) -> Iterator[str]:
        """Yield what reads results, adds up those of channels, and works on them once they are complete."""
        post = self.profile.layer.post if self._complete(base) else 0
        if not post or self._summed > 1:
            yield f"AiM RD_MAC {RESULTS} {mask:#x}"
        each = len(self.real.channels) // self._summed
        outputs = mask & sum(1 << channel for channel in self.real.channels[:each])
        yield from _sum_up(mask.bit_count(), outputs.bit_count())
        for i in range(post):
            if post > 1:
                yield f"W CFR 2 {i % TABLES}"
            if i or self._summed > 1:
                yield f"AiM WR_BIAS {RESULTS} {outputs:#x}"
            yield f"AiM AF {outputs:#x}"
            yield f"AiM RD_AF {RESULTS} {outputs:#x}"

    @cached_property
    def _outside(self) -> list[list[int]]:
        return self.real.reach(0, self.profile.drain_depth)

    def _complete(self, base: Point) -> bool:
        """Return whether nothing is added later to the results that are drained at a coordinate."""
        for dim in map(DIMS.index, REDUCTION_DIMS):
            later = bisect_right(self._outside[dim], base[dim])
            if any(at < self.profile.layer.bounds[dim] for at in self._outside[dim][later : later + 1]):
                return False
        return True


def _sum_up(results: int, outputs: int) -> Iterator[str]:
    """Yield the additions of results, the last ones onto the first, until there is one of each output."""
    while results > outputs:
        added = results // outputs // 2 * outputs
        yield f"AiM EWADD {added} {RESULTS} {RESULTS + results - added}"
        results -= added


def aim_trace(layers: Iterable[AimLayer], titles: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a trace of layers one after the other, each below its title, a comment."""
    yield f"{BEGIN}\n"
    for layer, title in zip(layers, titles, strict=True):
        yield f"# {title}\n"
        for command in layer.commands():
            yield f"{command}\n"
    yield f"{END}\n"
