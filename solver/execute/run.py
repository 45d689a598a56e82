"""Executes a schedule with numbers: blocks in the order of time, tensors that fill up as blocks finish.

A block computes with what it reads when it starts. What it completes becomes readable when the reference
simulator's clock says that it is finished, `transfer` cycles later; until then it is not-a-number.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hw.hardware import Hardware
from models.network import DIMS, FORMAT, OUTPUT_DIMS, REDUCTION_DIMS, Layer, Network, NetworkInput
from overlapim_files import InputError
from solver.execute.numbers import PRIME, Drawn, Numbers, output, products, residuals
from solver.execute.reading import Reader, TimedTensor
from solver.execute.schedule import LayerSchedule
from solver.reference import SimulatedLayer, TouchedCoordinates, simulate
from solver.timing.mapping import Mapping
from solver.timing.profile import Cycles
from solver.timing.windows import Indices

UNREAD: tuple[Numbers, int] = np.zeros((1,) * len(DIMS)), 0
"""In place of numbers, and of when they are there, where a block does not read an operand."""


@dataclass(frozen=True, eq=False)
class Executed:
    """What a layer has computed.

    Attributes
    ----------
    values, finish : each output and the cycle in which it was finished; shape (n, ch, h, w).
    starts, needs : of each block, in the order of execution, its start and when all that it read was there.
    loaded : for each tensor that is read, in its shape, when a block read an element first.
    lead : cycles from the start of the layer to that of its first block.
    """

    values: Numbers
    finish: Cycles
    starts: Cycles
    needs: Cycles
    loaded: dict[str, Cycles]
    lead: int

    @property
    def start(self) -> int:
        """The cycle from which on it holds its banks."""
        return int(self.starts[0]) - self.lead

    @property
    def end(self) -> int:
        """The last finish."""
        return int(self.finish.max())


def execute(
    network: Network,
    hardware: Hardware,
    schedules: Sequence[LayerSchedule],
    drawn: Drawn,
    on_block: Callable[[int], None] = lambda done: None,
) -> list[Executed]:
    """Execute the blocks of all layers; `schedules` and the result are in the order of the network's layers.

    Parameters
    ----------
    on_block : called with the number of blocks that are done.

    Raises
    ------
    InputError
        if a block reads what is not finished yet, with layer, element and time; if it begins before the one
        before it has ended.
    """
    return execute_in_a_row(network, hardware, schedules, [drawn], 1, on_block)[0]


def execute_in_a_row(
    network: Network,
    hardware: Hardware,
    schedules: Sequence[LayerSchedule],
    drawn: Sequence[Drawn],
    interval: int,
    on_block: Callable[[int], None] = lambda done: None,
) -> list[list[Executed]]:
    """Execute several inferences, as `execute` does one, all blocks of all of them in the order of time.

    Parameters
    ----------
    drawn : what each of them computes with.
    interval : cycles from the beginning of one to that of the next.

    Returns
    -------
    for each inference its layers, with times from the beginning of that inference on.
    """
    clocks = [
        _alone(layer, schedule.mapping, network.shapes, hardware)
        for layer, schedule in zip(network.layers, schedules, strict=True)
    ]
    rows = [_runs(network, schedules, clocks, own, hardware) for own in drawn]
    starts = [schedule.starts + turn * interval for turn in range(len(rows)) for schedule in schedules]
    for done, (start, place, position) in enumerate(in_time(starts)):
        turn, i = divmod(place, len(schedules))
        on_block(done)
        rows[turn][i].block(position, start - turn * interval)
    return [[run.executed() for run in runs] for runs in rows]


def _runs(
    network: Network,
    schedules: Sequence[LayerSchedule],
    clocks: Sequence[SimulatedLayer],
    drawn: Drawn,
    hardware: Hardware,
) -> list[_Run]:
    """Return the layers of one inference, with tensors of its own."""
    tensors = {name: TimedTensor(name, shape) for name, shape in network.shapes.items()}
    for name, values in drawn.inputs.items():
        tensors[name].write(np.arange(values.size), values.ravel().astype(np.float64), 0)
    given = zip(network.layers, schedules, clocks, drawn.weights, strict=True)
    return [_Run(*own, tensors, hardware) for own in given]


def in_time(starts: Sequence[Cycles]) -> list[tuple[int, int, int]]:
    """Return (start, layer, position in the layer's order) of all blocks by time, given all starts."""
    return sorted((start, i, k) for i, own in enumerate(starts) for k, start in enumerate(own.tolist()))


def _alone(
    layer: Layer, mapping: Mapping, shapes: dict[str, tuple[int, int, int, int]], hardware: Hardware
) -> SimulatedLayer:
    """Return the times of a layer that never waits, as all that it reads is there from the beginning."""
    names = dict.fromkeys(operand.producer for operand in layer.operands)
    inputs = tuple([NetworkInput(name=name, shape=shapes[name]) for name in names])
    network = Network(format=FORMAT, name=layer.name, inputs=inputs, layers=(layer,))
    return simulate(network, hardware, [mapping], [0], [None])[0]


class _Run:
    """One layer that is executed: its partial sums, what is added to them at the end, what is finished."""

    def __init__(
        self,
        layer: Layer,
        schedule: LayerSchedule,
        clock: SimulatedLayer,
        weights: npt.NDArray[np.int16] | None,
        tensors: dict[str, TimedTensor],
        hardware: Hardware,
    ) -> None:
        self.layer, self.schedule, self.weights = layer, schedule, weights
        self.tensor, self.transfer = tensors[layer.name], hardware.cycles.transfer
        self.coordinates = TouchedCoordinates(layer, schedule.mapping)
        self.readers = [Reader(x, self.coordinates, tensors[x.producer]) for x in layer.operands]
        self.blocks = block_digits(self.coordinates, len(schedule.starts))
        self.order = range(len(self.blocks)) if schedule.order is None else schedule.order
        self.completed = _Completed(clock)
        self.lead = clock.block_starts[0] - clock.start
        self.lengths = np.diff(clock.block_starts, append=clock.end)
        self.sums: Numbers = np.zeros(layer.bounds[: len(OUTPUT_DIMS)])
        self.residuals: Numbers = np.zeros_like(self.sums)
        self.finish: Cycles = np.full(self.sums.size, -1)
        self.needs: list[int] = []
        self.ready = 0

    def block(self, position: int, start: int) -> None:
        """Execute the block at a position of the order of execution."""
        block = self.order[position]
        if start < self.ready:
            text = f"begins at {start}, before the one before it ends at {self.ready}"
            raise InputError(f"{self._name(position)} {text}")
        self.ready = start + int(self.lengths[block])
        try:
            self.needs.append(self._compute(self.blocks[block], start))
        except InputError as error:
            raise InputError(f"{self._name(position)} {error}") from None
        places, offsets = self.completed.of(block)
        self.finish[places] = start + offsets
        values = output(self.layer, self.sums.ravel()[places] + self.residuals.ravel()[places])
        self.tensor.write(places, values, start + offsets + self.transfer)

    def _compute(self, digits: tuple[int, ...], start: int) -> int:
        """Add the products of a block to the sums; return when all that it reads was there."""
        coordinates = [np.array(self.coordinates.touched(dim, digits), np.int64) for dim in DIMS]
        adds = all(map(len, coordinates[: len(OUTPUT_DIMS)])) and self._is_last(digits)
        multiplies = all(map(len, coordinates))
        found = [
            reader.read(digits, start) if (adds if residual else multiplies) else UNREAD
            for reader, residual in zip(self.readers, self.layer.is_residual, strict=True)
        ]
        read = [x for x, _ in found]
        outputs = np.ix_(*coordinates[: len(OUTPUT_DIMS)])
        if multiplies:
            more = products(self.layer, read, self._weights(coordinates), [len(x) for x in coordinates])
            self.sums[outputs] = (self.sums[outputs] + more) % PRIME
        if adds:
            self.residuals[outputs] = residuals(self.layer, read)
        return max(need for _, need in found)

    def _is_last(self, digits: tuple[int, ...]) -> bool:
        """Return whether a block is the last that adds to its sums: then it reads the residuals."""
        pairs = zip(digits, self.coordinates.temporal, strict=False)
        return all(digit == loop.bound - 1 for digit, loop in pairs if loop.dim in REDUCTION_DIMS)

    def _weights(self, coordinates: Sequence[Indices]) -> Numbers | None:
        """Return the weights at some coordinates, with an axis for each dim."""
        if self.weights is None:
            return None
        _, g, k, _, _, c, r, s = coordinates
        return self.weights[np.ix_(g, k, c, r, s)].astype(np.float64)[None, :, :, None, None]

    def _name(self, position: int) -> str:
        return f"layer '{self.layer.name}': block {position + 1} of {len(self.blocks)}"

    def executed(self) -> Executed:
        """Return what has been computed when all blocks are done."""
        finish = self.finish.reshape(self.layer.shape)
        loaded: dict[str, Cycles] = {}
        for reader in self.readers:
            name = reader.tensor.name
            loaded[name] = np.minimum(loaded.get(name, reader.loaded), reader.loaded)
        return Executed(
            self.tensor.values, finish, self.schedule.starts, np.array(self.needs), loaded, self.lead
        )


class _Completed:
    """Which outputs each block completes, and how long after its start each of them is finished."""

    def __init__(self, clock: SimulatedLayer) -> None:
        starts, finish = np.array(clock.block_starts), clock.finish.ravel()
        block = np.searchsorted(starts, finish) - 1
        self._places = np.argsort(block, kind="stable")
        self._offsets = (finish - starts[block])[self._places]
        self._ends = np.searchsorted(block[self._places], np.arange(len(starts) + 1))

    def of(self, block: int) -> tuple[Indices, Cycles]:
        """Return the positions of the outputs that a block completes, and the cycles from its start on."""
        own = slice(self._ends[block], self._ends[block + 1])
        return self._places[own], self._offsets[own]


def block_digits(coordinates: TouchedCoordinates, blocks: int) -> list[tuple[int, ...]]:
    """Return the digits of the outermost temporal loops, of as many as make up the blocks."""
    bounds = [loop.bound for loop in coordinates.temporal]
    depth = next(d for d in range(len(bounds) + 1) if math.prod(bounds[:d]) == blocks)
    return list(itertools.product(*map(range, bounds[:depth])))
